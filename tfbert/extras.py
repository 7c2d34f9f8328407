"""Optional packages: the command that installs the packages of an extra."""

import importlib.metadata
import re
import shlex
from pathlib import Path

DISTRIBUTION = "tfbert-keras"
_CHECKOUT = Path(__file__).parents[1]


def install_command(extra: str, constrained: bool = True) -> str:
    """Return the command that installs the packages of an extra, and where to run it.

    Args:
        extra: the name of the extra in setup.cfg.
        constrained: whether to install the versions that were tested together, which only a checkout lists.
    """
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    names = [name.partition(";")[0].strip() for name in requirements if re.search(f"extra == ['\"]{extra}['\"]", name)]
    # Packages are named one by one where there is no checkout: this project is not on the public package index.
    if names and not (_CHECKOUT / "setup.cfg").exists():
        return f"pip install {shlex.join(names)}"
    constraints = " -c constraints.txt" if constrained else ""
    return f"pip install -e '.[{extra}]'{constraints} in the checkout"
