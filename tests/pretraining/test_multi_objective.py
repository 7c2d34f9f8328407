"""Multi-objective training of a task and masked words on one encoder: losses, gradients, and resuming after a kill."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import packed, small

from tfbert.config import override
from tfbert.models.build import build_models
from tfbert.models.predictor import Predictor
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingHead, PretrainingModel
from tfbert.pretraining.objective import PretrainingObjective
from tfbert.training.checkpoint import BEST, CHECKPOINT, Checkpoints
from tfbert.training.fine_tuning import Callbacks, TaskEvaluator, TaskObjective
from tfbert.training.problem import prepare
from tfbert.training.trainer import Trainer

tf.config.experimental.enable_op_determinism()


class TwoHeads(keras.Model):
    """A task's head and the masked-word head on one encoder."""

    def __init__(self, task_model):
        super().__init__(name="two_heads")
        self.backbone, self.task_model = task_model.backbone, task_model
        head = PretrainingHead(self.backbone, activation="gelu", layer_norm_epsilon=1e-12, with_pairs=False)
        self.pretraining_model = PretrainingModel(self.backbone, head)
        self.built = True


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    data_dir = small.write_data(tmp_path_factory.mktemp("data"), validation=6)
    return prepare(small.config(data_dir, train__epochs=4, train__patience_epochs=0, train__checkpoint_seconds=0))


@pytest.fixture
def make_trainer(problem, tmp_path):
    """Return a function from the name of a run directory to a trainer with two objectives."""

    def make(name, weight=0.5, eager=True):
        keras.backend.clear_session()  # so that layers have the same names as in a separate process
        config = problem.config
        keras.utils.set_random_seed(config.train.seed)
        model = TwoHeads(build_models(problem.task, problem.encoder, config)[0])
        task = TaskObjective(model.task_model, problem.task, config, problem.tokenized["train"])
        # Two updates per epoch, where the task has three: the objectives go through their data independently.
        pretrain_config = override(
            PretrainConfig(), {"examples.pairs": "none", "examples.sequence_length": 32, "train.batch_size": 8}
        )
        words = PretrainingObjective(model.pretraining_model, pretrain_config, packed.batcher(16, pairs=False))
        words.weight = weight
        predictor = Predictor(problem.task, model.task_model, problem.tokenizer, config, run_eagerly=eager)
        evaluation = TaskEvaluator(problem, config, predictor, task, Callbacks())
        evaluation.model = model
        (tmp_path / name).mkdir(exist_ok=True)
        checkpoints = Checkpoints(tmp_path / name, "fingerprint", config.train.checkpoint_seconds)
        return Trainer(model, [task, words], evaluation, config.train, checkpoints, run_eagerly=eager)

    return make


def weights(model):
    return [np.asarray(variable) for variable in model.weights]


def test_both_losses_fall_and_a_killed_training_resumes_to_the_same_bits(make_trainer):
    uninterrupted = make_trainer("whole")
    progress = uninterrupted.train()
    assert (progress.update, len(progress.history)) == (12, 5)
    for name in ("task/loss", "pretraining/masked_word_loss"):
        losses = [point[name] for point in progress.curve]
        assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.05, name
    killed = make_trainer("killed")
    update, calls = killed.updater.update, iter(range(100))

    def die_at_the_sixth(groups):
        if next(calls) == 5:
            raise MemoryError("killed")
        return update(groups)

    killed.updater.update = die_at_the_sixth
    with pytest.raises(MemoryError, match="killed"):
        killed.train()
    assert (killed.checkpoints.run_dir / CHECKPOINT).exists()
    resumed = make_trainer("killed")
    resumed_progress = resumed.train()
    assert resumed_progress.curve == progress.curve
    assert all(np.array_equal(a, b) for a, b in zip(weights(resumed.model), weights(uninterrupted.model), strict=True))
    best = [trainer.checkpoints.run_dir / BEST for trainer in (resumed, uninterrupted)]
    assert best[0].read_bytes() == best[1].read_bytes()


def count_calls(objective, num_calls):
    losses = objective.losses

    def counted(batch):
        num_calls[objective.name] += 1
        return losses(batch)

    objective.losses = counted


def test_every_weight_gets_the_gradient_of_the_weighted_sum(make_trainer):
    """The gradient is linear in the weight of an objective, and equal in graphs and eagerly."""

    def gradients(weight, eager=True):
        trainer = make_trainer("gradients", weight, eager)
        groups, num_calls = {}, collections.Counter()
        for objective in trainer.objectives:
            count_calls(objective, num_calls)
            planned = next(objective.groups(0, 1))
            stream = trainer.replicas.stream(planned, objective.batches)
            groups[objective.name] = objective.group(planned, stream, trainer.replicas)
        _, gradients = trainer.updater.gradients(groups)
        if not eager:
            # Losses in a graph are called once for each trace.
            assert num_calls == {"task": 1, "pretraining": 1}
        return {v.path: np.asarray(g) for v, g in zip(trainer.model.trainable_variables, gradients, strict=True)}

    none, half, full = gradients(0.0), gradients(0.5, eager=False), gradients(1.0)
    for path in full:
        np.testing.assert_allclose(half[path], (none[path] + full[path]) / 2, atol=2e-6, err_msg=path)
        is_in_pretraining_head = path.startswith("pretraining_head")
        assert np.any(none[path]) != is_in_pretraining_head, path
    assert not np.allclose(none["token_embedding/embeddings"], full["token_embedding/embeddings"])
