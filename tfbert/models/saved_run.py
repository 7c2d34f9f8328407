"""Saving a trained model in its run directory, and loading it as a predictor."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tfbert.config import Config, from_dict
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import BEST_RUN, CONFIG, ENCODER, REPORT, UNEXPORTED, read_json, write_json
from tfbert.models import variables, weights
from tfbert.models.build import build_model
from tfbert.models.predictor import Predictor
from tfbert.models.run_report import is_pretraining, is_search, read_trainings
from tfbert.tasks.base import FittedTask, fitted_from_json
from tfbert.text.inputs import Item, from_json
from tfbert.text.tokenizer import Tokenizer

_MODEL = "model.json"


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A finished run, ready to predict or export.

    Args:
        config: the config of the run.
        predictor: the predictor with the best weights, in float32.
        report: the content of `report.json`.
        samples: a few real items.
    """

    config: Config
    predictor: Predictor
    report: dict
    samples: list[Item]

    @property
    def task(self) -> FittedTask:
        """The fitted task."""
        return self.predictor.task


def load_run(run_dir: Path) -> SavedRun:
    """Load a finished run, the best seed of a run with several seeds, or the best run of a search.

    Args:
        run_dir: the directory of the run or of the search.

    Raises:
        ValueError: the directory contains no finished run, one with a damaged report, or one of another version of
            tfbert.
    """
    run_dir = finished_run(run_dir)
    report = read_json(run_dir / REPORT)
    run_dir = read_trainings(run_dir).best_dir(run_dir)
    config = from_dict(read_json(run_dir / CONFIG))
    task, stored = stored_task(run_dir), read_json(run_dir / _MODEL)
    model = build_model(task, EncoderSpec.from_json(stored["encoder"]), config)
    weights.scatter("model", model.weights, weights.load_best(run_dir))
    predictor = Predictor(task, model, Tokenizer(**stored["tokenizer"]), config)
    variables.load(run_dir, predictor.variables)
    return SavedRun(config, predictor, report, [from_json(item) for item in stored["samples"]])


def finished_run(path: Path) -> Path:
    """Return the directory of a finished run, which for a search is that of its best run.

    Raises:
        ValueError: the directory contains no finished run of a task.
    """
    if not (path / REPORT).exists():
        raise ValueError(f"{path}: contains no finished run; expected a directory with {REPORT}")
    report = read_json(path / REPORT)
    if is_pretraining(report):
        raise ValueError(f"{path}: is a pretraining; expected a run of a task, with encoder={path / ENCODER}")
    return path / BEST_RUN if is_search(report) else path


def stored_task(training_dir: Path) -> FittedTask:
    """Return the fitted task of a training.

    Raises:
        ValueError: the training is one of another version of tfbert.
    """
    stored = read_json(training_dir / _MODEL)
    if "task" not in stored:
        raise ValueError(f"{training_dir}: trained by an earlier version of tfbert; train again")
    return fitted_from_json(stored["task"])


def save_run(run_dir: Path, predictor: Predictor, encoder: EncoderSpec, samples: Sequence[Item]) -> None:
    """Write what `load_run` needs in addition to config, weights and report.

    Args:
        run_dir: the directory of the run.
        predictor: the predictor with its index, decision, domain and evidence.
        encoder: the architecture of the encoder.
        samples: a few real items, with which an export is warmed up and verified.
    """
    tokenizer = predictor.tokenizer
    model = {
        "task": predictor.task.to_json(),
        "encoder": encoder.to_json(),
        "tokenizer": {"vocabulary": tokenizer.vocabulary, **tokenizer.rules._asdict()},
        "samples": list(samples),
    }
    write_json(run_dir / _MODEL, model)
    variables.save(run_dir, predictor.variables)


def mark_exported(run_dir: Path) -> None:
    """Record that a finished run has been exported, so that its directory is not opened again."""
    (run_dir / UNEXPORTED).unlink(missing_ok=True)
