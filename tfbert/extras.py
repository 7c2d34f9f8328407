"""Optional packages: their import, and the command that installs them."""

import importlib
import importlib.metadata
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

DISTRIBUTION = "tfbert-keras"
_CHECKOUT = Path(__file__).parents[1]
# Apache Beam does not work with the version of protobuf that the constraints name.
_UNCONSTRAINED = {"beam"}


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, and where to run it.

    Args:
        extra: the name of the extra in setup.cfg.
    """
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    names = [name.partition(";")[0].strip() for name in requirements if re.search(f"extra == ['\"]{extra}['\"]", name)]
    # Packages are named one by one where there is no checkout: this project is not on the public package index.
    if names and not (_CHECKOUT / "setup.cfg").exists():
        return f"pip install {shlex.join(names)}"
    constraints = "" if extra in _UNCONSTRAINED else " -c constraints.txt"
    return f"pip install -e '.[{extra}]'{constraints} in the checkout"


def import_library(module: str, needed_by: str, extra: str | None = None) -> ModuleType:
    """Return a module of an optional library, or a module of this package that imports one.

    Args:
        module: the name of the module.
        needed_by: what needs it, for the message, such as `Excel workbooks`.
        extra: the extra that installs the library; `None` if the library's name is enough.

    Raises:
        ValueError: the library is not installed or is damaged; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        problem = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        raise ValueError(_message((error.name or module).partition(".")[0], problem, needed_by, extra)) from error


def require_library(library: str, needed_by: str, extra: str) -> None:
    """Check that an optional library is installed, without importing it.

    Args:
        library: the name of the library's module.
        needed_by: as for `import_library`.
        extra: as for `import_library`.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    spec = importlib.util.find_spec(library)
    # A directory of this name, such as the one that W&B writes, is a namespace package without an origin.
    if spec is None or spec.origin is None:
        raise ValueError(_message(library, "is not installed", needed_by, extra))


def _message(library: str, problem: str, needed_by: str, extra: str | None) -> str:
    command = install_command(extra) if extra else f"pip install {library}"
    return f"the package {library}, needed for {needed_by}, {problem}; install it with: {command}"
