"""Domain-adaptive pretraining (`--adapt`): further pretraining on a task's text, kept only if validation improves.

The task is trained twice, from the original encoder and from the adapted one; the validation split decides.

Source: Gururangan et al. 2020, "Don't Stop Pretraining", for pretraining on the text of a domain or a task.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfbert.config import RootConfig, override
from tfbert.files import ENCODER, REPORT, read_json, writing
from tfbert.pretraining import run as pretraining
from tfbert.pretraining.config import PretrainConfig
from tfbert.text.records import Record
from tfbert.training import base_run, run
from tfbert.training.fine_tuning import monitored
from tfbert.training.history import EpochHistory
from tfbert.training.problem import Problem, prepare
from tfbert.training.run_dir import check_data, find_unfinished
from tfbert.training.trackers import open_tracker

logger = logging.getLogger(__name__)

ORIGINAL, ADAPTED = "original", "adapted"
_PRETRAINING, _TEXTS = "pretraining", "texts.jsonl"
# The texts of a task are few and short, so a larger fraction of them is needed to evaluate on.
_HELD_OUT_FRACTION = 0.1


def choose_run_dir(problem: Problem, corpus: Sequence[str], runs_dir: Path, num_seeds: int = 1) -> Path:
    """Return the directory of an unfinished run of exactly this problem and corpus, or a new name."""
    text = json.dumps([problem.fingerprint(), *corpus])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return find_unfinished(runs_dir / problem.task.name, digest, _fingerprint(problem, corpus, num_seeds))


def _fingerprint(problem: Problem, corpus: Sequence[str], num_seeds: int) -> str:
    return json.dumps([problem.fingerprint(), *corpus, num_seeds])


def train(
    problem: Problem,
    corpus: Sequence[str],
    run_dir: Path,
    num_seeds: int = 1,
    command: str = "",
    exports: bool = False,
) -> dict:
    """Pretrain the encoder further, train the task from both, and keep the better one.

    Args:
        problem: prepared with the original encoder; has a validation split.
        corpus: files or directories of text; if empty, the texts of the training split are used.
        run_dir: created if missing; an unfinished run of the same problem in it is resumed. Its subdirectories
            `original`, `adapted` and `pretraining` are complete runs.
        num_seeds: number of trainings of the task from each encoder.
        command: the command that repeats the run.
        exports: as for `training.run.train`.

    Returns:
        The report of the training that is kept, with `adaptation`: which encoder was kept and the numbers compared.

    Raises:
        ValueError: there is no validation split; several processes train; corpus or directory cannot be used; the data
            have changed since the run was started; training diverged.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    if problem.replicas.num_workers > 1:
        raise ValueError(
            "--adapt: trains in one process, but TF_CONFIG names several; expected train.distribution=none, or "
            "tfbert pretrain first and --encoder with its result"
        )
    if "validation" not in problem.splits:
        raise ValueError("--adapt: needs a validation split to measure the gain; expected data.validation_fraction > 0")

    def work() -> dict:
        check_data(run_dir, problem.splits)
        # The trainings become its children.
        open_tracker(problem.config, run_dir).close()
        adaptation = _adapt(problem, corpus, run_dir, num_seeds, command)
        logger.info("%s", adaptation["sentence"])
        report = run.keep(run_dir, adaptation, command)
        base_run.track_report(problem.config, run_dir, report)
        return report

    fingerprint = _fingerprint(problem, corpus, num_seeds)
    return base_run.execute(run_dir, problem.replicas, work, fingerprint, exports, command)


def _adapt(problem: Problem, corpus: Sequence[str], run_dir: Path, num_seeds: int, command: str) -> dict:
    """Pretrain, train the task from both encoders, and return which one is kept and the numbers compared."""
    config = _pretrain_config(problem, corpus, run_dir)
    pretraining_dir = run_dir / _PRETRAINING
    pretrained = _finished_report(pretraining_dir, config) or pretraining.pretrain(config, pretraining_dir, command)
    before, after = (pretrained[time]["masked_word_loss"] for time in ("before", "after"))
    adaptation = {"masked_word_loss": {"before": before, "after": after}, "validation": None, "kept": ORIGINAL}
    reports = {ORIGINAL: _train_task(problem, run_dir / ORIGINAL, num_seeds, command)}
    if after < before:
        adapted = prepare(override(problem.config, {"encoder.name": str(pretraining_dir / ENCODER)}))
        reports[ADAPTED] = _train_task(adapted, run_dir / ADAPTED, num_seeds, command)
        metric = monitored(problem.task, problem.config)
        scores = {name: validation_score(report, metric.name) for name, report in reports.items()}
        adaptation["validation"] = {"metric": metric.name, **scores}
        if metric.sign * scores[ADAPTED] > metric.sign * scores[ORIGINAL]:
            adaptation["kept"] = ADAPTED
    return adaptation | {"sentence": describe(adaptation)}


def validation_score(report: dict, monitor: str) -> float:
    """Return the validation score of the best epoch, or its mean over several seeds."""
    seeds = (report["seeds"] or {}).get("validation", {})
    if monitor in seeds:
        return seeds[monitor]["mean"]
    return EpochHistory.from_report(report).best_scores[monitor]


def describe(adaptation: dict) -> str:
    """Return one sentence that says which encoder is kept and why."""
    loss, scores = adaptation["masked_word_loss"], adaptation["validation"]
    line = f"Further pretraining changed the held-out masked-word loss from {loss['before']:.3f} to {loss['after']:.3f}"
    if scores is None:
        return f"{line}, which is no gain: the original encoder is kept."
    comparison = f"validation {scores['metric']} {scores[ADAPTED]:.4f} with it and {scores[ORIGINAL]:.4f} without"
    return f"{line}; {comparison}: the {adaptation['kept']} encoder is kept."


def _train_task(problem: Problem, run_dir: Path, num_seeds: int, command: str) -> dict:
    return _finished_report(run_dir, problem.config) or run.train(problem, run_dir, num_seeds, command)


def _finished_report(run_dir: Path, config: RootConfig) -> dict | None:
    """Return the report of a training that an earlier process finished before it was killed."""
    if not (run_dir / REPORT).exists():
        return None
    report = read_json(run_dir / REPORT)
    if report["config"] != json.loads(json.dumps(config.to_dict())):
        raise ValueError(
            f"{run_dir}: belongs to another run (other corpus or config); expected an empty --out directory"
        )
    return report


def _pretrain_config(problem: Problem, corpus: Sequence[str], run_dir: Path) -> PretrainConfig:
    config = problem.config
    paths = tuple(corpus)
    if not paths:
        path = run_dir / _TEXTS
        _write_texts(problem.splits["train"], path)
        paths = (str(path),)
    values = {
        "corpus.paths": paths,
        "corpus.held_out_fraction": _HELD_OUT_FRACTION,
        # The texts of a task are unrelated; those of a given corpus may be.
        "examples.pairs": "none",
        "examples.sequence_length": config.encoder.sequence_length,
        "train.seed": config.train.seed,
        "train.batch_size": config.train.batch_size,
        "train.accumulation_steps": config.train.accumulation_steps,
        "train.distribution": config.train.distribution,
        "train.track": config.train.track,
    }
    values |= {f"encoder.{name}": getattr(config.encoder, name) for name in ("name", "precision", "dropout")}
    return override(PretrainConfig(), values)


def _write_texts(records: Iterable[Record], path: Path) -> None:
    """Write each text of the records as a document."""
    with writing(path), open(path, "w", encoding="utf-8", errors="replace") as stream:
        for record in records:
            stream.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in record.texts if text)
