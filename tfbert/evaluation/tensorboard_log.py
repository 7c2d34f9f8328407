"""TensorBoard logs of a run: losses, scores and hyperparameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from tfbert.config import RootConfig
from tfbert.files import writing


class TensorBoardLog:
    """Writes the scalars and hyperparameters of one run.

    Args:
        log_dir: directory of the log; created if missing.
        values: hyperparameters by name.
        trial_id: text that differs between runs.
    """

    def __init__(self, log_dir: Path, values: Mapping[str, Any], trial_id: str):
        self._log_dir = log_dir
        with writing(log_dir):
            self._writer = tf.summary.create_file_writer(str(log_dir))
        self._values = {
            name: value if isinstance(value, bool | int | float | str) else str(value).lower()
            for name, value in values.items()
        }
        with writing(log_dir), self._writer.as_default():
            hparams.hparams(self._values, trial_id=trial_id)

    @classmethod
    def of_config(
        cls, log_dir: Path, config: RootConfig, sections: Sequence[str] = ("train", "head", "encoder")
    ) -> "TensorBoardLog":
        """Return the log of a run whose hyperparameters are some sections of its config."""
        tree = config.to_dict()
        values = {f"{section}.{name}": value for section in sections for name, value in tree[section].items()}
        return cls(log_dir, values, config.fingerprint())

    def epoch(self, entry: dict, updates: list) -> None:
        """Write one epoch.

        Args:
            entry: the epoch's entry in the history of `report.json`.
            updates: one `[update, loss, learning rate]` per update.
        """
        with writing(self._log_dir), self._writer.as_default():
            for update, loss, rate in updates:
                tf.summary.scalar("train/loss", loss, step=int(update))
                tf.summary.scalar("train/learning_rate", rate, step=int(update))
            tf.summary.scalar("epoch/train_loss", entry["loss"], step=entry["epoch"])
            tf.summary.scalar("epoch/examples_per_second", entry["examples_per_second"], step=entry["epoch"])
            for name, value in entry.get("validation", {}).items():
                tf.summary.scalar(f"validation/{name}", value, step=entry["epoch"])
            self._writer.flush()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars by name."""
        with writing(self._log_dir), self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)
            self._writer.flush()

    def close(self, scores: Mapping[str, float], step: int) -> None:
        """Write the scores that the HParams tab shows, and close the log."""
        with writing(self._log_dir), self._writer.as_default():
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in self._values],
                metrics=[hparams.Metric(name) for name in scores],
            )
            for name, value in scores.items():
                tf.summary.scalar(name, value, step=step)
            self._writer.flush()
            self._writer.close()


def final_scores(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of a report by name, such as `final/test_accuracy`."""
    return {
        f"final/{split}_{name}": score["value"]
        for split in ("validation", "test")
        for name, score in ((report.get(split) or {}).get("metrics") or {}).items()
    }
