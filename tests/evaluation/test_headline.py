"""The top of the report page: the verdict on a run, with its uncertainty."""

import pytest

from tfbert.evaluation import answers, entities, ranking, values
from tfbert.evaluation.classification import ACCURACY, LOSS
from tfbert.evaluation.headline import difference_text, headline, mean_probability, progress_sentence, verdict
from tfbert.evaluation.values import MAE, SPEARMAN

METRICS = {metric.name: metric for metric in (ACCURACY, LOSS, SPEARMAN, MAE)}
CONSTANT = {"name": "constant", "title": "always predicting refund", "test": {"accuracy": 0.3, "mae": 2.0}}
UNTRAINED = {"name": "untrained", "title": "frozen encoder", "test": {"accuracy": 0.75, "mae": 1.5}}
TEST = {"num_examples": 400, "metrics": {"accuracy": {"value": 0.8, "low": 0.76, "high": 0.84}}}
REPORT = {"task": "classification", "test": TEST, "baselines": [CONSTANT, UNTRAINED], "history": [], "best_epoch": 2}


def _bins(probability, accuracy, num_examples=400):
    row = {"low": 0.5, "high": 1.0, "num_examples": num_examples}
    return {"reliability": {"bins": [row | {"mean_probability": probability, "accuracy": accuracy}]}}


def _gain(difference, low, high, metric="accuracy", p_value=0.01):
    interval = {"difference": difference, "low": low, "high": high, "p_value": p_value}
    return {"gain": {"metric": metric, "split": "test", **interval, "num_differing": 20}}


def _history(*losses):
    return [
        {"epoch": epoch, "loss": training, "validation": {"loss": validation}}
        for epoch, (training, validation) in enumerate(losses, 1)
    ]


def _verdict(report, details=None, name="accuracy"):
    return " ".join(verdict(REPORT | report, details or {}, METRICS, name, "test"))


def test_a_gain_is_claimed_only_beyond_chance():
    assert _verdict(_gain(0.031, 0.005, 0.057)) == (
        "Fine-tuning improved accuracy over the frozen encoder by 3.1 points (95% interval 0.5 to 5.7)."
    )
    assert _verdict(_gain(0.007, -0.02, 0.034)) == (
        "Fine-tuning is not measurably better than the frozen encoder: the difference of +0.7 points "
        "(95% interval -2.0 to 3.4) may be chance."
    )
    assert _verdict(_gain(-0.03, -0.05, -0.01)).startswith(
        "Fine-tuning made accuracy worse than that of the frozen encoder by 3.0 points (95% interval 1.0 to 5.0)."
    )
    # Three better records and no worse one are as likely as three equal tosses of a coin.
    assert "may be chance" in _verdict(_gain(0.007, 0.002, 0.014, p_value=0.25))
    unchanged = _gain(0.0, 0.0, 0.0)
    unchanged["gain"]["num_differing"] = 0
    assert _verdict(unchanged) == "Fine-tuning made no prediction on the test split better or worse."
    assert _verdict({}) == ""


def test_lower_is_better_for_an_error():
    test = {"test": {"metrics": {"mae": {"value": 1.0, "low": 0.9, "high": 1.1}}}}
    report = test | _gain(-0.5, -0.7, -0.3, "mae")
    assert _verdict(report, name="mae") == (
        "Fine-tuning improved MAE over the frozen encoder by 0.500 (95% interval 0.300 to 0.700)."
    )
    assert "worse" in _verdict(test | _gain(0.5, 0.3, 0.7, "mae"), name="mae")


def test_a_model_that_is_no_better_than_a_constant():
    low = {"test": {"metrics": {"accuracy": {"value": 0.35, "low": 0.29, "high": 0.4}}}}
    expected = "The model is not measurably better than always predicting refund (30.0 %)."
    assert _verdict(low) == expected
    error = {"test": {"metrics": {"mae": {"value": 1.9, "low": 1.7, "high": 2.1}}}}
    assert _verdict(error, name="mae").startswith("The model is not measurably better than ")
    error["test"]["metrics"]["mae"]["high"] = 1.95
    assert _verdict(error, name="mae") == ""


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(1.0, 0.9), (0.5, 0.7), (0.1, 0.9)], "Overfitting after epoch 2: validation loss rose from 0.700 to 0.900"),
        ([(1.0, 0.9), (0.5, 0.7), (0.1, 0.75)], ""),
        ([(1.0, 0.7), (1.1, 0.9)], ""),
        ([(1.0, 0.7)], ""),
    ],
)
def test_overfitting(losses, expected):
    sentence = _verdict({"history": _history(*losses)})
    assert sentence.startswith(expected) and bool(sentence) == bool(expected)


def test_miscalibration_beyond_chance():
    assert _verdict({}, _bins(0.91, 0.8)) == (
        "Probabilities are 11 points too high on average: their mean is 91.0 %, and 80.0 % of the predictions are "
        "right."
    )
    assert "10 points too low" in _verdict({}, _bins(0.7, 0.8))
    # The standard error of an accuracy of 80 % of 20 predictions is 9 points.
    assert _verdict({}, _bins(0.9, 0.8, 20)) == "" and _verdict({}, _bins(0.81, 0.8)) == ""
    assert mean_probability({}) is None


def test_at_most_three_sentences():
    report = _gain(0.0, -0.1, 0.1) | {"history": _history((1.0, 0.7), (0.1, 0.9))}
    report["test"] = {"metrics": {"accuracy": {"value": 0.35, "low": 0.29, "high": 0.4}}}
    sentences = verdict(REPORT | report, _bins(0.9, 0.35), METRICS, "accuracy", "test")
    assert len(sentences) == 3 and sentences[0].startswith("The model is not measurably better")


def test_the_headline_names_run_and_data_and_lists_the_baselines():
    view = headline(REPORT | {"run": "20260102-a1b2", "data_name": "banking", "encoder": {"name": "tiny"}}, {}, METRICS)
    assert (view["title"], view["run"]) == ("classification of banking with tiny", "20260102-a1b2")
    assert view["baselines"] == [("always predicting refund", "30.0 %"), ("frozen encoder", "75.0 %")]
    assert "Date" not in dict(view["summary"])
    in_memory = headline(REPORT | {"data_name": "classification", "encoder": {"name": "tiny"}}, {}, METRICS)
    assert in_memory["title"] == "classification with tiny"
    started = headline(REPORT | {"first_update_at": 1.7e9}, {}, METRICS)
    assert dict(started["summary"])["Date"].startswith("2023-11-1")


def test_the_model_before_training_is_kept():
    report = REPORT | {"untrained": {"accuracy": 0.75}, "best_epoch": 0}
    assert progress_sentence(report, ACCURACY) == (
        "On validation, accuracy was 75.0 % before training and no epoch was clearly better, so the encoder was kept "
        "unchanged."
    )
    (note,) = headline(report, {}, METRICS)["notes"]
    assert note.endswith("so the encoder was kept unchanged. A lower train.learning_rate or more examples may help.")


@pytest.mark.parametrize(
    ("epochs", "averaged"),
    [
        ([1, 3, 4], "epochs 1, 3 and 4"),
        ([0, 1, 3], "epochs 1, 3 and the model before training"),
        ([0, 3], "epoch 3 and the model before training"),
    ],
)
def test_the_report_names_the_epochs_whose_average_was_kept(epochs, averaged):
    average = {"epochs": epochs, "validation": {"accuracy": 0.8}}
    report = REPORT | {"untrained": {"accuracy": 0.75}, "average": average}
    assert progress_sentence(report, ACCURACY) == (
        f"On validation, accuracy was 75.0 % before training and 80.0 % with the average of {averaged}."
    )
    history = [{"epoch": epoch, "loss": 1.0, "validation": {"accuracy": 0.7}} for epoch in range(1, 5)]
    view = headline(report | {"history": history}, {}, METRICS)
    assert dict(view["summary"]) | {"Epochs": "4", "Kept weights": f"average of {averaged}"} == dict(view["summary"])


def test_the_report_names_the_epoch_that_was_kept():
    history = [{"epoch": epoch, "loss": 1.0, "validation": {"accuracy": 0.6 + epoch / 10}} for epoch in (1, 2)]
    report = REPORT | {"untrained": {"accuracy": 0.75}, "history": history}
    assert progress_sentence(report, ACCURACY) == (
        "On validation, accuracy was 75.0 % before training and 80.0 % after epoch 2."
    )
    assert dict(headline(report, {}, METRICS)["summary"])["Kept weights"] == "epoch 2"


def test_differences_have_the_unit_of_the_metric():
    assert difference_text(ACCURACY, 0.0312, 0.01, 0.05) == "+3.1 points (95% interval 1.0 to 5.0)"
    assert difference_text(SPEARMAN, -0.02, -0.05, 0.01) == "-0.020 (95% interval -0.050 to 0.010)"


def test_lower_scores_are_explained():
    report = {"untrained": {"accuracy": 0.675}, "average": {"epochs": [1, 2], "validation": {"accuracy": 0.625}}}
    because = "kept for their lower loss, because the difference is less than one standard error."
    assert progress_sentence(REPORT | report, ACCURACY).endswith(because)
    report = {"untrained": {"accuracy": 0.675}, "average": {"epochs": [1, 2], "validation": {"accuracy": 0.7}}}
    assert progress_sentence(REPORT | report, ACCURACY).endswith("70.0 % with the average of epochs 1 and 2.")


@pytest.mark.parametrize("num_examples", [1, 100])
def test_few_examples_make_a_score_imprecise(num_examples):
    scores = {"accuracy": {"value": 1.0, "low": 0.9, "high": 1.0}}
    report = REPORT | {"test": {"metrics": scores, "num_examples": num_examples}}
    view = headline(report, {}, METRICS)
    assert view["sentence"] == "Expect about 100 of 100 similar texts to get the right label (95% interval 90 to 100)."
    assert any(f"only {num_examples} example" + "s" * (num_examples > 1) + "," in note for note in view["notes"])


FORECASTS = [
    (
        entities.METRICS,
        (0.45, 0.561, 0.37),
        "Expect about 56 of 100 predicted entities to be right, and about 37 of 100 entities in similar texts to be "
        "found.",
    ),
    (values.METRICS[:3], (0.8, 0.7, 0.628), "Expect predictions for similar texts to be off by 0.628 on average."),
    (
        ranking.METRICS[:3],
        (0.7, 0.6, 0.996),
        "Expect about 60 of 100 similar questions to get a right first answer, and about 996 of 1,000 to have one "
        "among the first 5.",
    ),
    (answers.METRICS[:2], (0.8, 0.7), "Expect about 70 of 100 similar questions to get exactly a right answer."),
    (values.METRICS[:2], (0.8, 0.7), None),
]


@pytest.mark.parametrize(("metrics", "scores", "expected"), FORECASTS)
def test_metrics_at_the_top_without_an_expectation_leave_it_to_others(metrics, scores, expected):
    by_name = {metric.name: {"value": score} for metric, score in zip(metrics, scores, strict=True)}
    report = {"task": "any", "test": {"metrics": by_name, "num_examples": 1500}}
    view = headline(report, {}, {metric.name: metric for metric in metrics})
    assert (view["metric"], view["sentence"]) == (metrics[0].title, expected)
