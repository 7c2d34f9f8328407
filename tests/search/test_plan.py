"""Plans of a search, and which ones are refused."""

import pytest

from tfbert.config import Config, override
from tfbert.search.plan import Plan
from tfbert.space import Choice, LogRange, Range

SPACE = {"train.learning_rate": LogRange(1e-5, 1e-3)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"algorithm": "genetic"}, "--algorithm genetic: expected one of bayesian, hyperband, random, grid"),
        ({"trials": 0}, "--trials 0: expected 1 or more"),
        ({"executions": 0}, "--executions 0: expected 1 or more"),
        ({"confirmations": -1}, "--confirm -1: expected 0 or more"),
        ({"kept": 0}, "--keep 0: expected 1 or more"),
        ({"hours": 0.0}, "--hours 0: expected more than 0"),
        ({"space": {}}, "the search space is empty"),
        (
            {"space": {"train.learning_rat": Choice(1, 2)}},
            "'train.learning_rat'; did you mean 'train.learning_rate'",
        ),
        (
            {"space": {"train.seed": Range(0, 9)}},
            "train.seed is not a hyperparameter; use --executions",
        ),
        ({"space": {"data.validation_fraction": Choice(0.1, 0.2)}}, "data.validation_fraction changes the problem"),
        ({"algorithm": "hyperband"}, "--algorithm hyperband: expected train.epochs in the space or the config"),
    ],
)
def test_invalid_plans_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Plan(**{"config": Config(), "space": SPACE} | values).check()


def test_hyperband_takes_its_epochs_from_the_space_or_the_config():
    with_epochs = SPACE | {"train.epochs": Choice(2, 8, None)}
    plan = Plan(config=Config(), space=with_epochs, algorithm="hyperband")
    plan.check()
    assert (plan.max_epochs, dict(plan.searched)) == (8, SPACE)
    of_config = Plan(config=override(Config(), {"train.epochs": 4}), space=SPACE, algorithm="hyperband")
    of_config.check()
    assert of_config.max_epochs == 4


def test_max_trials():
    def maximum(**values):
        return Plan(config=Config(), space=SPACE, **values).max_trials

    assert (maximum(), maximum(trials=7), maximum(hours=1.0), maximum(algorithm="grid")) == (20, 7, None, None)


def test_a_fingerprint_changes_with_anything():
    plans = [
        Plan(config=Config(), space=SPACE),
        Plan(config=Config(), space=SPACE, trials=3),
        Plan(config=override(Config(), {"train.seed": 1}), space=SPACE),
        Plan(config=Config(), space={"train.learning_rate": LogRange(1e-5, 2e-3)}),
    ]
    assert len({plan.fingerprint() for plan in plans}) == len(plans)
    assert plans[0].fingerprint() == Plan(config=Config(), space=SPACE).fingerprint()
