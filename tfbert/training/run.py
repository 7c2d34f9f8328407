"""A config in, a run directory out: trained, evaluated, reported, and repeatable from its own `config.json`."""

import json
import logging
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from tfbert.config import Config, override
from tfbert.evaluation import page
from tfbert.evaluation.board import Board
from tfbert.evaluation.wording import score_line
from tfbert.files import read_json, write_json
from tfbert.tasks.base import TaskModel
from tfbert.training import arrays, interrupts
from tfbert.training.answering import Answering, answer_all
from tfbert.training.checkpoint import CHECKPOINT, Checkpoints
from tfbert.training.fine_tuning import (
    Callbacks,
    EpochHistory,
    epoch_history,
    initialize_head,
    monitor_of,
    task_trainer,
)
from tfbert.training.finished import store
from tfbert.training.problem import Problem, build_models, make_answering
from tfbert.training.progress import Progress
from tfbert.training.run_dir import REPORT, find_unfinished, opened, versions

logger = logging.getLogger(__name__)

_DETAILS = "details.json"
# How the texts of one record are shown.
_BETWEEN_TEXTS = "\n\n"


def choose_run_dir(problem: Problem, runs_dir: Path, num_seeds: int = 1) -> Path:
    """Return the directory of an unfinished run of exactly this problem, or a new name.

    Args:
        problem: to train.
        runs_dir: where runs are, such as `runs/`.
        num_seeds: as for `train`.

    Returns:
        `runs_dir/<task>/<time>-<hash>`; it exists already if a killed run is to be continued.
    """
    identity = problem.identity(problem.config)
    return find_unfinished(runs_dir / problem.task.name, identity[:8], _identity(problem, num_seeds))


def _identity(problem: Problem, num_seeds: int) -> str:
    return f"{problem.identity(problem.config)} {num_seeds}"


def train(problem: Problem, run_dir: Path, num_seeds: int = 1, command: str = "", exports: bool = False) -> dict:
    """Train, evaluate and report.

    Args:
        problem: prepared.
        run_dir: of the run; made if missing, continued if a run of the same problem was killed in it.
        num_seeds: how many trainings; beyond the first the seed is raised by one each, and each has a directory
            `seed-N` of its own. The run is then that of the best validation score.
        command: that repeats the run, for the report.
        exports: whether the run will be exported; if a process that was to do so ended before it had, the same call
            returns the report of the finished run.

    Returns:
        What `report.json` holds.

    Raises:
        ValueError: the directory holds a finished run or another one; training diverged.
        ConnectionError: another process of the training is gone.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    with opened(run_dir, _identity(problem, num_seeds), exports):
        if problem.replicas.broadcast_decision((run_dir / REPORT).exists()):
            problem.replicas.barrier()
            return read_json(run_dir / REPORT)
        if num_seeds == 1:
            report = _train_seed(problem, problem.config, run_dir, command)
            problem.replicas.barrier()
            return report
        write_json(run_dir / "config.json", problem.config.to_dict())
        reports = []
        for seed in range(problem.config.train.seed, problem.config.train.seed + num_seeds):
            config = override(problem.config, {"train.seed": seed})
            seed_dir = run_dir / f"seed-{seed}"
            seed_dir.mkdir(exist_ok=True)
            logger.info("seed %d", seed)
            is_finished = problem.replicas.broadcast_decision((seed_dir / REPORT).exists())
            reports.append(
                _finished_seed(problem, config, seed_dir)
                if is_finished
                else _train_seed(problem, config, seed_dir, command)
            )
        report = _join_seeds(problem, reports, run_dir, command)
        problem.replicas.barrier()
        return report


def assist(problem: Problem, num_seeds: int = 1) -> None:
    """Take part in a training whose chief is another process; writes nothing.

    Args:
        problem: prepared, as the chief's.
        num_seeds: as given to the chief.

    Raises:
        ValueError: training diverged.
        ConnectionError: another process is gone.
        Stopped: a signal stopped this process or another one.
    """
    if problem.replicas.broadcast_decision(False):
        problem.replicas.barrier()
        return
    for seed in range(problem.config.train.seed, problem.config.train.seed + num_seeds):
        if num_seeds > 1 and problem.replicas.broadcast_decision(False):
            continue
        config = override(problem.config, {"train.seed": seed})
        model, evaluation_model = build(problem, config)
        answering = make_answering(problem, evaluation_model, config)
        task_trainer(problem, config, model, answering, _checkpoints(problem, config, Path())).train()
    problem.replicas.barrier()


def fit(
    problem: Problem,
    config: Config,
    run_dir: Path,
    log: Callable[[dict, list], None] = lambda *_: None,
    should_stop_early: Callable[[list[dict]], bool] = lambda history: False,
    models: tuple[TaskModel, TaskModel] | None = None,
) -> tuple[Answering, EpochHistory]:
    """Train once, without evaluating the result; resume if an unfinished training of the same config is in `run_dir`.

    Args:
        problem: prepared.
        config: may differ from the problem's in what does not change its data.
        run_dir: exists.
        log: as for `Callbacks`.
        should_stop_early: as for `Callbacks`.
        models: what `build` has just returned; `None` builds them.

    Raises:
        Diverged: the loss, a weight or an output became NaN or infinite.
        ValueError: another training was in the directory.
        ConnectionError: another process of the training is gone.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    answering, progress = _fit(problem, config, run_dir, Callbacks(log, should_stop_early), models)
    return answering, EpochHistory.of(progress)


def _fit(
    problem: Problem,
    config: Config,
    run_dir: Path,
    callbacks: Callbacks,
    models: tuple[TaskModel, TaskModel] | None = None,
) -> tuple[Answering, Progress]:
    write_json(run_dir / "config.json", config.to_dict())
    started = time.monotonic()
    # An exception in the middle of what TensorFlow builds and traces has ended a process by a segmentation fault.
    with interrupts.deferred() as request:
        model, evaluation_model = models or build(problem, config)
        request.check()
        if not (run_dir / CHECKPOINT).exists():
            initialize_head(problem, model, config)
        request.check()
    answering = make_answering(problem, evaluation_model, config)
    trainer = task_trainer(problem, config, model, answering, _checkpoints(problem, config, run_dir), callbacks)
    trainer.progress.start_seconds = time.monotonic() - started
    progress = trainer.train()
    answering.refresh(problem.splits)
    return answering, progress


def _checkpoints(problem: Problem, config: Config, run_dir: Path) -> Checkpoints:
    return Checkpoints(run_dir, problem.identity(config), config.train.checkpoint_seconds)


def _train_seed(problem: Problem, config: Config, run_dir: Path, command: str) -> dict:
    board = Board.of_config(run_dir / "tensorboard", config)

    def log(entry: dict, updates: list) -> None:
        board.epoch(entry, updates)
        scores = score_line(entry.get("validation", {}))
        logger.info("epoch %d  loss %.4f  validation: %s", entry["epoch"], entry["loss"], scores or "none")

    answering, progress = _fit(problem, config, run_dir, Callbacks(log))
    started = time.monotonic()
    facts, evaluated = evaluate(problem, answering)
    store(problem, facts, run_dir)
    arrays.save(run_dir, answering.arrays)
    scores = {name: problem.task.scores(answers, gold, facts) for name, (answers, gold) in evaluated.items()}
    seconds = problem.seconds | {
        "start": progress.start_seconds,
        "train": progress.seconds,
        "validate": sum(entry.get("validation_seconds", 0.0) for entry in epoch_history(progress.history)),
        "evaluate": time.monotonic() - started,
    }
    report = _report(problem, config, progress, scores, seconds, command)
    write_json(run_dir / _DETAILS, _details(problem, facts, evaluated, progress))
    page.render(report, read_json(run_dir / _DETAILS), run_dir / "report.html")
    board.final(report, progress.update)
    write_json(run_dir / REPORT, report)
    (run_dir / CHECKPOINT).unlink()
    return report


def build(problem: Problem, config: Config) -> tuple[TaskModel, TaskModel]:
    """Return a model to train and one to evaluate, from which on the same seed gives the same numbers."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.train.seed)
    return build_models(problem, config)


def evaluate(problem: Problem, answering: Answering) -> tuple[dict, dict[str, tuple[dict, list]]]:
    """Return the facts with what validation decides, and answers and truth of the splits that were not learned."""
    task, facts, evaluated = problem.task, problem.facts, {}
    for name in ("validation", "test"):
        if name not in problem.splits:
            continue
        split, total = problem.splits[name], len(problem.tokenized[name].num_tokens)
        evaluated[name] = answer_all(answering, task, facts, split, total, name)
        settled = task.settle(*evaluated[name], facts) if name == "validation" else facts
        if settled != facts:
            facts = settled
            model, tokenizer = answering.model, answering.tokenizer
            answering = Answering(task, facts, model, tokenizer, problem.config, answering.arrays)
            evaluated[name] = answer_all(answering, task, facts, split, total, name)
    return facts, evaluated


def _report(problem: Problem, config: Config, progress: Progress, scores: dict, seconds: dict, command: str) -> dict:
    data = {
        name: {
            "path": str(split.path),
            "sha256": split.sha256,
            "num_examples": len(problem.tokenized[name].num_tokens),
            "note": split.note,
        }
        for name, split in problem.splits.items()
    }
    counted = {name: {"num_examples": data[name]["num_examples"], **score} for name, score in scores.items()}
    course = EpochHistory.of(progress)
    return {
        "task": problem.task.name,
        "encoder": {"name": config.encoder.name, **problem.encoder.facts},
        "seed": config.train.seed,
        "config": config.to_dict(),
        "versions": versions(),
        "distribution": problem.replicas.to_dict(),
        "command": command,
        "data": data,
        "checks": {
            **problem.checked.to_dict(),
            "lines": [*problem.checked.interpreted, *problem.checked.lines()],
            "warnings": problem.checked.warnings,
            "score_warnings": problem.checked.score_warnings,
        },
        "seconds": seconds,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "first_update_at": progress.first_update_at,
        **vars(course),
        "validation": counted.get("validation"),
        "test": counted.get("test"),
        "seeds": None,
    }


def _details(problem: Problem, facts: dict, evaluated: dict[str, tuple[dict, list]], progress: Progress) -> dict:
    """Return what the page draws beyond the report, ready for JSON."""
    details: dict = {
        "step_losses": [(point["update"], point["loss"]) for point in progress.curve],
        "lengths": {name: split.num_tokens for name, split in problem.tokenized.items()},
        "sequence_length": problem.task.cut_length(facts, problem.config),
    }
    shown = next((name for name in ("test", "validation") if name in evaluated), None)
    if shown:
        details |= problem.task.details(*evaluated[shown], facts)
        worst = details.pop("worst")
        records = problem.splits[shown].records_at(list(worst))
        details["mistakes"] = [
            {"text": _BETWEEN_TEXTS.join(record.texts), "where": record.where, **mistake}
            for record, mistake in zip(records, worst.values(), strict=True)
        ]
        details["split"] = shown
    return json.loads(json.dumps(details, default=lambda value: value.tolist()))


def _finished_seed(problem: Problem, config: Config, seed_dir: Path) -> dict:
    report = read_json(seed_dir / REPORT)
    trained_on = {name: split["sha256"] for name, split in report["data"].items()}
    if report["config"] != config.to_dict() or trained_on != {n: s.sha256 for n, s in problem.splits.items()}:
        raise ValueError(f"{seed_dir}: is of another run (other data or config); wanted an empty --out directory")
    return report


def _join_seeds(problem: Problem, reports: list[dict], run_dir: Path, command: str) -> dict:
    monitor = monitor_of(problem, problem.config)

    def validation_score(report: dict) -> float:
        # By the metric that chose the epoch.
        scores = EpochHistory(report["history"], report["best_epoch"], report["untrained"]).best_scores or {}
        return monitor.sign * scores.get(monitor.name, 0.0)

    best = max(reports, key=validation_score)
    seeds = {"count": len(reports), "seeds": [report["seed"] for report in reports], "best": best["seed"]}
    for split in ("validation", "test"):
        if best[split]:
            values = {m: [r[split]["metrics"][m]["value"] for r in reports] for m in best[split]["metrics"]}
            seeds[split] = {
                metric: {"mean": statistics.mean(v), "std": statistics.stdev(v), "values": v}
                for metric, v in values.items()
            }
    report = {**best, "seeds": seeds, "command": command}
    page.render(report, read_json(run_dir / f"seed-{best['seed']}" / _DETAILS), run_dir / "report.html")
    write_json(run_dir / REPORT, report)
    return report


def keep(run_dir: Path, adaptation: dict, command: str) -> dict:
    """Make a run that is in a directory of another the result of the whole.

    Args:
        run_dir: of the whole.
        adaptation: says in `kept` which directory, and in `sentence` why.
        command: that repeats the whole.

    Returns:
        What `report.json` of the whole holds.
    """
    kept = run_dir / adaptation["kept"]
    report = {**read_json(kept / REPORT), "adaptation": adaptation, "command": command}
    trained = kept / f"seed-{report['seeds']['best']}" if report["seeds"] else kept
    page.render(report, read_json(trained / _DETAILS), run_dir / "report.html")
    write_json(run_dir / REPORT, report)
    return report
