"""Training precision: the Keras dtype policy and the dtype of matrix products that suit a machine."""

from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Precision(NamedTuple):
    """The dtypes in which a model is trained.

    Args:
        dtype: Keras dtype policy.
        product_dtype: dtype of the matrix products of fast layers; `None` for that of the policy.
    """

    dtype: str
    product_dtype: str | None = None


def choose_precision(precision: str, fast: bool = True) -> Precision:
    """Return the dtypes to train in on this machine.

    On a CPU with fast layers, bfloat16 applies to matrix products only. The operations between them stay in float32,
    because CPUs have no bfloat16 instructions for them.

    Args:
        precision: `float32`, `bfloat16`, `float16` or `auto`. `auto` means bfloat16 if the hardware has instructions to
            multiply it (AMX, or AVX-512 BF16 with fast layers; compute capability 8.0 on a GPU), else float32.
        fast: as for `EncoderLayer`. KerasNLP's layers were measured to be slower in bfloat16 on CPUs without AMX.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(gpus, fast) else "float32"
    if precision == "bfloat16" and fast and not gpus:
        return Precision("float32", "bfloat16")
    return Precision(_POLICIES[precision])


def _multiplies_bfloat16(gpus: list, fast: bool) -> bool:
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    flags = _cpu_flags()
    return "amx_bf16" in flags or (fast and "avx512_bf16" in flags)


def _cpu_flags() -> set[str]:
    # Only Linux has this file. Elsewhere the flags are unknown, and float32 always works.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
