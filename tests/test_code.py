"""Code that could execute data from files or the network is not used; dynamic imports are in a list here."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Modules that execute the data that they read, or can be made to.
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "code"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "keras.models.load_model"}
CALLS |= {"keras.config.enable_unsafe_deserialization", "torch.load", "tf.keras.models.load_model"}
ARGUMENTS = {"shell": True, "allow_pickle": True, "safe_mode": False, "trust_remote_code": True}
# Files that import a module by a computed name, and what restricts the name.
BY_NAME = {
    "tfbert/__main__.py",  # the names of the commands
    "tfbert/extras.py",  # names written in the package
    "tfbert/tasks/base.py",  # files in the directory of the package
    "tfbert/pretraining/segmenters.py",  # allowed on the command line, see tests/commands/test_pretrain.py
    "benchmarks/__main__.py",  # choices of the command line
}


def dotted_name(node):
    """Return the dotted name of the function of a call. It begins with a dot if the object has no name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join(reversed([*names, node.id if isinstance(node, ast.Name) else ""]))


def unsafe_uses(tree):
    """Yield the line and a description of every import, call and argument that could execute data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module] if module else [alias.name for alias in node.names]
            yield from ((node.lineno, name) for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            if dotted_name(node.func) in CALLS:
                yield node.lineno, dotted_name(node.func)
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg in ARGUMENTS and value is not (not ARGUMENTS[keyword.arg]):
                    yield node.lineno, f"{keyword.arg}={value}"


def imports_by_name(tree):
    """Return whether a file imports a module by a computed name."""
    return any(
        isinstance(node, ast.Call)
        and dotted_name(node.func).rpartition(".")[2]
        in ("import_module", "module_from_spec", "spec_from_file_location")
        for node in ast.walk(tree)
    )


def sources():
    for folder in ("tfbert", "tools", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_unsafe_functions_are_not_used():
    by_file = {name: list(unsafe_uses(tree)) for name, tree in sources()}
    assert len(by_file) > 150
    assert {name: lines for name, lines in by_file.items() if lines} == {}


def test_only_listed_files_import_modules_by_computed_names():
    assert {name for name, tree in sources() if imports_by_name(tree)} == BY_NAME


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import pickle", "pickle"),
        ("from joblib import load", "joblib"),
        ("import marshal.x", "marshal"),
        ("eval(text)", "eval"),
        ("os.system(text)", "os.system"),
        ("subprocess.run(text, shell=True)", "shell=True"),
        ("subprocess.run(text, shell=flag)", "shell=None"),
        ("np.load(path, allow_pickle=True)", "allow_pickle=True"),
        ("f(safe_mode=False)", "safe_mode=False"),
        ("keras.models.load_model(path)", "keras.models.load_model"),
    ],
)
def test_unsafe_uses_are_detected(code, expected):
    assert [description.partition(".x")[0] for _, description in unsafe_uses(ast.parse(code))] == [expected]


@pytest.mark.parametrize(
    "code", ["np.load(path)", "np.load(path, allow_pickle=False)", "re.compile(x)", "f(shell=False)", "f().eval()"]
)
def test_safe_uses_are_not_reported(code):
    assert list(unsafe_uses(ast.parse(code))) == []
