"""The line about the processor beside a result, and that it is printed, quietly or not."""

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


def test_what_is_there_and_what_is_not():
    assert machine.describe(CPUINFO, {"HOME": "/root"}) == (
        "processor: Some CPU @ 2 GHz; flags: avx2 fma avx512f avx512_bf16; "
        "without avx_vnni avx512_vnni avx512_fp16 amx_tile amx_bf16; environment: default"
    )


def test_variables_that_matter_are_named():
    environment = {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0", "LANG": "C"}
    assert machine.describe(CPUINFO, environment).endswith(
        "; environment: TF_ENABLE_ONEDNN_OPTS=0 ONEDNN_MAX_CPU_ISA=AVX2"
    )


def test_where_nothing_is_known():
    assert machine.describe("", {}).endswith("; flags: not known; environment: default")


@pytest.mark.parametrize("options", [["-q"], []])
def test_it_is_printed_once_beside_the_result(options, pytestconfig):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *options,
        f"{__file__}::test_where_nothing_is_known",
    ]
    done = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines().count(machine.this_machine()) == 1
