"""A tool and its arguments in, a process that ran it out: what every table is measured with."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

TOOLS = Path(__file__).parents[2] / "tools"


def run_tool(
    name: str, arguments: Sequence[str], settings: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> None:
    """Run one of the tools in a process of its own, with the output going where ours goes.

    Args:
        name: of its file.
        arguments: of its command line.
        settings: config paths and values, as `--set` takes them.
        environment: variables that it has besides ours.

    Raises:
        ChildProcessError: it failed; what it said stands above.
    """
    command = [sys.executable, str(TOOLS / f"{name}.py"), *arguments]
    for path, value in settings.items():
        command += ["--set", f"{path}={value}"]
    logger.info("%s", " ".join(command[1:]))
    code = subprocess.run(command, check=False, env={**os.environ, **(environment or {})}).returncode
    if code:
        raise ChildProcessError(f"tools/{name}.py ended with exit code {code}; what it said is above")
