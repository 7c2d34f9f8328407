"""The command predict: files of all formats, with a local model or a server; predictions without padding."""

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest
from support import small
from support.json_server import JsonHandler, running

METADATA = {
    "signature_def": {"signature_def": {"serving_default": {"inputs": {"text": {"tensor_shape": {"dim": [{}]}}}}}}
}
# Padded as by a server, to the largest number of labels in the request.
PREDICTIONS = {
    "food": {"labels": ["food", ""], "label_probabilities": [0.9, 0.0], "num_labels": 1, "probabilities": [0.9, 0.1]},
    "both": {
        "labels": ["food", "staff"],
        "label_probabilities": [0.9, 0.8],
        "num_labels": 2,
        "probabilities": [0.9, 0.8],
    },
    "none": {"labels": ["", ""], "label_probabilities": [0.0, 0.0], "num_labels": 0, "probabilities": [0.2, 0.1]},
}


class Handler(JsonHandler):
    """Responds like a server with a multilabel model."""

    def do_GET(self):
        self.send_json({"metadata": METADATA})

    def do_POST(self):
        instances = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        self.send_json(
            {"predictions": [PREDICTIONS[instance["text"]] | {"truncated": False} for instance in instances]}
        )


@pytest.fixture(scope="module")
def version_dir():
    return small.finished_run()[1] / "1"


@pytest.fixture
def address():
    with running(Handler) as server:
        yield f"127.0.0.1:{server.server_port}"


def predicted(capsys, *arguments):
    tool = small.load_command("predict")
    tool.main(tool.build_parser("predict").parse_args([str(argument) for argument in arguments]))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_run_predicts_like_its_saved_model(version_dir, capsys):
    run_dir, _ = small.finished_run()
    (by_run,) = predicted(capsys, run_dir, "my card is lost", "--top", "1")
    (by_model,) = predicted(capsys, version_dir, "my card is lost", "--top", "1")
    assert by_run.keys() == by_model.keys() and by_run["label"] == by_model["label"]
    assert by_run["probability"] == pytest.approx(by_model["probability"], abs=1e-5)
    with pytest.raises(ValueError, match=f"--version 1: {run_dir} is a run; expected a SavedModel"):
        predicted(capsys, run_dir, "my card", "--version", "1")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", "id,text\n1,food\n2,both\n3,none\n", []),
        ("a.tsv", "id\treview\n1\tfood\n2\tboth\n3\tnone\n", ["--columns", "text=review"]),
        ("a.csv", "opinion|id\nfood|1\nboth|2\nnone|3\n", ["--set", "data.columns=text=opinion"]),
        ("a.jsonl", '{"text": "food"}\n{"text": "both"}\n{"text": "none"}\n', []),
        ("a.txt", 'food\n{"text": "both", "id": 2}\nnone\n', []),
    ],
)
def test_predictions_of_a_server_have_no_padding(address, tmp_path, capsys, name, content, options):
    (tmp_path / name).write_text(content, encoding="utf-8")
    predictions = predicted(capsys, "m", "--server", address, "--file", tmp_path / name, *options)
    cut = {"food": (["food"], [0.9]), "both": (["food", "staff"], [0.9, 0.8]), "none": ([], [])}
    assert predictions == [
        {"text": text, "truncated": False, **PREDICTIONS[text], "labels": labels, "label_probabilities": probabilities}
        for text, (labels, probabilities) in cut.items()
    ]


def test_a_local_model_reads_tables_and_objects(version_dir, tmp_path):
    texts = ["my card", "the fee, today"]
    (tmp_path / "a.csv").write_text('id;text;label\n1;my card;card\n2;"the fee, today";fee\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"message": text}) + "\n" for text in texts))
    (tmp_path / "b.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "c.csv").write_text("id,label\n1,card\n")
    tools = small.tools()

    def step(*arguments, stdin=b""):
        return [tools.step("predict", version_dir, *arguments, cwd=tmp_path, stdin=stdin)]

    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    results = tools.run(
        step(*texts),
        step("--file", "a.csv"),
        step("--file", "a.jsonl", "--top", "2"),
        step("--file", "-", stdin=lines),
        step(json.dumps({"text": texts[0]}), texts[1]),
        step("--file", "b.jsonl"),
        step("--file", "c.csv"),
        step('{"title": "my card"}'),
        step("--set", "train.epochs=2", "a"),
    )
    results = [result for (result,) in results]
    assert [result.code for result in results] == [0] * 5 + [2] * 4, [result.err for result in results]
    by_text, *others = [[json.loads(line) for line in result.out.splitlines()] for result in results[:5]]
    assert [prediction["text"] for prediction in by_text] == texts
    for predictions in others:
        assert [(a["text"], a["label"]) for a in predictions] == [(a["text"], a["label"]) for a in by_text]
    most_probable = others[1][0]["probabilities"]
    assert list(most_probable.items())[0] == (by_text[0]["label"], by_text[0]["probability"])
    assert list(most_probable.values()) == sorted(by_text[0]["probabilities"], reverse=True)[:2]
    assert "a.csv: unused columns: 'id', 'label'\n" in results[1].err
    assert [result.err.count("\n") for result in results[5:]] == [1] * 4
    messages = [result.err for result in results[5:]]
    assert messages[0].startswith("predict: b.jsonl:1: no text key among 'id'; expected one of text, ")
    assert messages[1].startswith("predict: c.csv:1: no text column among 'id', 'label'")
    assert messages[2].startswith("predict: TEXT:1: a JSON object with the keys 'title'; expected a JSON object with ")
    assert messages[3] == "predict: --set train.epochs: expected a field of data, such as data.encoding\n"


def test_a_file_of_predictions_keeps_the_columns(address, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("id,text,labels\n1,both,x\n2,none,\n", encoding="utf-8")
    arguments = ["m", "--server", address, "--file", tmp_path / "a.csv", "--out", tmp_path / "out.jsonl"]
    tool = small.load_command("predict")
    tool.main(tool.build_parser("predict").parse_args(list(map(str, arguments))))
    assert capsys.readouterr().out == f"{tmp_path / 'out.jsonl'}  (2 predictions)\n"
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [list(row)[:4] for row in rows] == [["id", "text", "labels", "predicted_labels"]] * 2
    assert [row["predicted_labels"] for row in rows] == [["food", "staff"], []]
    with pytest.raises(ValueError, match="out.jsonl: exists; expected a new file"):
        predicted(capsys, *arguments)
    with pytest.raises(ValueError, match="--top 2: a server does not send the labels; expected a SavedModel"):
        predicted(capsys, "m", "food", "--server", address, "--top", "2")


def test_a_terminal_of_80_columns(address, tmp_path):
    # Another process, because its standard output has to be a terminal.
    (tmp_path / "a.jsonl").write_text('{"text": "both"}\n', encoding="utf-8")
    script = str(small.TOOLS / "predict.py")
    command = [sys.executable, script, "m", "--server", address, "--file", str(tmp_path / "a.jsonl")]
    controller, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(small.ROOT)}
    subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, env=environment, check=True)
    os.close(terminal)
    output = os.read(controller, 10_000).decode().replace("\r\n", "\n")
    os.close(controller)
    assert output == (
        "both\n  labels  label probabilities  probabilities\n  food                    0.9            0.9\n"
        "  staff                   0.8            0.8\n\n"
    )


def test_a_lone_surrogate_is_printed_as_the_replacement_character(version_dir, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "my \\ud800 card"}\n', encoding="utf-8")
    result = small.tools()("predict", version_dir, "--file", "a.jsonl", cwd=tmp_path)
    assert result.code == 0, result.err
    prediction = json.loads(result.out)
    assert prediction["text"] == "my \ufffd card" and prediction["label"] in ("card", "fee", "loan")


def test_numbers_are_sent_to_a_server_and_printed(tmp_path, capsys):
    inputs = {
        "title": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{}]}},
        "price": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{}]}},
    }
    metadata = {"signature_def": {"signature_def": {"serving_default": {"inputs": inputs}}}}

    class Offers(Handler):
        def do_GET(self):
            self.send_json({"metadata": metadata})

        def do_POST(self):
            instances = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            self.send_json({"predictions": [{"double": 2 * instance["price"]} for instance in instances]})

    (tmp_path / "a.csv").write_text("title;price\na;2.5\nb;3\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("title;price\na;2.5\nb;abc\n", encoding="utf-8")
    with running(Offers) as server:
        address = f"127.0.0.1:{server.server_port}"
        assert predicted(capsys, "m", "--server", address, "--file", tmp_path / "a.csv") == [
            {"price": 2.5, "title": "a", "double": 5.0},
            {"price": 3.0, "title": "b", "double": 6.0},
        ]
        with pytest.raises(ValueError, match='b.csv:3: price is "abc"; expected a number'):
            predicted(capsys, "m", "--server", address, "--file", tmp_path / "b.csv")


def test_standard_input_is_streamed_until_the_reader_stops(version_dir, tmp_path):
    # More output than fits into a pipe, so the tool still writes after the reader has closed it, which is not an error.
    text = tmp_path / "texts"
    text.write_bytes(b"\xef\xbb\xbfmy card\r\n" + b"the fee for a loan\n" * 20000)
    command = f"{sys.executable} {small.TOOLS / 'predict.py'} {version_dir} --file - < {text} | head -n 2"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert result.stderr == ""
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["my card", "the fee for a loan"]


def test_texts_and_files(version_dir, tmp_path):
    (tmp_path / "texts").write_text("my card\nthe fee\n")
    tools = small.tools()
    step = tools.step
    shutil.copytree(version_dir, tmp_path / "m" / "3")
    steps = [
        step("predict", "m", "my card", "the fee", cwd=tmp_path),
        step("predict", "m/3", "--file", "texts", "--batch-size", 1, cwd=tmp_path),
        step("predict", "m", "--version", 3, "--file", "-", cwd=tmp_path, stdin=b"my card\nthe fee"),
        step("predict", "m", "--version", 4, "a", cwd=tmp_path),
        step("predict", "m", "--file", "-", cwd=tmp_path, stdin=b"fine\nnot \xff fine\n"),
        step("predict", "m", "a", "--file", "texts", cwd=tmp_path),
        step("predict", "m", cwd=tmp_path),
        step("predict", "m", "--file", "none", cwd=tmp_path),
    ]
    results = [result for (result,) in tools.run(*[[step] for step in steps])]
    assert [result.code for result in results] == [0, 0, 0, 2, 2, 2, 2, 2], [result.err for result in results]
    by_argument, by_file, by_pipe = [[json.loads(line) for line in result.out.splitlines()] for result in results[:3]]
    assert [prediction["text"] for prediction in by_argument] == ["my card", "the fee"]
    assert by_argument == by_pipe
    assert [prediction["label"] for prediction in by_file] == [prediction["label"] for prediction in by_argument]
    assert set(by_argument[0]) == {"text", "label", "label_id", "probability", "probabilities", "truncated"}
    messages = [result.err for result in results[3:]]
    assert [message.count("\n") for message in messages] == [1] * 5, messages
    assert messages[0] == "predict: m: has no version 4; existing versions: 3\n"
    assert messages[1] == "predict: -:2: byte 0xff is not UTF-8; expected UTF-8\n"
    assert messages[2] == messages[3] == "predict: give either TEXT arguments or --file\n"
    assert messages[4] == "predict: none: does not exist\n"
