"""Plans of a search: validation, limits and fingerprints."""

import logging

import pytest

from tfbert.config import Config, override
from tfbert.hyperparameters.plan import Plan, read_plan, space_with_effect
from tfbert.space import Choice, LogRange, Range, When
from tfbert.tasks.base import list_tasks, load_task
from tfbert.tasks.classification import ClassificationOptions
from tfbert.tasks.matching import MatchingOptions
from tfbert.text.records import Record

MATCHING = Config(task="matching")
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
        (
            {"config": Config(task="entities"), "space": {"head.pooling": Choice("cls", "mean")}},
            "search space: head.pooling=cls: entities does not use it; .* and regression do$",
        ),
        (
            {"config": Config(task="matching"), "space": SPACE | {"train.class_weights": Choice("none", "balanced")}},
            "search space: train.class_weights=none: matching does not use it; ",
        ),
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


@pytest.mark.parametrize("task", list_tasks())
def test_a_task_uses_every_option_of_its_own_space(task):
    definition = load_task(task)
    Plan(config=override(Config(task=task), definition.defaults), space=definition.search_space).check()


OVERLAP = Choice(0.1, 0.5)


@pytest.mark.parametrize(
    "space",
    [
        {"encoder.window_overlap_fraction": OVERLAP},
        {"encoder.window_overlap_fraction": OVERLAP, "encoder.long_text": Choice("mean", "cut")},
        {"encoder.window_overlap_fraction": When("encoder.long_text", ("cut",), OVERLAP)},
    ],
)
def test_dimensions_that_contradict_each_other_are_refused(space):
    message = r"search space: encoder\.window_overlap_fraction=0\.1: there are no windows .*\(a dimension with .when."
    with pytest.raises(ValueError, match=message):
        Plan(config=Config(), space=SPACE | space).check()


def test_a_condition_prevents_the_contradiction():
    overlap = When("encoder.long_text", ("mean", "max"), OVERLAP)
    space = {"encoder.long_text": Choice("mean", "cut"), "encoder.window_overlap_fraction": overlap}
    Plan(config=Config(), space=space).check()
    mean = override(Config(), {"encoder.long_text": "mean"})
    Plan(config=mean, space={"encoder.window_overlap_fraction": OVERLAP}).check()


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "space.json"
    path.write_text('{"train.hard_negatives": [1, 2]}')
    with pytest.raises(ValueError) as caught:
        read_plan("regression", None, path, [], {})
    assert str(caught.value).startswith(f"{path}: search space: train.hard_negatives=1: regression does not use it")


def test_dimensions_that_contradict_the_data_are_refused():
    rows = [Record("a", "x", "a:1", ("b",)), Record("c", "y", "a:2", ("d",))]
    pairs = load_task("classification").fit(rows, ClassificationOptions())
    space = {"encoder.long_text": Choice("mean", "cut")}
    with pytest.raises(ValueError, match=r"search space: encoder\.long_text=mean: pairs of texts are always cut"):
        space_with_effect(space, pairs, Config())


def test_an_option_that_scored_pairs_do_not_use_is_left_out_of_the_space(caplog):
    caplog.set_level(logging.INFO, "tfbert")
    space = load_task("matching").search_space
    pairs, scored = [
        load_task("matching").fit([Record("q", score, "a:1", (answer,)) for score, answer in rows], MatchingOptions())
        for rows in ([(None, "a"), (None, "b")], [(1.0, "a"), (2.0, "b")])
    ]
    assert space_with_effect(space, pairs, MATCHING) == space and not caplog.messages
    without = space_with_effect(space, scored, MATCHING)
    assert space.keys() - without.keys() == {"train.hard_negatives"}
    assert caplog.messages == [
        "search space: train.hard_negatives is left out: it has no effect with these training data"
    ]
    with pytest.raises(ValueError, match="search space: train.hard_negatives: has no effect with these training data"):
        space_with_effect(space | {"train.hard_negatives": Choice(0, 5)}, scored, MATCHING)


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


@pytest.mark.parametrize(
    ("values", "num_trainings", "expected"),
    [
        ({}, 12, "up to 20 trials; then the confirmation: the default config and the best trials are trained with 3 "),
        ({"trials": 2, "confirmations": 1}, 3, "trained with 1 fresh seed each, up to 3 trainings"),
        ({"trials": 1, "hours": 0.5}, 6, "up to 1 trial, none of which starts after 0.5 h; then the confirmation"),
        ({"hours": 2, "confirmations": 0}, 0, "trials, none of which starts after 2 h; no confirmation"),
    ],
)
def test_the_cost_of_the_confirmation_is_announced(values, num_trainings, expected):
    plan = Plan(config=Config(), space={}, **values)
    assert plan.num_confirmation_trainings == num_trainings
    assert expected in plan.announcement()


def test_a_field_that_is_set_is_not_searched(caplog):
    caplog.set_level(logging.INFO, "tfbert")
    own = load_task("classification").search_space
    plan = read_plan("classification", None, None, ["train.epochs=1"], {"train.batch_size": 8})
    assert own.keys() - plan.space.keys() == {"train.epochs", "train.batch_size"}
    assert caplog.messages[0] == "search space: train.epochs is left out, because it is set"
    assert (plan.config.train.epochs, plan.config.train.batch_size) == (1, 8)
    again = read_plan("classification", None, None, ["train.epochs=1", "search.space.train.epochs=[1, 2]"], {})
    assert again.space["train.epochs"] == Choice(1, 2)
