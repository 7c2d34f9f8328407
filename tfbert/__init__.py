"""Fine-tune BERT on the tasks of your own domain with Keras and TensorFlow, and serve it with TensorFlow Serving."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfbert.api.jobs import Pretraining, Search, fine_tune, pretrain, search
    from tfbert.api.models import HuggingFaceModel, Report, Run, SavedModel, load

__version__ = "0.1.0"
__all__ = [
    "HuggingFaceModel", "Pretraining", "Report", "Run", "SavedModel", "Search", "fine_tune", "load", "pretrain",
    "search",
]  # fmt: skip


def __getattr__(name: str):
    """Import the API when one of its names is first used, because TensorFlow takes seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tfbert.imports import quiet

    with quiet():
        from tfbert.api import jobs, models
    return getattr(models if hasattr(models, name) else jobs, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
