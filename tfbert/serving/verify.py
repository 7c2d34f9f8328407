"""A SavedModel directory and the answers it must give in, a verdict out; run in a process of its own.

`python -m tfbert.serving.verify DIRECTORY [EXPECTED.json]` loads the model as a server would: TensorFlow and the op
libraries of tensorflow-text, with Keras made impossible to import. What is wrong is said in one line: with exit code 2
where a file is missing or damaged, with 1 where the model does not answer as it must or no server could run it.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfbert.imports import import_tensorflow_without_keras

# The longest sum over a hidden dimension is reordered when the batch is padded differently.
_TOLERANCE = 1e-4
# Exit code where a file cannot be used; 1 says that the model does not answer as it must.
_DAMAGED = 2


def verify(version_dir: Path, items: Sequence[Mapping], expected: dict[str, list]) -> dict:
    """Check an export in a fresh process.

    Args:
        version_dir: of the SavedModel.
        items: to ask it about.
        expected: output name to values, as the trained model answered.

    Returns:
        What was checked: `num_items`, `max_difference`, `warmup_requests`, `oldest_serving_release`, `custom_ops`.

    Raises:
        RuntimeError: the export does not load, answers differently, or holds an op that servers lack.
        ValueError: a file of the export is missing or damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "expected.json"
        path.write_text(json.dumps({"items": items, "expected": expected}), encoding="utf-8")
        command = [sys.executable, "-m", "tfbert.serving.verify", str(version_dir.resolve()), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stdout.strip() or done.stderr.strip() or f"the process ended with exit code {done.returncode}"
        reason = said.splitlines()[-1]
        kind = ValueError if done.returncode == _DAMAGED else RuntimeError
        raise kind(f"{version_dir}: the exported model does not pass verification: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def check(version_dir: Path, items: Sequence[Mapping], expected: dict[str, list]) -> dict:
    """Do in this process what `verify` does in a fresh one."""
    import tensorflow as tf

    from tfbert.serving.loading import check_graph, load
    from tfbert.serving.ops import list_ops, load_text_ops, why_unknown
    from tfbert.serving.warmup import read_warmup
    from tfbert.text.inputs import batch_of, from_json

    load_text_ops()
    check_graph(version_dir)
    ops = list_ops(version_dir)
    if ops.unknown:
        each = "; ".join(f"{name}, which {why_unknown(name)}" for name in ops.unknown)
        raise RuntimeError(f"no stock server runs {each}")
    if ops.jit_compiled:
        names = ", ".join(ops.jit_compiled)
        raise RuntimeError(
            f"no stock server runs {names}, marked for XLA (jit_compile), unless started with it enabled"
        )
    model = load(version_dir)
    served = model.signatures["serving_default"]
    difference = 0.0
    if items:
        answers = served(**batch_of([from_json(item) for item in items], list(items[0])))
        for name, values in expected.items():
            difference = max(difference, _difference(name, answers[name].numpy(), values))
    num_requests = 0
    for request in read_warmup(version_dir):
        signature = model.signatures[request.model_spec.signature_name]
        signature(**{name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()})
        num_requests += 1
    return {
        "num_items": len(items),
        "max_difference": difference,
        "warmup_requests": num_requests,
        "oldest_serving_release": ops.oldest_release,
        "custom_ops": ops.custom,
        "num_core_ops": len(ops.core),
    }


def _difference(name: str, answered: np.ndarray, values: list) -> float:
    if answered.dtype.kind in "OS":
        decoded = [value.decode() for value in answered.ravel()]
        values = np.asarray(values, dtype=object).ravel()
        wrong = [index for index, (a, b) in enumerate(zip(decoded, values, strict=True)) if a != b]
        if wrong:
            raise RuntimeError(f"{name}, value {wrong[0]}: {decoded[wrong[0]]!r}, wanted {values[wrong[0]]!r}")
        return 0.0
    gap = float(np.abs(answered.astype(np.float64) - np.asarray(values, np.float64)).max(initial=0.0))
    if not gap <= _TOLERANCE:
        raise RuntimeError(f"{name} differs from the trained model's by {gap:.2g}; wanted at most {_TOLERANCE}")
    return gap


def _main() -> int:
    # Whatever tried to import Keras here would fail in a server.
    import_tensorflow_without_keras()
    version_dir = Path(sys.argv[1])
    try:
        task = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")) if len(sys.argv) > 2 else {}
        print(json.dumps(check(version_dir, task.get("items", []), task.get("expected", {}))))
    except Exception as error:
        print(" ".join(str(error).split()))
        return _DAMAGED if isinstance(error, ValueError | OSError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
