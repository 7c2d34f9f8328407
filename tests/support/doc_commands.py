"""The shell commands of README.md and docs/, and a directory with the files that they name."""

import functools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl

from support import small

ROOT = small.ROOT
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
VARIABLE = re.compile(r"([A-Z_]+)=(.*)", re.DOTALL)
# A block of shell commands that need a container, or a server that runs in one, is marked so.
CONTAINER = "container"
PROGRAMS = (
    "cd", "curl", "docker", "git", "kubectl", "make", "pip", "pytest", "python", ".venv/bin/python", "source", "tfbert",
)  # fmt: skip
STARTS = re.compile(rf"^(?:export +|[A-Z_]+=\S+ +)*(?:{'|'.join(map(re.escape, PROGRAMS))}) ", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command of a page."""

    page: str
    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = ""

    @property
    def tool(self) -> str:
        """The command of `tfbert`; empty for other programs."""
        return self.words[1] if self.words[0] == "tfbert" and len(self.words) > 1 else ""


def _lines(block: str) -> Iterator[str]:
    """Yield the commands of a block. A quoted argument may contain line breaks."""
    line = ""
    for part in block.splitlines():
        line += part
        try:
            shlex.split(line, comments=True)
        except ValueError:
            line += "\n"
            continue
        yield line
        line = ""
    assert not line, f"a quote is not closed: {line}"


def _commands(page: str, block: str, mark: str = "") -> Iterator[Command]:
    exported: dict[str, str] = {}
    for line in _lines(block):
        words = shlex.split(line, comments=True)
        for part in " ".join(map(shlex.quote, words)).split(" '&&' "):
            words = shlex.split(part)
            variables, is_exported = {}, words[:1] == ["export"]
            words = words[is_exported:]
            while words and (match := VARIABLE.fullmatch(words[0])):
                variables[match[1]] = match[2]
                words = words[1:]
            if is_exported:
                exported |= variables
            if words:
                words = words[: words.index(">")] if ">" in words else words
                yield Command(page, tuple(words), exported | variables, mark)


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Return the language and the content of every fenced block of a page."""
    return FENCED.findall((ROOT / page).read_text(encoding="utf-8"))


@functools.cache
def commands_of(page: str) -> list[Command]:
    """Return the commands in the shell blocks of a page."""
    commands = []
    for language, block in blocks_of(page):
        name, _, mark = language.partition(" ")
        if name == "sh":
            commands += _commands(page, block, mark)
    return commands


@functools.cache
def inline_commands_of(page: str) -> list[Command]:
    """Return the commands in the running text of a page, without those of `tfbert` and the benchmarks.

    These are often incomplete; test_docs.py checks their options.
    """
    text = FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))
    pieces = [piece for piece in INLINE.findall(text) if STARTS.match(piece)]
    commands = [command for piece in pieces for command in _commands(page, piece)]
    return [command for command in commands if command.words[0] != "tfbert" and "benchmarks" not in command.words]


def _write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_corpus(directory: Path) -> None:
    directory.mkdir()
    shutil.copy(ROOT / "tfbert" / "samples" / "pretraining" / "office.txt", directory)


def write_workspace(directory: Path, task: str | None) -> None:
    """Write the files that the pages name.

    Args:
        directory: a new directory.
        task: the task of the page, whose samples are `data/`; `None` for pages of no task.
    """
    directory.mkdir()
    for number, name in enumerate(["reviews.csv", "old.csv", "old_tickets.csv", "labelled.csv", "new.csv"], 1):
        small.write_csv(directory / name, small.rows(60, number))
    rows = [
        (f"{('he', 'she')[number % 2]} asks: {text}", label, ("north", "south")[number // 2 % 2])
        for number, (text, label) in enumerate(small.rows(120, 8))
    ]
    lines = ["text,label,region", *(",".join(row) for row in rows)]
    (directory / "by_region.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / "terms.txt").write_text("groups: cards | fees\ncard | fee\n", encoding="utf-8")
    workbook = openpyxl.Workbook()
    for row in [("text", "label"), *small.rows(20, 6)]:
        workbook.active.append(row)
    workbook.save(directory / "recent.xlsx")
    _write_jsonl(directory / "held_out.jsonl", [{"text": t, "label": label} for t, label in small.rows(20, 7)])
    ids = {label: number for number, label in enumerate(small.TOPICS)}
    _write_jsonl(directory / "reviews.jsonl", [{"text": t, "label": ids[label]} for t, label in small.rows(80, 8)])
    words = [{"tokens": ["Ada", "Lovelace", "met", f"nobody{n}"], "ner_tags": [1, 2, 0, 0]} for n in range(60)]
    _write_jsonl(directory / "words.jsonl", words)
    tickets = "".join(f"{number},{text}\n" for number, (text, _) in enumerate(small.rows(10, 9)))
    (directory / "tickets.csv").write_text("id,message\n" + tickets, encoding="utf-8")
    (directory / "questions.txt").write_text("where is my card\nwhat is the fee\n", encoding="utf-8")
    for name in ("tickets", "shared/tickets"):
        small.write_data(directory / name)
    for name in ("texts", "archive"):
        _write_corpus(directory / name)
    if task is None:
        # Enough validation records for calibration.
        small.write_data(directory / "data", validation=120)
        run_dir, model_dir = small.finished_run()
        for name in ("RUN", "runs/classification/RUN", "runs/classification/A", "runs/classification/B"):
            shutil.copytree(run_dir, directory / name)
        shutil.copytree(model_dir, directory / "saved_models" / "NAME")
    else:
        shutil.copytree(ROOT / "tfbert" / "samples" / task, directory / "data")
        label = {"classification": "label", "regression": "value", "matching": "score"}.get(task)
        pairs = [{"text": t, "text_pair": f"{t} again", label: n % 4} for n, (t, _) in enumerate(small.rows(60, 10))]
        _write_jsonl(directory / "pairs.jsonl", pairs if label else [])
