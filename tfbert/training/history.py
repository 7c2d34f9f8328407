"""The history of a fine-tuning by epoch, as in `report.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfbert.training.progress import EvaluationPoint, Progress


def epoch_history(history: Sequence[EvaluationPoint]) -> list[dict]:
    """Return the history of `report.json`, one dict per epoch, from the evaluations of a fine-tuning."""
    entries, num_examples, seconds = [], 0, 0.0
    for point in history:
        if point.update:
            entry = {
                "epoch": round(point.epoch),
                "loss": point.loss,
                "learning_rate": point.learning_rate,
                "seconds": point.seconds - seconds,
                "examples_per_second": (point.num_examples - num_examples) / (point.seconds - seconds),
            }
            if point.scores is not None:
                entry |= {"validation": point.scores, "validation_seconds": point.evaluation_seconds}
            entries.append(entry)
        num_examples, seconds = point.num_examples, point.seconds
    return entries


@dataclass(frozen=True)
class EpochHistory:
    """The history of a fine-tuning by epoch, as in `report.json`.

    Args:
        history: one dict per epoch.
        best_epoch: 1-based epoch whose weights were kept, or with the best score if an average was kept; 0 means before
            training.
        untrained: validation scores before training; `None` if the untrained model was not evaluated.
        average: `epochs` whose average was kept, 0 for before training, and its scores on `validation`; `None` if the
            weights of the best epoch, or of the untrained model, were kept.
    """

    history: list[dict]
    best_epoch: int
    untrained: dict[str, float] | None = None
    average: dict[str, Any] | None = None

    @classmethod
    def of(cls, progress: Progress) -> "EpochHistory":
        """Return the history of a finished training."""
        first = progress.history[0]
        untrained = first.scores if first.update == 0 else None
        kept = progress.average
        average = kept and {"epochs": kept.epochs(progress.history), "validation": kept.scores}
        return cls(epoch_history(progress.history), round(progress.best.epoch), untrained, average)

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> "EpochHistory":
        """Return the history in a `report.json`."""
        return cls(report["history"], report["best_epoch"], report["untrained"], report.get("average"))

    @property
    def best_scores(self) -> dict[str, float] | None:
        """The validation scores of the weights that were kept; `None` without a validation split."""
        if self.average:
            return self.average["validation"]
        return self.history[self.best_epoch - 1].get("validation") if self.best_epoch else self.untrained
