"""A config in, a run directory out: an encoder that tasks and KerasNLP load, with a report of how it was pretrained."""

import dataclasses
import logging
import resource
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfbert.encoder.backbone import save_encoder
from tfbert.evaluation.board import Board
from tfbert.files import write_json
from tfbert.pretraining import page
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.guesses import guess
from tfbert.pretraining.heads import PretrainingModel
from tfbert.pretraining.problem import PretrainingProblem, build_models, prepare
from tfbert.pretraining.training import PretrainingTrainer, Progress
from tfbert.training.checkpoint import CHECKPOINT
from tfbert.training.distribution import join
from tfbert.training.run_dir import REPORT, find_unfinished, opened, versions

logger = logging.getLogger(__name__)

ENCODER = "encoder"


def choose_run_dir(config: PretrainConfig, runs_dir: Path) -> Path:
    """Return the directory of an unfinished run of exactly this config, or a new name.

    Args:
        config: to pretrain by.
        runs_dir: where runs are, such as `runs/`.

    Returns:
        `runs_dir/pretraining/<time>-<hash>`; it exists already if a killed run is to be continued.
    """
    return find_unfinished(runs_dir / "pretraining", config.fingerprint())


def pretrain(config: PretrainConfig, run_dir: Path, command: str = "") -> dict:
    """Prepare, pretrain, measure and report.

    Args:
        config: of the run.
        run_dir: of the run; made if missing, continued if the same run was killed in it. `run_dir/encoder` will be
            what tasks take as `encoder.name`.
        command: that repeats the run, for the report.

    Returns:
        What `report.json` holds.

    Raises:
        ValueError: corpus, vocabulary, encoder or directory cannot be used; training diverged.
        ConnectionError: another process of the training is gone.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    replicas = join(config.train.distribution)
    with opened(run_dir):
        problem = prepare(config, run_dir, replicas)
        write_json(run_dir / "config.json", problem.config.to_dict())
        report = _train(problem, run_dir, command)
        replicas.leave()
        return report


def assist(config: PretrainConfig) -> None:
    """Take part in a pretraining whose chief is another process; writes nothing.

    Args:
        config: of the run, as the chief's.

    Raises:
        ValueError: rows, vocabulary or encoder cannot be used, or are not the chief's; training diverged.
        ConnectionError: another process is gone.
    """
    replicas = join(config.train.distribution)
    _trainer(prepare(config, Path(), replicas), Path())[0].train()
    replicas.leave()


def _trainer(
    problem: PretrainingProblem, run_dir: Path, log: Callable[[dict, list[dict]], None] = lambda *_: None
) -> tuple[PretrainingTrainer, PretrainingModel]:
    """Return the trainer and the model in float32 that it evaluates."""
    tf.config.experimental.enable_op_determinism()
    model, evaluation_model, has_heads = build_models(problem)
    trainer = PretrainingTrainer(
        model=model,
        evaluation_model=evaluation_model,
        config=problem.config,
        train=problem.train,
        held_out=problem.held_out,
        run_dir=run_dir,
        identity=problem.identity,
        has_new_head=problem.config.encoder.name is not None and not has_heads,
        log=log,
        replicas=problem.replicas,
    )
    return trainer, evaluation_model


def _train(problem: PretrainingProblem, run_dir: Path, command: str) -> dict:
    board = Board.of_config(run_dir / "tensorboard", problem.config, ("train", "objective", "examples", "encoder"))

    def log(entry: dict, points: list[dict]) -> None:
        for point in points:
            values = {f"train/{name}": value for name, value in point.items() if name != "update"}
            board.scalars(values, point["update"])
        board.scalars({f"held_out/{name}": value for name, value in entry["held_out"].items()}, entry["update"])
        found = entry["held_out"]
        pairs = f"  pair accuracy {found['pair_accuracy']:.3f}" if "pair_accuracy" in found else ""
        logger.info(
            "update %s  held-out masked words: loss %.4f  accuracy %.4f  perplexity %.1f%s",
            f"{entry['update']:,}",
            found["masked_word_loss"],
            found["masked_word_accuracy"],
            found["perplexity"],
            pairs,
        )

    trainer, evaluation_model = _trainer(problem, run_dir, log)
    progress = trainer.train()
    started = time.monotonic()
    report = _report(problem, progress, trainer, evaluation_model, command)
    _save_encoder(problem, progress, evaluation_model, run_dir)
    report["seconds"]["report"] = time.monotonic() - started
    page.render(report, run_dir / "report.html")
    metrics = {name: {"value": value} for name, value in report["after"].items()}
    board.final({"validation": {"metrics": metrics}}, progress.update)
    write_json(run_dir / REPORT, report)
    (run_dir / CHECKPOINT).unlink()
    return report


def _report(
    problem: PretrainingProblem,
    progress: Progress,
    trainer: PretrainingTrainer,
    model: PretrainingModel,
    command: str,
) -> dict:
    config, index, head_updates = problem.config, problem.index, trainer.head_updates
    measured = {entry["update"]: entry["held_out"] for entry in progress.evaluations}
    counts = ("num_documents", "num_rows", "num_tokens")
    return {
        "encoder": {"name": config.encoder.name, **problem.encoder.spec.to_json()},
        "seed": config.train.seed,
        "config": config.to_dict(),
        "versions": versions(),
        "distribution": problem.replicas.to_dict(),
        "command": command,
        "corpus": index["corpus"],
        "rows": {name: {count: split[count] for count in counts} for name, split in index["splits"].items()},
        "lost_shards": [*problem.train.rows.lost, *problem.held_out.rows.lost],
        "seconds": problem.seconds | {"train": progress.seconds},
        "tokens_per_second": progress.num_tokens / progress.seconds if progress.seconds else None,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "history": progress.evaluations,
        "curve": progress.curve,
        "best_update": progress.best_update,
        # The encoder is what it was until its new heads have learned to read it.
        "head_updates": head_updates,
        "before": measured.get(head_updates, measured[0]),
        "after": measured[progress.best_update],
        "by_frequency": trainer.by_frequency(),
        "guesses": guess(model, problem.held_out, problem.encoder.vocabulary, config.examples.sequence_length),
    }


def _save_encoder(problem: PretrainingProblem, progress: Progress, model: PretrainingModel, run_dir: Path) -> None:
    """Write the encoder with its best weights, and what it was pretrained on."""
    config, best = problem.config, progress.best_update
    tokens = next(entry["num_tokens"] for entry in progress.evaluations if entry["update"] == best)
    start = problem.encoder.spec
    pretraining = {
        "from": config.encoder.name,
        **({"from_commit": start.commit} if start.commit else {}),
        "updates": best,
        "tokens": tokens,
        "corpus_sha256": problem.index["corpus"]["sha256"],
        "run": problem.identity[:16],
    }
    # A pooler that nothing depended on has not moved: it is the encoder's own, or as random as a new one.
    has_pooler = model.head.pairs is not None or start.has_pooler
    spec = dataclasses.replace(start, has_pooler=has_pooler, pretraining=pretraining)
    encoder = dataclasses.replace(problem.encoder, backbone=model.backbone, spec=spec)
    save_encoder(encoder, run_dir / ENCODER, model.head.arrays())
