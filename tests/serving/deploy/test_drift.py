"""The drift exporter, which counts a sample of the predictions."""

import importlib.util
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from benchmarks.processes import free_ports


@pytest.fixture(scope="module")
def exporter(rendered):
    spec = importlib.util.spec_from_file_location("exporter", rendered / "drift" / "exporter.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(**changed):
    fields = {"server": "rest", "answers": 4, "score_sum": 2.5, "abstentions": 1, "unusual": 2}
    fields |= {"labels": {"fee": 3, "card": 1}}
    return json.dumps(fields | changed) + "\n"


def metrics(answers):
    return dict(line.rsplit(" ", 1) for line in answers.text().splitlines() if not line.startswith("#"))


def test_counts_of_lines_are_summed(exporter):
    answers = exporter.Answers("bank")
    answers.add(line())
    answers.add(line(answers=1, score_sum=0.25, abstentions=0, unusual=0, labels={"fee": 1}))
    assert metrics(answers) == {
        'tfbert_answers_total{model_name="bank"}': "5",
        'tfbert_answer_score_sum{model_name="bank"}': "2.75",
        'tfbert_answer_abstentions_total{model_name="bank"}': "1",
        'tfbert_answer_unusual_total{model_name="bank"}': "2",
        'tfbert_answer_lines_unreadable_total{model_name="bank"}': "0",
        'tfbert_answer_labels_total{model_name="bank",label="card"}': "1",
        'tfbert_answer_labels_total{model_name="bank",label="fee"}': "4",
    }


@pytest.mark.parametrize("bad", ["", "{", "[]", "7", '{"answers": 1}', '{"answers": "x", "score_sum": 1}'])
def test_unreadable_lines_are_counted(exporter, bad):
    answers = exporter.Answers("bank")
    answers.add(bad)
    values = metrics(answers)
    assert values['tfbert_answer_lines_unreadable_total{model_name="bank"}'] == "1"
    assert values['tfbert_answers_total{model_name="bank"}'] == "0"


def test_a_line_without_labels_is_counted(exporter):
    answers = exporter.Answers("bank")
    answers.add(line(labels=None))
    assert metrics(answers)['tfbert_answers_total{model_name="bank"}'] == "4"


def test_labels_are_quoted_and_their_number_is_bounded(exporter, monkeypatch):
    monkeypatch.setattr(exporter, "MAX_LABELS", 2)
    answers = exporter.Answers("bank")
    answers.add(line(labels={'a"b\\': 1, "card": 1, "fee": 2, "loan": 3}))
    labels = {name: value for name, value in metrics(answers).items() if "labels" in name}
    assert labels == {
        'tfbert_answer_labels_total{model_name="bank",label="a\\"b\\\\"}': "1",
        'tfbert_answer_labels_total{model_name="bank",label="card"}': "1",
        'tfbert_answer_labels_total{model_name="bank",label="other"}': "5",
    }


def follow(exporter, path, answers, **options):
    stopped = threading.Event()
    stopped.set()
    exporter.follow(str(path), answers, options.get("longest_bytes", 10**6), stopped)


def test_an_incomplete_line_is_read_when_it_is_complete(exporter, tmp_path):
    path, answers, stopped = tmp_path / "answers.jsonl", exporter.Answers("bank"), threading.Event()
    thread = threading.Thread(target=exporter.follow, args=(str(path), answers, 10**6, stopped))
    thread.start()
    text = line()
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(text + text[:20])
        stream.flush()
        wait_for(lambda: metrics(answers)['tfbert_answers_total{model_name="bank"}'] == "4")
        stream.write(text[20:])
        stream.flush()
        wait_for(lambda: metrics(answers)['tfbert_answers_total{model_name="bank"}'] == "8")
    stopped.set()
    thread.join()
    assert metrics(answers)['tfbert_answer_lines_unreadable_total{model_name="bank"}'] == "0"


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the condition never became true")


def test_a_long_file_is_emptied_once_it_is_read(exporter, tmp_path):
    path, answers, stopped = tmp_path / "answers.jsonl", exporter.Answers("bank"), threading.Event()
    path.write_text(line() * 10, encoding="utf-8")
    thread = threading.Thread(target=exporter.follow, args=(str(path), answers, 100, stopped))
    thread.start()
    wait_for(lambda: path.stat().st_size == 0)
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(line())
    wait_for(lambda: metrics(answers)['tfbert_answers_total{model_name="bank"}'] == "44")
    stopped.set()
    thread.join()


def test_a_missing_file_is_not_an_error(exporter, tmp_path):
    answers = exporter.Answers("bank")
    follow(exporter, tmp_path / "none", answers)
    assert metrics(answers)['tfbert_answers_total{model_name="bank"}'] == "0"


def test_metrics_are_served_over_http(rendered, tmp_path):
    path, [port] = tmp_path / "answers.jsonl", free_ports(1)
    path.write_text(line(), encoding="utf-8")
    command = [
        sys.executable,
        rendered / "drift" / "exporter.py",
        "--file",
        path,
        "--model",
        "bank",
        "--port",
        str(port),
    ]
    process = subprocess.Popen([str(argument) for argument in command])
    try:
        wait_for(lambda: b'tfbert_answers_total{model_name="bank"} 4' in scraped(port))
    finally:
        process.terminate()
        process.wait()


def scraped(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            return response.read()
    except urllib.error.URLError:
        return b""
