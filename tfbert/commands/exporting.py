"""The end of training and of a search: exports the finished run, and prints predictions for two samples."""

import json
from pathlib import Path

from tfbert.commands import program

# Longer lists, such as the probabilities of many labels, are not printed.
_MAX_LIST = 10


def export(run_dir: Path, name: str, whole_dir: Path) -> None:
    """Export a finished run, and print the path of the SavedModel and some of its predictions.

    Args:
        run_dir: the run to export.
        name: the name of the model in saved_models/.
        whole_dir: the directory of the training or search that produced the run.

    Raises:
        ValueError: another process is exporting the run, or has exported it.
        Stopped: a signal stopped the process.
    """
    from tfbert.files import UNEXPORTED, locked
    from tfbert.interrupts import Stopped
    from tfbert.models import saved_run
    from tfbert.serving import export_run

    # Training has released its lock on the directory, so the same command may have been started again.
    with locked(whole_dir, "exporting it"):
        if not (whole_dir / UNEXPORTED).exists():
            raise ValueError(f"{whole_dir}: has been exported by another process")
        version_dir, checked = export_run.export_run(run_dir, program.SAVED_MODELS_DIR / name)
        saved_run.mark_exported(whole_dir)
    try:
        print(f"saved model {version_dir}  (verified on {checked['num_items']} requests in a fresh process)")
        for item, prediction in predict(version_dir, saved_run.load_run(run_dir).samples[:2]):
            print(f"  {'  '.join(map(repr, item.values()))}\n    -> {json.dumps(prediction, ensure_ascii=False)}")
    except KeyboardInterrupt as error:
        raise Stopped.by(error, f"stopped; all is done: the SavedModel is {version_dir}", is_done=True) from error


def predict(version_dir: Path, items: list) -> list[tuple]:
    """Return items with their predictions by the SavedModel, without padding and without long lists."""
    from tfbert.serving.saved_predictor import SavedPredictor

    predictions = []
    for item, prediction in SavedPredictor(version_dir).predict(items):
        kept = {n: value for n, value in prediction.items() if not isinstance(value, list) or len(value) <= _MAX_LIST}
        predictions.append((item, kept))
    return predictions
