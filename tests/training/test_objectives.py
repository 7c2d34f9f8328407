"""Objectives: which batches an update learns from, and how their losses are averaged."""

import math

import pytest

from tfbert.training.objectives import Group, Objective


class Counting(Objective):
    """Batches that are numbered through the epochs."""

    name = "counting"
    terms = ("a", "b")
    num_batches = 5
    accumulation_steps = 2
    num_epochs = 3

    def plan(self, epoch):
        return [(10 * epoch + index,) for index in range(self.num_batches)]

    def batches(self, plan):
        return iter(plan)

    def losses(self, batch):
        return {}

    def group(self, planned, batches, replicas):
        return Group(batches, {})


def test_the_last_update_of_an_epoch_may_have_fewer_batches():
    objective = Counting()
    assert (objective.updates_per_epoch, objective.num_updates) == (3, 9)
    numbers = [[number for (number,) in group] for group in objective.groups(0, 9)]
    assert numbers == [[0, 1], [2, 3], [4], [10, 11], [12, 13], [14], [20, 21], [22, 23], [24]]


@pytest.mark.parametrize("update", range(1, 9))
def test_the_batches_of_an_update_depend_only_on_its_number(update):
    assert list(Counting().groups(update, 9)) == list(Counting().groups(0, 9))[update:]


def test_an_objective_that_runs_out_of_data_starts_another_epoch():
    assert list(Counting().groups(0, 13))[9:] == [[(30,), (31,)], [(32,), (33,)], [(34,)], [(40,), (41,)]]
    assert len(list(Counting().groups(0, 7))) == 7


def test_a_term_without_examples_adds_nothing_to_the_loss():
    objective = Counting()
    objective.weight = 0.5
    sums, counts = {"a": 6.0, "b": 0.0, "a_right": 2.0}, {"a": 4.0, "b": 0.0}
    assert objective.loss(sums, counts) == 0.75
    assert objective.means(sums, counts) == {"a": 1.5}
    assert objective.loss({"a": 6.0, "b": 3.0}, {"a": 4.0, "b": 2.0}) == 1.5
    assert math.isnan(objective.loss({"a": math.nan, "b": 0.0}, counts))


def test_by_default_a_batch_is_one_micro_batch_and_the_whole_embedding_is_trained():
    assert Counting().micro_batches((7,), 2) == [(7,)]
    assert Counting().token_ids() is None
