"""Destinations of predictions: JSON lines, a terminal, and a file."""

import json
import sys

from tfbert.commands.prediction_output import opened
from tfbert.serving.prediction_file import PredictionFile

ITEM, CELLS = {"text": "a"}, (("id", "7"), ("text", "a"))
OUTPUTS = {
    "label": "fee",
    "label_id": 1,
    "probabilities": [0.25, 0.75],
    "probability": 0.75,
    "truncated": False,
}
LABELS = ["card", "fee"]


def written(file, top):
    with opened(file, LABELS, top) as write:
        write(ITEM, CELLS, OUTPUTS)


def test_json_lines_are_unchanged_unless_labels_are_named(capsys):
    written(None, None)
    written(None, 1)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [ITEM | OUTPUTS, ITEM | OUTPUTS | {"probabilities": {"fee": 0.75}}]


def test_a_terminal_gets_readable_lines(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    written(None, 1)
    assert capsys.readouterr().out == "a\n  fee   75.0 %  ███████████████\n\n"


def test_a_file_has_the_columns_of_the_row_and_the_outputs_in_declared_order(capsys, tmp_path):
    written(PredictionFile(tmp_path / "a.csv", "data.csv"), 2)
    header, row = (tmp_path / "a.csv").read_text().splitlines()
    assert header == "id,text,label,label_id,probability,probabilities,truncated"
    assert row == '7,a,fee,1,0.75,"{""fee"": 0.75, ""card"": 0.25}",false'
    assert capsys.readouterr().out == f"{tmp_path / 'a.csv'}  (1 predictions)\n"
