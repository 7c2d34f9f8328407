"""The index: what is in it, and that searches in the graph and in blocks equal a comparison with every vector."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.heads import index
from tfbert.heads.index import DEFAULT_OFFSET, AnswerIndex, build_index, nearest, search, tuned_offset
from tfbert.text.records import Record


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def embed(texts):
    """Return a vector of each text that depends on nothing else."""
    seeds = [sum((place + 1) * ord(letter) for place, letter in enumerate(text)) for text in texts]
    return unit(np.stack([np.random.default_rng(seed).normal(size=8) for seed in seeds]))


PAIRS = [
    ("How?", "so"),
    ("Why?", "because"),
    ("How so?", "so"),
    ("Why?", "therefore"),
    (" How? ", "so "),
    ("Who?", "me"),
]


def test_entries_are_the_different_answers():
    found = build_index(iter(PAIRS), iter(["me", "nobody", "nobody\n"]), embed)
    assert found.keys() == AnswerIndex.specs.keys()
    assert found["answers"].tolist() == [b"so", b"because", b"therefore", b"me", b"nobody"]
    assert found["questions"].tolist() == [
        b"",
        b"How?",
        b"How so?",
        b"",
        b"Why?",
        b"",
        b"Why?",
        b"",
        b"Who?",
        b"",
    ]
    assert found["entries"].tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4]
    texts = ["so", "How?", "How so?", "because", "Why?", "therefore", "Why?", "me", "Who?", "nobody"]
    np.testing.assert_array_equal(found["vectors"], embed(texts))
    assert found["offset"] == np.float32(DEFAULT_OFFSET)
    for name, spec in AnswerIndex.specs.items():
        assert spec.shape.is_compatible_with(found[name].shape)
        assert tf.constant(found[name]).dtype == spec.dtype


def test_every_vector_of_an_index_is_described():
    values = build_index(iter(PAIRS[:3]), iter(["me"]), embed) | {"offset": np.float32(0.3)}
    vectors, descriptions = AnswerIndex().entries(values)
    assert list(descriptions) == [
        {"entry": 0, "answer": "so", "question": "", "offset": 0.0},
        {"entry": 0, "answer": "so", "question": "How?", "offset": 0.3},
        {"entry": 0, "answer": "so", "question": "How so?", "offset": 0.3},
        {"entry": 1, "answer": "because", "question": "", "offset": 0.0},
        {"entry": 1, "answer": "because", "question": "Why?", "offset": 0.3},
        {"entry": 2, "answer": "me", "question": "", "offset": 0.0},
    ]
    np.testing.assert_array_equal(vectors, embed(["so", "How?", "How so?", "because", "Why?", "me"]))


def record(question, answer):
    return Record(question, None, f"file:{question}", (answer, "wrong"))


def test_questions_of_validation_and_test_are_not_in_the_index():
    splits = {
        "train": [record("t1", "x"), record("t2", "y"), record("t3", "x")],
        "validation": [record("v1", "y"), record("v2", "w")],
        "test": [record("s1", "x"), record("s2", "u")],
    }
    embedded = []

    def recorded(texts):
        embedded.extend(texts)
        return embed(texts)

    built = AnswerIndex().build(splits, recorded)
    assert built["answers"].tolist() == [b"x", b"y", b"w", b"u"]
    assert built["questions"].tolist() == [b"", b"t1", b"t3", b"", b"t2", b"", b""]
    # Those of validation become vectors all the same: they decide the offset.
    assert embedded == ["x", "t1", "t3", "y", "t2", "w", "u", "v1", "v2"]
    vectors = embed(["v1", "v2"])
    assert built["offset"] == tuned_offset(built, vectors, [["y"], ["w"]])
    only = AnswerIndex().build({"train": splits["train"]}, embed)
    assert only["answers"].tolist() == [b"x", b"y"] and only["offset"] == np.float32(DEFAULT_OFFSET)


def random_index(rng, num_entries):
    counts = rng.integers(0, 5, num_entries)  # of questions
    counts[-1] = 0
    entries = np.repeat(np.arange(num_entries), counts + 1).astype(np.int32)
    is_answer = np.concatenate([[True], entries[1:] != entries[:-1]])
    return {
        "vectors": unit(rng.normal(size=(len(entries), 8))),
        "entries": entries,
        "questions": np.array([b"" if own else b"q%d" % i for i, own in enumerate(is_answer)], object),
        "answers": np.array([b"a%d" % i for i in range(num_entries)], object),
        "offset": np.float32(rng.choice([0, 0.3, 0.6])),
    }


def slowly(vector, of, most):
    """Look at every vector of every entry, in Python."""
    rows = []
    similar = of["vectors"] @ vector
    for entry, answer in enumerate(of["answers"]):
        there = np.flatnonzero(of["entries"] == entry)
        asked = there[1:]
        matched = of["questions"][asked[similar[asked].argmax()]] if len(asked) else b""
        best = max([similar[there[0]], *(similar[asked] - of["offset"])])
        rows.append((float(best), answer, matched))
    return sorted(rows, key=lambda row: -row[0])[:most]


@pytest.fixture(scope="module")
def searching():
    """Return a search in a graph that is traced once, over variables that take indexes of any size."""
    variables = {
        name: tf.Variable(tf.zeros([0] * spec.shape.rank, spec.dtype), shape=spec.shape)
        for name, spec in AnswerIndex.specs.items()
    }
    traced = []

    @tf.function(input_signature=[tf.TensorSpec([None, 8])], autograph=False)
    def find(vectors):
        traced.append(1)
        return search(vectors, variables, 10)

    def run(vectors, of):
        for name, value in of.items():
            variables[name].assign(value)
        found = [value.numpy() for value in find(tf.constant(vectors))]
        assert len(traced) == 1
        return found

    return run


@pytest.mark.parametrize("num_entries", [1, 3, 10, 60])
def test_search_finds_the_nearest_of_all(searching, num_entries):
    rng = np.random.default_rng(num_entries)
    of, vectors = random_index(rng, num_entries), unit(rng.normal(size=(7, 8)))
    answers, questions, similarity = searching(vectors, of)
    assert answers.shape == questions.shape == similarity.shape == (7, min(10, num_entries))
    for row, vector in enumerate(vectors):
        expected = slowly(vector, of, 10)
        assert answers[row].tolist() == [answer for _, answer, _ in expected]
        assert questions[row].tolist() == [question for _, _, question in expected]
        np.testing.assert_allclose(similarity[row], [similar for similar, _, _ in expected], atol=1e-6)


def test_search_of_nothing(searching):
    empty = {
        name: np.zeros([0] * spec.shape.rank, spec.dtype.as_numpy_dtype) for name, spec in AnswerIndex.specs.items()
    }
    assert [found.shape for found in searching(unit(np.ones((2, 8))), empty)] == [(2, 0)] * 3
    of = random_index(np.random.default_rng(0), 4)
    assert [found.shape for found in searching(np.zeros((0, 8), np.float32), of)] == [(0, 4)] * 3


def test_the_earlier_of_equal_entries_is_first(searching):
    of = random_index(np.random.default_rng(0), 12)
    of["vectors"][:], of["offset"] = unit(np.ones(8)), np.float32(0)
    answers, _, _ = searching(unit(np.ones((1, 8))), of)
    assert answers[0].tolist() == [b"a%d" % place for place in range(10)]


@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_nearest_in_blocks(monkeypatch, block):
    monkeypatch.setattr(index, "_BLOCK_VALUES", block)
    rng = np.random.default_rng(2)
    vectors, others = unit(rng.normal(size=(23, 8))), unit(rng.normal(size=(17, 8)))
    found = list(nearest(vectors, others, 5))
    similar = vectors @ others.T
    order = np.argsort(-similar, axis=1)[:, :5]
    np.testing.assert_array_equal(np.stack([places for places, _ in found]), order)
    np.testing.assert_allclose(np.stack([s for _, s in found]), np.take_along_axis(similar, order, 1), atol=1e-6)
    assert all(len(places) == 17 for places, _ in nearest(vectors, others, 30))


@pytest.mark.parametrize("block", [1, 300, 10_000])
def test_tuned_offset_is_the_best_of_all(monkeypatch, block):
    monkeypatch.setattr(index, "_BLOCK_VALUES", block)
    rng = np.random.default_rng(7)
    of = random_index(rng, 30)
    vectors = unit(rng.normal(size=(40, 8)))
    right = [[f"a{place}" for place in rng.choice(30, rng.integers(1, 3), replace=False)] for _ in vectors]

    def score(offset):
        found = [
            [answer.decode() for _, answer, _ in slowly(vector, of | {"offset": offset}, 10)] for vector in vectors
        ]
        ranks = [
            [place for place, answer in enumerate(row, 1) if answer in of_row]
            for row, of_row in zip(found, right, strict=True)
        ]
        return np.mean([1 / min(row) if row else 0 for row in ranks])

    chosen = tuned_offset(of, vectors, right)
    assert score(chosen) == pytest.approx(max(score(offset) for offset in np.arange(9) / 20))
    assert chosen.dtype == np.float32


def test_tuned_offset_trusts_the_kind_that_is_right():
    # Entry 0 is right for the text by its question, entry 1 by its answer only, entry 2 never.
    of = {
        "vectors": unit(np.array([[0, 1], [4, 3], [5, 1], [0, 1], [1, 0]])),
        "entries": np.array([0, 0, 1, 2, 2], np.int32),
        "questions": np.array([b"", b"q", b"", b"", b"r"], object),
        "answers": np.array([b"a", b"b", b"c"], object),
    }
    text = unit(np.array([[4, 2]]))
    assert tuned_offset(of, text, [["a"]]) == np.float32(0)  # 0.984 against 0.965: only the smallest keeps it first
    assert tuned_offset(of, text, [["b"]]) == np.float32(DEFAULT_OFFSET)
