"""The house rules that a reader relies on: who imports whom, what stays light, how long things get."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tfbert"
BENCHMARKS = ROOT / "benchmarks"
# What modules of benchmarks other than `internals` may import from the package.
PUBLIC = {"tfbert.files", "tfbert.serving.litert", "tfbert.serving.saved_predictor"}
# Data flows one way: a module imports from its own room and from those before it.
ROOMS = [
    "files",
    "imports",
    "nearest",
    "fields",
    "interrupts",
    "config",
    "space",
    "text",
    "encoder",
    "heads",
    "evaluation",
    "tasks",
    "models",
    "training",
    "pretraining",
    "search",
    "serving",
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
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_TOOL_LINES = 400, 60, 80

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the part after `tfbert.`, or nothing for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def imported(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything imported, wherever in the file it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def against_the_order(path: Path, root: Path = ROOT) -> list[str]:
    """Return what a module imports from a room after its own."""
    module = module_name(path, root)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    room, found = room_of(module), []
    for line, name in imported(parse(path), package):
        top, other = name.partition(".")[0], room_of(name)
        is_later = other not in ROOMS or not room or ROOMS.index(other) > ROOMS.index(room)
        if top in ("tools", "benchmarks") or (top == "tfbert" and other and is_later):
            found.append(f"{module}:{line} imports {name}")
    return found


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield dotted name and function of every function, nested ones too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | Function):
            name = f"{prefix}{child.name}"
            if isinstance(child, Function):
                yield name, child
            yield from functions(child, f"{name}.")
        else:
            yield from functions(child, prefix)


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions inside it."""
    open_nodes: list[ast.AST] = list(function.body)
    while open_nodes:
        node = open_nodes.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda):
            open_nodes.extend(ast.iter_child_nodes(node))


def raises_value_error(function: Function) -> bool:
    raised = [node.exc for node in own_nodes(function) if isinstance(node, ast.Raise) and node.exc]
    names = [error.func if isinstance(error, ast.Call) else error for error in raised]
    return any(isinstance(name, ast.Name) and name.id == "ValueError" for name in names)


def public_functions(
    body: list[ast.stmt], owner: ast.ClassDef | None = None
) -> Iterator[tuple[str, Function, ast.AST]]:
    """Yield dotted name, function and what documents it: of `__init__`, its class. Nothing inside functions."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, node)
        elif isinstance(node, Function) and (node.name == "__init__" or not node.name.startswith("_")):
            prefix = f"{owner.name}." if owner else ""
            yield prefix + node.name, node, owner if owner and node.name == "__init__" else node


def undocumented(tree: ast.Module) -> list[str]:
    """Return the public functions that raise a ValueError and do not say so."""
    return [
        name
        for name, function, documented in public_functions(tree.body)
        if raises_value_error(function) and "Raises:" not in (ast.get_docstring(documented) or "")
    ]


def is_task_name(node: ast.AST) -> bool:
    """Say whether an expression reads `task`, `x.task`, `task_name`, `task.name` or `x.task.name`."""
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


def test_every_module_has_a_room():
    found = {room_of(module_name(path)) for path in python_files(PACKAGE)} - {""}
    assert found <= set(ROOMS) and {"config", "text", "encoder", "heads", "tasks", "training", "serving"} <= found


def test_modules_import_from_rooms_before_their_own():
    assert [line for path in python_files(PACKAGE) for line in against_the_order(path)] == []


@pytest.mark.parametrize(
    ("place", "code", "is_against"),
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
        ("training/run.py", "from tfbert.attic import old", True),
    ],
)
def test_an_import_against_the_order_is_seen(tmp_path, place, code, is_against):
    path = tmp_path / "tfbert" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    assert bool(against_the_order(path, tmp_path)) is is_against


def test_nothing_but_benchmarks_imports_benchmarks():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in python_files(PACKAGE) + python_files(ROOT / "tools")
        for line, name in imported(parse(path), module_name(path).rpartition(".")[0])
        if name.partition(".")[0] == "benchmarks"
    ]
    assert found == []


def test_benchmarks_reach_inside_the_package_in_one_module():
    found, num_imports = [], 0
    for path in python_files(BENCHMARKS):
        for line, name in imported(parse(path), module_name(path).rpartition(".")[0]):
            num_imports += name.startswith("tfbert.")
            is_public = any(f"{name}.".startswith(f"{module}.") for module in PUBLIC)
            if name.startswith("tfbert.") and not is_public and path.name != "internals.py":
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert found == []
    assert num_imports > 20


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_imports_nothing_heavy(module):
    program = f"import sys, {module}\nprint(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_tasks_are_not_told_apart_outside_their_folder():
    outside = [path for path in python_files(PACKAGE) if "tasks" not in path.relative_to(PACKAGE).parts[:1]]
    outside += python_files(ROOT / "tools") + python_files(BENCHMARKS)
    found = [f"{path.relative_to(ROOT)}:{line}" for path in outside for line in branches_on_a_task(parse(path))]
    assert found == []


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
def test_a_branch_on_a_task_is_seen(code, is_branch):
    assert bool(branches_on_a_task(ast.parse(code))) is is_branch


def environment_variables(tree: ast.Module) -> Iterator[str]:
    """Yield the names of those that are read or set by `os.environ` or `os.getenv`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("os.environ.", "os.getenv")):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield from (part.value for part in ast.walk(node.slice) if isinstance(part, ast.Constant))


def test_what_decides_a_run_is_in_its_config_and_not_in_the_environment():
    found = {name for path in python_files(PACKAGE) for name in environment_variables(parse(path))}
    # Where things are, and how many processes there are.
    assert found == {"TFBERT_CACHE", "XDG_CACHE_HOME", "TF_CONFIG"}
    found = {name for path in python_files(BENCHMARKS) for name in environment_variables(parse(path))}
    assert found == {"TFBERT_PEERS_PYTHON"}


@pytest.mark.parametrize("code", ["os.environ.get('A', 1)", "os.getenv('A')", "os.environ['A']", "os.environ.pop('A')"])
def test_a_variable_of_the_environment_is_seen(code):
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


def test_public_functions_say_what_they_raise():
    paths = python_files(PACKAGE) + python_files(BENCHMARKS)
    found = [f"{path.relative_to(ROOT)}:{name}" for path in paths for name in undocumented(parse(path))]
    assert found == []


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
def test_a_missing_raises_section_is_seen(code, expected):
    assert undocumented(ast.parse(code)) == expected
