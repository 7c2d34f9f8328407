"""Label probabilities of a prediction by name: all labels, or the most probable ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROBABILITIES, CHOICES = "probabilities", "choices"
_LABELS = "labels.txt"


def read_labels(version_dir: Path) -> list[str]:
    """Return the labels of a SavedModel in the order of its probabilities; empty for tasks without labels."""
    path = version_dir / "assets" / _LABELS
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def most_probable(
    item: Mapping[str, Any], outputs: Mapping[str, Any], labels: Sequence[str], top: int | None = None
) -> list[tuple[str, float]] | None:
    """Return names and probabilities of the labels, or of the choices of an item, most probable first.

    Args:
        item: the inputs by name.
        outputs: the prediction.
        labels: all labels of the model; empty if they are unknown.
        top: maximum number of labels; `None` means all.

    Returns:
        `None` if the prediction has no probabilities, or their names are unknown.
    """
    probabilities, names = outputs.get(PROBABILITIES), labels or item.get(CHOICES, ())
    if not isinstance(probabilities, list) or len(probabilities) != len(names):
        return None
    return sorted(zip(names, probabilities, strict=True), key=lambda pair: -pair[1])[:top]
