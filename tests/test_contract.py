"""The contract of every task: from its samples to a SavedModel with the outputs of the trained model."""

import json
import sys
import typing
from pathlib import Path

import keras
import lupa
import numpy as np
import pytest
import tensorflow as tf
import yaml
from support.stock_servers import OLDER_PYTHON, assert_outputs, needs_older, predict_with_c_api, run_script

from tfbert.api import models
from tfbert.config import Config, DataConfig, override, paths, value_at
from tfbert.models.build import build_models
from tfbert.models.data import load_task_splits
from tfbert.models.saved_run import load_run
from tfbert.serving import deployment, export_run, litert, precision_comparison
from tfbert.serving.evaluate import evaluate
from tfbert.serving.input_spec import InputSpec
from tfbert.serving.requests import read_requests
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.serving.verify import check
from tfbert.space import check_space
from tfbert.tasks.base import fitted_from_json, list_tasks, load_task
from tfbert.tasks.base_config import check_options, used_options
from tfbert.tasks.base_outputs import GRADIENTS, OCCLUSION
from tfbert.text.batches import batches
from tfbert.text.inputs import batch_of
from tfbert.text.records import read_records
from tfbert.training import run
from tfbert.training.fine_tuning import TaskObjective
from tfbert.training.optimizers import learning_rate_factors
from tfbert.training.problem import prepare

REPORT_KEYS = {
    "task", "encoder", "seed", "config", "versions", "command", "data", "checks", "seconds", "history", "best_epoch",
    "untrained", "validation", "test", "seeds", "metrics",
}  # fmt: skip
# Values, different from the defaults, of all options that only some tasks use.
# A list of terms of which the samples of every task have some.
TERMS = str(Path(__file__).parent / "support" / "terms.txt")
OTHER_VALUES = {
    "data.calibration": "validation",
    "data.calibration_fraction": 0.3,
    "data.corrections": "doubtful.csv",
    "data.group_column": "site",
    "data.label_names": "O,B-a",
    "data.nested_spans": "refuse",
    "data.span_end": "inclusive",
    "data.tag_scheme": "iobes",
    "data.word_separator": "",
    "decision.coverage": 0.8,
    "decision.evidence": 9,
    "decision.max_error": 0.1,
    "decision.out_of_domain": "none",
    "encoder.long_text": "mean",
    "encoder.window_overlap_fraction": 0.8,
    "head.dropout": 0.3,
    "head.pooling": "cls",
    "head.start": "random",
    "train.class_weights": "balanced",
    "train.counterfactuals": TERMS,
    "train.group_weights": TERMS,
    "train.hard_negatives": 2,
    "train.head_learning_rate_factor": 3.0,
    "train.label_smoothing": 0.1,
    "train.noise": 0.3,
    "train.part_tokens": 512,
}
SMALL = {"encoder.name": "tiny", "encoder.sequence_length": 64, "encoder.precision": "float32"}


@pytest.fixture(scope="module", params=list_tasks())
def task(request):
    return load_task(request.param)


@pytest.fixture(scope="module")
def problem(task):
    values = SMALL | {"train.epochs": 1, "train.batch_size": 128}
    return prepare(override(Config(task=task.name), {**task.defaults, **values}))


@pytest.fixture(scope="module")
def run_dir(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    run.train(problem, path, command="python tools/train.py")
    return path


@pytest.fixture(scope="module")
def finished(run_dir):
    return load_run(run_dir)


@pytest.fixture(scope="module")
def expected(finished):
    """Return the outputs of the trained model for the samples."""
    return finished.predictor(finished.samples)


@pytest.fixture(scope="module")
def exported(run_dir, task, tmp_path_factory):
    """Return the directory of the version and the result of its verification."""
    with pytest.MonkeyPatch.context() as patch:
        # Verified in this process, which is faster. test_verify.py tests verification in another process.
        patch.setattr(export_run, "verify", check)
        # One task suffices here besides that of test_export.py, because explanations double the time.
        model_dir, explains = tmp_path_factory.mktemp("models") / "model", task.name == "entities"
        return export_run.export_run(run_dir, model_dir, explains=explains)


@pytest.fixture(scope="module")
def predictor(exported):
    return SavedPredictor(exported[0])


def test_the_task_has_the_name_of_its_module(task):
    assert type(task).__module__ == f"tfbert.tasks.{task.name}"
    assert task.title
    assert task.samples_dir.is_dir()


def test_defaults_and_search_space_are_valid(task):
    check_space(task.search_space, override(Config(task=task.name), task.defaults))
    assert "train.learning_rate" in task.search_space
    override(Config(), task.defaults)


def test_a_fitted_task_survives_json(problem):
    assert fitted_from_json(json.loads(json.dumps(problem.task.to_json()))) == problem.task


def test_counted_labels_are_those_of_the_fitted_task(problem, task):
    counted = {label for record in problem.splits["train"] for label in task.labels_of(record)}
    assert counted == set(problem.task.known_labels)
    assert bool(counted) == (task.schema.labels_of is not None)


def test_options_are_read_from_their_config_fields(task):
    """Every option has the type and the default of its config field, and is set to its value."""
    options = task.options.from_config(Config())
    for name, path in task.options.paths().items():
        assert getattr(options, name) == value_at(Config(), path), path
        assert typing.get_type_hints(task.options)[name] == plain(paths()[path]), path
    assert set(task.data_options) <= {path for path in paths() if path.startswith("data.")}
    assert set(task.defaults) <= set(paths())


def plain(hint):
    """Return the type of an option: `str` for a literal, otherwise the hint itself."""
    return str if typing.get_origin(hint) is typing.Literal else hint


ALL_OPTIONS = sorted({path for name in list_tasks() for path in used_options(load_task(name))})


@pytest.mark.parametrize("path", ALL_OPTIONS)
def test_an_option_is_used_or_refused(task, path):
    value = OTHER_VALUES[path]
    config = override(Config(task=task.name), {path: value})
    if path in used_options(task):
        check_options(config)
        return
    users = [name for name in list_tasks() if path in used_options(load_task(name))]
    with pytest.raises(ValueError) as caught:
        check_options(config)
    message = str(caught.value)
    assert message.startswith(f"{path}={value}: {task.name} does not use it; ")
    assert all(name in message for name in users)


# tests/text/test_corrections.py checks the effect of corrections, which belong to certain records.
@pytest.mark.parametrize("path", [path for path in ALL_OPTIONS if path != "data.corrections"])
def test_an_option_that_is_used_has_an_effect(problem, task, model, path, tmp_path):
    if path not in used_options(task):
        return
    if path.startswith("data.calibration"):
        default, changed = (split_sizes(task, values) for values in ({}, {path: OTHER_VALUES[path]}))
    elif path in task.data_options:
        default, changed = (records_read(task, tmp_path, values) for values in ({}, {path: OTHER_VALUES[path]}))
    else:
        # Windows overlap only if long texts are read in windows.
        has_choice = path == "encoder.window_overlap_fraction" and "encoder.long_text" in used_options(task)
        required = {"encoder.long_text": "mean"} if has_choice else {}
        if path.startswith("decision."):
            # Half of some samples' validation split is too small for calibration.
            files = {split: next(task.samples_dir.glob(f"{split}.*")) for split in ("train", "validation", "test")}
            calibration = {"data.calibration": str(files.pop("test"))}
            required |= calibration | {f"data.{split}": str(file) for split, file in files.items()}
        base = override(problem.config, {**required, "encoder.sequence_length": 16})
        default, changed = (
            decided_by(problem, model, config) for config in (base, override(base, {path: OTHER_VALUES[path]}))
        )
    assert default != changed


def split_sizes(task, values):
    """Return the numbers of records in the splits, where half of train becomes validation.

    The value of `data.calibration` is the name of a split of the samples.
    """
    files = {split: str(next(task.samples_dir.glob(f"{split}.*"))) for split in ("train", "validation", "test")}
    settings = {"data.train": files["train"], "data.test": files["test"], "data.validation_fraction": 0.5, **values}
    if "data.calibration" in values:
        settings["data.calibration"] = files[values["data.calibration"]]
    config = override(Config(task=task.name), {**task.defaults, **settings})
    return {name: sum(1 for _ in split) for name, split in load_task_splits(config, task).items()}


def records_read(task, folder, values):
    """Return the records of files with overlapping spans, words, and integers, or the error message."""
    results = []
    overlapping = [{"start": 0, "end": 5, "label": "a"}, {"start": 0, "end": 3, "label": "b"}]
    (folder / "spans.jsonl").write_text(json.dumps({"text": "abcdefgh", "entities": overlapping}) + "\n")
    (folder / "words.conll").write_text("Ada B-a\nLovelace I-a\nmet O\n")
    (folder / "label.jsonl").write_text('{"text": "abc", "label": 1, "site": "north"}\n')
    (folder / "tags.jsonl").write_text('{"words": ["Ada"], "tags": [1]}\n')
    for name in ("spans.jsonl", "words.conll", "label.jsonl", "tags.jsonl"):
        config = override(Config(task=task.name), values)
        try:
            results += [(r.text, r.target, r.subgroup) for r in read_records(folder / name, config.data, task.schema)]
        except ValueError as error:
            results.append(str(error))
    return results


@pytest.fixture(scope="module")
def model(problem):
    return build_models(problem.task, problem.encoder, problem.config)[0]


PREPARED = {}


def prepared(problem, config):
    """Return the problem with another config, prepared only once per config."""
    key = config.fingerprint()
    if key not in PREPARED:
        PREPARED[key] = problem.with_config(config)
    return PREPARED[key]


def decided_by(problem, model, config):
    """Return all values that depend on the options of a config before training, as bytes and numbers."""
    # The token sequences depend on only a few options; the problem is prepared again only for these.
    paths_of_sequences = [f"encoder.{name}" for name in ("sequence_length", "long_text", "window_overlap_fraction")]
    paths_of_samples = ["data.train", "data.validation", "data.calibration"]
    values = {path: value_at(config, path) for path in (*paths_of_sequences, *paths_of_samples)}
    problem = prepared(problem, override(problem.config, values)).with_config(config)
    task, train = problem.task, problem.training_split(config)

    def embed(sequences):
        return np.random.default_rng(0).standard_normal((train.num_sequences, 8), np.float32)[sequences]

    head = task.head(seed=0)
    head.build(8)
    task.initialize_head(head, embed, train, seed=0)
    batch = next(iter(batches(train, [np.arange(4)], 16)))
    encoded = {"sequence_output": np.random.default_rng(1).standard_normal((*batch["token_ids"].shape, 8), np.float32)}
    encoded |= {"pooled_output": encoded["sequence_output"][:, 0] / 2}
    scores = head(encoded, batch)
    objective = TaskObjective(model, task, config, train, mitigation=problem.mitigation)
    return {
        "outputs": [output.name for output in task.outputs],
        "evidence": task.options.evidence,
        "sequences": train.sequences.values.tobytes(),
        "lengths": train.sequences.lengths().tolist(),
        "dropout": head.dropout.rate,
        "scores": np.asarray(scores).tobytes(),
        "loss": task.loss(scores, batch).numpy().tobytes(),
        "weights": None if objective.example_weights is None else objective.example_weights.tobytes(),
        "augmented": task.augment(train, embed, seed=0).num_sequences,
        "micro_batches": len(objective.micro_batches((np.arange(128),), 1)),
        "learning_rates": learning_rate_factors(model, config.train),
    }


def test_outputs_and_metrics_are_declared(problem, finished, expected):
    declared = {output.name: output for output in problem.task.outputs}
    assert declared.keys() == expected.keys()
    kinds = {"O": "string", "f": "float32", "i": "int32", "b": "bool"}
    for name, values in expected.items():
        assert kinds[values.dtype.kind] == declared[name].dtype, name
        assert (values.ndim == 2) == declared[name].is_list, name
    metrics = {metric.name for metric in problem.task.metrics}
    measured = set(finished.report["history"][0]["validation"]) | set(finished.report["test"]["metrics"])
    assert measured <= metrics
    assert problem.task.monitor in problem.task.metrics
    assert {metric["name"] for metric in finished.report["metrics"]} == metrics
    assert all(metric.better in ("higher", "lower") and metric.description for metric in problem.task.metrics)


def test_predictions_are_saved_with_the_run(run_dir, problem, task):
    lines = [json.loads(line) for line in (run_dir / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    records = [(name, record) for name in ("validation", "test") for record in problem.splits[name]]
    assert [(line["split"], line["id"]) for line in lines] == [(name, record.where) for name, record in records]
    assert [line["gold"] for line in lines] == [json.loads(json.dumps(task.truth_of(record))) for _, record in records]
    assert all(line["outputs"].keys() == {output.name for output in problem.task.outputs} for line in lines)


def test_loss_falls_on_a_repeated_batch(problem, task):
    keras.utils.set_random_seed(0)
    problem = problem.with_config(override(problem.config, {"encoder.dropout": 0.0, "head.dropout": 0.0}))
    model, _ = build_models(problem.task, problem.encoder, problem.config)
    optimizer = keras.optimizers.Adam(0.003)
    batch = next(iter(batches(problem.tokenized["train"], [np.arange(16)], 32)))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            losses = problem.task.loss(model(batch, training=True), batch)
            loss = tf.reduce_mean(losses)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
        return loss, losses

    optimizer.build(model.trainable_variables)
    steps = [step() for _ in range(12)]
    assert len(steps[0][1]) == 16
    assert steps[0][1].dtype == tf.float32
    assert float(steps[-1][0]) < 0.9 * float(steps[0][0])


def test_report(problem, task, run_dir):
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    assert report.keys() >= REPORT_KEYS
    assert (report["task"], report["seed"], report["encoder"]["name"]) == (task.name, 0, "tiny")
    assert report["config"] == problem.config.to_dict()
    assert report["versions"].keys() >= {"python", "tensorflow", "tensorflow-text", "keras", "numpy"}
    for name, split in problem.splits.items():
        data = report["data"][name]
        assert (data["path"], data["sha256"]) == (str(split.path), split.sha256)
        assert data["num_examples"] == len(problem.tokenized[name].num_tokens)
    assert all(seconds >= 0 for seconds in report["seconds"].values())
    assert problem.task.monitor.name in report["history"][0]["validation"]
    for name in ("validation", "test"):
        scores = report[name]
        assert scores["num_examples"] == len(problem.tokenized[name].num_tokens)
        assert scores["metrics"]
        for metric in scores["metrics"].values():
            assert metric["low"] <= metric["value"] <= metric["high"]
        assert all("num_examples" in label for label in scores["per_label"].values())


def test_run_directory(run_dir):
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page or "<img" in page
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {"config.json", "model.json", "best.safetensors", "tensorboard"}
    assert "checkpoint.safetensors" not in names


def test_the_export_was_verified(exported, finished):
    version_dir, checked = exported
    assert version_dir.name == "1"
    assert checked["num_items"] == len(finished.samples) > 0
    assert checked["max_difference"] <= 1e-4
    assert checked["warmup_requests"] > 0


@pytest.mark.slow
def test_litert_outputs_are_close_to_the_model(run_dir, problem, tmp_path):
    description = litert.export_litert(run_dir, tmp_path / "lite")
    assert {path.name for path in (tmp_path / "lite").iterdir()} == {"model.tflite", "litert.json", "vocabulary.txt"}
    assert json.loads((tmp_path / "lite" / "litert.json").read_text()) == description
    compared = description["compared"]
    assert compared["split"] == "test" and 0 < compared["num_rows"] <= 500
    for name, comparison in compared["outputs"].items():
        assert comparison.get("equal_fraction", 1) > 0.9
        # Differences of logits, probabilities, and values in the units of the data. The vectors of this small encoder
        # hardly differ between texts, so that rounding changes p-values more.
        assert comparison.get("mean_difference", 0) < (0.5 if name == "out_of_domain" else 0.1)
    predict = litert.sequence_predictor((tmp_path / "lite" / "model.tflite").read_bytes())
    row = {name: np.zeros([1, SMALL["encoder.sequence_length"]], np.int32) for name in description["inputs"]}
    row["padding_mask"][:, :3] = 1
    assert predict(row).keys() == compared["outputs"].keys()


@pytest.mark.slow
def test_bfloat16_outputs_are_close_to_the_model(run_dir, finished):
    narrow = load_run(run_dir).predictor
    narrow.model.backbone.copy_kernels("bfloat16")
    compared = precision_comparison.compare(finished, precision_comparison.sequence_predictor(narrow))
    assert compared["split"] == "test" and compared["num_rows"] > 0
    differences = [comparison.get("mean_difference", 0) for comparison in compared["outputs"].values()]
    assert 0 < max(differences) < 0.1
    assert all(comparison.get("equal_fraction", 1) > 0.9 for comparison in compared["outputs"].values())


def test_reloaded_outputs_equal_those_of_the_trained_model(predictor, finished, expected):
    outputs = predictor(finished.samples)
    assert outputs.keys() == expected.keys()
    for name, values in expected.items():
        assert len(values) == len(finished.samples)
        if values.dtype.kind == "O":
            assert outputs[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(outputs[name], values, atol=1e-5)


def test_a_run_in_python_predicts_like_its_saved_model_and_has_batches_and_a_loss(
    run_dir, finished, predictor, monkeypatch
):
    monkeypatch.setattr(models, "load_run", lambda path: finished)
    run, items = models.load(run_dir), finished.samples[:3]
    expected = [prediction for _, prediction in predictor.predict(items)]
    for prediction, other in zip(run.predict(items), expected, strict=True):
        assert prediction.keys() == other.keys()
        for name, value in prediction.items():
            assert value == pytest.approx(other[name], abs=1e-4) or isinstance(value, list | str)
            assert np.shape(value) == np.shape(other[name])
    x, y = next(iter(run.dataset("train", batch_size=4)))
    loss = run.model.compute_loss(x, y, run.model(x))
    assert loss.shape == () and np.isfinite(loss) and loss >= 0
    assert y.keys() >= {*run.task.targets, "weights"}


def test_requests_and_training_read_the_same_inputs_from_the_samples(problem, task):
    reader = problem.splits["test"].reader
    inputs = {
        task_input.name: InputSpec(task_input.spec.dtype.name, task_input.many) for task_input in problem.task.inputs
    }
    items = [request.item for request in read_requests([], str(reader.path), inputs, DataConfig())]
    assert items == [problem.task.inputs_of(record) for record in reader]


def test_predictions_without_padding_do_not_depend_on_the_batch(predictor, finished):
    samples = finished.samples
    together, alone = (
        [prediction for _, prediction in predictor.predict(samples, batch_size)] for batch_size in (len(samples), 1)
    )
    lengths = [
        [
            {name: len(value) for name, value in prediction.items() if isinstance(value, list)}
            for prediction in predictions
        ]
        for predictions in (together, alone)
    ]
    assert lengths[0] == lengths[1]


def test_scores_of_the_saved_model_equal_the_report(exported, run_dir, task):
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    scores = evaluate(exported[0], str(task.samples_dir), {})
    assert scores["num_examples"] == report["test"]["num_examples"]
    assert scores["per_label"].keys() == report["test"]["per_label"].keys()
    for name, metric in report["test"]["metrics"].items():
        assert scores["metrics"][name] == pytest.approx(metric, abs=1e-3)


@needs_older
def test_outputs_with_the_tensorflow_of_stock_servers_are_equal(exported, finished, tmp_path):
    path = tmp_path / "expected.json"
    path.write_text(
        json.dumps({"items": finished.samples, "expected": export_run.expected_outputs(finished)}), encoding="utf-8"
    )
    differences = run_script(OLDER_PYTHON, "older_tensorflow.py", exported[0], path, cwd=tmp_path)
    assert differences["tensorflow"].startswith("2.20.")
    assert differences["session"] < 1e-5
    assert differences["function"] < 1e-5
    assert differences["num_batches"] > 0


@pytest.mark.parametrize("python", [sys.executable, pytest.param(OLDER_PYTHON, marks=needs_older)], ids=["own", "2.20"])
def test_outputs_with_the_loader_of_stock_servers_are_equal(exported, finished, expected, tmp_path, python):
    result = predict_with_c_api(python, exported[0], finished.samples, tmp_path)
    assert not result["has_python"]
    assert result["tensorflow"].startswith("2.20." if python == OLDER_PYTHON else tf.__version__)
    assert_outputs(result["outputs"], expected)


@pytest.mark.parametrize("python", [sys.executable, pytest.param(OLDER_PYTHON, marks=needs_older)], ids=["own", "2.20"])
def test_explanations_with_the_loader_of_stock_servers_are_equal(exported, finished, tmp_path, python):
    signature = tf.saved_model.load(str(exported[0])).signatures.get("explain")
    if signature is None:
        pytest.skip("this task is exported without explanations here, which would double the time")
    items = [
        {**item, "label": "", "method": method} for method in (OCCLUSION, GRADIENTS) for item in finished.samples[:2]
    ]
    expected = signature(**batch_of(items, signature.structured_input_signature[1]))
    result = predict_with_c_api(python, exported[0], items, tmp_path, "explain")
    assert_outputs(result["outputs"], {name: values.numpy() for name, values in expected.items()})


def test_the_deployment_counts_the_predictions_of_the_task(exported, predictor, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(deployment, "SavedPredictor", lambda version_dir: predictor)
    deployment.render(exported[0], tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.yaml"):
        assert list(yaml.safe_load_all(path.read_text(encoding="utf-8"))), path
    json.loads((tmp_path / "out" / "config" / "dashboard.json").read_text(encoding="utf-8"))
    # The counts of the proxy for the predictions of the example request.
    lua = lupa.LuaRuntime()
    lua.execute((tmp_path / "out" / "config" / "answers.lua").read_text(encoding="utf-8"))
    body = (tmp_path / "out" / "examples" / "expected.json").read_text(encoding="utf-8")
    predictions = json.loads(body)["predictions"]
    counts = lua.globals().numbers_of(body)
    abstentions = [
        prediction
        for prediction in predictions
        if isinstance(prediction, dict) and _abstains(prediction, finished.task.outputs)
    ]
    assert counts["abstentions"] == len(abstentions)
    p_values = [prediction.get("out_of_domain", 1) for prediction in predictions if isinstance(prediction, dict)]
    assert counts["unusual"] == sum(value < 0.05 for value in p_values)
    # An empty list has no first number, so it is not counted.
    assert len(predictions) - len(abstentions) <= counts["answers"] <= len(predictions)
    assert sum(dict(counts["labels"]).values()) == sum(isinstance(a, dict) and "label" in a for a in predictions)


def _abstains(prediction, outputs):
    return any(prediction[output.name] == output.abstain_value for output in outputs if output.role == "abstain")
