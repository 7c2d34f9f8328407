"""`tests/` mirrors `tfbert/`: each module with logic has a test file of the same name in the same subdirectory."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def has_logic(tree: ast.Module) -> bool:
    """Return whether a module has a function with a body. Fields and abstract methods are not logic."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(not is_abstract(function) for function in functions)


def is_abstract(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function has only a docstring."""
    return len(function.body) == 1 and ast.get_docstring(function) is not None


def without_tests(root: Path) -> set[str]:
    """Return the paths of modules with logic that have no test file."""
    missing, templates = set(), root / "tfbert" / "serving" / "deploy"
    for path in (root / "tfbert").rglob("*.py"):
        if path.is_relative_to(templates):
            continue
        module = path.relative_to(root / "tfbert").with_suffix("")
        test = root / "tests" / module.with_name(f"test_{module.name}.py")
        if not test.exists() and has_logic(ast.parse(path.read_text(encoding="utf-8"))):
            missing.add(module.as_posix())
    return missing


def test_every_module_with_logic_has_a_test_file_of_its_name():
    assert without_tests(ROOT) == set()


@pytest.mark.parametrize(
    ("module", "code", "test", "is_missing"),
    [
        ("text/rows.py", "def f(): pass", "text/test_rows.py", False),
        ("text/rows.py", "def f(): pass", "test_rows.py", True),
        ("text/rows.py", "class A:\n    async def f(self): pass", "text/test_records.py", True),
        ("text/rows.py", "LIMIT = 3\n\nclass A:\n    x: int", "text/test_records.py", False),
        ("config.py", "def f(): pass", "test_config.py", False),
        ("text/rows.py", "class A:\n    def f(self):\n        '''Do.'''", "text/test_records.py", False),
    ],
)
def test_a_module_without_tests_is_found(tmp_path, module, code, test, is_missing):
    for path, content in ((tmp_path / "tfbert" / module, code), (tmp_path / "tests" / test, "")):
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")
    assert without_tests(tmp_path) == ({module.removesuffix(".py")} if is_missing else set())
