"""A description of the processor that the tests run on, printed next to their result."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

# Flags that determine how TensorFlow, oneDNN and NumPy multiply matrices.
FLAGS = ["avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"]
VARIABLES = [
    "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE", "TF_XLA_FLAGS",
]  # fmt: skip


def describe(cpuinfo: str, environment: Mapping[str, str]) -> str:
    """Return the model of the processor, its relevant flags, and environment variables that change which are used.

    Args:
        cpuinfo: the text of `/proc/cpuinfo`, empty if the file does not exist.
        environment: the environment variables of the process.
    """
    fields = dict(line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    cpu_flags = set(fields.get("flags", "").split())
    present = [flag for flag in FLAGS if flag in cpu_flags]
    missing = [flag for flag in FLAGS if flag not in cpu_flags]
    chosen = [f"{name}={environment[name]}" for name in VARIABLES if name in environment]
    flags = f"{' '.join(present) or 'none'}; without {' '.join(missing) or 'none'}" if cpu_flags else "not known"
    model = fields.get("model name") or platform.machine()
    return f"processor: {model}; flags: {flags}; environment: {' '.join(chosen) or 'default'}"


def this_machine() -> str:
    """Return the description of the machine that this process runs on."""
    path = Path("/proc/cpuinfo")
    return describe(path.read_text(encoding="utf-8") if path.is_file() else "", os.environ)
