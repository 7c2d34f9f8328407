"""The description of the processor, and that it is printed next to the test result, with and without -q."""

import subprocess
import sys

import pytest
from support import machine

CPUINFO = """processor	: 0
model name	: Some CPU @ 2 GHz
flags		: fpu avx2 fma avx512f avx512_bf16

processor	: 1
model name	: Some CPU @ 2 GHz
flags		: fpu avx2 fma avx512f avx512_bf16
"""


def test_present_and_missing_flags_are_listed():
    assert machine.describe(CPUINFO, {"HOME": "/root"}) == (
        "processor: Some CPU @ 2 GHz; flags: avx2 fma avx512f avx512_bf16; "
        "without avx_vnni avx512_vnni avx512_fp16 amx_tile amx_bf16; environment: default"
    )


def test_relevant_environment_variables_are_listed():
    environment = {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0", "LANG": "C"}
    assert machine.describe(CPUINFO, environment).endswith(
        "; environment: TF_ENABLE_ONEDNN_OPTS=0 ONEDNN_MAX_CPU_ISA=AVX2"
    )


def test_unknown_flags():
    assert machine.describe("", {}).endswith("; flags: not known; environment: default")


@pytest.mark.parametrize("options", [["-q"], []])
def test_the_description_is_printed_once(options, pytestconfig):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *options,
        f"{__file__}::test_unknown_flags",
    ]
    result = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert result.stdout.splitlines().count(machine.this_machine()) == 1
