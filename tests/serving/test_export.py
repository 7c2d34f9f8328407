"""The SavedModel: its signatures, outputs, files and versions."""

import json
import os
import signal
import stat
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from support import stock_servers
from tensorflow.core.protobuf import saved_model_pb2

from tfbert.files import WriteError
from tfbert.interrupts import Stopped
from tfbert.serving import export as exporting
from tfbert.serving import export_run, precision_comparison
from tfbert.serving.export import export
from tfbert.serving.ops import OLDEST_RELEASE, list_ops
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.serving.warmup import read_warmup
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_outputs import EXPLANATION

LABELS = ["card", "fee", "loan"]
INPUTS = {
    "serving_default": {"text": (tf.string, [None])},
    "token_ids": {name: (tf.int32, [None, None]) for name in ("token_ids", "segment_ids", "padding_mask")},
    "labels": {"label_id": (tf.int32, [None])},
    "classify": {"inputs": (tf.string, [None])},
    "explain": dict.fromkeys(("text", "label", "method"), (tf.string, [None])),
}
ANSWERS = {
    "label": (tf.string, [None]),
    "label_id": (tf.int32, [None]),
    "probability": (tf.float32, [None]),
    "probabilities": (tf.float32, [None, 3]),
}
OUTPUTS = {
    "serving_default": ANSWERS | {"truncated": (tf.bool, [None])},
    "token_ids": ANSWERS,
    "labels": {"label": (tf.string, [None])},
    "classify": {"classes": (tf.string, [None, 3]), "scores": (tf.float32, [None, 3])},
    "explain": {
        o.name: (getattr(tf, o.dtype), [None, None] if o.is_list else [None])
        for o in EXPLANATION
        if o.name != "evidence_pair"
    },
}
TEXTS = ["my card pin", "the loan rate for a house today", "", "😀 fee 价格", "A" * 300]


def predict(model, texts):
    encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
    outputs = model.signatures["serving_default"](text=tf.constant(encoded, tf.string, shape=[len(encoded)]))
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def metagraph(version_dir):
    saved = saved_model_pb2.SavedModel.FromString((version_dir / "saved_model.pb").read_bytes())
    (graph,) = saved.meta_graphs
    return graph


def shapes(tensors):
    def dims(info):
        return [None if dim.size == -1 else dim.size for dim in info.tensor_shape.dim]

    return {name: (tf.as_dtype(info.dtype), dims(info)) for name, info in tensors.items()}


@pytest.mark.parametrize("name", INPUTS)
def test_signatures(version_dir, name):
    signatures = metagraph(version_dir).signature_def
    assert set(signatures) - {"__saved_model_init_op"} == set(INPUTS)
    assert shapes(signatures[name].inputs) == INPUTS[name]
    assert shapes(signatures[name].outputs) == OUTPUTS[name]
    # The dtype does not show whether an output is ragged, which servers cannot send.
    assert all(info.WhichOneof("encoding") == "name" for info in signatures[name].outputs.values())


def test_outputs(model):
    outputs = predict(model, TEXTS)
    assert {name: len(values) for name, values in outputs.items()} == dict.fromkeys(OUTPUTS["serving_default"], 5)
    assert [label.decode() for label in outputs["label"]] == [LABELS[index] for index in outputs["label_id"]]
    np.testing.assert_allclose(outputs["probabilities"].sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(outputs["probabilities"].argmax(1), outputs["label_id"])
    np.testing.assert_array_equal(outputs["probabilities"].max(1), outputs["probability"])
    # A single word of 300 letters is one unknown token.
    assert outputs["truncated"].tolist() == [False] * 5


def test_outputs_differ_between_texts(model):
    probabilities = predict(model, TEXTS)["probabilities"]
    assert len(np.unique(probabilities.round(6), axis=0)) == len(TEXTS)


@pytest.mark.parametrize(("num_words", "truncated"), [(30, False), (31, True), (500, True)])
def test_truncated_is_set_if_tokens_were_cut(model, num_words, truncated):
    # 32 tokens with [CLS] and [SEP] leave room for 30.
    outputs = predict(model, [" ".join(["a"] * num_words), "a"])
    assert outputs["truncated"].tolist() == [truncated, False]


def test_outputs_equal_those_of_the_trained_model(model, finished, expected):
    outputs = predict(model, [item["text"] for item in finished.samples])
    assert [label.decode() for label in outputs["label"]] == expected["label"]
    assert outputs["label_id"].tolist() == expected["label_id"]
    np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=1e-5)


def test_token_ids_give_the_same_outputs_as_texts(model, finished):
    preprocessor = finished.predictor.preprocessor
    packed = preprocessor.pack([preprocessor.tokenizer(tf.constant([text.encode() for text in TEXTS]))]).dense()
    by_ids = model.signatures["token_ids"](**packed)
    by_text = predict(model, TEXTS)
    assert by_ids["label"].numpy().tolist() == by_text["label"].tolist()
    np.testing.assert_allclose(by_ids["probabilities"].numpy(), by_text["probabilities"], atol=1e-5)


def test_other_items_of_a_batch_do_not_change_an_output(model):
    together = predict(model, TEXTS)["probabilities"]
    alone = np.concatenate([predict(model, [text])["probabilities"] for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(predict(model, TEXTS[::-1])["probabilities"][::-1], together, atol=1e-5)


def test_bytes_that_are_not_utf8_are_dropped(model):
    outputs = predict(model, [b"my \xff\xfecard", "my card", b"\xff"])
    np.testing.assert_allclose(outputs["probabilities"][0], outputs["probabilities"][1], atol=1e-6)
    assert np.isfinite(outputs["probabilities"]).all()


def test_an_empty_batch(model):
    outputs = predict(model, [])
    shapes_by_name = {name: values.shape for name, values in outputs.items()}
    assert shapes_by_name == dict.fromkeys(outputs, (0,)) | {"probabilities": (0, 3)}


def test_classify_reads_examples(model):
    def example(text):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))
        return tf.train.Example(features=tf.train.Features(feature={"text": feature})).SerializeToString()

    outputs = model.signatures["classify"](inputs=tf.constant([example(text) for text in TEXTS]))
    assert outputs["classes"].numpy().tolist() == [[label.encode() for label in LABELS]] * len(TEXTS)
    np.testing.assert_allclose(outputs["scores"].numpy(), predict(model, TEXTS)["probabilities"], atol=1e-6)


def test_labels_by_id(model):
    names = model.signatures["labels"](label_id=tf.constant([2, 0, 1, 3, -1, 2**31 - 1]))["label"].numpy()
    assert names.tolist() == [b"loan", b"card", b"fee", b"", b"", b""]


def reachable(library, name):
    """Return the ops of a function and of all functions it calls."""
    functions = {function.signature.name: function for function in library.function}
    ops, pending, visited = set(), [name], set()
    while pending:
        function = functions[pending.pop()]
        for node in function.node_def:
            ops.add(node.op)
            called = {node.op, *(value.func.name for value in node.attr.values())}
            called |= {func.name for value in node.attr.values() for func in value.list.func}
            pending += [name for name in called & functions.keys() if name not in visited]
            visited |= called
    return ops


def test_token_ids_need_no_custom_op(version_dir):
    graph = metagraph(version_dir)
    calls = {}
    for name, signature in graph.signature_def.items():
        nodes = {node.name: node for node in graph.graph_def.node}
        for info in signature.outputs.values():
            node = nodes[info.name.partition(":")[0]]
            if "f" in node.attr:
                calls[name] = node.attr["f"].func.name
    custom = {
        name: reachable(graph.graph_def.library, function) & OLDEST_RELEASE.keys() for name, function in calls.items()
    }
    assert custom["serving_default"]
    assert custom["token_ids"] == set()


def test_ops_are_known_and_not_compiled(version_dir):
    ops = list_ops(version_dir)
    assert (ops.unknown, ops.jit_compiled) == ((), ())
    # Most releases lack the trimmer.
    assert "TFText>RoundRobinTrim" not in ops.custom
    assert ops.oldest_release == "2.12.1"


def test_files(version_dir, finished):
    assets = version_dir / "assets"
    assert (assets / "labels.txt").read_text(encoding="utf-8").splitlines() == LABELS
    vocabulary = (assets / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
    assert vocabulary[:-1] == finished.predictor.tokenizer.vocabulary
    assert json.loads((assets / "config.json").read_text(encoding="utf-8")) == finished.config.to_dict()
    stored = json.loads((assets / "task.json").read_text(encoding="utf-8"))
    assert fitted_from_json(stored) == finished.task
    assert json.loads((assets / "decided.json").read_text(encoding="utf-8")) == {"temperature": 1.0}
    assert json.loads((assets / "tokenizer.json").read_text(encoding="utf-8"))["lowercase"] is True
    card = (version_dir / "MODEL_CARD.md").read_text(encoding="utf-8")
    for split in ("validation", "test"):
        for metric, score in finished.report[split]["metrics"].items():
            interval = f"{score['low']:.4f} to {score['high']:.4f}"
            assert f"| {split} | {metric} | {score['value']:.4f} | {interval} |" in card


def test_warmup_records_replay(version_dir, model, finished, expected):
    requests = list(read_warmup(version_dir))
    sample_texts = [item["text"] for item in finished.samples]
    assert [request.model_spec.signature_name for request in requests] == ["serving_default"] * 2 + ["explain"]
    texts = [tf.make_ndarray(request.inputs["text"]).tolist() for request in requests]
    shortest = min(sample_texts, key=len)
    assert [[text.decode() for text in batch] for batch in texts] == [sample_texts[:1], sample_texts, [shortest] * 2]
    outputs = model.signatures["serving_default"](text=tf.constant(texts[1]))
    assert [label.decode() for label in outputs["label"].numpy()] == expected["label"]


def test_other_users_can_read_it(version_dir):
    for folder, folders, files in os.walk(version_dir):
        for name in folders:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) & 0o055 == 0o055
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) & 0o044 == 0o044
    assert stat.S_IMODE(version_dir.stat().st_mode) == 0o755


@pytest.fixture
def quick(monkeypatch):
    """Leave out the slow part of an export, the graph."""
    monkeypatch.setattr(exporting, "_Module", lambda servable: type("Empty", (), {"signatures_by_name": {}})())
    monkeypatch.setattr(exporting.tf.saved_model, "save", lambda module, path, signatures: None)


def test_versions_count_up(servable, tmp_path, quick):
    assert [export(servable, tmp_path / "m").name for _ in range(2)] == ["1", "2"]
    (tmp_path / "m" / "10").mkdir()
    (tmp_path / "m" / "notes").mkdir()
    assert export(servable, tmp_path / "m").name == "11"


def test_interrupted_export_leaves_no_version(servable, tmp_path, quick, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "write_warmup", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(servable, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []


def test_no_version_is_added_before_it_was_checked(servable, tmp_path, quick):
    def refuse(directory):
        versions.append([entry.name for entry in (tmp_path / "m").iterdir() if entry.name.isdecimal()])
        assert (directory / "assets" / "config.json").exists()
        raise RuntimeError("differs")

    versions = []
    with pytest.raises(RuntimeError, match="differs"):
        export(servable, tmp_path / "m", refuse)
    assert versions == [[]]
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.slow
def test_bfloat16_matrices_are_stored_without_float32_copies_and_the_difference_is_described(
    version_dir, finished, run_dir, tmp_path
):
    narrow_dir, checked = export_run.export_run(run_dir, tmp_path / "m", "bfloat16")
    assert "`explain`" in (narrow_dir / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert checked["num_items"] == len(finished.samples) and checked["max_difference"] <= 1e-4
    stored = dict(tf.train.list_variables(str(narrow_dir / "variables" / "variables")))
    reader = tf.train.load_checkpoint(str(narrow_dir / "variables" / "variables"))
    kernels = {tuple(weight.shape) for weight in finished.predictor.model.backbone.transformer_layers[0].weights}
    dtypes = {name: reader.get_variable_to_dtype_map()[name] for name in stored}
    matrices = [name for name, dtype in dtypes.items() if dtype == tf.bfloat16]
    assert len(matrices) == 6 * len(finished.predictor.model.backbone.transformer_layers)
    assert {tuple(stored[name]) for name in matrices} <= kernels
    sizes = [
        (folder / "variables" / "variables.data-00000-of-00001").stat().st_size for folder in (version_dir, narrow_dir)
    ]
    saved = 2 * sum(int(np.prod(stored[name])) for name in matrices)
    assert sizes[0] - sizes[1] == pytest.approx(saved, rel=0.05)
    # The loader of stock servers returns the same outputs as TensorFlow's Python.
    loaded = stock_servers.predict_with_c_api(sys.executable, narrow_dir, finished.samples, tmp_path)
    narrow = SavedPredictor(narrow_dir)
    stock_servers.assert_outputs(loaded["outputs"], narrow(finished.samples))
    item = {"text": "my card", "label": "fee", "method": "gradients"}
    ((_, expected),) = narrow.explain([{"text": "my card"}], "fee", "gradients")
    for python in filter(None, (sys.executable, stock_servers.OLDER_PYTHON)):
        loaded = stock_servers.predict_with_c_api(python, narrow_dir, [item], tmp_path, "explain")
        by_name = {name: output["values"] for name, output in loaded["outputs"].items()}
        assert by_name["evidence"] == expected["evidence"] and len(expected["evidence"]) == 5
        for name in ("contribution", "evidence_similarity"):
            assert by_name[name] == pytest.approx(expected[name], abs=1e-5)
    card = (narrow_dir / "MODEL_CARD.md").read_text(encoding="utf-8")
    line = precision_comparison.describe(checked["compared"])
    assert line in card and "accuracy" in line and "in float32 and" in line
    assert "bfloat16" not in (version_dir / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture
def instant(monkeypatch):
    """Let exports write hardly anything."""
    monkeypatch.setattr(exporting, "_Module", lambda predictor: SimpleNamespace(signatures_by_name={}))
    monkeypatch.setattr(exporting.tf.saved_model, "save", lambda module, path, signatures: None)
    monkeypatch.setattr(exporting, "model_card", lambda *_, **__: "card")
    return exporting


def test_directories_of_killed_exports_are_removed_and_those_of_running_ones_are_not(servable, tmp_path, instant):
    for name in (".writing-1", ".writing-2"):
        (tmp_path / name / "variables").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    listings = []

    def export_too(temporary):
        """Start another export while this one is writing."""
        listings.append(sorted(path.name for path in tmp_path.iterdir()))
        if len(listings) == 1:
            export(servable, tmp_path, export_too)
            assert temporary.is_dir()

    assert export(servable, tmp_path, export_too).name == "2"
    assert [[name.startswith(".writing-") for name in names].count(True) for names in listings] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "notes"]


def test_a_full_disk_leaves_no_version(servable, tmp_path, instant, monkeypatch):
    def save(module, path, signatures):
        raise tf.errors.ResourceExhaustedError(None, None, f"{path}/variables/variables; No space left on device")

    monkeypatch.setattr(exporting.tf.saved_model, "save", save)
    with pytest.raises(WriteError, match=rf"^{tmp_path}: cannot be written: the disk is full; free some space"):
        export(servable, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_during_the_export_names_the_finished_run(run_dir, tmp_path, instant, monkeypatch):
    def save(module, path, signatures):
        raise Stopped(number=signal.SIGTERM)

    monkeypatch.setattr(exporting.tf.saved_model, "save", save)
    with pytest.raises(Stopped) as stopped:
        export_run.export_run(run_dir, tmp_path)
    assert stopped.value.message == f"stopped during the export; {run_dir} contains the finished run"
    assert stopped.value.exit_code == 143 and list(tmp_path.iterdir()) == []
