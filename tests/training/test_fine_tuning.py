"""The history of a fine-tuning by epoch, as in `report.json`, and the scores of an epoch."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from support.predicted_answers import outputs_of

from tfbert.config import override
from tfbert.tasks.answers import AnswersOptions, FittedAnswers
from tfbert.text.records import Record
from tfbert.training.fine_tuning import TaskEvaluator, TaskObjective
from tfbert.training.monitoring import NotFinite
from tfbert.training.problem import NOISY_COPIES


def test_with_noise_every_epoch_reads_other_copies_of_the_texts(base_problem):
    config = override(base_problem.config, {"train.noise": 0.5})
    clean, copies = base_problem.tokenized["train"], base_problem.training_split(config)
    num_examples = len(clean)
    assert len(copies) == NOISY_COPIES * num_examples
    assert copies.targets["label_id"].tolist() == clean.targets["label_id"].tolist() * NOISY_COPIES
    texts = [tuple(copies.sequences[index]) for index in range(len(copies))]
    by_copy = [texts[start : start + num_examples] for start in range(0, len(copies), num_examples)]
    assert all(first != second for first, second in itertools.combinations(by_copy, 2))
    objective = TaskObjective(None, base_problem.task, config, copies)
    plain = TaskObjective(None, base_problem.task, base_problem.config, clean)
    assert (objective.num_batches, objective.num_epochs) == (plain.num_batches, plain.num_epochs)
    for epoch in range(NOISY_COPIES + 1):
        examples = np.sort(np.concatenate([examples for (examples,) in objective.plan(epoch)]))
        assert examples.tolist() == [num_examples * (epoch % NOISY_COPIES) + i for i in range(num_examples)]
    other_seed = base_problem.training_split(override(config, {"train.seed": 1}))
    assert other_seed.sequences.values.tobytes() != copies.sequences.values.tobytes()


class AnswersPredictor:
    """A predictor of given answers, all of them correct, with given margins."""

    def __init__(self, task, margins):
        self.task, self.outputs = task, outputs_of(["one"] * len(margins), margins)
        self.decided = task.decision.initial()

    def decode(self, items):
        return self.outputs

    def fit_decision(self, splits):
        self.decided = self.task.decision.fit(splits)

    def apply_decision(self, outputs):
        served = self.task.decision.apply({name: tf.constant(values) for name, values in outputs.items()}, self.decided)
        return {name: value.numpy() for name, value in served.items()}

    def decided_values(self):
        return self.decided


def epoch_scores(margins):
    task = FittedAnswers(options=AnswersOptions(), max_pieces=30, whole_words=True, has_unanswerable=True)
    spans = [((0, 3),), ((0, 3),), (), ()]
    records = [Record("q", span, f"dev:{index}", ("one two",)) for index, span in enumerate(spans)]
    problem, predictor = SimpleNamespace(task=task), AnswersPredictor(task, margins)
    return TaskEvaluator.scores(SimpleNamespace(problem=problem, predictor=predictor), records, lambda: None)


def test_scores_of_an_epoch_have_the_best_threshold_of_the_epoch():
    # At the initial threshold of 0, all questions would get an answer.
    assert epoch_scores([-4.0, -3.0, -2.0, -1.0])["f1"] == 1.0
    assert epoch_scores([-1.0, -2.0, -3.0, -4.0])["f1"] == 0.5


def test_scores_of_outputs_that_are_not_finite():
    with pytest.raises(NotFinite, match="validation no_answer_margin is not finite"):
        epoch_scores([0.0, np.nan, 0.0, 0.0])
