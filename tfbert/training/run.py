"""Fine-tuning runs: training from one or several seeds, evaluation, and the report."""

import dataclasses
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from tfbert import interrupts
from tfbert.config import Config, override
from tfbert.data_quality.tables import DOUBTFUL
from tfbert.evaluation import report_page
from tfbert.evaluation.formatting import score_line
from tfbert.evaluation.metric import Evaluation
from tfbert.evaluation.tensorboard_log import TensorBoardLog
from tfbert.evaluation.trust import shown
from tfbert.explanation.report import explanation_details
from tfbert.files import CONFIG, REPORT, read_json, write_json, writing
from tfbert.models.build import build_models
from tfbert.models.predictions import write_predictions
from tfbert.models.predictor import Predictor
from tfbert.models.saved_run import save_run
from tfbert.models.task_model import TaskModel
from tfbert.tasks.base_decision import Predicted
from tfbert.training import base_run, baselines, trust
from tfbert.training.calibration import decode_split, fit_decision
from tfbert.training.checkpoint import CHECKPOINT
from tfbert.training.doubtful import find_doubtful, write_doubtful
from tfbert.training.fine_tuning import (
    Callbacks,
    initialize_head,
    monitored,
    task_trainer,
)
from tfbert.training.history import EpochHistory
from tfbert.training.problem import Problem
from tfbert.training.progress import Progress
from tfbert.training.report import run_details, run_report
from tfbert.training.resolved import resolved_settings
from tfbert.training.run_dir import find_unfinished
from tfbert.training.trackers import UNTRACKED, Tracker, open_tracker

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions.jsonl"
_DETAILS = "details.json"


def choose_run_dir(problem: Problem, runs_dir: Path, num_seeds: int = 1) -> Path:
    """Return the directory of an unfinished run of exactly this problem, or a new name.

    Args:
        problem: prepared.
        runs_dir: directory of the runs of all tasks, such as `runs/`.
        num_seeds: as for `train`.

    Returns:
        `runs_dir/<task>/<time>-<hash>`; it exists only if it is an unfinished run to resume.
    """
    tag = problem.fingerprint()[:8]
    return find_unfinished(runs_dir / problem.task.name, tag, _fingerprint(problem, num_seeds))


def _fingerprint(problem: Problem, num_seeds: int) -> str:
    return f"{problem.fingerprint()} {num_seeds}"


def train(problem: Problem, run_dir: Path, num_seeds: int = 1, command: str = "", exports: bool = False) -> dict:
    """Train, evaluate and report.

    Args:
        problem: prepared.
        run_dir: created if missing; an unfinished run of the same problem in it is resumed.
        num_seeds: number of trainings, with consecutive seeds. If there are several, each has its own directory
            `seed-N`, and the best by its validation score becomes the result of the run.
        command: the command that repeats the run.
        exports: whether the caller will export the run; until it has, the same call returns the report of the finished
            run.

    Returns:
        The content of `report.json`.

    Raises:
        ValueError: the directory holds a finished or another run, or training diverged.
        ConnectionError: another process of the training was lost.
        Stopped: a signal stopped the process; the message says what was saved.
    """

    def work() -> dict:
        if num_seeds == 1:
            return train_seed(problem, problem.config, run_dir, command)
        write_json(run_dir / CONFIG, problem.config.to_dict())
        # The seeds become its children.
        open_tracker(problem.config, run_dir).close()
        reports = []
        for config in _seed_configs(problem, num_seeds):
            seed_dir = run_dir / f"seed-{config.train.seed}"
            seed_dir.mkdir(exist_ok=True)
            logger.info("seed %d", config.train.seed)
            is_finished = problem.replicas.broadcast_decision((seed_dir / REPORT).exists())
            reports.append(
                _finished_seed(problem, config, seed_dir)
                if is_finished
                else train_seed(problem, config, seed_dir, command)
            )
        return _join_seeds(problem, reports, run_dir, command)

    return base_run.execute(run_dir, problem.replicas, work, _fingerprint(problem, num_seeds), exports, command)


def assist(problem: Problem, num_seeds: int = 1) -> None:
    """Take part in a training whose chief is another process, without writing files.

    Args:
        problem: prepared like the chief's.
        num_seeds: the same as the chief's.

    Raises:
        ValueError: training diverged.
        ConnectionError: another process was lost.
        Stopped: a signal stopped this process or another one.
    """

    def work() -> None:
        for config in _seed_configs(problem, num_seeds):
            if num_seeds > 1 and problem.replicas.broadcast_decision(False):
                continue
            model, evaluation_model = build(problem, config)
            predictor = Predictor(problem.task, evaluation_model, problem.tokenizer, config)
            task_trainer(problem, config, model, predictor, problem.checkpoints(Path(), config)).train()

    base_run.assist(problem.replicas, work)


def _seed_configs(problem: Problem, num_seeds: int) -> list[Config]:
    first = problem.config.train.seed
    return [override(problem.config, {"train.seed": seed}) for seed in range(first, first + num_seeds)]


def fit(
    problem: Problem,
    config: Config,
    run_dir: Path,
    log: Callable[[dict, list], None] = lambda *_: None,
    should_stop_early: Callable[[list[dict]], bool] = lambda history: False,
    models: tuple[TaskModel, TaskModel] | None = None,
    tracker: Tracker = UNTRACKED,
) -> tuple[Predictor, EpochHistory]:
    """Train once, without evaluating the result; resume an unfinished training of the same config in `run_dir`.

    Only `log` reports on the training.

    Args:
        problem: prepared.
        config: may differ from the problem's config in fields that do not change the data.
        run_dir: an existing directory.
        log: as for `Callbacks`.
        should_stop_early: as for `Callbacks`.
        models: the result of `build`, not yet trained; `None` builds the models.
        tracker: receives the progress and the final scores on validation.

    Raises:
        Diverged: the loss, a weight or an output became NaN or infinite.
        ValueError: the directory holds another training.
        ConnectionError: another process of the training was lost.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    write_json(run_dir / CONFIG, config.to_dict())
    predictor, progress = _fit(problem, config, run_dir, Callbacks(log, should_stop_early, logs=False), tracker, models)
    history = EpochHistory.of(progress)
    scores = {f"final/validation_{name}": score for name, score in (history.best_scores or {}).items()}
    tracker.finish(scores, [run_dir / CONFIG], progress)
    return predictor, history


def _fit(
    problem: Problem,
    config: Config,
    run_dir: Path,
    callbacks: Callbacks,
    tracker: Tracker,
    models: tuple[TaskModel, TaskModel] | None = None,
) -> tuple[Predictor, Progress]:
    started = time.monotonic()
    # An exception while TensorFlow builds and traces graphs can end the process with a segmentation fault.
    with interrupts.deferred() as request:
        model, evaluation_model = models or build(problem, config)
        request.check()
        if not (run_dir / CHECKPOINT).exists():
            initialize_head(problem, model, config)
        request.check()
    predictor = Predictor(problem.task, evaluation_model, problem.tokenizer, config)
    trainer = task_trainer(problem, config, model, predictor, problem.checkpoints(run_dir, config), callbacks, tracker)
    trainer.progress.start_seconds = time.monotonic() - started
    progress = trainer.train()
    predictor.refresh(problem.splits)
    return predictor, progress


def train_seed(problem: Problem, config: Config, run_dir: Path, command: str) -> dict:
    """Train with one seed, and return the report, which is also written to the directory."""
    return _FineTuningRun(problem, config).carry_out(run_dir, command)


class _FineTuningRun(base_run.BaseRun[Problem]):
    """A fine-tuning run with one seed."""

    logged_sections = ("train", "head", "encoder")
    report_stage = "evaluate"

    def __init__(self, problem: Problem, config: Config):
        # The vectors that the head was initialized with are needed again for the baselines.
        super().__init__(problem if problem.vectors is not None else dataclasses.replace(problem, vectors={}), config)
        self._start: baselines.StartingPoint | None = None

    def train(self, run_dir: Path, log: TensorBoardLog, tracker: Tracker) -> Progress:
        def log_epoch(entry: dict, updates: list) -> None:
            log.epoch(entry, updates)
            scores = score_line(entry.get("validation", {}))
            logger.info("epoch %d  loss %.4f  validation: %s", entry["epoch"], entry["loss"], scores or "none")

        self._predictor, progress = _fit(self.problem, self.config, run_dir, Callbacks(log_epoch), tracker)
        history, started = EpochHistory.of(progress), time.monotonic()
        if history.best_epoch or history.average:
            self._start = baselines.starting_point(self.problem, self.config, self._predictor, self._evaluate)
        self._baseline_seconds = time.monotonic() - started
        return progress

    def report(self, progress: Progress, run_dir: Path) -> dict:
        predictor, problem = self._predictor, self.problem
        predictions, decoded = predict_held_out(problem, predictor)
        evaluations = self._evaluations(predictions)
        measured = trust.measure(problem, predictor, decoded, evaluations)
        if limitation := measured.get("limitation"):
            logger.warning("%s", limitation)
        save_run(run_dir, predictor, problem.encoder.spec, problem.samples())
        with writing(run_dir / PREDICTIONS), open(run_dir / PREDICTIONS, "w", encoding="utf-8") as stream:
            for name, (outputs, _) in predictions.items():
                write_predictions(stream, problem.task, name, problem.splits[name], outputs)
        details, started = run_details(problem, evaluations, progress, measured), time.monotonic()
        if problem.explains and (split := details.get("split")):
            details |= explanation_details(predictor, problem.splits[split], evaluations[split].mistakes())
        seconds = {"baselines": self._baseline_seconds, "explain": time.monotonic() - started}
        started = time.monotonic()
        judgement = (
            find_doubtful(problem, predictions, len(EpochHistory.of(progress).history)) if problem.explains else None
        )
        doubtful = None if judgement is None else write_doubtful(problem, judgement, run_dir)
        seconds["doubtful"] = time.monotonic() - started
        details["doubtful"] = doubtful and {**doubtful, "table": str(run_dir / DOUBTFUL)}
        write_json(run_dir / _DETAILS, details)
        report = run_report(problem, progress, {name: evaluation.scores() for name, evaluation in evaluations.items()})
        report["seconds"] |= seconds
        report["resolved"] = resolved_settings(problem, self.config)
        report["trust"] = shown(measured)
        report["doubtful"] = doubtful
        gold = {name: values for name, (_, values) in predictions.items()}
        return report | baselines.to_report(
            problem, self.config, evaluations, gold, self._start, report["untrained"] or {}
        )

    def _evaluate(self, names: Sequence[str]) -> dict[str, Evaluation]:
        predictions, _ = predict_held_out(self.problem, self._predictor, names, with_domain=False)
        return self._evaluations(predictions)

    def _evaluations(self, predictions: dict[str, tuple[dict, list]]) -> dict[str, Evaluation]:
        decided, task = self._predictor.decided_values(), self.problem.task
        return {name: task.evaluate(outputs, gold, decided) for name, (outputs, gold) in predictions.items()}

    def render(self, report: dict, run_dir: Path) -> None:
        report_page.render(report, read_json(run_dir / _DETAILS), run_dir / base_run.PAGE)


def build(problem: Problem, config: Config) -> tuple[TaskModel, TaskModel]:
    """Seed all random states, and return a model to train and one to evaluate."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.train.seed)
    return build_models(problem.task, problem.encoder, config)


def predict_held_out(
    problem: Problem,
    predictor: Predictor,
    names: Sequence[str] = ("validation", "test"),
    with_domain: bool = True,
) -> tuple[dict[str, tuple[dict, list]], dict[str, Predicted]]:
    """Return outputs and gold values of held-out splits, after fitting the task's decision and domain.

    Args:
        problem: prepared.
        predictor: its decision is fitted to validation and calibration, its domain to train and calibration.
        names: names of splits, in this order; those that do not exist are left out.
        with_domain: as for `fit_decision`.

    Returns:
        Served outputs and gold values by split; and the results of `Predictor.decode` for these splits and those that
        the decision is fitted to.
    """
    decoded = fit_decision(problem, predictor, with_domain)
    decoded |= {
        name: decode_split(problem, predictor, name) for name in names if name in problem.splits and name not in decoded
    }
    predictions = {
        name: (predictor.apply_decision(decoded[name].outputs), list(decoded[name].gold))
        for name in names
        if name in decoded
    }
    return predictions, decoded


def _finished_seed(problem: Problem, config: Config, seed_dir: Path) -> dict:
    report = read_json(seed_dir / REPORT)
    trained_on = {name: split["sha256"] for name, split in report["data"].items()}
    if report["config"] != config.to_dict() or trained_on != {n: s.sha256 for n, s in problem.splits.items()}:
        raise ValueError(f"{seed_dir}: belongs to another run (other data or config); expected an empty --out")
    return report


def _join_seeds(problem: Problem, reports: list[dict], run_dir: Path, command: str) -> dict:
    metric = monitored(problem.task, problem.config)

    def validation_score(report: dict) -> float:
        # By the metric that chose the best epoch.
        scores = EpochHistory.from_report(report).best_scores or {}
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
    report = {**best, "seeds": seeds, "command": command, "run": run_dir.resolve().name}
    report_page.render(report, read_json(run_dir / f"seed-{best['seed']}" / _DETAILS), run_dir / base_run.PAGE)
    write_json(run_dir / REPORT, report)
    base_run.track_report(problem.config, run_dir, report)
    return report


def keep(run_dir: Path, adaptation: dict, command: str) -> dict:
    """Make a run in a subdirectory the result of the run that contains it.

    Args:
        run_dir: directory of the containing run.
        adaptation: report of the adaptation: `kept` is the name of the subdirectory, `sentence` the reason.
        command: the command that repeats the containing run.

    Returns:
        The content of the containing run's `report.json`.
    """
    kept = run_dir / adaptation["kept"]
    report = {**read_json(kept / REPORT), "adaptation": adaptation, "command": command}
    report["run"] = run_dir.resolve().name
    trained = kept / f"seed-{report['seeds']['best']}" if report["seeds"] else kept
    report_page.render(report, read_json(trained / _DETAILS), run_dir / base_run.PAGE)
    write_json(run_dir / REPORT, report)
    return report
