"""Confirmation with fresh seeds, and the comparison on test."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from tfbert.evaluation.metric import Metric
from tfbert.hyperparameters import confirm, loop
from tfbert.hyperparameters.confirm import DEFAULT
from tfbert.hyperparameters.run import verdict
from tfbert.hyperparameters.trials import Trial
from tfbert.training.history import EpochHistory
from tfbert.training.updates import Diverged

RECORDS = 400


class FakePredictor:
    """Has the decision of a training, as a predictor does."""

    def __init__(self, config):
        self.config, self.decided = config, {}

    def decided_values(self):
        return self.decided


@pytest.fixture
def searcher(make_searcher, monkeypatch):
    """Return a searcher that confirms with three seeds. Scores depend on `weight_decay`, and slightly on the seed."""
    searcher = make_searcher(algorithm="random", confirmations=3)
    trained, on_disk = [], []

    def fit(problem, config, run_dir, *args, **kwargs):
        if config.train.weight_decay > 0.9:
            (run_dir / "evaluated-0.safetensors").write_bytes(b"weights")
            raise Diverged("loss became nan")
        trained.append(config)
        for name in ("best", "checkpoint"):
            on_disk.append(len(list(searcher.out_dir.rglob("best.safetensors"))))
            (run_dir / f"{name}.safetensors").write_bytes(b"weights")
        score = config.train.weight_decay + 0.001 * config.train.seed
        return FakePredictor(config), EpochHistory([{"validation": {"f1": score}}], 1)

    def predict_held_out(problem, predictor):
        config = predictor.config
        rng = np.random.default_rng(config.train.seed)
        outputs = {
            "is_right": rng.random(RECORDS) < config.train.weight_decay,
            "text": np.array([b"a", "ü".encode(), b"", b"b c"] * (RECORDS // 4), object),
        }
        predictor.decided = {"threshold": np.float32(config.train.seed)}
        return {name: (outputs, [None] * RECORDS) for name in ("validation", "test")}, {}

    monkeypatch.setattr(loop.run, "fit", fit)
    monkeypatch.setattr(loop.run, "predict_held_out", predict_held_out)
    searcher.problem.splits = {"test": range(RECORDS), "validation": range(RECORDS)}
    f1 = Metric("f1", "higher", "fraction", "fraction of correct predictions")

    def evaluate(outputs, gold, decided):
        assert decided["threshold"] in (1, 2, 3), "the thresholds of this seed"
        return SimpleNamespace(score_functions=lambda: {"f1": lambda rows: float(outputs["is_right"][rows].mean())})

    searcher.problem.task = SimpleNamespace(
        gold=lambda record: record, evaluate=evaluate, monitor=f1, predicts_untrained=True
    )
    searcher.problem.trained, searcher.problem.on_disk = trained, on_disk
    return searcher


def trial(name, decay, score, **values):
    return Trial(id=name, values={"train.weight_decay": decay, **values}, score=score, state="finished")


def test_the_mean_over_fresh_seeds_decides(searcher, tmp_path):
    # The trial with the best score is the worst of the candidates.
    trials = [trial("0", 0.3, 0.9), trial("1", 0.7, 0.8), trial("2", 0.5, 0.7), trial("3", 0.8, 0.1)]
    candidates, winner = confirm.confirm(searcher, trials)
    assert [candidate.name for candidate in candidates] == [DEFAULT, "0", "1", "2"]
    assert winner.name == "1" and winner.scores == pytest.approx([0.701, 0.702, 0.703])
    assert all(candidate.seconds > 0 for candidate in candidates)
    assert {config.train.seed for config in searcher.problem.trained} == {1, 2, 3}, "0 was the trials' own"
    assert winner.best_seed == 3
    assert list(tmp_path.rglob("best.safetensors")) == [confirm.best_run(searcher, winner) / "best.safetensors"]
    # The best candidate so far, the best training of this one, and the running training.
    assert max(searcher.problem.on_disk) == 3
    # A second call trains nothing.
    number = len(searcher.problem.trained)
    repeated, same = confirm.confirm(searcher, trials)
    assert len(searcher.problem.trained) == number == 12
    assert confirm.to_json(repeated) == confirm.to_json(candidates) and same == winner


def test_the_comparison_uses_stored_predictions(searcher):
    candidates, winner = confirm.confirm(searcher, [trial("0", 0.7, 0.9), trial("1", 0.6, 0.8)])
    comparison = confirm.compare(searcher, winner, candidates[0], "test")
    # The default weight decay is 0.01.
    assert comparison["split"] == "test"
    assert comparison["ours"]["mean"] == pytest.approx(0.7, abs=0.05) and comparison["theirs"]["mean"] < 0.05
    assert comparison["difference"] == pytest.approx(comparison["ours"]["mean"] - comparison["theirs"]["mean"])
    assert (
        0.55 < comparison["low"] < comparison["difference"] < comparison["high"] < 0.8
        and comparison["better_fraction"] == 1
    )
    outputs, decided = confirm.read_outputs(confirm.best_run(searcher, winner), "test")
    assert decided == {"threshold": winner.best_seed}
    assert outputs["text"][:4].tolist() == [b"a", "ü".encode(), b"", b"b c"]
    assert outputs["is_right"].dtype == bool and len(outputs["is_right"]) == RECORDS


def test_a_candidate_that_diverges_cannot_win(searcher):
    candidates, winner = confirm.confirm(searcher, [trial("0", 0.95, 0.9), trial("1", 0.2, 0.8)])
    assert (winner.name, candidates[1].failed) == ("1", "seed 1: loss became nan")
    assert not list((searcher.out_dir / "confirmed" / "0").rglob("*.safetensors"))


def test_an_error_if_no_candidate_can_be_trained(searcher, monkeypatch):
    def always_diverge(*args, **kwargs):
        raise MemoryError("no more")

    monkeypatch.setattr(loop.run, "fit", always_diverge)
    with pytest.raises(ValueError, match="not even the default config can be trained: seed 1: no more"):
        confirm.confirm(searcher, [trial("0", 0.5, 0.9)])


COMPARED = {"split": "test", "difference": 0.02, "low": 0.01, "high": 0.03}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"candidates": []}, "The best of 2 trials was taken without confirmation"),
        ({"winner": DEFAULT}, "no trial was better than the default config, which is kept"),
        (
            {"comparison": COMPARED},
            r"better than the default config: F1 on test differs by \+2\.0 points \(95% interval 1\.0 to 3\.0\)",
        ),
        (
            {"comparison": COMPARED | {"low": -0.01}},
            "Trial 7 won, but the difference from the default .* may be chance",
        ),
        ({"comparison": COMPARED | {"low": -0.03, "high": -0.01}}, "won on validation but is worse than the default"),
        (
            {"comparison": COMPARED | {"difference": 0.0, "low": 0.0, "high": 0.0}},
            "are as good as those of the default",
        ),
        ({"comparison": None}, r"The default config cannot be trained \(nan\); trial 7 can"),
    ],
)
def test_the_verdict(values, expected):
    report = {
        "objective": {"name": "f1", "better": "higher", "unit": "fraction", "description": "fraction", "title": "F1"},
        "trials": [1, 2],
        "candidates": [{"failed": "nan"}],
        "winner": "7",
        "comparison": COMPARED,
    }
    assert re.search(expected, verdict(report | values))
