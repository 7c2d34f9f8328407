"""Label probabilities by name, most probable first."""

from tfbert.serving.label_probabilities import most_probable, read_labels


def test_labels_and_choices_are_ranked():
    outputs = {"probabilities": [0.2, 0.7, 0.1]}
    assert most_probable({}, outputs, ["a", "b", "c"]) == [("b", 0.7), ("a", 0.2), ("c", 0.1)]
    assert most_probable({}, outputs, ["a", "b", "c"], 1) == [("b", 0.7)]
    assert most_probable({"choices": ("x", "y", "z")}, outputs, [], 2) == [("y", 0.7), ("x", 0.2)]


def test_probabilities_without_names_are_not_ranked():
    assert most_probable({"text": "a"}, {"probabilities": [0.2, 0.8]}, []) is None
    assert most_probable({"text": "a"}, {"value": 0.2}, ["a", "b"]) is None


def test_labels_of_a_saved_model(version_dir, tmp_path):
    assert read_labels(version_dir) == ["card", "fee", "loan"]
    assert read_labels(tmp_path) == []
