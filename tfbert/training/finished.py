"""A finished run directory in, the trained model ready to answer out; and what is kept beside the weights for that."""

import dataclasses
from pathlib import Path

import numpy as np

from tfbert.config import Config, from_dict
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import read_json, write_json
from tfbert.tasks.base import load_task
from tfbert.text.items import Item, from_json
from tfbert.text.tokenizer import Tokenizer
from tfbert.training import arrays, checkpoint
from tfbert.training.answering import Answering
from tfbert.training.problem import Problem, build_model
from tfbert.training.run_dir import REPORT

_MODEL = "model.json"


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run directory holds, ready to predict or export.

    Args:
        config: of the run.
        facts: of its task.
        answering: with the best weights; float32, but for products where other ones were asked for.
        report: of the run.
        samples: a few real requests.
    """

    config: Config
    facts: dict
    answering: Answering
    report: dict
    samples: list[Item]


def load_run(run_dir: Path, matrices: str | None = None) -> FinishedRun:
    """Open a finished run; of several seeds, the best.

    Args:
        run_dir: of the run.
        matrices: dtype in which the encoder's layers multiply by their matrices; `None` for float32.

    Raises:
        ValueError: there is no finished run in the directory.
    """
    if not (run_dir / REPORT).exists():
        raise ValueError(f"{run_dir}: holds no finished run; wanted a directory with {REPORT}")
    report = read_json(run_dir / REPORT)
    if report.get("adaptation"):
        run_dir = run_dir / report["adaptation"]["kept"]
    if report["seeds"]:
        run_dir = run_dir / f"seed-{report['seeds']['best']}"
    config = from_dict(read_json(run_dir / "config.json"))
    stored = read_json(run_dir / _MODEL)
    task, facts = load_task(config.task), stored["facts"]
    model = build_model(task, facts, EncoderSpec.from_json(stored["encoder"]), config)
    checkpoint.scatter("model", model.weights, checkpoint.load_best(run_dir))
    model.backbone.copy_kernels(matrices)
    answering = Answering(task, facts, model, Tokenizer(**stored["tokenizer"]), config)
    arrays.load(run_dir, answering.arrays)
    return FinishedRun(config, facts, answering, report, [from_json(item) for item in stored["samples"]])


def store(problem: Problem, facts: dict, run_dir: Path) -> None:
    """Keep what `load_run` needs besides config, weights and arrays.

    Args:
        problem: that was learned.
        facts: of its task, with what validation decided.
        run_dir: of the run.
    """
    tokenizer = problem.tokenizer
    write_json(
        run_dir / _MODEL,
        {
            "facts": facts,
            "encoder": problem.encoder.spec.to_json(),
            "tokenizer": {
                name: getattr(tokenizer, name) for name in ("vocabulary", "lowercase", "strip_accents", "split_on_cjk")
            },
            "samples": _samples(problem),
        },
    )


def _samples(problem: Problem, count: int = 8) -> list[Item]:
    """Return a few real requests that the exported model is warmed up and verified with."""
    name = next(name for name in ("validation", "test", "train") if name in problem.splits)
    indices = np.linspace(0, len(problem.tokenized[name].num_tokens) - 1, count).astype(int)
    records = problem.splits[name].records_at(sorted({int(index) for index in indices}))
    return [problem.task.inputs_of(record, problem.facts) for record in records]
