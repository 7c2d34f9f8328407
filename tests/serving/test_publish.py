"""From a run to a version: its name, what is said of it, and what is asked of it at once."""

from pathlib import Path

import pytest
from support import small

from tfbert.models.saved_run import load_run
from tfbert.serving import publish

METRICS = {"accuracy": {"value": 0.87654, "low": 0.81, "high": 0.93}}


def test_an_unknown_precision_is_refused(run_dir, tmp_path):
    with pytest.raises(ValueError, match="precision is 'half'; wanted float32 or bfloat16"):
        publish.export_run(run_dir, tmp_path / "m", "half")
    assert not (tmp_path / "m").exists()


def test_a_model_gets_the_name_of_its_data_wherever_that_is(tmp_path, monkeypatch):
    path = small.write_data(tmp_path / "tickets")
    monkeypatch.chdir(path)
    for given in (".", "../tickets", str(path)):
        assert publish.name_of(small.config(given)) == "tickets"


def test_data_without_a_name_need_one_for_the_model():
    with pytest.raises(ValueError, match="the name of the data would be that of the model; use --name"):
        publish.name_of(small.config(Path("/")))


def test_a_file_gives_its_name_without_its_ending(tmp_path):
    small.write_csv(tmp_path / "tickets.csv", small.rows(3, 1))
    assert publish.name_of(small.config(tmp_path / "tickets.csv")) == "tickets"


def test_a_run_gives_the_name_of_its_data(run_dir):
    assert publish.default_name(run_dir) == "data"


def test_what_was_verified_is_said():
    checked = {"num_items": 8, "max_difference": 1.234e-6, "oldest_serving_release": "2.12.1"}
    line = (
        "equal to the trained model on 8 requests (largest difference 1.2e-06); loads in TensorFlow Serving 2.12.1 and "
        "later as far as its ops tell"
    )
    assert publish.said(checked) == line
    compared = {"num_rows": 9, "split": "test", "outputs": {"label_id": {"equal_fraction": 1.0}}}
    expected = f"bfloat16 on 9 rows of test, label_id equal in 100.0 %\n{line}"
    assert publish.said(checked | {"compared": compared}) == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"test": {"metrics": METRICS}}, "test accuracy     0.8765  (95 %: 0.8100 to 0.9300)"),
        ({"validation": {"metrics": METRICS}}, "validation accuracy     0.8765  (95 %: 0.8100 to 0.9300)"),
        ({}, "no test and no validation split: nothing was measured"),
        (
            {"test": {"metrics": METRICS}, "seeds": {"test": {"accuracy": {"mean": 0.86, "std": 0.012}}}},
            "test accuracy     0.8765  (95 %: 0.8100 to 0.9300)   0.8600 ± 0.0120 over seeds",
        ),
    ],
)
def test_scores_are_said_in_a_line(report, expected):
    assert publish.summary({"test": None, "validation": None, "seeds": None} | report) == expected


def test_bytes_become_text():
    assert publish.decoded([[b"a", "é".encode()], [1, 0.5], [], True]) == [["a", "é"], [1, 0.5], [], True]


def test_what_is_expected_is_what_the_trained_model_answers(run_dir):
    run = load_run(run_dir)
    found = publish.expected(run)
    assert {len(values) for values in found.values()} == {len(run.samples)}
    assert set(found["label"]) <= {"card", "fee", "loan"}
    assert [row.index(max(row)) for row in found["probabilities"]] == found["label_id"]


def test_long_lists_are_not_shown(version_dir, monkeypatch):
    [(item, answer)] = publish.ask(version_dir, [{"text": "my card pin"}])
    assert item == {"text": "my card pin"} and answer["label"] == "card" and len(answer["probabilities"]) == 3
    monkeypatch.setattr(publish, "_SHORT", 2)
    [(_, short)] = publish.ask(version_dir, [{"text": "my card pin"}])
    assert short.keys() == answer.keys() - {"probabilities"}
