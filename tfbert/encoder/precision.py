"""A precision by name in, a Keras dtype policy that suits this machine out."""

from pathlib import Path

import tensorflow as tf

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def choose_policy(precision: str) -> str:
    """Return a Keras dtype policy.

    Args:
        precision: `float32`, `bfloat16`, `float16` or `auto`. `auto` is bfloat16 where matrix units multiply it (AMX on
            a processor, compute capability 8.0 on a GPU). A processor that has AVX-512 instructions for it but no AMX
            stays with float32: there TensorFlow's training step was measured to be slower in bfloat16.
    """
    if precision != "auto":
        return _POLICIES[precision]
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        fast = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    else:
        fast = "amx_bf16" in _processor_flags()
    return _POLICIES["bfloat16" if fast else "float32"]


def _processor_flags() -> set[str]:
    # Linux only; elsewhere nothing is known and float32 is right anyway.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
