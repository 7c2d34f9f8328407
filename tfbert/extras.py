"""Optional packages: their import, and the command that installs the packages of an extra."""

import importlib
import importlib.metadata
import re
import shlex
from pathlib import Path
from types import ModuleType

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


def import_library(module: str, purpose: str) -> ModuleType:
    """Return a module of an optional library.

    Args:
        module: the name of the module.
        purpose: what needs it, as the plural subject of the message, such as `Excel workbooks`.

    Raises:
        ValueError: the library is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ValueError(f"{purpose} need the library {library}: pip install {library}") from error
