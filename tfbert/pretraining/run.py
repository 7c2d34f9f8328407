"""Pretraining runs: train, report, and save an encoder that tasks and KerasNLP load."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from tfbert.encoder.backbone import save_encoder
from tfbert.evaluation.tensorboard_log import TensorBoardLog
from tfbert.files import ENCODER
from tfbert.pretraining import page
from tfbert.pretraining.build import build_models
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.corpus import corpus_name
from tfbert.pretraining.masked_word_examples import predict_examples
from tfbert.pretraining.objective import HeldOutEvaluator, PretrainingObjective, held_out_history
from tfbert.pretraining.problem import PretrainingProblem, prepare_problem
from tfbert.training import base_run
from tfbert.training.distribution import join
from tfbert.training.progress import Progress
from tfbert.training.run_dir import find_unfinished
from tfbert.training.trackers import UNTRACKED, Tracker
from tfbert.training.trainer import Trainer

logger = logging.getLogger(__name__)


def choose_run_dir(config: PretrainConfig, runs_dir: Path) -> Path:
    """Return the directory of an unfinished run of this config, or a new `runs_dir/pretraining/<time>-<hash>`."""
    return find_unfinished(runs_dir / "pretraining", config.fingerprint())


def pretrain(config: PretrainConfig, run_dir: Path, command: str = "") -> dict:
    """Prepare, pretrain, evaluate and report.

    Args:
        config: config of the run.
        run_dir: created if missing; an unfinished run of the same config in it is resumed. Tasks accept
            `run_dir/encoder` as `encoder.name`.
        command: the command that repeats the run.

    Returns:
        The content of `report.json`.

    Raises:
        ValueError: corpus, vocabulary, encoder or directory cannot be used; training diverged.
        ConnectionError: another process of the training has ended.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    replicas = join(config.train.distribution)

    def work() -> dict:
        return _PretrainingRun(prepare_problem(config, run_dir, replicas)).carry_out(run_dir, command)

    return base_run.execute(run_dir, replicas, work, command=command)


def assist(config: PretrainConfig) -> None:
    """Take part in a pretraining whose chief is another process; writes nothing.

    Args:
        config: the same config as the chief's.

    Raises:
        ValueError: sequences, vocabulary or encoder cannot be used, or differ from the chief's; training diverged.
        ConnectionError: another process has ended.
    """
    replicas = join(config.train.distribution)
    base_run.assist(replicas, lambda: _make_trainer(prepare_problem(config, Path(), replicas), Path()).train())


def _make_trainer(
    problem: PretrainingProblem,
    run_dir: Path,
    log: Callable[[dict, Sequence[dict]], None] = lambda *_: None,
    tracker: Tracker = UNTRACKED,
) -> Trainer:
    tf.config.experimental.enable_op_determinism()
    config = problem.config
    model, evaluation_model, has_heads = build_models(problem.encoder, config)
    has_new_head = config.encoder.name is not None and not has_heads
    objective = PretrainingObjective(model, config, problem.train, has_new_head)
    evaluator = HeldOutEvaluator(evaluation_model, objective, problem.held_out, log)
    checkpoints = problem.checkpoints(run_dir)
    return Trainer(model, [objective], evaluator, config.train, checkpoints, problem.replicas, tracker=tracker)


class _PretrainingRun(base_run.BaseRun[PretrainingProblem]):
    """A pretraining of an encoder."""

    logged_sections = ("train", "objective", "examples", "encoder")
    report_stage = "report"
    evaluated_split = "held_out"

    def train(self, run_dir: Path, log: TensorBoardLog, tracker: Tracker) -> Progress:
        def log_evaluation(entry: dict, points: Sequence[dict]) -> None:
            for point in points:
                values = {f"train/{name}": value for name, value in point.items() if name != "update"}
                log.scalars(values, point["update"])
            scores = entry["held_out"]
            log.scalars({f"held_out/{name}": value for name, value in scores.items()}, entry["update"])
            pairs = f"  pair accuracy {scores['pair_accuracy']:.3f}" if "pair_accuracy" in scores else ""
            logger.info(
                "update %s  held-out masked words: loss %.4f  accuracy %.4f  perplexity %.1f%s",
                f"{entry['update']:,}",
                scores["masked_word_loss"],
                scores["masked_word_accuracy"],
                scores["perplexity"],
                pairs,
            )

        self._trainer = _make_trainer(self.problem, run_dir, log_evaluation, tracker)
        return self._trainer.train()

    def report(self, progress: Progress, run_dir: Path) -> dict:
        config, index, evaluator = self.config, self.problem.index, self._trainer.evaluator
        head_updates = self._trainer.num_head_updates
        train, held_out, vocabulary = self.problem.train, self.problem.held_out, self.problem.encoder.vocabulary
        scores = {point.update: point.scores for point in progress.history}
        counts = ("num_documents", "num_rows", "num_tokens")
        self._save_encoder(progress, run_dir)
        num_epochs = self._trainer.objectives[0].num_epochs
        return {
            "data_name": corpus_name(config.corpus.paths),
            "first_update_at": progress.first_update_at,
            "resolved": {"train.epochs": num_epochs} if config.train.epochs is None else {},
            "corpus": index["corpus"],
            "rows": {name: {count: split[count] for count in counts} for name, split in index["splits"].items()},
            "lost_shards": [*train.sequences.lost, *held_out.sequences.lost],
            "seconds": self.problem.seconds | {"train": progress.seconds},
            "tokens_per_second": progress.num_tokens / progress.seconds if progress.seconds else None,
            "history": held_out_history(progress.history),
            "curve": progress.curve,
            "best_update": progress.best_update,
            # The encoder does not change before its new heads are trained.
            "head_updates": head_updates,
            "before": scores.get(head_updates, scores[0]),
            "after": progress.best.scores,
            "by_frequency": evaluator.by_frequency(),
            "guesses": predict_examples(evaluator.model, held_out, vocabulary, config.examples.sequence_length),
        }

    def render(self, report: dict, run_dir: Path) -> None:
        page.render(report, run_dir / base_run.PAGE)

    def final_scores(self, report: dict) -> dict:
        return {"validation": {"metrics": {name: {"value": value} for name, value in report["after"].items()}}}

    def _save_encoder(self, progress: Progress, run_dir: Path) -> None:
        """Write the encoder with its best weights and metadata about its pretraining."""
        encoder, best, model = self.problem.encoder, progress.best, self._trainer.evaluator.model
        start = encoder.spec
        pretraining = {
            "from": self.config.encoder.name,
            **({"from_commit": start.commit} if start.commit else {}),
            "updates": best.update,
            "tokens": best.num_tokens,
            "corpus_sha256": self.problem.index["corpus"]["sha256"],
            "run": self.problem.fingerprint()[:16],
        }
        # Without pairs the pooler is not trained: it is that of the initial encoder, or still random.
        has_pooler = model.head.pairs is not None or start.has_pooler
        spec = dataclasses.replace(start, has_pooler=has_pooler, pretraining=pretraining)
        trained = dataclasses.replace(encoder, backbone=model.backbone, spec=spec)
        save_encoder(trained, run_dir / ENCODER, model.head.arrays())
