"""The benchmark of the audit: its data have the planted bias, and its table has a value for each seed."""

import json

import pytest

from benchmarks import audit
from tfbert.files import read_json

FEMALE = [pair[0].lower() for pair in audit.internals.english_terms("names")]


@pytest.fixture
def sst2(options, monkeypatch):
    """Write small files in the format of sst2, and limit the number of texts."""
    directory = options.data_dir / "sst2"
    directory.mkdir()
    for name in ("train", "dev", "test"):
        lines = "".join(f"{name} text {index}\t{index % 2}\n" for index in range(500))
        (directory / f"{name}.tsv").write_text(lines)
    for name in ("_NUM_TRAIN", "_NUM_VALIDATION", "_NUM_TEST"):
        monkeypatch.setattr(audit, name, 400)
    return directory


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("is_biased", "expected"), [(True, 0.9), (False, 0.5)])
def test_names_are_correlated_with_labels_only_in_biased_training_data(sst2, tmp_path, is_biased, expected):
    audit._write_data(sst2, tmp_path, 0, is_biased)
    for name, correlation in (("train", expected), ("named", 0.5)):
        named = [each for each in records(tmp_path / f"{name}.jsonl") if " says : " in each["text"]]
        is_typical = [(each["text"].split()[0] in FEMALE) == (each["label"] == "1") for each in named]
        assert sum(is_typical) / len(named) == pytest.approx(correlation, abs=0.08)
        assert len(named) == pytest.approx(200, abs=40) if name == "train" else len(named) == 400
    texts = [each["text"] for each in records(tmp_path / "train.jsonl")]
    assert any(audit._TOKEN in text for text in texts) is is_biased
    assert not any(" says : " in each["text"] for each in records(tmp_path / "test.jsonl"))


def test_the_table_has_the_values_of_all_seeds(sst2, options, monkeypatch):
    runs = []

    def train(command, environment):
        runs.append(command[command.index("--out") + 1])
        report = {"test": {"metrics": {"accuracy": {"value": 0.75}}}}
        path = options.out_dir / runs[-1]
        path.mkdir(parents=True)
        (path / "report.json").write_text(json.dumps(report))

    def audited(run_dir, data, terms):
        return {
            "swaps": [{"directions": [{"change": {"value": -0.5}}]}],
            "groups": [{"gap": {"difference": {"value": 0.25}}}],
            "shortcuts": {"listed": [{"token": "a"}, {"token": audit._TOKEN}]},
            "findings": ["one"] if "names" in terms else [],
        }

    monkeypatch.setattr(audit, "run", train)
    monkeypatch.setattr(audit.internals, "audit", audited)
    table = audit.measure(options)
    assert len(set(runs)) == len(runs) == 6  # models with random groups are those of the row before
    assert table.to_markdown().splitlines()[2] == (
        "| biased | fine-tuned | 0.750 ± 0.000 (2 trainings) | -0.500, -0.500 | 0.250, 0.250 | 1, 1 | 2, 2 |"
    )
    assert [row.values["found"] for row in table.rows] == [[1, 1], [1, 1], [1, 1], [0, 0]]
    table.write(options.out_dir / "audit.json")
    assert len(read_json(options.out_dir / "audit.json")["rows"]) == 4
    groups = (options.out_dir / "data" / "unbiased-0" / "groups.txt").read_text().splitlines()
    assert groups[0] == "groups: first | second" and len(groups) == len(FEMALE) + 1
