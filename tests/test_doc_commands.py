"""The shell commands of README.md and docs/: recognized or marked by a fast test, run on small data by a slow one.

Blocks of commands are ```` ```sh ````, or ```` ```sh container ```` if they need a container. test_docs.py checks the
options of commands in running text. The files that a page names, such as `tickets.csv` or `saved_models/NAME`, exist
under these names.
"""

import configparser
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import doc_commands, small
from support.doc_commands import CONTAINER, PAGES, ROOT, STARTS, Command, blocks_of, commands_of, inline_commands_of

from benchmarks.processes import free_ports
from tfbert.tasks.base import list_tasks

CONTAINER_PROGRAMS = {"docker", "kubectl"}
SHORT = ["--encoder", "tiny"]
FEW = ["--set", "train.epochs=1", "--set", "encoder.precision=float32", "--set", "train.batch_size=32"]
# Appended to the commands, so that they are fast.
SHORTENED = {
    "check": SHORT,
    "train": [*SHORT, *FEW, "--set", "encoder.sequence_length=32"],
    "search": [*SHORT, *FEW, "--set", "encoder.sequence_length=32", "--trials", "2", "--confirm", "0", "--no-export"],
    "pretrain": ["--set", "train.epochs=1", "--set", "examples.sequence_length=32", "--size", "200"],
}
SMALL_ENCODER = ["--set", "encoder.num_layers=1", "--set", "encoder.hidden_dim=16", "--set", "encoder.num_heads=2"]
# Options that need a library which tests do not install.
LIBRARIES = {"--vectors": "faiss"}
PRETRAINING = "runs/pretraining/TIME-HASH"


def task_of(page):
    """Return the task that a page describes, or `None`."""
    return Path(page).stem if Path(page).stem in list_tasks() else None


@functools.cache
def parser_of(tool):
    if tool == "benchmarks":
        return importlib.import_module("benchmarks.__main__").build_parser()
    return small.load_command(tool).build_parser(tool)


def make_targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def installable():
    """Return what commands may install: the checkout, with its extras, and the packages that the code names."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = parser["options.extras_require"]
    names = {
        re.match(r"[\w-]+", line)[0] for text in extras.values() for line in text.split("\n") if line[:1].isalpha()
    }
    return {".", "jieba", *names, *(f".[{extra}]" for extra in extras)}


def single_extras(requirements):
    """Return requirements with `.[a,b]` replaced by `.[a]` and `.[b]`."""
    listed = [re.fullmatch(r"\.\[(.+)\]", requirement) for requirement in requirements]
    extras = [f".[{name}]" for match in listed if match for name in match[1].split(",")]
    return [*extras, *(text for text, match in zip(requirements, listed, strict=True) if not match)]


def fault_of(command):
    """Return what is wrong with a command, or `None`."""
    program, *arguments = command.words
    if program in CONTAINER_PROGRAMS:
        return None if command.mark == CONTAINER else f"{program} needs a block ```sh {CONTAINER}"
    if command.mark not in ("", CONTAINER):
        return f"unknown mark {command.mark!r}"
    if program == "tfbert" or arguments[:2] == ["-m", "benchmarks"]:
        try:
            parser_of(command.tool or "benchmarks").parse_intermixed_args(arguments[1 if command.tool else 2 :])
        except (SystemExit, ModuleNotFoundError) as error:
            return f"cannot be parsed: {error}"
        return None
    known = {
        "make": lambda: all(word in make_targets() or "=" in word for word in arguments),
        "pip": lambda: arguments[0] != "install" or installable() & {*single_extras(arguments)},
        "pytest": lambda: (ROOT / arguments[0]).exists(),
        "python": lambda: arguments[0] == "-m" and importlib.util.find_spec(arguments[1]) is not None
        or arguments[0].startswith("tools/"),
        "git": lambda: arguments[0] == "clone",
        "cd": lambda: len(arguments) == 1,
        "source": lambda: arguments == [".venv/bin/activate"],
        "curl": lambda: bool(json.loads(arguments[arguments.index("-d") + 1])["instances"]),
    }  # fmt: skip
    program = "pytest" if arguments[:2] == ["-m", "pytest"] else program
    arguments = arguments[2:] if arguments[:2] == ["-m", "pytest"] else arguments
    if program not in known:
        return "unknown program"
    return None if known[program]() else "has an unknown argument"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_known_or_marked(page):
    commands = commands_of(page) + inline_commands_of(page)
    assert {" ".join(c.words): fault for c in commands if (fault := fault_of(c))} == {}
    others = [block for language, block in blocks_of(page) if not language.startswith("sh")]
    assert [block for block in others if STARTS.search(block)] == [], "commands outside a block ```sh"


@pytest.mark.parametrize(
    ("words", "mark"),
    [
        ("tfbert train --dataset DIR", ""),
        ("tfbert tran --data DIR", ""),
        ("docker run IMAGE", ""),
        ("wget ADDRESS", CONTAINER),
        ("make trainn", ""),
        ("pip install -e .[serving]", ""),
        ("python -m tfbert.verify", ""),
        ("python -m pytest tests/test_missing.py", ""),
        ("tfbert train", "network"),
        ("python -m benchmarks quality", ""),
    ],
)
def test_faults_are_detected(words, mark, capsys):
    assert fault_of(Command("README.md", tuple(words.split()), mark=mark))


@dataclass
class PageRun:
    """The commands of a page that run one after another in a directory."""

    page: str
    directory: Path
    steps: list = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


def shortened(command, page_run):
    """Return the arguments of a command for a fast run in the directory of a page."""
    words = [word.replace("$PWD", str(page_run.directory)).replace("/shared/", "shared/") for word in command.words[2:]]
    words = ["tiny" if word == "minilm" else word for word in words]
    extra = list(SHORTENED.get(command.tool, []))
    if "--encoder" in words and extra[:1] == ["--encoder"]:
        extra = extra[2:]
    previous = [c.tool for c in page_run.commands]
    if command.tool == "pretrain":
        extra += SMALL_ENCODER if "--from-scratch" in words and "vocabulary" not in words else []
        extra += ["--out", PRETRAINING] if "pretrain" not in previous and "--out" not in words else []
    if command.tool == "train":
        data = Path(words[words.index("--data") + 1]).stem if "--data" in words else None
        is_exported = any(f"saved_models/{data}" in c.words for c in commands_of(command.page))
        extra += [] if is_exported else ["--no-export"]
        extra += ["--out", "RUN"] if task_of(page_run.page) and "train" not in previous else []
    return words + extra


def is_run(command):
    """Return whether a command is run as one step of its page."""
    is_special = command.tool == "serve" or "--server" in command.words or "KERASTUNER_TUNER_ID" in command.environment
    return bool(command.tool) and command.mark != CONTAINER and not is_special


def plan(page, directory):
    """Write the files of a page, and return its run with all steps."""
    page_run = PageRun(page, directory)
    doc_commands.write_workspace(directory, task_of(page))
    if page == "docs/scale.md":
        prepare = ["prepare", "--corpus", "texts", "--encoder", "tiny", "--out", "shared/rows"]
        page_run.steps.append(small.tools().step("pretrain", *prepare, cwd=directory))
        page_run.commands.append(Command(page, ("tfbert", "pretrain", *prepare)))
    for command in filter(is_run, commands_of(page)):
        environment = {}
        if "TF_CONFIG" in command.environment:
            worker = [f"127.0.0.1:{free_ports(1)[0]}"]
            environment["TF_CONFIG"] = json.dumps(
                {"cluster": {"worker": worker}, "task": {"type": "worker", "index": 0}}
            )
        arguments = shortened(command, page_run)
        page_run.steps.append(small.tools().step(command.tool, *arguments, cwd=directory, env=environment))
        page_run.commands.append(command)
    if any('"text_pair"' in word for command in commands_of(page) for word in command.words):
        arguments = ["--task", task_of(page), "--data", "pairs.jsonl", *SHORTENED["train"]]
        page_run.steps.append(small.tools().step("train", *arguments, cwd=directory))
        page_run.commands.append(Command(page, ("tfbert", "train", *arguments)))
    return page_run


def requests_of(page):
    return [command for command in commands_of(page) if command.words[0] == "curl"]


def is_library_missing(command):
    missing = [library for option, library in LIBRARIES.items() if option in command.words]
    return any(importlib.util.find_spec(library) is None for library in missing)


@contextlib.contextmanager
def serving(**options):
    """Serve a model in this process, and yield the address for REST."""
    from tfbert.serving.server.flags import Options
    from tfbert.serving.server.server import Server

    ports = dict(zip(("port", "rest_api_port"), free_ports(2), strict=True))
    server = Server(Options(**ports | options))
    try:
        yield f"127.0.0.1:{server.options.rest_api_port}"
    finally:
        server.close()


def predictions_of(address, command):
    """Send the body of a curl command to a server, and return the instances and the predictions."""
    body = command.words[command.words.index("-d") + 1]
    request = urllib.request.Request(f"http://{command.words[1].replace('localhost:8501', address)}", body.encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(body)["instances"], json.load(response)["predictions"]


def check_requests(page, directory):
    """Send the requests of a page to a server with the model that the page has trained, or with the one of tests."""
    for command in requests_of(page):
        name = "NAME" if task_of(page) is None else "pairs" if "text_pair" in command.words[-1] else "data"
        model_dir = directory / "saved_models" / name
        with serving(model_name="NAME", model_base_path=str(model_dir)) as address:
            instances, predictions = predictions_of(address, command)
        assert len(predictions) == len(instances) and all(predictions), command.words


def check_server(server, clients, directory):
    """Start the server of a page with the flags of its command, and run the commands that send requests to it."""
    from tfbert.serving.server.flags import options_of

    words = [word.replace("$PWD", str(directory)) for word in server.words[2:]]
    options = options_of(vars(parser_of("serve").parse_args(words)))[0]
    with serving(model_name=options.model_name, model_base_path=options.model_base_path) as address:
        for client in clients:
            arguments = [word.replace("localhost:8501", address) for word in client.words[2:]]
            result = small.tools()("predict", *arguments, cwd=directory)
            assert result.code == 0 and json.loads(result.out)["label"] in small.TOPICS, result.err


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(map(is_run, commands_of(page))) or requests_of(page)])
def test_the_commands_of_a_page_run(page, tmp_path):
    page_run = plan(page, tmp_path / "page")
    [results] = small.tools().run(page_run.steps)
    for command, result in zip(page_run.commands, results, strict=True):
        if is_library_missing(command):
            assert result.code == 2 and "pip install" in result.err, command.words
        else:
            assert result.code == 0, (command.words, result.err[-2000:])
    check_requests(page, page_run.directory)
    clients = [c for c in commands_of(page) if "--server" in c.words and c.mark != CONTAINER]
    for server in (c for c in commands_of(page) if c.tool == "serve"):
        check_server(server, clients, page_run.directory)


@pytest.mark.slow
def test_a_search_on_several_machines(tmp_path):
    page_run = PageRun("docs/search.md", tmp_path / "search")
    doc_commands.write_workspace(page_run.directory, None)
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free_ports(1)[0])}
    commands = [c for c in commands_of(page_run.page) if "KERASTUNER_TUNER_ID" in c.environment]
    chains = []
    for command in commands:
        arguments, environment = shortened(command, page_run), command.environment | address
        chains.append([small.tools().step("search", *arguments, cwd=page_run.directory, env=environment)])
    results = small.tools().run(*chains)
    assert [result.code for [result] in results] == [0, 0], [result.err[-2000:] for [result] in results]
    assert len(list((page_run.directory / "DIR" / "trials").iterdir())) == 2


@pytest.mark.slow
def test_the_program_that_verifies_an_export(tmp_path):
    doc_commands.write_workspace(tmp_path / "serving", None)
    [command] = [c for c in inline_commands_of("docs/serving.md") if "tfbert.serving.verify" in c.words]
    arguments = [word.replace("VERSION", "1") for word in command.words[1:]]
    options = {"cwd": tmp_path / "serving", "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
