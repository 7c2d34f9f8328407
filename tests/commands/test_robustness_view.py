"""Tables of robustness."""

from tfbert.commands.robustness_view import print_robustness
from tfbert.evaluation.classification import ACCURACY
from tfbert.evaluation.metrics import proportion
from tfbert.evaluation.values import MAE
from tfbert.robustness.results import Effect, Robustness, WorstCase, WorstText


def interval(value, low, high):
    return {"value": value, "low": low, "high": high}


def effect(name, num_changed, **fields):
    return Effect(perturbation=name, description="", languages=("English",), num_changed=num_changed, **fields)


def worst(text, after, confidence, change=None):
    return WorstText(
        where="test.csv:2",
        original=("my card",),
        perturbed=(text,),
        gold="card",
        before="card",
        after=after,
        confidence=confidence,
        change=change,
    )


SCORES = {"before": interval(0.9, 0.8, 0.95), "after": interval(0.8, 0.7, 0.9), "difference": interval(-0.1, -0.2, 0.0)}


def test_labels(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    texts = [worst("my crd", "fee", 0.6), worst("my cadr", "loan", 0.9)]
    effects = [effect("typos_10", 50, flips=proportion(6, 50), worst=texts, **SCORES), effect("names", 0)]
    worst_case = WorstCase(
        num_texts=20, success=proportion(5, 20), max_queries=50, mean_queries=9.5, worst=[worst("my acrd", "fee", 0.7)]
    )
    print_robustness(
        Robustness(
            metric=ACCURACY,
            num_examples=100,
            score=interval(0.85, 0.78, 0.91),
            effects=effects,
            always_right=proportion(70, 100),
            worst_case=worst_case,
        )
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "robustness on 100 examples: accuracy 85.0 % (78.0 to 91.0 %) on the original texts"
    headings = "perturbation texts before after difference changed predictions 95% interval"
    assert " ".join(lines[3].split()) == headings
    row = "typos_10 50 % 90.0 % 80.0 % -10.0 points (-20.0 to 0.0) 12.0 % 5.6 to 23.8 %"
    assert " ".join(lines[4].split()) == row
    assert lines[6] == "change no text: names"
    assert lines[9:11] == ["  my cadr", "    typos_10, test.csv:2: card becomes loan (90 %)"]
    assert lines[14] == "right for the original and all its variants: 70.0 % (60.4 to 78.1 %) of the texts"
    assert lines[16].startswith(
        "worst case: typing errors in chosen words mislead the model for 25.0 % (11.2 to 46.9 %) of"
    )
    assert lines[-2:] == ["  my acrd", "    worst case, test.csv:2: card becomes fee (70 %)"]


def test_numbers(capsys):
    texts = [worst("my cadr", "1.5", None, 0.5), worst("my crd", "3.5", None, 1.5)]
    print_robustness(
        Robustness(
            metric=MAE,
            num_examples=4,
            score=interval(0.5, 0.4, 0.6),
            effects=[effect("typos_5", 2, change=interval(0.25, 0.1, 0.5), worst=texts, **SCORES)],
            always_right=None,
            worst_case=None,
        )
    )
    out = capsys.readouterr().out
    assert (
        "mean change" in out
        and "0.250" in out
        and "largest changes:" in out
        and out.index("card becomes 3.5\n") < out.index("card becomes 1.5\n")
    )
    assert "right for" not in out and "worst case" not in out
