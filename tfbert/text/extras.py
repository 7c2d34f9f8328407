"""Optional libraries for reading files, which the extra `files` installs."""

import importlib
from types import ModuleType


def import_extra(module: str, files: str) -> ModuleType:
    """Return a module of the extra `files`.

    Args:
        module: the name of the module.
        files: the kind of files that it reads, for the message.

    Raises:
        ValueError: the library is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ValueError(f"{files} need the library {library}: pip install {library}") from error
