"""No value from a file or the network is run as code: what could do so is not used, or stands in a list here."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# They run what they read, or can be made to.
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "code"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "keras.models.load_model"}
CALLS |= {"keras.config.enable_unsafe_deserialization", "torch.load", "tf.keras.models.load_model"}
ARGUMENTS = {"shell": True, "allow_pickle": True, "safe_mode": False, "trust_remote_code": True}
# Where a module is imported by a name that is not written there, and why nobody else can choose it.
BY_NAME = {
    "tfbert/tasks/base.py",  # the files of the package's own folder
    "tfbert/pretraining/segmenters.py",  # allowed on the command line, see tests/pretraining/test_segmenters.py
    "benchmarks/__main__.py",  # the choices of its command line, and `common` beside the tools
}


def name_of(node):
    """Return the dotted name of a call's function; it begins with a dot where the object has no name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id if isinstance(node, ast.Name) else ""]))


def dangers(tree):
    """Yield line and what is there: an import, a call or an argument by which data could be run as code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module] if module else [alias.name for alias in node.names]
            yield from ((node.lineno, name) for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            if name_of(node.func) in CALLS:
                yield node.lineno, name_of(node.func)
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg in ARGUMENTS and value is not (not ARGUMENTS[keyword.arg]):
                    yield node.lineno, f"{keyword.arg}={value}"


def imports_by_name(tree):
    """Return whether a module is imported whose name is computed."""
    return any(
        isinstance(node, ast.Call)
        and name_of(node.func).rpartition(".")[2] in ("import_module", "module_from_spec", "spec_from_file_location")
        for node in ast.walk(tree)
    )


def sources():
    for folder in ("tfbert", "tools", "benchmarks", "deploy"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_nothing_is_used_that_runs_data():
    found = {name: list(dangers(tree)) for name, tree in sources()}
    assert len(found) > 150
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_modules_are_imported_by_name_in_known_places_only():
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
def test_a_danger_is_seen(code, expected):
    assert [what.partition(".x")[0] for _, what in dangers(ast.parse(code))] == [expected]


@pytest.mark.parametrize(
    "code", ["np.load(path)", "np.load(path, allow_pickle=False)", "re.compile(x)", "f(shell=False)", "f().eval()"]
)
def test_what_is_none_is_not_seen(code):
    assert list(dangers(ast.parse(code))) == []
