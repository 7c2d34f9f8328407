"""A config in, a run directory out: trained, evaluated, reported, and repeatable from its own `config.json`."""

import json
import logging
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config, override
from tfbert.encoder.precision import choose_precision
from tfbert.evaluation import page
from tfbert.evaluation.board import Board
from tfbert.evaluation.formatting import score_line
from tfbert.evaluation.metric import Evaluation
from tfbert.files import read_json, write_json
from tfbert.models.build import build_models
from tfbert.models.predictions import write_predictions
from tfbert.models.predictor import Predictor, predict_all
from tfbert.models.saved_run import REPORT, save_run
from tfbert.models.task_model import Embedder, TaskModel, embed_sequences
from tfbert.text.datasets import TokenizedSplit
from tfbert.training import interrupts
from tfbert.training.checkpoint import CHECKPOINT
from tfbert.training.problem import Problem
from tfbert.training.run_dir import find_unfinished, opened, versions
from tfbert.training.trainer import Progress, Trainer, kept_scores, monitored

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions.jsonl"

_DETAILS = "details.json"
# Of the texts' vectors that are held while a head alone is learned; more are computed when they are needed.
_MOST_VECTOR_BYTES = 2**30
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
        if problem.replicas.told((run_dir / REPORT).exists()):
            problem.replicas.leave()
            return read_json(run_dir / REPORT)
        if num_seeds == 1:
            report = _train_seed(problem, problem.config, run_dir, command)
            problem.replicas.leave()
            return report
        write_json(run_dir / "config.json", problem.config.to_dict())
        reports = []
        for seed in range(problem.config.train.seed, problem.config.train.seed + num_seeds):
            config = override(problem.config, {"train.seed": seed})
            seed_dir = run_dir / f"seed-{seed}"
            seed_dir.mkdir(exist_ok=True)
            logger.info("seed %d", seed)
            is_finished = problem.replicas.told((seed_dir / REPORT).exists())
            reports.append(
                _finished_seed(problem, config, seed_dir)
                if is_finished
                else _train_seed(problem, config, seed_dir, command)
            )
        report = _join_seeds(problem, reports, run_dir, command)
        problem.replicas.leave()
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
    if problem.replicas.told(False):
        problem.replicas.leave()
        return
    for seed in range(problem.config.train.seed, problem.config.train.seed + num_seeds):
        if num_seeds > 1 and problem.replicas.told(False):
            continue
        config = override(problem.config, {"train.seed": seed})
        model, evaluation_model = build(problem, config)
        _trainer(
            problem, config, model, Predictor(problem.task, evaluation_model, problem.tokenizer, config), Path()
        ).train()
    problem.replicas.leave()


def fit(
    problem: Problem,
    config: Config,
    run_dir: Path,
    log: Callable[[dict, list], None] = lambda *_: None,
    is_hopeless: Callable[[list[dict]], bool] = lambda history: False,
    models: tuple[TaskModel, TaskModel] | None = None,
) -> tuple[Predictor, Progress]:
    """Train once, without evaluating the result; `train` on the same directory goes on from there.

    Args:
        problem: prepared.
        config: of this training, which may differ from the problem's in what leaves its data as they are.
        run_dir: existing; of a killed training of the same config, which is continued.
        log: called at the end of every epoch with its entry of the history and its updates.
        is_hopeless: called after each epoch with the history; where it says so, training ends there.
        models: as `build` gave them just now; `None` builds them.

    Returns:
        What answers with the best weights, and the course of training.

    Raises:
        Diverged: the numbers of the training are none any more.
        ValueError: another training was in the directory.
        ConnectionError: another process of the training is gone.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    write_json(run_dir / "config.json", config.to_dict())
    started = time.monotonic()
    # An exception in the middle of what TensorFlow builds and traces has ended a process by a segmentation fault.
    with interrupts.deferred() as request:
        model, evaluation_model = models or build(problem, config)
        request.check()
        if not (run_dir / CHECKPOINT).exists():
            _start_head(problem, model, config)
        request.check()
    answering = Predictor(problem.task, evaluation_model, problem.tokenizer, config)
    trainer = _trainer(problem, config, model, answering, run_dir, log, is_hopeless)
    trainer.progress.start_seconds = time.monotonic() - started
    progress = trainer.train()
    answering.refresh(problem.splits)
    return answering, progress


def _train_seed(problem: Problem, config: Config, run_dir: Path, command: str) -> dict:
    board = Board.of_config(run_dir / "tensorboard", config)

    def log(entry: dict, updates: list) -> None:
        board.epoch(entry, updates)
        scores = score_line(entry.get("validation", {}))
        logger.info("epoch %d  loss %.4f  validation: %s", entry["epoch"], entry["loss"], scores or "none")

    answering, progress = fit(problem, config, run_dir, log)
    started = time.monotonic()
    predictions = predict_held_out(problem, answering)
    save_run(run_dir, answering, problem.encoder.spec, problem.samples())
    decided = answering.decided_values()
    evaluations = {name: problem.task.evaluate(outputs, gold, decided) for name, (outputs, gold) in predictions.items()}
    with open(run_dir / PREDICTIONS, "w", encoding="utf-8") as stream:
        for name, (outputs, _) in predictions.items():
            write_predictions(stream, problem.task, name, problem.splits[name], outputs)
    scores = {name: evaluation.scores() for name, evaluation in evaluations.items()}
    seconds = problem.seconds | {
        "start": progress.start_seconds,
        "train": sum(entry["seconds"] for entry in progress.history),
        "validate": sum(entry.get("validation_seconds", 0.0) for entry in progress.history),
        "evaluate": time.monotonic() - started,
    }
    report = _report(problem, config, progress, scores, seconds, command)
    write_json(run_dir / _DETAILS, _details(problem, evaluations, progress))
    page.render(report, read_json(run_dir / _DETAILS), run_dir / "report.html")
    board.final(report, len(progress.losses))
    write_json(run_dir / REPORT, report)
    (run_dir / CHECKPOINT).unlink()
    return report


def build(problem: Problem, config: Config) -> tuple[TaskModel, TaskModel]:
    """Return a model to train and one to evaluate, from which on the same seed gives the same numbers."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.train.seed)
    return build_models(problem.task, problem.encoder, config)


def _trainer(
    problem: Problem,
    config: Config,
    model: TaskModel,
    answering: Predictor,
    run_dir: Path,
    log: Callable[[dict, list], None] = lambda *_: None,
    is_hopeless: Callable[[list[dict]], bool] = lambda history: False,
) -> Trainer:
    embed = _embedder(problem, model, config)
    train = problem.task.augment(problem.tokenized["train"], embed, config.train.seed)
    return Trainer(
        task=problem.task,
        model=model,
        answering=answering,
        config=config,
        train=train,
        vectors=_vectors(model, train, embed),
        validation=problem.splits.get("validation"),
        run_dir=run_dir,
        identity=problem.identity(config),
        log=log,
        refresh=lambda: answering.refresh(problem.splits),
        is_hopeless=is_hopeless,
        replicas=problem.replicas,
    )


def predict_held_out(problem: Problem, predictor: Predictor) -> dict[str, tuple[dict, list]]:
    """Return outputs and truth of the splits that were not learned; fit the decision of the task to validation."""
    predictions = {}
    for name in ("validation", "test"):
        if name in problem.splits:
            total = len(problem.tokenized[name].num_tokens)
            outputs, gold = predict_all(predictor.decode, problem.task, problem.splits[name], total, name)
            if name == "validation":
                predictor.decide(outputs, gold)
            predictions[name] = predictor.apply_decision(outputs), gold
    return predictions


def _start_head(problem: Problem, model: TaskModel, config: Config) -> None:
    # It need not be more exact than the learning that follows.
    products = choose_precision(config.encoder.precision, config.encoder.fast).product_dtype
    embed = _embedder(problem, model, config, products)
    problem.task.initialize_head(model.head, embed, problem.tokenized["train"], config.train.seed)


def _embedder(
    problem: Problem, model: TaskModel, config: Config, products: str | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the vectors that the head pools for some rows of train, by matrix products in a dtype."""
    split, length = problem.tokenized["train"], config.encoder.sequence_length

    def embed(sequences: np.ndarray) -> np.ndarray:
        with model.backbone.kernels_copied(products):
            return embed_sequences(Embedder(model.backbone, model.head), split, length, sequences)

    return problem.remembered(embed, f"{config.head.pooling} {model.backbone.dtype_policy.name} {products}")


def _vectors(model: TaskModel, train: TokenizedSplit, embed: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """Return what the head pools of all rows of train, if that stays as it is in training and is not too much."""
    num_rows = train.num_sequences
    is_fixed = model.head.pools and not model.backbone.trainable_weights
    if not is_fixed or 4 * num_rows * model.backbone.hidden_dim > _MOST_VECTOR_BYTES:
        return None
    return embed(np.arange(num_rows))


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
    return {
        "task": problem.task.name,
        "encoder": {"name": config.encoder.name, **problem.encoder.spec.to_json()},
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
        "history": progress.history,
        "best_epoch": progress.best_epoch,
        "untrained": progress.untrained,
        "validation": counted.get("validation"),
        "test": counted.get("test"),
        "seeds": None,
        "metrics": [metric.to_json() for metric in problem.task.metrics],
    }


def _details(problem: Problem, evaluations: dict[str, Evaluation], progress: Progress) -> dict:
    """Return what the page draws beyond the report, ready for JSON."""
    details: dict = {
        "step_losses": [(update, loss) for update, loss, _ in progress.losses],
        "lengths": {name: split.num_tokens for name, split in problem.tokenized.items()},
        "sequence_length": problem.config.encoder.sequence_length if problem.task.cuts_texts else None,
    }
    shown = next((name for name in ("test", "validation") if name in evaluations), None)
    if shown:
        details |= evaluations[shown].sections()
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
    metric = monitored(problem.task, problem.config)

    def validation_score(report: dict) -> float:
        # By the metric that chose the epoch; a loss is better when lower.
        scores = kept_scores(report["history"], report["best_epoch"], report["untrained"]) or {}
        return metric.sign * scores.get(metric.name, 0.0)

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
