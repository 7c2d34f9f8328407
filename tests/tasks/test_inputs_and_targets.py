"""A toy task with a number and a category as inputs and token sequences as targets.

A product has a title, a price and a brand; its slogan is a sequence of tokens that depends on all three.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import small
from support.tokenized import recipe_of

from tfbert.config import Config, override
from tfbert.encoder.backbone import load_encoder
from tfbert.heads.base import Head
from tfbert.models.build import build_models, make_tokenizer
from tfbert.models.predictor import Predictor, make_preprocessor, predict_all
from tfbert.serving.export import Servable, export
from tfbert.serving.input_spec import InputSpec
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.tasks.base import FittedTask
from tfbert.tasks.base_options import LearnedHeadOptions
from tfbert.tasks.base_outputs import Output
from tfbert.text.batches import batches, plan_training
from tfbert.text.datasets import Target, tokenize
from tfbert.text.inputs import Category, Number, Text
from tfbert.text.preprocessor import INPUTS, call_in_micro_batches
from tfbert.text.records import Record
from tfbert.training.fine_tuning import TaskObjective

MAX_TOKENS = 7
TITLES = {"great number": "see it", "two good people": "the first way to"}
BRANDS = {"ada": "by time", "mary": "more"}
# The prediction for a title, by price and brand.
SERVED = {(100.0, "ada"): "the first way to by time", (15.0, "mary"): "more"}
CONFIG = override(
    Config(), {"encoder.name": "tiny", "encoder.sequence_length": 16, "encoder.dropout": 0.0, "head.dropout": 0.0}
)


class SloganHead(Head):
    """Scores of every token at every position of the slogan, from the first token and the features."""

    def __init__(self, vocabulary_size: int, num_features: int, **kwargs):
        super().__init__(**kwargs)
        self.num_features = num_features
        self.hidden = keras.layers.Dense(32, activation="relu", name="hidden")
        self.logits = keras.layers.Dense(MAX_TOKENS * vocabulary_size, name="logits")

    def build(self, hidden_dim: int) -> None:
        self.hidden.build((None, hidden_dim + self.num_features))
        self.logits.build((None, 32))
        self.built = True

    def call(self, encoded: Mapping, inputs: Mapping, training: bool = False):
        first = tf.cast(encoded["sequence_output"][:, 0], tf.float32)
        features = [inputs["price"][:, None], inputs["brand"]]
        logits = self.logits(self.hidden(tf.concat([first, *features], axis=1)))
        return tf.reshape(logits, [tf.shape(logits)[0], MAX_TOKENS, self.logits.units // MAX_TOKENS])


@dataclass(frozen=True, kw_only=True)
class FittedSlogans(FittedTask):
    """Slogans with the prices and brands of train, and the vocabulary of the tokenizer."""

    brands: tuple[str, ...]
    price_mean: float
    price_deviation: float
    vocabulary: tuple[str, ...]

    outputs = (Output("slogan", "string", "the slogan", "answer"),)
    metrics = ()
    monitor = None
    targets = {"slogan_ids": Target("int32", (None,), padding=-1)}
    inputs = (Text("title"), Number("price"), Category("brand"))
    name = "slogans"
    definition = SimpleNamespace(title="slogans for products")

    def inputs_of(self, record: Record, *, training: bool = False):
        title, price, brand = record.others
        return {"title": title, "price": float(price), "brand": brand}

    def sequences(self, inputs, preprocessor):
        title = preprocessor.tokenize(inputs["title"])
        features = {
            "price": (inputs["price"] - self.price_mean) / self.price_deviation,
            "brand": tf.cast(inputs["brand"][:, None] == tf.constant(self.brands)[None, :], tf.float32),
        }
        return preprocessor.pack([title.ids], texts={"title": title}, features=features)

    def targets_of(self, record: Record, sequences, warn) -> Sequence[Mapping[str, Any]]:
        words = record.target.split()
        return [{"slogan_ids": [*(self.vocabulary.index(word) for word in words), self.vocabulary.index("[SEP]")]}]

    def head(self, seed: int) -> SloganHead:
        return SloganHead(len(self.vocabulary), 1 + len(self.brands), name="head")

    def loss(self, scores, batch):
        ids = batch["slogan_ids"]
        log_probabilities = tf.nn.log_softmax(scores)[:, : tf.shape(ids)[1]]
        nll = -tf.gather(log_probabilities, tf.maximum(ids, 0), batch_dims=2)
        is_token = tf.cast(ids >= 0, tf.float32)
        return tf.reduce_sum(nll * is_token, axis=1) / tf.reduce_sum(is_token, axis=1)

    def decode(self, scores, sequences, context):
        return self.decode_sequences(scores, None)

    def decode_sequences(self, scores, padding_mask):
        ids = tf.argmax(scores, axis=2, output_type=tf.int32)
        before_end = tf.math.cumsum(tf.cast(ids == self.vocabulary.index("[SEP]"), tf.int32), axis=1) == 0
        words = tf.ragged.boolean_mask(tf.gather(tf.constant(self.vocabulary), ids), before_end)
        return {"slogan": tf.strings.reduce_join(words, axis=1, separator=" ")}

    def gold(self, record: Record) -> str:
        return record.target

    def evaluate(self, outputs, gold, decided):
        raise NotImplementedError


def slogan(title: str, price: float, brand: str) -> str:
    return f"{TITLES[title]} {BRANDS[brand]}" if price > 50 else BRANDS[brand]


def make_records() -> list[Record]:
    values = itertools.product(TITLES, (9.5, 20.0, 80.0, 120.0), BRANDS)
    return [
        Record(title, slogan(title, price, brand), f"train:{index}", (title, str(price), brand))
        for index, (title, price, brand) in enumerate(values)
    ]


RECORDS = make_records()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(load_encoder("tiny"))


@pytest.fixture(scope="module")
def task(tokenizer):
    prices = np.array([float(record.others[1]) for record in RECORDS])
    return FittedSlogans(
        options=LearnedHeadOptions(),
        brands=tuple(sorted(BRANDS)),
        price_mean=float(prices.mean()),
        price_deviation=float(prices.std()),
        vocabulary=tuple(tokenizer.vocabulary),
    )


def unread():
    raise AssertionError("records were read a second time")
    yield


@pytest.fixture(scope="module")
def split(task, tokenizer, tmp_path_factory):
    """Return the tokenized split of the records, loaded from the cache."""
    recipe, directory = recipe_of(task, make_preprocessor(tokenizer, CONFIG)), tmp_path_factory.mktemp("tokens")
    tokenize(RECORDS, recipe, directory)
    return tokenize(unread(), recipe, directory)


def test_features_and_ragged_targets_are_stored(split, task):
    prices = np.array([float(record.others[1]) for record in RECORDS])
    np.testing.assert_allclose(split.features["price"], (prices - prices.mean()) / prices.std(), rtol=1e-5)
    assert split.features["price"].dtype == np.float32
    for index, record in enumerate(RECORDS):
        assert split.features["brand"][index].tolist() == [float(record.others[2] == brand) for brand in task.brands]
        words = [task.vocabulary[token] for token in split.targets["slogan_ids"][index]]
        assert words == [*record.target.split(), "[SEP]"]
    # Targets are shorter and longer than their sequences.
    differences = split.targets["slogan_ids"].lengths() - split.lengths()
    assert differences.min() < 0 < differences.max()


def test_batches_have_features_and_padded_targets(split):
    (batch,) = batches(split, [np.array([13, 0])], 16)
    np.testing.assert_array_equal(batch["price"], split.features["price"][[13, 0]])
    np.testing.assert_array_equal(batch["brand"], split.features["brand"][[13, 0]])
    long, short = split.targets["slogan_ids"][13].tolist(), split.targets["slogan_ids"][0].tolist()
    assert len(long) > len(short)
    assert batch["slogan_ids"].numpy().tolist() == [long, short + [-1] * (len(long) - len(short))]


@pytest.fixture(scope="module")
def trained(task, tokenizer, split):
    """Return a predictor after some updates, and the loss of each."""
    keras.utils.set_random_seed(0)
    model, _ = build_models(task, load_encoder("tiny"), override(CONFIG, {"encoder.precision": "float32"}))
    optimizer, losses = keras.optimizers.Adam(1e-2), []

    @tf.function
    def update(batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(task.loss(model(batch, training=True), batch))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    for epoch in range(40):
        for batch in batches(split, plan_training(split.lengths(), 8, 0, epoch), 16):
            losses.append(float(update(batch)))
    return Predictor(task, model, tokenizer, CONFIG), losses


def test_a_task_of_three_kinds_of_inputs_is_learned(trained, task):
    predictor, losses = trained
    assert losses[-1] < 0.1 * losses[0]
    outputs, gold = predict_all(predictor, task, RECORDS)
    # The slogan depends on every input.
    assert [text.decode() for text in outputs["slogan"]] == gold == [record.target for record in RECORDS]
    assert len(set(gold)) == 6


def test_the_predictor_has_the_declared_inputs(trained):
    predictor, _ = trained
    specs = predictor.specs
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in specs.items()} == {
        "title": (tf.string, [None]),
        "price": (tf.float32, [None]),
        "brand": (tf.string, [None]),
    }
    items = [{"title": "two good people", "price": price, "brand": "ada"} for price in (100, 15.0)]
    assert predictor(items)["slogan"].tolist() == [b"the first way to by time", b"by time"]


def test_the_saved_model_has_the_inputs_and_the_features(trained, split, tmp_path):
    predictor, _ = trained
    report = json.loads((small.finished_run()[0] / "report.json").read_text(encoding="utf-8"))
    items = [{"title": "two good people", "price": price, "brand": brand} for price, brand in SERVED]
    servable = Servable(predictor=predictor, config=CONFIG, report=report, samples=items)
    version_dir = export(servable, tmp_path / "slogans")
    saved = SavedPredictor(version_dir)
    assert saved.inputs == {name: InputSpec(spec.dtype.name, False) for name, spec in sorted(predictor.specs.items())}
    assert saved(items)["slogan"].tolist() == list(map(str.encode, SERVED.values()))
    assert "`title` (text), `price` (number), `brand` (category)" in (version_dir / "MODEL_CARD.md").read_text()
    # The same prediction from token ids and features.
    by_ids = tf.saved_model.load(str(version_dir)).signatures["token_ids"]
    (batch,) = batches(split, [np.arange(len(split))], 16)
    packed = {name: batch[name] for name in (*INPUTS, "price", "brand")}
    assert [text.decode() for text in by_ids(**packed)["slogan"].numpy()] == [record.target for record in RECORDS]
    with pytest.raises(tf.errors.InvalidArgumentError, match="price must have as many rows as token_ids"):
        by_ids(**packed | {"price": batch["price"][:-1]})


@pytest.mark.parametrize("by_record", [False, True])
def test_the_objective_gives_features_to_the_head(trained, task, split, by_record, monkeypatch):
    monkeypatch.setattr(FittedSlogans, "by_record", by_record)
    model = trained[0].model
    objective = TaskObjective(model, task, CONFIG, split)
    (batch,) = objective.batches([(np.arange(len(split)),)])
    expected = task.loss(model(batch, training=True), batch)
    np.testing.assert_allclose(objective.losses(batch)["loss"], tf.reduce_sum(expected), rtol=1e-4)


def test_features_are_split_with_the_sequences_of_a_batch(trained, task, split):
    predictor, _ = trained
    (batch,) = batches(split, [np.arange(len(split))], 16)
    packed = {name: batch[name] for name in ("token_ids", "segment_ids", "padding_mask", "price", "brand")}
    scores = predictor.model(packed)
    split_scores = call_in_micro_batches(predictor.model, packed, max_tokens=3 * packed["token_ids"].shape[1])
    np.testing.assert_allclose(split_scores, scores, atol=1e-4)
    assert scores.shape == (len(split), MAX_TOKENS, len(task.vocabulary))
