"""TensorBoard logs: losses, scores and hyperparameters of a run."""

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tfbert.config import Config, override
from tfbert.evaluation.tensorboard_log import TensorBoardLog, final_scores

REPORT = {"validation": {"metrics": {"accuracy": {"value": 0.75}}}, "test": {"metrics": {"accuracy": {"value": 0.5}}}}


def test_scalars_and_hyperparameters_of_a_run(tmp_path):
    config = override(Config(), {"train.learning_rate": 3e-4, "train.monitor": "macro_f1"})
    log = TensorBoardLog.of_config(tmp_path, config)
    entry = {"epoch": 1, "loss": 1.5, "examples_per_second": 80.0, "validation": {"accuracy": 0.25}}
    log.epoch(entry, [[1, 2.0, 1e-4], [2, 1.0, 3e-4]])
    log.close(final_scores(REPORT), 2)

    events = EventAccumulator(str(tmp_path)).Reload()
    scalars = {
        tag: [float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if not tag.startswith("_hparams_")
    }
    expected = {
        "train/loss": [2.0, 1.0],
        "train/learning_rate": [1e-4, 3e-4],
        "epoch/train_loss": [1.5],
        "epoch/examples_per_second": [80.0],
        "validation/accuracy": [0.25],
        "final/validation_accuracy": [0.75],
        "final/test_accuracy": [0.5],
    }
    assert scalars == {tag: [float(tf.constant(value)) for value in values] for tag, values in expected.items()}
    contents = events.PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(contents["_hparams_/session_start_info"]).session_start_info
    assert start.hparams["train.learning_rate"].number_value == 3e-4
    assert start.hparams["train.monitor"].string_value == "macro_f1"
    experiment = plugin_data_pb2.HParamsPluginData.FromString(contents["_hparams_/experiment"]).experiment
    assert [info.name.tag for info in experiment.metric_infos] == ["final/validation_accuracy", "final/test_accuracy"]
