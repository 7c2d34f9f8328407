"""A finished run in, a verified version of a SavedModel out."""

from pathlib import Path

from tfbert.config import Config
from tfbert.files import check_name
from tfbert.interrupts import Stopped
from tfbert.models.data import data_path
from tfbert.models.saved_run import SavedRun, load_run, mark_exported
from tfbert.serving import fidelity
from tfbert.serving.export import Servable, export
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.serving.verify import verify
from tfbert.tasks.base_outputs import without_padding
from tfbert.text.inputs import Item

PRECISIONS = ("float32", "bfloat16")
# Longer lists are not shown after training.
_SHORT = 10


def export_run(run_dir: Path, model_dir: Path, precision: str = "float32") -> tuple[Path, dict]:
    """Export a run's best weights and check the export in a fresh process.

    Args:
        run_dir: of a finished run.
        model_dir: `saved_models/NAME`; made if missing.
        precision: `float32`, or `bfloat16` for the matrices of the encoder's layers and the products with them.

    Returns:
        The version's directory, and what `verify` found; in bfloat16 also `compared`, what `fidelity.compare` found.

    Raises:
        ValueError: there is no finished run, or no such precision; or in bfloat16, its data are gone or have no split
            to compare on.
        RuntimeError: the export does not answer like the trained model; there is no new version then.
        WriteError: the disk is full; there is no new version then.
        Stopped: a signal stopped the process.
    """
    try:
        found = _export_run(run_dir, model_dir, precision)
        mark_exported(run_dir)
        return found
    except KeyboardInterrupt as error:
        raise Stopped.by(error, f"stopped during the export; {run_dir} holds the finished run") from error


def _export_run(run_dir: Path, model_dir: Path, precision: str) -> tuple[Path, dict]:
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; wanted {' or '.join(PRECISIONS)}")
    run, compared = load_run(run_dir), None
    if precision != "float32":
        exact, run = run, load_run(run_dir, matrices=precision)
        compared = fidelity.compare(exact, fidelity.by_sequences(run.predictor))
    servable = Servable(
        predictor=run.predictor, config=run.config, report=run.report, samples=run.samples, compared=compared
    )
    wanted, checked = expected(run), {"compared": compared} if compared else {}
    version_dir = export(servable, model_dir, lambda aside: checked.update(verify(aside, run.samples, wanted)))
    return version_dir, checked


def said(checked: dict) -> str:
    """Return in a line or two for a terminal what `export_run` found."""
    lines = [f"bfloat16 {fidelity.said(checked['compared'])}"] if "compared" in checked else []
    lines += [
        f"equal to the trained model on {checked['num_items']} requests (largest difference "
        f"{checked['max_difference']:.1e}); loads in TensorFlow Serving {checked['oldest_serving_release']} and later "
        "as far as its ops tell"
    ]
    return "\n".join(lines)


def default_name(run_dir: Path) -> str:
    """Return the SavedModel name a run gets when none is given: that of its data."""
    return name_of(load_run(run_dir).config)


def name_of(config: Config) -> str:
    """Return the name of a run's data, whatever way its path is written.

    Raises:
        ValueError: the data have no name that a directory can have, such as those in the root directory.
    """
    path = data_path(config).resolve()
    return check_name(path.stem, f"{path}: the name of the data would be that of the model; use --name:")


def ask(version_dir: Path, items: list[Item]) -> list[tuple[Item, dict]]:
    """Return the answers of the exported model, without the long lists of all labels."""
    return [
        (item, {name: value for name, value in answer.items() if not isinstance(value, list) or len(value) <= _SHORT})
        for item, padded in SavedPredictor(version_dir).answers(items)
        for answer in [without_padding(item, padded)]
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


def expected(run: SavedRun) -> dict[str, list]:
    """Return what the trained model answers to the run's samples, ready for JSON."""
    return {name: decoded(values.tolist()) for name, values in run.predictor(run.samples).items()}


def decoded(value):
    """Return a value, or lists of values, with bytes as the UTF-8 text they are, ready for JSON."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value
