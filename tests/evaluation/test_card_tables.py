"""Tables of model cards: every data file with its hash, and every score of validation and test."""

from tfbert.evaluation.card_tables import data_table, score_table


def test_data_files_are_listed():
    report = {"data": {"train": {"path": "a.csv", "num_examples": 12345, "sha256": "ab" * 32}}}
    assert data_table(report).splitlines()[2:] == ["| train | a.csv | 12,345 | `abababababababab` |"]


def test_scores_of_existing_splits_are_listed():
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    report = {"validation": None, "test": {"metrics": {"f1": score, "accuracy": score}}}
    rows = score_table(report).splitlines()[2:]
    assert rows == ["| test | f1 | 0.5000 | 0.2500 to 0.7500 |", "| test | accuracy | 0.5000 | 0.2500 to 0.7500 |"]
