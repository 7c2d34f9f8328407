"""The end of training and of a search: the export of a finished run, and what it answers to two samples."""

import json
from pathlib import Path

import common


def export(run_dir: Path, name: str, whole_dir: Path) -> None:
    """Export a finished run, and print where the SavedModel is and what it answers.

    Args:
        run_dir: of the run.
        name: of the model in saved_models/.
        whole_dir: of the training or search that the run is the result of.

    Raises:
        ValueError: another process is exporting it, or has done so meanwhile.
        Stopped: a signal stopped the process.
    """
    from tfbert.files import locked
    from tfbert.interrupts import Stopped
    from tfbert.models import saved_run
    from tfbert.serving import publish

    # Training has let go of the directory, so the same command may have been started again.
    with locked(whole_dir, "exporting it"):
        if not (whole_dir / saved_run.UNEXPORTED).exists():
            raise ValueError(f"{whole_dir}: has been exported by another process")
        version_dir, checked = publish.export_run(run_dir, common.SAVED_MODELS_DIR / name)
        saved_run.mark_exported(whole_dir)
    try:
        print(f"saved model {version_dir}  (verified on {checked['num_items']} requests in a fresh process)")
        for item, answer in publish.ask(version_dir, saved_run.load_run(run_dir).samples[:2]):
            print(f"  {'  '.join(map(repr, item.values()))}\n    -> {json.dumps(answer, ensure_ascii=False)}")
    except KeyboardInterrupt as error:
        raise Stopped.by(error, f"stopped; all is done: the SavedModel is {version_dir}", is_done=True) from error
