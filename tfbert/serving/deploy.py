"""A finished run in, a verified version of a SavedModel out."""

from pathlib import Path

from tfbert.config import Config
from tfbert.serving.export import Servable, export
from tfbert.serving.predictor import Predictor
from tfbert.serving.verify import verify
from tfbert.tasks.base import load_task
from tfbert.training.problem import data_path
from tfbert.training.run import FinishedRun, load_run


def export_run(run_dir: Path, model_dir: Path) -> tuple[Path, dict]:
    """Export a run's best weights and check the export in a fresh process.

    Args:
        run_dir: of a finished run.
        model_dir: `saved_models/NAME`; made if missing.

    Returns:
        The version's directory, and what `verify` found.

    Raises:
        ValueError: there is no finished run.
        RuntimeError: the export does not answer like the trained model; there is no new version then.
    """
    run = load_run(run_dir)
    servable = _servable(run)
    checked = {}
    expected = _expected(servable)
    version_dir = export(servable, model_dir, lambda aside: checked.update(verify(aside, run.samples, expected)))
    return version_dir, checked


def default_name(run_dir: Path) -> str:
    """Return the SavedModel name a run gets when none is given: that of its data."""
    return name_of(load_run(run_dir).config)


def name_of(config: Config) -> str:
    """Return the name of a run's data, whatever way its path is written."""
    return data_path(config, load_task(config.task)).resolve().stem


def ask(version_dir: Path, texts: list[str]) -> list[tuple[str, dict]]:
    """Return the answers of the exported model, without the long lists of all labels."""
    return [
        (text, {name: value for name, value in answer.items() if not isinstance(value, list)})
        for text, answer in Predictor(version_dir).answers(texts)
    ]


def summary(report: dict) -> str:
    """Return the scores of a report in a line or two for a terminal."""
    split = "test" if report["test"] else "validation"
    scores = report[split]
    if not scores:
        return "no test and no validation split: nothing was measured"
    lines = []
    for name, score in scores["metrics"].items():
        over_seeds = ((report["seeds"] or {}).get(split) or {}).get(name)
        spread = f"   {over_seeds['mean']:.4f} ± {over_seeds['std']:.4f} over seeds" if over_seeds else ""
        lines.append(
            f"{split} {name:12} {score['value']:.4f}  (95 %: {score['low']:.4f} to {score['high']:.4f}){spread}"
        )
    return "\n".join(lines)


def _servable(run: FinishedRun) -> Servable:
    return Servable(
        task=load_task(run.config.task),
        facts=run.facts,
        model=run.model,
        tokenizer=run.tokenizer,
        config=run.config,
        report=run.report,
        samples=run.samples,
    )


def _expected(servable: Servable) -> dict[str, list]:
    """Return what the trained model answers to the samples, by the path training and evaluation took."""
    import tensorflow as tf

    from tfbert.text.packing import pack_rows

    length = servable.config.encoder.sequence_length
    rows = servable.tokenizer(tf.constant([text.encode() for text in servable.samples])).to_list()
    packed = pack_rows(rows, servable.tokenizer.special, length)
    answers = servable.task.decode(servable.model(packed, training=False), servable.facts)
    return {
        name: [item.decode() if isinstance(item, bytes) else item for item in tensor.numpy().tolist()]
        for name, tensor in answers.items()
    }
