"""Training precision: the dtype policy and the dtype of matrix products that a machine gets."""

import pytest
import tensorflow as tf

from tfbert.encoder import precision
from tfbert.encoder.precision import choose_precision


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretend to be a machine with these processor flags and GPUs, given as compute capabilities."""

    def pretend(flags="fpu sse2", gpus=()):
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor\t: 0\nmodel name\t: amx_bf16 fan\nflags\t\t: {flags}\nbugs\t\t: none\n")
        monkeypatch.setattr(precision, "Path", lambda name: path if name == "/proc/cpuinfo" else None)
        details = [{} if gpu is None else {"compute_capability": gpu} for gpu in gpus]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(range(len(gpus))))
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu])
        return path

    return pretend


@pytest.mark.parametrize(
    ("flags", "products"),
    [
        ("fpu avx512f amx_bf16 amx_tile amx_int8", "bfloat16"),
        ("fpu avx2", None),
        ("fpu avx512f avx512_bf16", "bfloat16"),
        ("fpu amx_tile amx_int8", None),
        ("", None),
    ],
)
def test_auto_depends_on_the_flags_of_the_cpu(machine, flags, products):
    machine(flags)
    assert choose_precision("auto") == ("float32", products)


def test_bfloat16_without_fast_layers_requires_amx(machine):
    machine("fpu avx512_bf16")
    assert choose_precision("auto", fast=False) == ("float32", None)
    machine("fpu amx_bf16")
    assert choose_precision("auto", fast=False) == ("mixed_bfloat16", None)


def test_auto_is_float32_if_the_flags_are_unknown(machine):
    path = machine("fpu amx_bf16")
    path.write_text("processor: 0\n")
    assert choose_precision("auto") == ("float32", None)
    path.unlink()
    assert choose_precision("auto") == ("float32", None)


@pytest.mark.parametrize(
    ("gpus", "policy"),
    [
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (8, 6)], "mixed_bfloat16"),
        ([(7, 5)], "float32"),
        ([(9, 0), (7, 0)], "float32"),
        ([(10, 0)], "mixed_bfloat16"),
        ([None], "float32"),
    ],
)
def test_auto_depends_on_the_gpus_if_there_are_any(machine, gpus, policy):
    machine("fpu amx_bf16", gpus)
    assert choose_precision("auto") == (policy, None)


@pytest.mark.parametrize("flags", ["fpu", "fpu amx_bf16"])
def test_an_explicit_precision_is_used(machine, flags):
    machine(flags)
    assert choose_precision("float32") == ("float32", None)
    assert choose_precision("float16") == ("mixed_float16", None)
    assert choose_precision("bfloat16") == ("float32", "bfloat16")
    assert choose_precision("bfloat16", fast=False) == ("mixed_bfloat16", None)
    machine(flags, [(7, 5)])
    assert choose_precision("bfloat16") == ("mixed_bfloat16", None)
