"""Adapting an encoder to a task: pretrain it further on the task's own text, and keep it if validation improves.

The task is trained twice, from the original encoder and from the adapted one, and the validation split decides.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfbert.config import RootConfig, override
from tfbert.files import read_json, writing
from tfbert.models.saved_run import REPORT
from tfbert.pretraining import run as pretraining
from tfbert.pretraining.config import PretrainConfig
from tfbert.text.records import Record
from tfbert.training import driver, run
from tfbert.training.fine_tuning import EpochHistory, monitored
from tfbert.training.problem import Problem, prepare
from tfbert.training.run_dir import check_data, find_unfinished

logger = logging.getLogger(__name__)

ORIGINAL, ADAPTED = "original", "adapted"
_PRETRAINING, _TEXTS = "pretraining", "texts.jsonl"
# Texts of a task are few and short: more of them than of a large corpus are needed to measure on.
_HELD_OUT_FRACTION = 0.1


def choose_run_dir(problem: Problem, corpus: Sequence[str], runs_dir: Path, num_seeds: int = 1) -> Path:
    """Return the directory of an unfinished run of exactly this problem and corpus, or a new name."""
    text = json.dumps([problem.fingerprint(problem.config), *corpus])
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return find_unfinished(runs_dir / problem.task.name, mark, _fingerprint(problem, corpus, num_seeds))


def _fingerprint(problem: Problem, corpus: Sequence[str], num_seeds: int) -> str:
    return json.dumps([problem.fingerprint(problem.config), *corpus, num_seeds])


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
        corpus: files or directories of text; if empty, the texts of the task's training split.
        run_dir: created if missing; an unfinished run of the same problem in it is resumed. `original`, `adapted` and
            `pretraining` in it are complete runs.
        num_seeds: number of trainings of the task from each encoder.
        command: repeats the run.
        exports: as for `training.run.train`.

    Returns:
        The report of the training that is kept, with `adaptation`: which one it is, and the numbers compared.

    Raises:
        ValueError: there is no validation split; several processes train; corpus or directory cannot be used; the data
            have changed since the run was begun; training diverged.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    if problem.replicas.num_workers > 1:
        raise ValueError(
            "--adapt: trains in one process, and TF_CONFIG names several; wanted train.distribution=none, or "
            "tools/pretrain.py first and --encoder with what it makes"
        )
    if "validation" not in problem.splits:
        raise ValueError("--adapt: there is no validation split to tell a gain by; wanted data.validation_fraction > 0")

    def work() -> dict:
        check_data(run_dir, problem.splits)
        adaptation = _adapt(problem, corpus, run_dir, num_seeds, command)
        logger.info("%s", adaptation["sentence"])
        return run.keep(run_dir, adaptation, command)

    return driver.execute(run_dir, problem.replicas, work, _fingerprint(problem, corpus, num_seeds), exports)


def _adapt(problem: Problem, corpus: Sequence[str], run_dir: Path, num_seeds: int, command: str) -> dict:
    """Pretrain, train the task from both encoders, and return which is better and why."""
    config = _pretrain_config(problem, corpus, run_dir)
    pretraining_dir = run_dir / _PRETRAINING
    pretrained = _finished(pretraining_dir, config) or pretraining.pretrain(config, pretraining_dir, command)
    before, after = (pretrained[when]["masked_word_loss"] for when in ("before", "after"))
    adaptation = {"masked_word_loss": {"before": before, "after": after}, "validation": None, "kept": ORIGINAL}
    reports = {ORIGINAL: _train_task(problem, run_dir / ORIGINAL, num_seeds, command)}
    if after < before:
        adapted = prepare(override(problem.config, {"encoder.name": str(pretraining_dir / pretraining.ENCODER)}))
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
    return EpochHistory(report["history"], report["best_epoch"], report["untrained"]).best_scores[monitor]


def describe(adaptation: dict) -> str:
    """Return one sentence that says which encoder is kept and why."""
    loss, scores = adaptation["masked_word_loss"], adaptation["validation"]
    line = (
        f"Pretraining further took the held-out loss of masked words from {loss['before']:.3f} to {loss['after']:.3f}"
    )
    if scores is None:
        return f"{line}, which is no gain: the encoder as it came is kept."
    both = f"validation {scores['metric']} {scores[ADAPTED]:.4f} with it and {scores[ORIGINAL]:.4f} without"
    verdict = "the adapted encoder is kept" if adaptation["kept"] == ADAPTED else "the encoder as it came is kept"
    return f"{line}; {both}: {verdict}."


def _train_task(problem: Problem, run_dir: Path, num_seeds: int, command: str) -> dict:
    return _finished(run_dir, problem.config) or run.train(problem, run_dir, num_seeds, command)


def _finished(run_dir: Path, config: RootConfig) -> dict | None:
    """Return the report of a part that an earlier process finished before it was killed."""
    if not (run_dir / REPORT).exists():
        return None
    report = read_json(run_dir / REPORT)
    if report["config"] != json.loads(json.dumps(config.to_dict())):
        raise ValueError(f"{run_dir}: is of another run (other corpus or config); wanted an empty --out directory")
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
        # The texts of a task are unrelated to each other; whether those of a given corpus are is unknown.
        "examples.pairs": "none",
        "examples.sequence_length": config.encoder.sequence_length,
        "train.seed": config.train.seed,
        "train.batch_size": config.train.batch_size,
        "train.accumulation_steps": config.train.accumulation_steps,
        "train.distribution": config.train.distribution,
    }
    same = ("name", "precision", "dropout")
    values |= {f"encoder.{name}": getattr(config.encoder, name) for name in same}
    return override(PretrainConfig(), values)


def _write_texts(records: Iterable[Record], path: Path) -> None:
    """Write each text of some records as a document."""
    with writing(path), open(path, "w", encoding="utf-8", errors="replace") as stream:
        for record in records:
            stream.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in record.texts if text)
