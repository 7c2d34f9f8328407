"""Export of a run: the name of the model, its precision, and the description of the export."""

from pathlib import Path

import pytest
from support import small

from tfbert.models.saved_run import load_run
from tfbert.serving import export_run


def test_an_unknown_precision_is_rejected(run_dir, tmp_path):
    with pytest.raises(ValueError, match="precision is 'half'; expected float32 or bfloat16"):
        export_run.export_run(run_dir, tmp_path / "m", "half")
    assert not (tmp_path / "m").exists()


def test_a_model_is_named_after_its_data_however_the_path_is_written(tmp_path, monkeypatch):
    path = small.write_data(tmp_path / "tickets")
    monkeypatch.chdir(path)
    for spelling in (".", "../tickets", str(path)):
        assert export_run.model_name(small.config(spelling)) == "tickets"


def test_data_in_the_root_directory_have_no_name():
    with pytest.raises(ValueError, match="the model cannot be named after its data; use --name"):
        export_run.model_name(small.config(Path("/")))


def test_the_name_of_a_file_loses_its_extension(tmp_path):
    small.write_csv(tmp_path / "tickets.csv", small.rows(3, 1))
    assert export_run.model_name(small.config(tmp_path / "tickets.csv")) == "tickets"


def test_the_default_name_of_a_run_is_that_of_its_data(run_dir):
    assert export_run.default_name(run_dir) == "data"


def test_the_description_has_verification_and_precision():
    verified = {"num_items": 8, "max_difference": 1.234e-6, "oldest_serving_release": "2.12.1"}
    checked = verified | {"num_evidence": 0}
    line = (
        "equal to the trained model on 8 requests (largest difference 1.2e-06); judging by its ops, loads in "
        "TensorFlow Serving 2.12.1 and later"
    )
    assert export_run.describe(checked) == line
    compared = {"num_rows": 9, "split": "test", "outputs": {"label_id": {"equal_fraction": 1.0}}}
    expected = f"bfloat16 on 9 sequences of test, label_id equal in 100.0 %\n{line}"
    assert export_run.describe(checked | {"compared": compared}) == expected
    kept = "contains 1,234 training examples for explanations; decision.evidence=0 keeps none"
    assert export_run.describe(checked | {"num_evidence": 1234}) == f"{line}\n{kept}"


def test_bytes_are_decoded_at_any_depth():
    assert export_run.decode_bytes([[b"a", "é".encode()], [1, 0.5], [], True]) == [["a", "é"], [1, 0.5], [], True]


def test_the_expected_outputs_are_those_of_the_trained_model(run_dir):
    run = load_run(run_dir)
    outputs = export_run.expected_outputs(run)
    assert {len(values) for values in outputs.values()} == {len(run.samples)}
    assert set(outputs["label"]) <= {"card", "fee", "loan"}
    assert [row.index(max(row)) for row in outputs["probabilities"]] == outputs["label_id"]
