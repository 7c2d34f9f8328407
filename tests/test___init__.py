"""The package: its public names are imported when they are first used."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tfbert
from tfbert.api import jobs, models


def test_the_public_names_are_listed_and_known_to_type_checkers():
    assert set(tfbert.__all__) <= set(dir(tfbert))
    tree = ast.parse(Path(tfbert.__file__).read_text(encoding="utf-8"))
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    assert sorted(alias.name for node in checked.body for alias in node.names) == tfbert.__all__


@pytest.mark.parametrize("name", tfbert.__all__)
def test_a_public_name_is_an_object_of_the_api(name):
    value = getattr(tfbert, name)
    assert value is getattr(models, name, None) or value is getattr(jobs, name)
    assert value.__doc__


def test_no_public_name_is_a_module():
    # Importing a module replaces an attribute of the package that has its name.
    assert not {module.name for module in pkgutil.iter_modules(tfbert.__path__)} & set(tfbert.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tfbert' has no attribute 'finetune'"):
        tfbert.finetune  # noqa: B018


def test_importing_the_package_imports_no_tensorflow():
    program = "import sys, tfbert; dir(tfbert); print(tfbert.__version__, 'tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == f"{tfbert.__version__} False\n"
