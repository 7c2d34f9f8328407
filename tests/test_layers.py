"""Rules of the code base: import order, light modules, lengths of files and functions, and Raises sections."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tfbert"
BENCHMARKS = ROOT / "benchmarks"
# Modules of the package that all modules of benchmarks may import; `internals` may import any.
PUBLIC = {"tfbert.commands.program", "tfbert.files", "tfbert.serving.litert", "tfbert.serving.saved_predictor"}
# Modules and subpackages in import order: a module may import from its own layer and from those before it.
LAYERS = [
    "files",
    "imports",
    "extras",
    "nearest",
    "progress_bars",
    "fields",
    "interrupts",
    "data_config",
    "decision_config",
    "config",
    "space",
    "text",
    "encoder",
    "heads",
    "evaluation",
    "calibration",
    "tasks",
    "models",
    "explanation",
    "data_quality",
    "training",
    "pretraining",
    "hyperparameters",
    "huggingface",
    "serving",
    "robustness",
    "audit",
    "comparison",
    "api",
    "commands",
    "__main__",
]
HEAVY = ["tensorflow", "tensorflow_text", "keras", "keras_hub", "keras_tuner", "sklearn", "matplotlib"]
LIGHT = ["tfbert", "tfbert.imports", "tfbert.config", "tfbert.space", "tfbert.encoder.presets"]
LIGHT += [
    "tfbert.serving.client",
    "tfbert.serving.client_rest",
    "tfbert.serving.client_grpc",
    "tfbert.serving.remote_predictor",
    "tfbert.serving.requests",
]
# Standalone scripts, which are templates.
TEMPLATES = PACKAGE / "serving" / "deploy"
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_TOOL_LINES = 400, 60, 80

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if not path.is_relative_to(TEMPLATES))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    """Return the name after `tfbert.`, or an empty string for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def imported(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of every import in a file, including those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def is_lazy_api(layer: str, imported_layer: str) -> bool:
    """Return whether the package itself imports its API, which it does when a public name is first used."""
    return not layer and imported_layer in ("api", "imports")


def order_violations(path: Path, root: Path = ROOT) -> list[str]:
    """Return the imports of a module from layers after its own."""
    module = module_name(path, root)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    layer, violations = layer_of(module), []
    for line, name in imported(parse(path), package):
        top, imported_layer = name.partition(".")[0], layer_of(name)
        is_later = imported_layer not in LAYERS or not layer or LAYERS.index(imported_layer) > LAYERS.index(layer)
        is_later = is_later and not is_lazy_api(layer, imported_layer)
        if top in ("tools", "benchmarks") or (top == "tfbert" and imported_layer and is_later):
            violations.append(f"{module}:{line} imports {name}")
    return violations


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield every function with its dotted name, including nested functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | Function):
            name = f"{prefix}{child.name}"
            if isinstance(child, Function):
                yield name, child
            yield from functions(child, f"{name}.")
        else:
            yield from functions(child, prefix)


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function, except those of nested functions."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def raises_value_error(function: Function) -> bool:
    raised = [node.exc for node in own_nodes(function) if isinstance(node, ast.Raise) and node.exc]
    names = [error.func if isinstance(error, ast.Call) else error for error in raised]
    return any(isinstance(name, ast.Name) and name.id == "ValueError" for name in names)


def public_functions(
    body: list[ast.stmt], owner: ast.ClassDef | None = None
) -> Iterator[tuple[str, Function, ast.AST]]:
    """Yield each public function with its dotted name and the node that documents it: for `__init__`, the class."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, node)
        elif isinstance(node, Function) and (node.name == "__init__" or not node.name.startswith("_")):
            prefix = f"{owner.name}." if owner else ""
            yield prefix + node.name, node, owner if owner and node.name == "__init__" else node


def undocumented(tree: ast.Module) -> list[str]:
    """Return the public functions that raise a ValueError but have no Raises section."""
    return [
        name
        for name, function, documented in public_functions(tree.body)
        if raises_value_error(function) and "Raises:" not in (ast.get_docstring(documented) or "")
    ]


def is_task_name(node: ast.AST) -> bool:
    """Return whether an expression reads `task`, `x.task`, `task_name`, `task.name` or `x.task.name`."""
    if isinstance(node, ast.Name):
        return node.id in ("task", "task_name")
    if not isinstance(node, ast.Attribute):
        return False
    return node.attr in ("task", "task_name") or (node.attr == "name" and is_task_name(node.value))


def branches_on_a_task(tree: ast.Module) -> list[int]:
    """Return the lines that compare or match a task or its name."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Match) and is_task_name(node.subject):
            lines.append(node.lineno)
        elif isinstance(node, ast.Compare) and any(is_task_name(side) for side in (node.left, *node.comparators)):
            is_none_test = all(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops)
            lines += [] if is_none_test else [node.lineno]
    return lines


def num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_module_is_in_a_layer():
    layers = {layer_of(module_name(path)) for path in python_files(PACKAGE)} - {""}
    assert layers <= set(LAYERS) and {"config", "text", "encoder", "heads", "tasks", "training", "serving"} <= layers


def test_modules_import_only_from_earlier_layers():
    assert [line for path in python_files(PACKAGE) for line in order_violations(path)] == []


@pytest.mark.parametrize(
    ("module", "code", "is_violation"),
    [
        ("text/packing.py", "from tfbert.text.records import Record", False),
        ("text/packing.py", "import tfbert.config", False),
        ("text/packing.py", "from tfbert import config", False),
        ("text/packing.py", "from tfbert.encoder import presets", True),
        ("text/packing.py", "from tfbert import encoder", True),
        ("text/packing.py", "def f():\n    import tfbert.encoder.presets as p", True),
        ("text/packing.py", "from ..encoder import presets", True),
        ("text/packing.py", "from .. import encoder", True),
        ("text/packing.py", "from . import records", False),
        ("text/__init__.py", "from .records import Record", False),
        ("text/__init__.py", "from ..heads import pooled", True),
        ("config.py", "from tfbert.text import records", True),
        ("serving/export.py", "from tfbert.training import run", False),
        ("serving/export.py", "import tools.common", True),
        ("serving/export.py", "from benchmarks.processes import free_ports", True),
        ("__init__.py", "import tfbert.config", True),
        ("__init__.py", "from tfbert.api import models", False),
        ("training/run.py", "from tfbert.attic import old", True),
    ],
)
def test_imports_from_later_layers_are_detected(tmp_path, module, code, is_violation):
    path = tmp_path / "tfbert" / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    assert bool(order_violations(path, tmp_path)) is is_violation


def test_only_benchmarks_import_benchmarks():
    imports = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in python_files(PACKAGE) + python_files(ROOT / "tools")
        for line, name in imported(parse(path), module_name(path).rpartition(".")[0])
        if name.partition(".")[0] == "benchmarks"
    ]
    assert imports == []


def test_only_one_module_of_benchmarks_imports_internals():
    violations, num_imports = [], 0
    for path in python_files(BENCHMARKS):
        for line, name in imported(parse(path), module_name(path).rpartition(".")[0]):
            num_imports += name.startswith("tfbert.")
            is_public = any(f"{name}.".startswith(f"{module}.") for module in PUBLIC)
            if name.startswith("tfbert.") and not is_public and path.name != "internals.py":
                violations.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert violations == []
    assert num_imports > 20


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_no_heavy_packages(module):
    program = f"import sys, {module}\nprint(*sorted(set({HEAVY}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_code_outside_tasks_does_not_branch_on_the_task():
    outside = [path for path in python_files(PACKAGE) if "tasks" not in path.relative_to(PACKAGE).parts[:1]]
    outside += python_files(ROOT / "tools") + python_files(BENCHMARKS)
    branches = [f"{path.relative_to(ROOT)}:{line}" for path in outside for line in branches_on_a_task(parse(path))]
    assert branches == []


@pytest.mark.parametrize(
    ("code", "is_branch"),
    [
        ("if task == 'qa': pass", True),
        ("x = 1 if config.task != 'qa' else 2", True),
        ("if 'qa' == problem.task.name: pass", True),
        ("if task.name in ('qa', 'ner'): pass", True),
        ("match config.task:\n    case 'qa': pass", True),
        ("if task is None: pass", False),
        ("if name == 'qa': pass", False),
        ("if task.monitor == 'accuracy': pass", False),
    ],
)
def test_branches_on_a_task_are_detected(code, is_branch):
    assert bool(branches_on_a_task(ast.parse(code))) is is_branch


def environment_variables(tree: ast.Module) -> Iterator[str]:
    """Yield the names of environment variables that are accessed by `os.environ` or `os.getenv`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("os.environ.", "os.getenv")):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield from (child.value for child in ast.walk(node.slice) if isinstance(child, ast.Constant))


def test_runs_do_not_depend_on_other_environment_variables():
    commands = python_files(PACKAGE / "commands")
    library = [path for path in python_files(PACKAGE) if path not in commands]
    # Experiment trackers do not affect a run; their packages read these variables, too.
    trackers = PACKAGE / "training" / "tracker_backends.py"
    library.remove(trackers)
    assert all(name.startswith(("WANDB_", "MLFLOW_")) for name in environment_variables(parse(trackers)))
    names = {name for path in library for name in environment_variables(parse(path))}
    # Directories, and the processes of a distributed training.
    assert names == {"TFBERT_CACHE", "XDG_CACHE_HOME", "TF_CONFIG"}
    names = {name for path in commands for name in environment_variables(parse(path))}
    # Messages, tracebacks, colours, and how a process of a distributed search ends.
    assert names == {"TF_CPP_MIN_LOG_LEVEL", "TFBERT_DEBUG", "NO_COLOR", "KERASTUNER_TUNER_ID"}
    names = {name for path in python_files(BENCHMARKS) for name in environment_variables(parse(path))}
    assert names == {"TFBERT_PEERS_PYTHON"}


@pytest.mark.parametrize("code", ["os.environ.get('A', 1)", "os.getenv('A')", "os.environ['A']", "os.environ.pop('A')"])
def test_environment_variables_are_detected(code):
    assert list(environment_variables(ast.parse(code))) == ["A"]


def test_files_are_short():
    paths = python_files(PACKAGE) + python_files(BENCHMARKS)
    lengths = {str(path.relative_to(ROOT)): num_lines(path) for path in paths}
    assert {path: length for path, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_tools_are_thin():
    lengths = {str(path.relative_to(ROOT)): num_lines(path) for path in python_files(ROOT / "tools")}
    assert {path: length for path, length in lengths.items() if length > MAX_TOOL_LINES} == {}


def test_functions_are_short():
    lengths = {
        f"{path.relative_to(ROOT)}:{name}": function.end_lineno - function.lineno + 1
        for path in python_files(PACKAGE) + python_files(ROOT / "tools") + python_files(BENCHMARKS)
        for name, function in functions(parse(path))
    }
    assert len(lengths) > 100
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


def test_public_functions_document_the_errors_they_raise():
    paths = python_files(PACKAGE) + python_files(BENCHMARKS)
    functions_without_raises = [
        f"{path.relative_to(ROOT)}:{name}" for path in paths for name in undocumented(parse(path))
    ]
    assert functions_without_raises == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f():\n    '''Do.'''\n    raise ValueError('x')", ["f"]),
        ("def f():\n    if x:\n        raise ValueError", ["f"]),
        ("def f():\n    '''Do.\n\n    Raises:\n        ValueError: x.\n    '''\n    raise ValueError('x')", []),
        ("def _f():\n    raise ValueError('x')", []),
        ("def f():\n    def g():\n        raise ValueError('x')\n    return g", []),
        ("class A:\n    '''Be.'''\n    def __init__(self):\n        raise ValueError('x')", ["A.__init__"]),
        ("class A:\n    '''Raises: x'''\n    def __init__(self):\n        raise ValueError('x')", []),
        ("class A:\n    def m(self):\n        raise ValueError('x')", ["A.m"]),
        ("class _A:\n    def m(self):\n        raise ValueError('x')", []),
    ],
)
def test_missing_raises_sections_are_detected(code, expected):
    assert undocumented(ast.parse(code)) == expected
