"""Explanations by trained models in memory. test_models.py checks predictions and evaluations."""

import re

import pytest
from support import small
from support.untrained import untrained_run

from tfbert.api.models import HuggingFaceModel, Run, SavedModel
from tfbert.explanation.explanations import SimilarExample

TEXTS = ["my card, please", ""]


@pytest.fixture(scope="module")
def saved():
    return SavedModel(small.finished_run()[1])


def test_a_run_explains_like_its_saved_model(saved):
    run = Run(small.finished_run()[0])
    explained, empty = saved.explain(TEXTS, label="fee", method="gradients")
    assert [word.word for word in explained.words] == ["my", "card", ",", "please"] and empty.words == ()
    assert (explained.label, explained.method) == ("fee", "gradients") and 0 <= explained.gap < 0.1
    assert len(explained.evidence) == 5 and isinstance(explained.evidence[0], SimilarExample)
    assert {example.label for example in explained.evidence} <= {"card", "fee", "loan"}
    (by_run,) = run.explain(TEXTS[0], "fee", "gradients")
    contributions = [[word.contribution for word in each.words] for each in (explained, by_run)]
    assert contributions[0] == pytest.approx(contributions[1], abs=1e-4)
    assert by_run.log_odds == pytest.approx(explained.log_odds, abs=1e-4)
    assert [example.text for example in by_run.evidence] == [example.text for example in explained.evidence]
    (default,) = saved.explain({"text": "my card"})
    assert default.label == saved.predict("my card")[0]["label"] and default.method == "occlusion"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": "fe"}, "label='fe': expected one of the labels of the model; did you mean 'fee'?"),
        ({"method": "shapley"}, "method='shapley': expected default, occlusion or gradients"),
        ({"texts": [3]}, "texts[0]: is 3 (int); expected a text"),
    ],
)
def test_unusable_arguments_are_refused(saved, values, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        saved.explain(**{"texts": TEXTS} | values)


def test_a_task_without_explanations_is_refused(tmp_path):
    model = HuggingFaceModel.__new__(HuggingFaceModel)
    model.path, model._saved = tmp_path, untrained_run("multiple_choice")
    with pytest.raises(ValueError, match="^models of the task multiple_choice have no explanations$"):
        model.explain("a")
