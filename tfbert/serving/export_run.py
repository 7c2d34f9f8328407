"""Export of a finished run as the next version of a SavedModel, verified in a fresh process."""

from pathlib import Path

from tfbert.config import Config
from tfbert.files import check_name
from tfbert.interrupts import Stopped
from tfbert.models.data import data_name, data_path
from tfbert.models.evidence import num_stored
from tfbert.models.saved_run import SavedRun, load_run, mark_exported
from tfbert.serving import precision_comparison
from tfbert.serving.export import Servable, export
from tfbert.serving.verify import verify

PRECISIONS = ("float32", "bfloat16")


def export_run(
    run_dir: Path,
    model_dir: Path,
    precision: str = "float32",
    run: SavedRun | None = None,
    *,
    explains: bool = True,
) -> tuple[Path, dict]:
    """Export a run's best weights and verify the export in a fresh process.

    Args:
        run_dir: the directory of a finished run.
        model_dir: `saved_models/NAME`; created if missing.
        precision: dtype of the encoder's weight matrices and of the products with them, `float32` or `bfloat16`.
        run: the loaded run, whose weights may have changed; `None` loads it.
        explains: whether the SavedModel has the signature `explain`, if the task has explanations.

    Returns:
        The version's directory, and the result of `verify` with `num_evidence`, the number of training examples in the
        SavedModel, and for bfloat16 with `compared`, the result of `precision_comparison.compare`.

    Raises:
        ValueError: there is no finished run, the precision is unknown, or for bfloat16, the data files are missing or
            have no split to compare on.
        RuntimeError: the outputs of the export differ from those of the trained model; no version was added.
        WriteError: the disk is full; no version was added.
        Stopped: a signal stopped the process.
    """
    try:
        result = _export_run(run_dir, model_dir, precision, run, explains)
        mark_exported(run_dir)
        return result
    except KeyboardInterrupt as error:
        raise Stopped.by(error, f"stopped during the export; {run_dir} contains the finished run") from error


def _export_run(
    run_dir: Path, model_dir: Path, precision: str, run: SavedRun | None, explains: bool
) -> tuple[Path, dict]:
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected {' or '.join(PRECISIONS)}")
    run, compared = run or load_run(run_dir), None
    if precision != "float32":
        exact, run = run, load_run(run_dir)
        run.predictor.model.set_weights(exact.predictor.model.get_weights())
        run.predictor.model.backbone.copy_kernels(precision)
        compared = precision_comparison.compare(exact, precision_comparison.sequence_predictor(run.predictor))
    return export_model(run, model_dir, compared, explains=explains)


def export_model(
    run: SavedRun, model_dir: Path, compared: dict | None = None, *, explains: bool = True
) -> tuple[Path, dict]:
    """Export a loaded model and verify the export in a fresh process.

    Args:
        run: the model.
        model_dir: `saved_models/NAME`; created if missing.
        compared: the result of `precision_comparison.compare` for bfloat16 matrices; `None` for float32.
        explains: as for `export_run`.

    Returns:
        As for `export_run`.

    Raises:
        RuntimeError: the outputs of the export differ from those of the model; no version was added.
        WriteError: the disk is full; no version was added.
    """
    servable = Servable(
        predictor=run.predictor,
        config=run.config,
        report=run.report,
        samples=run.samples,
        compared=compared,
        explains=explains,
    )
    expected, checked = expected_outputs(run), {"compared": compared} if compared else {}
    checked["num_evidence"] = num_stored(run.predictor.evidence) if explains else 0
    version_dir = export(servable, model_dir, lambda path: checked.update(verify(path, run.samples, expected)))
    return version_dir, checked


def describe(checked: dict) -> str:
    """Return the result of `export_run` in one to three lines for a terminal."""
    compared = [f"bfloat16 {precision_comparison.describe(checked['compared'])}"] if "compared" in checked else []
    equal = (
        f"equal to the trained model on {checked['num_items']} requests (largest difference "
        f"{checked['max_difference']:.1e}); judging by its ops, loads in TensorFlow Serving "
        f"{checked['oldest_serving_release']} and later"
    )
    number = checked["num_evidence"]
    kept = [f"contains {number:,} training examples for explanations; decision.evidence=0 keeps none"] if number else []
    return "\n".join([*compared, equal, *kept])


def default_name(run_dir: Path) -> str:
    """Return the default SavedModel name of a run: the name of its data."""
    return model_name(load_run(run_dir).config)


def model_name(config: Config) -> str:
    """Return the name of a run's data, after checking that a model can be named so.

    Raises:
        ValueError: the name of the data cannot be the name of a directory, as for data in the root directory.
    """
    path = data_path(config).resolve()
    return check_name(data_name(config), f"{path}: the model cannot be named after its data; use --name:")


def expected_outputs(run: SavedRun) -> dict[str, list]:
    """Return the trained model's outputs for the run's samples as JSON-serializable values."""
    return {name: decode_bytes(values.tolist()) for name, values in run.predictor(run.samples).items()}


def decode_bytes(value):
    """Return a value or nested list with bytes decoded as UTF-8."""
    if isinstance(value, list):
        return [decode_bytes(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value
