"""PyTorch transformers computes the same as tfbert, for exports of all tasks and for models that it wrote itself.

The other libraries are in an environment of their own (`make peers`), which TFBERT_PEERS_PYTHON names.
"""

import json
import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from support.untrained import scores_of, untrained_run

from tfbert.files import read_json
from tfbert.huggingface.exporting import export_model
from tfbert.huggingface.importing import read_model

PEERS_PYTHON = os.environ.get("TFBERT_PEERS_PYTHON")
TEXTS = [
    "Where is my card? I've lost it.",
    "Café déjà-vu, naïve Ångström — İstanbul!",
    "我的银行卡在哪里？ 한국어 テスト",
    "a" * 120 + " emoji 😀 tab\tnew\nline",
    "good people like you see time " * 20,
    "x",
]
# With 37 tokens for both texts: none is cut, one is, and both are, where the first or the second one is longer.
PAIRS = [
    [" ".join(["good"] * first), " ".join(["people"] * second)]
    for first, second in [(3, 4), (30, 10), (18, 19), (19, 18), (18, 30), (30, 18), (20, 20), (25, 40), (40, 25)]
]
SCRIPT = """
import json, sys
import torch
import transformers
from transformers import AutoTokenizer, BertConfig
job = json.load(open(sys.argv[1]))
outputs = {}
def logits_of(model, tokenizer, texts=[[text] for text in job["texts"]]):
    outputs = []
    for text in texts:
        inputs = tokenizer(*text, truncation=True, return_tensors="pt")
        if "MultipleChoice" in type(model).__name__:
            inputs = {name: value[None] for name, value in inputs.items()}
        with torch.no_grad():
            output = model.eval()(**inputs)
        values = torch.stack(output[:2], -1) if "start_logits" in output else output.logits
        outputs.append(values[0].tolist())
    return outputs
for name, (auto_class, trust) in job["exports"].items():
    tokenizer = AutoTokenizer.from_pretrained(f"{job['directory']}/{name}")
    if auto_class == "SentenceTransformer":
        from sentence_transformers import SentenceTransformer
        outputs[name] = SentenceTransformer(f"{job['directory']}/{name}", device="cpu").encode(job["texts"]).tolist()
        continue
    if trust:
        try:
            getattr(transformers, auto_class).from_pretrained(f"{job['directory']}/{name}", trust_remote_code=False)
            raise SystemExit("loaded without trust_remote_code")
        except ValueError:
            pass
    loading = {"trust_remote_code": True} if trust else {}
    model = getattr(transformers, auto_class).from_pretrained(f"{job['directory']}/{name}", **loading)
    outputs[name] = logits_of(model, tokenizer)
    if name == "classification-mean":
        outputs["pairs"] = logits_of(model, tokenizer, job["pairs"])
        batch = tokenizer(job["texts"][:2], padding=True, return_tensors="pt")
        result = model.train()(**batch, labels=torch.tensor([0, 1]), output_hidden_states=True)
        result.loss.backward()
        outputs["layers"] = len(result.hidden_states)
        model.save_pretrained(f"{job['directory']}/saved-again")
        tokenizer.save_pretrained(f"{job['directory']}/saved-again")
tokenizer = AutoTokenizer.from_pretrained(f"{job['directory']}/classification-cls")
for name, (suffix, labels, problem_type) in job["own"].items():
    torch.manual_seed(3)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, initializer_range=0.4, **sizes)
    config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
    config.problem_type = problem_type
    model = getattr(transformers, f"BertFor{suffix}")(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    model.save_pretrained(f"{job['directory']}/{name}")
    tokenizer.save_pretrained(f"{job['directory']}/{name}")
    outputs[name] = logits_of(model, tokenizer)
json.dump(outputs, open(f"{job['directory']}/outputs.json", "w"))
"""
EXPORTS = {
    "classification-mean": ("classification", {}),
    "classification-cls": ("classification", {"head__pooling": "cls"}),
    "multilabel-max": ("multilabel", {"head__pooling": "max"}),
    "classification-pooler": ("classification", {"head__pooling": "pooler"}),
    "regression": ("regression", {}),
    "entities": ("entities", {}),
    "answers": ("answers", {}),
    "multiple_choice-cls": ("multiple_choice", {"head__pooling": "cls"}),
    "multiple_choice-mean": ("multiple_choice", {}),
    "matching-mean": ("matching", {}),
    "matching-max": ("matching", {"head__pooling": "max"}),
    "matching-cls": ("matching", {"head__pooling": "cls"}),
    "matching-pooler": ("matching", {"head__pooling": "pooler"}),
}
LABELS = ["yes", "no", "maybe"]
OWN = {
    "own-classification": ("SequenceClassification", LABELS, None),
    "own-multilabel": ("SequenceClassification", LABELS, "multi_label_classification"),
    "own-regression": ("SequenceClassification", ["LABEL_0"], "regression"),
    "own-tagger": ("TokenClassification", ["I-place", "B-name", "O", "B-place", "I-name"], None),
    "own-answers": ("QuestionAnswering", ["LABEL_0", "LABEL_1"], None),
    "own-choice": ("MultipleChoice", ["LABEL_0", "LABEL_1"], None),
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEERS_PYTHON, reason="TFBERT_PEERS_PYTHON does not name a Python with transformers"),
]


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """Return the directory of all models and the logits that transformers computes for the texts."""
    directory = tmp_path_factory.mktemp("peers")
    exports = {}
    for name, (task, values) in EXPORTS.items():
        usage = export_model(untrained_run(task, **values), directory / name).usage
        auto_class = usage.splitlines()[-1].removeprefix("model = ").partition("(")[0].partition(".")[0]
        exports[name] = auto_class, "trust_remote_code" in usage
    job = {"directory": str(directory), "exports": exports, "own": OWN, "texts": TEXTS, "pairs": PAIRS}
    (directory / "job.json").write_text(json.dumps(job))
    # The other Python must not import packages from this environment, nor use the user's cache of code.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(directory / "cache")}
    command = [PEERS_PYTHON, "-c", SCRIPT, directory / "job.json"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return directory, read_json(directory / "outputs.json")


def our_logits(run, items=tuple([text] for text in TEXTS)):
    """Return the logits of each text or pair of texts as transformers returns them."""
    logits = []
    for texts in items:
        preprocessor = run.predictor.preprocessor
        sequence = preprocessor.pack([preprocessor.tokenize(tf.constant([text])).ids for text in texts])
        scores = scores_of(run, sequence.dense())[0]
        logits.append(scores * getattr(run.task, "score_scale", 1.0) + getattr(run.task, "score_offset", 0.0))
    return logits


def assert_near(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-4)


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_compute_the_same(name, peers):
    task, values = EXPORTS[name]
    assert_near(peers[1][name], our_logits(untrained_run(task, **values)))


def test_pairs_are_cut_as_by_transformers(peers):
    task, values = EXPORTS["classification-mean"]
    assert_near(peers[1]["pairs"], our_logits(untrained_run(task, **values), PAIRS))


def test_an_export_is_trained_and_saved_by_transformers(peers):
    directory, outputs = peers
    assert outputs["layers"] == 3
    model = read_model(str(directory / "saved-again"))
    assert model.record is None
    assert_near(our_logits(model.load()), outputs["classification-mean"])


@pytest.mark.parametrize("name", OWN)
def test_models_of_transformers_compute_the_same(name, peers):
    directory, outputs = peers
    suffix, labels, _ = OWN[name]
    run = read_model(str(directory / name)).load()
    expected = outputs[name]
    if suffix == "TokenClassification":
        order = [labels.index(tag) for tag in run.task.tags]
        assert run.task.types == ("place", "name")
        expected = [np.asarray(logits)[:, order] for logits in expected]
    elif labels == LABELS:
        assert run.task.labels == tuple(LABELS)
    assert_near(our_logits(run), expected)
