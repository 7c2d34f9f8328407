"""A task and its encoder in, the same with the encoder pretrained further on the task's own text out, if it gains.

The task is trained twice, from the encoder as it came and from the adapted one, and the validation split decides.
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
from tfbert.training import run
from tfbert.training.problem import Problem, prepare
from tfbert.training.run_dir import check_data, find_unfinished, opened
from tfbert.training.trainer import kept_scores, monitored

logger = logging.getLogger(__name__)

ORIGINAL, ADAPTED = "original", "adapted"
_PRETRAINING, _TEXTS = "pretraining", "texts.jsonl"
# Texts of a task are few and short: more of them than of a large corpus are needed to measure on.
_HELD_OUT_FRACTION = 0.1


def choose_run_dir(problem: Problem, corpus: Sequence[str], runs_dir: Path, num_seeds: int = 1) -> Path:
    """Return the directory of an unfinished run of exactly this problem and corpus, or a new name."""
    text = json.dumps([problem.identity(problem.config), *corpus])
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return find_unfinished(runs_dir / problem.task.name, mark, _identity(problem, corpus, num_seeds))


def _identity(problem: Problem, corpus: Sequence[str], num_seeds: int) -> str:
    return json.dumps([problem.identity(problem.config), *corpus, num_seeds])


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
        problem: prepared with the encoder as it came; has a validation split.
        corpus: files or directories of text; none means the texts of the task's training split.
        run_dir: of the run; made if missing, continued if a run of the same problem was killed in it. `original`,
            `adapted` and `pretraining` in it are runs of their own.
        num_seeds: trainings of the task from each encoder.
        command: that repeats the run, for the report.
        exports: as for `training.run.train`.

    Returns:
        The report of the training that is kept, with `adaptation`: which one that is, and both numbers of both tests.

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
    with opened(run_dir, _identity(problem, corpus, num_seeds), exports):
        if (run_dir / REPORT).exists():
            return read_json(run_dir / REPORT)
        check_data(run_dir, problem.splits)
        config = _pretrain_config(problem, corpus, run_dir)
        place = run_dir / _PRETRAINING
        pretrained = _finished(place, config) or pretraining.pretrain(config, place, command)
        before, after = (pretrained[when]["masked_word_loss"] for when in ("before", "after"))
        adaptation = {"masked_word_loss": {"before": before, "after": after}, "validation": None, "kept": ORIGINAL}
        original = _train_task(problem, run_dir / ORIGINAL, num_seeds, command)
        reports = {ORIGINAL: original}
        if after < before:
            adapted = prepare(override(problem.config, {"encoder.name": str(place / pretraining.ENCODER)}))
            reports[ADAPTED] = _train_task(adapted, run_dir / ADAPTED, num_seeds, command)
            metric = monitored(problem.task, problem.config)
            scores = {name: validation_score(report, metric.name) for name, report in reports.items()}
            adaptation["validation"] = {"metric": metric.name, **scores}
            if metric.sign * scores[ADAPTED] > metric.sign * scores[ORIGINAL]:
                adaptation["kept"] = ADAPTED
        adaptation["sentence"] = describe(adaptation)
        logger.info("%s", adaptation["sentence"])
        return run.keep(run_dir, adaptation, command)


def validation_score(report: dict, monitor: str) -> float:
    """Return the score of the best epoch on validation; over several seeds their mean."""
    seeds = (report["seeds"] or {}).get("validation", {})
    if monitor in seeds:
        return seeds[monitor]["mean"]
    return kept_scores(report["history"], report["best_epoch"], report["untrained"])[monitor]


def describe(adaptation: dict) -> str:
    """Return one sentence on what was found and therefore kept."""
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
    """Return the report of a part that an earlier process, killed later, has finished."""
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
        # The texts of a task follow no other; of a corpus that was given, nothing is known.
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
    """Write every text of some records as a document."""
    with writing(path), open(path, "w", encoding="utf-8", errors="replace") as stream:
        for record in records:
            stream.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in record.texts if text)
