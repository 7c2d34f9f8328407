"""A precision by name in, what suits this machine out: a Keras dtype policy, and what to multiply matrices in."""

from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Precision(NamedTuple):
    """In what a training computes.

    Args:
        dtype: Keras dtype policy.
        product_dtype: dtype of the matrix products of fast layers; `None` for that of the policy.
    """

    dtype: str
    product_dtype: str | None = None


def choose_precision(precision: str, fast: bool = True) -> Precision:
    """Return what a training computes in.

    On a processor and with fast layers, bfloat16 is for matrix products alone. What is between them stays in float32:
    a processor has no instructions for anything else in bfloat16.

    Args:
        precision: `float32`, `bfloat16`, `float16` or `auto`. `auto` is bfloat16 where it is multiplied by instructions
            of its own (AMX, or AVX-512 BF16 with fast layers; compute capability 8.0 on a GPU), else float32.
        fast: as for `EncoderLayer`. KerasNLP's functions were measured to be slower in bfloat16 on processors without
            AMX.
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
    flags = _processor_flags()
    return "amx_bf16" in flags or (fast and "avx512_bf16" in flags)


def _processor_flags() -> set[str]:
    # Linux only; elsewhere nothing is known and float32 is right anyway.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
