"""On what kind of processor tests were run, in a line that stands beside their result."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

# What decides which way matrices are multiplied, by TensorFlow, oneDNN and NumPy.
FLAGS = ["avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"]
VARIABLES = [
    "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE", "TF_XLA_FLAGS",
]  # fmt: skip


def describe(cpuinfo: str, environment: Mapping[str, str]) -> str:
    """Return the model of the processor, those of its flags that matter, and variables that change what is used.

    Args:
        cpuinfo: text of `/proc/cpuinfo`; empty where there is none.
        environment: of the process.
    """
    fields = dict(line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    there = set(fields.get("flags", "").split())
    found = [flag for flag in FLAGS if flag in there]
    missing = [flag for flag in FLAGS if flag not in there]
    chosen = [f"{name}={environment[name]}" for name in VARIABLES if name in environment]
    flags = f"{' '.join(found) or 'none'}; without {' '.join(missing) or 'none'}" if there else "not known"
    model = fields.get("model name") or platform.machine()
    return f"processor: {model}; flags: {flags}; environment: {' '.join(chosen) or 'default'}"


def this_machine() -> str:
    """Return the description of the machine that this process runs on."""
    path = Path("/proc/cpuinfo")
    return describe(path.read_text(encoding="utf-8") if path.is_file() else "", os.environ)
