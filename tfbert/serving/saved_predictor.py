"""The predictor of a SavedModel: predicts any number of items in constant memory."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tfbert.files import read_json
from tfbert.models.predictions import predict_items
from tfbert.serving.input_spec import InputSpec
from tfbert.serving.loading import load
from tfbert.serving.ops import load_text_ops
from tfbert.tasks.base_outputs import EXPLAIN, EXPLANATION, Outputs, declared, from_json
from tfbert.text.inputs import Item, batch_of


def find_version(path: Path, version: int | None = None) -> Path:
    """Return the directory of a version.

    Args:
        path: `saved_models/NAME`, or the directory of a version.
        version: the version number; `None` for the highest.

    Raises:
        ValueError: the version does not exist.
    """
    if version is None and (path / "saved_model.pb").exists():
        return path
    if not path.exists():
        raise ValueError(f"{path}: does not exist; expected saved_models/NAME or a version in it")
    entries = path.glob("*") if path.is_dir() else ()
    versions = sorted(int(e.name) for e in entries if e.name.isdecimal() and (e / "saved_model.pb").exists())
    if not versions:
        raise ValueError(f"{path}: contains no SavedModel; expected saved_models/NAME or a version in it")
    if version is not None and version not in versions:
        raise ValueError(f"{path}: has no version {version}; existing versions: {', '.join(map(str, versions))}")
    return path / str(versions[-1] if version is None else version)


class SavedPredictor:
    """The predictor of a SavedModel.

    Args:
        path: `saved_models/NAME`, or the directory of a version.
        version: the version number; `None` for the highest.
        num_pooled: number of batches that `predict` reads together to group items of similar length; with 1, a
            prediction waits only for the rest of its batch.

    Attributes:
        version_dir: the directory of the version.
        inputs: dtype and rank of each input, by name.
        outputs: the declared outputs.
        signature: the concrete function of the signature `serving_default`.

    Raises:
        ValueError: the version does not exist, or one of its files is damaged.
    """

    def __init__(self, path: Path, version: int | None = None, num_pooled: int = 1):
        self.version_dir, self.num_pooled = find_version(path, version), num_pooled
        load_text_ops()
        # Signatures do not keep the model alive.
        self._model = load(self.version_dir)
        self.signature = self._model.signatures["serving_default"]
        self._specs = dict(sorted(self.signature.structured_input_signature[1].items()))
        self.inputs = {name: InputSpec.of(spec) for name, spec in self._specs.items()}
        self.outputs = self._declared_outputs()

    def _declared_outputs(self) -> Outputs:
        path = self.version_dir / "assets" / "outputs.json"
        # Exports of earlier versions of tfbert do not have the file.
        return from_json(read_json(path)) if path.exists() else declared(self.signature.structured_outputs)

    def __call__(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return the outputs that a server would return: output name to array, item first."""
        tensors = batch_of(items, self._specs)
        return {name: tensor.numpy() for name, tensor in self.signature(**tensors).items()}

    def explain(
        self, items: Iterable[Item], label: str = "", method: str = "", batch_size: int = 16
    ) -> Iterator[tuple[Item, dict]]:
        """Yield each item with its explanation, ready for JSON and without padding, in order.

        Args:
            items: any number; read lazily.
            label: the label to explain; "" for the predicted one.
            method: `occlusion` or `gradients`; "" for the default.
            batch_size: number of items per call of the model.

        Raises:
            ValueError: the model has no explanations.
        """
        if EXPLAIN not in self._model.signatures:
            raise ValueError(
                f"{self.version_dir}: has no signature {EXPLAIN}; expected a task with explanations and an export by "
                "this version of tfbert"
            )
        signature = self._model.signatures[EXPLAIN]
        specs = signature.structured_input_signature[1]

        def explain(batch: Sequence[Item]) -> dict[str, np.ndarray]:
            tensors = batch_of([{**item, "label": label, "method": method} for item in batch], specs)
            return {name: tensor.numpy() for name, tensor in signature(**tensors).items()}

        return predict_items(explain, EXPLANATION, items, batch_size, self.num_pooled)

    def predict(self, items: Iterable[Item], batch_size: int = 64) -> Iterator[tuple[Item, dict]]:
        """Yield each item with its prediction, ready for JSON and without padding, in order.

        Args:
            items: any number; read lazily.
            batch_size: number of items per call of the model.
        """
        return predict_items(self, self.outputs, items, batch_size, self.num_pooled)
