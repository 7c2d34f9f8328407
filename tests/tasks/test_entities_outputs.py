"""Predicted entities: their positions, independence of windows, padding, and evaluation."""

import random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tagged
from support.tagged import fitted, tokenize_record
from support.tokenized import warnings_of

from tfbert.evaluation.entities import Entity
from tfbert.tasks.base_context import Context
from tfbert.tasks.entities import predicted_entities
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.records import Record
from tfbert.text.spans import Span, outermost

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=150)
WORDS = ["the", "Ada", "Lovelace", "marys", "New", "York", "京都", ",", "#ada2016", "old"]
# The tags of word pieces, regardless of context; all others are O.
TAG_OF_PIECE = {
    **{"ada": "B-person", "mary": "B-person", "love": "I-person", "##lace": "I-person", "##2016": "I-person"},
    **{"new": "B-place", "york": "I-place", "京": "B-place", "都": "I-place", "cafe": "B-place"},
}


@pytest.fixture(scope="module")
def tokenizer():
    return tagged.tokenizer()


def model_of(tokenizer):
    """Return a model whose scores depend only on the word piece, not on its context."""
    tags = fitted().tags
    scores = np.random.default_rng(0).normal(0, 0.3, (len(tokenizer.vocabulary), len(tags)))
    for index, piece in enumerate(tokenizer.vocabulary):
        # Pieces that continue a word have lower scores, so that the first piece decides the tag of a word.
        scores[index, tags.index(TAG_OF_PIECE.get(piece, "O"))] += 2 if piece.startswith("##") else 5
    scores = tf.constant(scores, tf.float32)
    return lambda packed: tf.gather(scores, packed["token_ids"])


def make_predict(tokenizer, model, task=None, sequence_length=64, overlap=0.25, *, run_eagerly=False):
    """Return a function from texts to outputs, which runs in a graph as in a SavedModel, or eagerly."""
    task, preprocessor = task or fitted(), Preprocessor(tokenizer, sequence_length, overlap)

    def served(text):
        inputs = {"text": text}
        sequences = task.sequences(inputs, preprocessor)
        return task.decode(sequences.scores(model), sequences, Context(inputs, tokenizer.vocabulary, {}))

    if not run_eagerly:
        served = tf.function(served, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)

    def predict(*texts):
        encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
        return {name: value.numpy() for name, value in served(tf.constant(encoded, tf.string, [len(texts)])).items()}

    return predict


@pytest.fixture(scope="module")
def predict(tokenizer):
    return make_predict(tokenizer, model_of(tokenizer))


# Outputs


def test_entities(predict):
    texts = ["Mary met Ada Lovelace in New York.", "the old", "", "京都, the CAFE\u0301! 👩\u200d Marys"]
    outputs = predict(*texts)
    assert outputs["num_entities"].tolist() == [3, 0, 0, 3]
    assert [[entity[:4] for entity in entities] for entities in predicted_entities(outputs)] == [
        [(0, 4, "person", "Mary"), (9, 21, "person", "Ada Lovelace"), (25, 33, "place", "New York")],
        [],
        [],
        [(0, 2, "place", "京都"), (8, 13, "place", "CAFE\u0301"), (18, 23, "person", "Marys")],
    ]
    assert outputs["entity_text"].tolist()[1] == outputs["entity_label"].tolist()[2] == [b"", b"", b""]
    assert (outputs["start"][1:3] == -1).all() and (outputs["end"][1:3] == -1).all()
    assert not outputs["probability"][1:3].any()
    assert {name: value.dtype.name for name, value in outputs.items()} == {
        **{"entity_text": "object", "entity_label": "object", "start": "int32", "end": "int32"},
        **{"probability": "float32", "num_entities": "int32"},
    }


def test_probability_is_the_geometric_mean_over_the_pieces_that_are_read(predict, tokenizer):
    model = model_of(tokenizer)
    scores = model({"token_ids": tf.constant([[tokenizer.vocabulary.index("ada")]])}).numpy()
    expected = np.exp(scores[0, 0, 1]) / np.exp(scores[0, 0]).sum()
    assert predict("met Ada")["probability"][0, 0] == pytest.approx(expected, rel=1e-4)
    ids = [tokenizer.vocabulary.index(piece) for piece in ("ada", "love", "##lace")]
    scores = model({"token_ids": tf.constant([ids])}).numpy()[0]
    chosen = (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True))[np.arange(3), [1, 2, 2]]
    assert predict("Ada Lovelace")["probability"][0, 0] == pytest.approx(chosen[:2].prod() ** (1 / 2), rel=1e-4)
    outputs = make_predict(tokenizer, model, fitted("anywhere"))("Ada Lovelace")
    assert outputs["probability"][0, 0] == pytest.approx(chosen.prod() ** (1 / 3), rel=1e-4)


@pytest.mark.parametrize("texts", [[""], ["the old", "\u200b"]])
def test_no_entity_has_one_column_of_padding(predict, texts):
    outputs = predict(*texts)
    assert outputs["num_entities"].shape == (len(texts),) and not outputs["num_entities"].any()
    assert {value.shape for name, value in outputs.items() if name != "num_entities"} == {(len(texts), 1)}


def test_invalid_utf8_is_one_character_per_byte_sequence(predict):
    sent = b"\xff\xfe Ada \xe4\xba met \xe4\xba\xac\xc3"
    outputs, text = predict(sent, b"\xed\xa0\x80 Mary"), sent.decode(errors="replace")
    ada, kyo = predicted_entities(outputs)[0]
    assert text[ada.start : ada.end] == ada.text == "Ada" and text[kyo.start : kyo.end] == kyo.text
    assert predicted_entities(outputs)[1][0].text == "Mary"


@pytest.mark.parametrize(("sequence_length", "overlap"), [(3, 0.0), (9, 0.5), (14, 0.25), (21, 0.0)])
def test_entities_do_not_depend_on_where_windows_fall(tokenizer, predict, sequence_length, overlap):
    text = " ".join(["Mary met Ada Lovelace, the older, in New York."] * 7)  # 13 pieces each
    expected = predict(text)
    assert expected["num_entities"].tolist() == [21]
    entities = predicted_entities(expected)[0]
    assert [text[entity.start : entity.end] for entity in entities] == [entity.text for entity in entities]
    assert [entity.text for entity in entities] == ["Mary", "Ada Lovelace", "New York"] * 7
    outputs = make_predict(tokenizer, model_of(tokenizer), None, sequence_length, overlap)(text, "in New York")
    assert outputs["num_entities"].tolist() == [21, 1]
    for name in ("start", "end", "entity_text", "entity_label"):
        assert outputs[name][0].tolist() == expected[name][0].tolist()
    np.testing.assert_allclose(outputs["probability"][0], expected["probability"][0], rtol=1e-4)


def test_windows_with_more_context_of_a_piece_have_more_weight(tokenizer):
    # Windows of ten pieces that overlap by half. The model wrongly finds an entity in the first piece of each.
    def model(packed):
        first = tf.one_hot(1, tf.shape(packed["token_ids"])[1])[None, :, None]
        return (
            tf.where(first == 1.0, [0.0, 4.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0, 0.0])
            * tf.ones_like(tf.cast(packed["token_ids"], tf.float32))[:, :, None]
        )

    entities = predicted_entities(make_predict(tokenizer, model, None, 12, 0.5)("the " * 30))[0]
    assert [(entity.start, entity.end) for entity in entities] == [(0, 3)]


@given(
    st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(
                ["Ada", " ", "love", "lace", "New York", "京都", "e\u0301", "\u200d", "\ufe0f", "İ", "한국", "2016"]
            ),
        ),
        max_size=12,
    )
)
@REPEATABLE
def test_the_text_of_an_entity_is_at_its_position(predict_at_random, pieces):
    sent = "".join(pieces).encode("utf-8", "replace")
    text = sent.decode()
    outputs = predict_at_random(*([sent] * 3 + [b"Ada"]))
    for entities in predicted_entities(outputs)[:3]:
        assert all(text[entity.start : entity.end] == entity.text != "" for entity in entities)
        assert all(entity.start < entity.end for entity in entities)
        # Several pieces may share a character, so entities may overlap, but they stay in order.
        assert [entity.start for entity in entities] == sorted(entity.start for entity in entities)


@pytest.fixture(scope="module")
def predict_at_random(tokenizer):
    """Return a function that predicts many entities at random positions, in short windows."""
    seeds = tf.constant(np.random.default_rng(0).normal(0, 3, (64, 5)), tf.float32)

    def model(packed):
        position = tf.range(tf.shape(packed["token_ids"])[1])[None, :]
        return tf.gather(seeds, (packed["token_ids"] * 7 + position * 3) % 64)

    return make_predict(tokenizer, model, fitted("anywhere"), 9)


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 4))))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_targets_decode_to_the_entities_they_were_made_from(tokenizer, drawn):
    # The targets are used as scores.
    text, spans = "", []
    for word, kind in drawn:
        if kind in (1, 2):
            spans.append(Span(len(text), len(text) + len(word), fitted().types[kind - 1]))
        text += f"{word} "
    record = Record(text or "the", tuple(spans), "here")
    split = tokenize_record(tokenizer, record, 9)
    tag_ids = [split.targets["tag_id"][index] for index in range(len(split))]
    length = max(map(len, tag_ids))
    padded = np.stack([np.pad(ids, (0, length - len(ids)), constant_values=-1) for ids in tag_ids])
    predict = make_predict(tokenizer, lambda packed: 9 * tf.one_hot(tf.constant(padded), 5), None, 9, run_eagerly=True)
    outputs = predict(record.text)
    assert [Span(*entity.key) for entity in predicted_entities(outputs)[0]] == outermost(spans)
    assert warnings_of(split) == []


@pytest.mark.parametrize(
    ("borders", "expected"),
    [
        ("whitespace", [["Adas", "Mary"], ["York#Mary"]]),
        ("words", [["Ada2016", "Adas", "Mary"], ["York", "Mary"]]),
        ("anywhere", [["Ada2016", "Ada", "Mary"], ["York", "Mary"]]),
    ],
)
def test_entities_begin_and_end_at_borders(tokenizer, borders, expected):
    scores = model_of(tokenizer)
    # Here York starts a place even without New before it.
    york = tf.constant(tokenizer.vocabulary.index("york"))

    def model(packed):
        begins = tf.one_hot(3, 5) * tf.cast(packed["token_ids"] == york, tf.float32)[:, :, None]
        return scores(packed) + 9 * begins

    predict = make_predict(tokenizer, model, fitted(borders))
    predictions = predicted_entities(predict("#Ada2016 Adas, Mary's", "(York#Mary)."))
    assert [[entity.text for entity in entities] for entities in predictions] == expected


def test_outputs_of_packed_sequences(tokenizer):
    packed = Preprocessor(tokenizer, 64).pack([tokenizer(tf.constant(["Ada Lovelace met", "York", ""]))]).dense()
    served = tf.function(fitted().decode_sequences, autograph=False)
    rows = {name: value.numpy() for name, value in served(model_of(tokenizer)(packed), packed["padding_mask"]).items()}
    assert rows["tag_id"].tolist() == [[-1, 1, 2, 2, 0, -1], [-1, rows["tag_id"][1, 1], -1, -1, -1, -1], [-1] * 6]
    assert rows["tag_id"][1, 1] in (0, 1, 3)  # a continuing tag is illegal at the beginning
    assert rows["tag"][0].tolist() == [b"", b"B-person", b"I-person", b"I-person", b"O", b""]
    assert rows["tag"][2].tolist() == [b""] * 6
    np.testing.assert_array_equal(rows["probability"] > 0, rows["tag_id"] >= 0)


def test_thousands_of_random_texts(predict_at_random):
    rng = random.Random(0)
    pools = [
        "abcxyz ",
        " \t\n\u3000",
        "éüñİßﬁ",
        "e\u0301\u0302",
        "京都東か한국ア",
        "👩\u200d👧\ufe0f🏽🇩🇪",
        ".,!#'“”",
        "\u200b\ufeff\x00\x1f",
        "مرहिन्ท",
    ]
    texts = []
    for _ in range(3000):
        chosen = rng.sample(pools, rng.randint(1, 4))
        texts.append("".join(rng.choice(rng.choice(chosen)) for _ in range(rng.randint(0, 30))))
    num_entities = 0
    for start in range(0, len(texts), 500):
        batch = texts[start : start + 500]
        for text, entities in zip(batch, predicted_entities(predict_at_random(*batch)), strict=True):
            num_entities += len(entities)
            assert all(text[entity.start : entity.end] == entity.text != "" for entity in entities)
    assert num_entities > 3000


# Evaluation


def test_evaluation(predict):
    texts = ["Mary met Ada", "in New York", "the older"]
    gold = [
        (Entity(0, 4, "person", "Mary"), Entity(9, 12, "place", "Ada")),
        (Entity(3, 11, "place", "New York"),),
        (Entity(4, 9, "person", "older"),),
    ]
    evaluation = fitted().evaluate(predict(*texts), gold, {})
    values = evaluation.values()
    assert values == pytest.approx({"f1": 4 / 7, "precision": 2 / 3, "recall": 1 / 2})
    scores = evaluation.scores()
    assert {name: metric["value"] for name, metric in scores["metrics"].items()} == pytest.approx(values)
    assert {name: row["num_predicted"] for name, row in scores["per_label"].items()} == {"person": 2, "place": 1}
    assert evaluation.mistakes() == [0, 2]
    outcome = evaluation.outcome(0)
    assert (outcome.gold, outcome.predicted) == ("Mary [person]; Ada [place]", "Mary [person]; Ada [person]")
