"""The docs agree with the code: generated tables, links, command-line options and config paths."""

import argparse
import functools
import importlib.util
import re
from pathlib import Path

import pytest
from support import small

from tfbert.__main__ import COMMANDS
from tfbert.config import Config, paths
from tfbert.pretraining.config import PretrainConfig
from tfbert.tasks.base import fitted_kinds, list_tasks

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "saved_models" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "tfbert" / "samples").glob("*/README.md")),
]
# The changelog describes earlier versions, so only its links are checked.
LINKING_PAGES = [*PAGES, ROOT / "CHANGELOG.md"]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(rf"(?:tools/(\w+)\.py|-m (benchmarks)|\btfbert ({'|'.join(COMMANDS)}))\b([^\n;&]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
CONFIG_PATH = re.compile(r"(?<![\w./-])([a-z]+\.[a-z]+(?:_[a-z]+)*)(?![\w./(-])")
REPOSITORY_PATH = re.compile(r"(?<![\w./-])(?:tfbert|tests|tools|benchmarks|docs)/[\w./-]*\w")
FILE_ENDINGS = {"csv", "gz", "html", "json", "jsonl", "md", "py", "safetensors", "tsv", "txt", "zip"}
CONFIG_PATHS = {*paths(Config), *paths(PretrainConfig)}
SECTIONS = {path.partition(".")[0] for path in CONFIG_PATHS if "." in path}


@pytest.fixture(scope="module")
def tables():
    """Return the module that generates the tables."""
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page_name(page):
    return str(page.relative_to(ROOT))


def anchors(page):
    """Return the anchors that GitHub generates for the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_in(page):
    """Yield the code blocks and the inline code of a page, with continued lines joined."""
    for block, inline in CODE.findall(page.read_text(encoding="utf-8")):
        yield (block or inline).replace("\\\n", " ")


@functools.cache
def options_of(tool):
    """Return the command-line options of a tool or of the benchmarks."""
    parser = importlib.import_module("benchmarks.__main__").build_parser() if tool == "benchmarks" else None
    parser = parser or small.load_command(tool).build_parser(tool)
    assert isinstance(parser, argparse.ArgumentParser)
    return {option for action in parser._actions for option in action.option_strings}


def unknown_options(code):
    """Return the tool and the option of every command-line option in a code block that does not exist."""
    commands = [(next(filter(None, names)), arguments) for *names, arguments in COMMAND.findall(code)]
    return [f"{tool} {option}" for tool, arguments in commands for option in OPTION.findall(arguments.partition("#")[0])
            if option not in options_of(tool)]  # fmt: skip


def unknown_paths(code):
    """Return the names in a code block that look like config paths but do not exist."""
    matches = [path for path in CONFIG_PATH.findall(code) if path.partition(".")[0] in SECTIONS]
    return [path for path in matches if path.partition(".")[2] not in FILE_ENDINGS and path not in CONFIG_PATHS]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=page_name)
def test_generated_tables_are_up_to_date(page, tables):
    text = page.read_text(encoding="utf-8")
    assert tables.updated(text) == text, "run `make docs`"


@pytest.mark.parametrize("task", list_tasks())
def test_every_task_has_a_page_with_all_its_tables(task, tables):
    text = (ROOT / "docs" / f"{task}.md").read_text(encoding="utf-8")
    kinds = [f" {kind.__name__}" for kind in fitted_kinds(task)]
    kinds = kinds if len(kinds) > 1 else [""]
    expected = {f"<!-- {block} {task}{kind} -->" for block in ("outputs", "metrics") for kind in kinds}
    assert expected | {f"<!-- options {task} -->"} == set(re.findall(rf"<!-- \w+ {task}.* -->", text))
    assert len(tables.BLOCK.findall(text)) == len(expected) + 1


def test_a_table_follows_the_declarations(tables):
    old = "<!-- metrics classification -->\n| old |\n<!-- end -->\n"
    new = tables.updated(old)
    assert "| old |" not in new and "| `accuracy` | higher | fraction |" in new
    assert tables.updated(new) == new
    matching = tables.outputs("matching", "FittedScored")
    assert "| `text_pair` | string `[batch]` | input |  |" in matching and "`matched_question`" not in matching
    assert "`[batch, n]` | input" in tables.outputs("multiple_choice")
    assert "`text_pair` | string `[batch]` | input | only for" in tables.outputs("classification")
    with pytest.raises(ValueError, match="expected one of FittedPairs, FittedScored"):
        tables.updated(old.replace("classification", "matching"))


def test_options_of_a_task_have_its_defaults(tables):
    entities = tables.options("entities")
    assert "| `train.head_learning_rate_factor` | `10.0` | more than 0 |" in entities
    assert "| `data.word_separator` | `' '` |" in entities and "`head.pooling`" not in entities
    assert "`train.epochs`" not in entities


@pytest.mark.parametrize("page", LINKING_PAGES, ids=page_name)
def test_links_and_anchors_exist(page):
    for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_of_the_repository_exist(page):
    """Paths with capitals, such as TASK, and with `yours` are placeholders."""
    mentioned = {path for code in code_in(page) for path in REPOSITORY_PATH.findall(code)}
    real = {path for path in mentioned if path == path.lower() and "yours" not in path or path.endswith("README.md")}
    assert [path for path in sorted(real) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_options_and_config_paths_exist(page):
    code = list(code_in(page))
    assert [unknown for piece in code for unknown in unknown_options(piece)] == []
    assert [unknown for piece in code for unknown in unknown_paths(piece)] == []


@pytest.mark.parametrize(
    ("code", "unknown"),
    [
        ("python tools/train.py --data DIR --set train.epochs=1", []),
        ("python tools/train.py --dataset DIR", ["train --dataset"]),
        ("tfbert train --dataset DIR; tfbert list --task ner", ["train --dataset"]),
        ("python tools/train.py --data DIR  # --dataset is none", []),
        ("python -m benchmarks quality --data DIR --only NAME --once", ["benchmarks --once"]),
        ("tools/serve.py --rest_api_port=8501 --rest_port=1", ["serve --rest_port"]),
        ("--set train.epoch=1 --set 'data.columns=text=a.b'", ["train.epoch"]),
        ("examples.pairs, encoder.json, tfbert.data.path, train.csv.gz", []),
        ("`encoder.hidden_size`", ["encoder.hidden_size"]),
    ],
)
def test_missing_options_and_paths_are_detected(code, unknown):
    assert unknown_options(code) + unknown_paths(code) == unknown
