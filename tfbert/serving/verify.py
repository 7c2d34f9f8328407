"""Verification of a SavedModel in a fresh process: it loads, and its outputs equal those of the trained model.

`python -m tfbert.serving.verify DIRECTORY [EXPECTED.json]` loads the model as a server would: with TensorFlow and the
op libraries of tensorflow-text, and with Keras blocked. It reports an error in one line, with exit code 2 if a file is
missing or damaged, and 1 if outputs differ or no server could run the model.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfbert.imports import import_tensorflow_without_keras

# Sums over the hidden dimension are reordered if a batch is padded differently.
_TOLERANCE = 1e-4
# Exit code for a missing or damaged file; other failures have exit code 1.
_DAMAGED = 2


def verify(version_dir: Path, items: Sequence[Mapping], expected: dict[str, list]) -> dict:
    """Check an export in a fresh process.

    Args:
        version_dir: the directory of the SavedModel.
        items: inputs to predict.
        expected: the trained model's outputs for these items, by name.

    Returns:
        `num_items`, `max_difference`, `warmup_requests`, `oldest_serving_release`, `custom_ops`, `num_core_ops`.

    Raises:
        RuntimeError: the export does not load, its outputs differ, or it has an op that servers lack.
        ValueError: a file of the export is missing or damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "expected.json"
        path.write_text(json.dumps({"items": items, "expected": expected}), encoding="utf-8")
        command = [sys.executable, "-m", "tfbert.serving.verify", str(version_dir.resolve()), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        output = done.stdout.strip() or done.stderr.strip() or f"the process ended with exit code {done.returncode}"
        error_class = ValueError if done.returncode == _DAMAGED else RuntimeError
        raise error_class(f"{version_dir}: the exported model failed verification: {output.splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def check(version_dir: Path, items: Sequence[Mapping], expected: dict[str, list]) -> dict:
    """Check an export in this process; arguments and return value are those of `verify`."""
    import tensorflow as tf

    from tfbert.serving.loading import check_graph, load
    from tfbert.serving.ops import list_ops, load_text_ops, why_unknown
    from tfbert.serving.warmup import read_warmup
    from tfbert.text.inputs import batch_of, from_json

    load_text_ops()
    check_graph(version_dir)
    ops = list_ops(version_dir)
    if ops.unknown:
        reasons = "; ".join(f"{name}, which {why_unknown(name)}" for name in ops.unknown)
        raise RuntimeError(f"no stock server runs {reasons}")
    if ops.jit_compiled:
        names = ", ".join(ops.jit_compiled)
        raise RuntimeError(
            f"no stock server runs {names}, marked for XLA (jit_compile), unless started with it enabled"
        )
    model = load(version_dir)
    predict = model.signatures["serving_default"]
    difference = 0.0
    if items:
        outputs = predict(**batch_of([from_json(item) for item in items], predict.structured_input_signature[1]))
        for name, values in expected.items():
            difference = max(difference, _difference(name, outputs[name].numpy(), values))
    num_requests = 0
    for request in read_warmup(version_dir):
        name = request.model_spec.signature_name
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        _require_finite(name, model.signatures[name](**inputs))
        num_requests += 1
    return {
        "num_items": len(items),
        "max_difference": difference,
        "warmup_requests": num_requests,
        "oldest_serving_release": ops.oldest_release,
        "custom_ops": ops.custom,
        "num_core_ops": len(ops.core),
    }


def _difference(name: str, output: np.ndarray, expected: list) -> float:
    """Return the largest absolute difference of an output; 0 for equal strings.

    Raises:
        RuntimeError: strings differ, or numbers by more than the tolerance.
    """
    if output.dtype.kind in "OS":
        texts = zip(output.ravel(), np.asarray(expected, dtype=object).ravel(), strict=True)
        for index, (text, expected_text) in enumerate(texts):
            if text.decode() != expected_text:
                raise RuntimeError(f"{name}, value {index}: {text.decode()!r}, expected {expected_text!r}")
        return 0.0
    difference = float(np.abs(output.astype(np.float64) - np.asarray(expected, np.float64)).max(initial=0.0))
    if not difference <= _TOLERANCE:
        limit = f"expected at most {_TOLERANCE}"
        raise RuntimeError(f"{name} differs from the trained model's by {difference:.2g}; {limit}")
    return difference


def _require_finite(signature: str, outputs: Mapping) -> None:
    """Raise a `RuntimeError` if an output of a signature has a value that is NaN or infinite."""
    for name, values in outputs.items():
        if values.dtype.is_floating and not np.isfinite(values.numpy()).all():
            raise RuntimeError(f"{signature}: {name} has a value that is NaN or infinite")


def _main() -> int:
    # Keras is not available in a server either.
    import_tensorflow_without_keras()
    version_dir = Path(sys.argv[1])
    try:
        request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")) if len(sys.argv) > 2 else {}
        print(json.dumps(check(version_dir, request.get("items", []), request.get("expected", {}))))
    except Exception as error:
        print(" ".join(str(error).split()))
        return _DAMAGED if isinstance(error, ValueError | OSError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
