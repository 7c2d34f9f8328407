"""The search index: its content, and searches in the graph and in blocks, which equal a plain exhaustive search."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.heads import index
from tfbert.heads.index import DEFAULT_OFFSET, AnswerIndex, build_index, nearest_neighbors, search, tuned_offset
from tfbert.text.records import Record


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def embed(texts):
    """Return a vector per text that depends only on the text."""
    seeds = [sum(position * ord(letter) for position, letter in enumerate(text, 1)) for text in texts]
    return unit(np.stack([np.random.default_rng(seed).normal(size=8) for seed in seeds]))


PAIRS = [
    ("How?", "so"),
    ("Why?", "because"),
    ("How so?", "so"),
    ("Why?", "therefore"),
    (" How? ", "so "),
    ("Who?", "me"),
]


def test_entries_are_the_distinct_answers():
    built = build_index(iter(PAIRS), iter(["me", "nobody", "nobody\n"]), embed)
    assert built.keys() == AnswerIndex.specs.keys()
    assert built["answers"].tolist() == [b"so", b"because", b"therefore", b"me", b"nobody"]
    assert built["questions"].tolist() == [
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
    assert built["entries"].tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4]
    texts = ["so", "How?", "How so?", "because", "Why?", "therefore", "Why?", "me", "Who?", "nobody"]
    np.testing.assert_array_equal(built["vectors"], embed(texts))
    assert built["offset"] == np.float32(DEFAULT_OFFSET)
    for name, spec in AnswerIndex.specs.items():
        assert spec.shape.is_compatible_with(built[name].shape)
        assert tf.constant(built[name]).dtype == spec.dtype


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
    # The questions of validation are embedded too, because they are used to tune the offset.
    assert embedded == ["x", "t1", "t3", "y", "t2", "w", "u", "v1", "v2"]
    vectors = embed(["v1", "v2"])
    assert built["offset"] == tuned_offset(built, vectors, [["y"], ["w"]])
    train_only = AnswerIndex().build({"train": splits["train"]}, embed)
    assert train_only["answers"].tolist() == [b"x", b"y"] and train_only["offset"] == np.float32(DEFAULT_OFFSET)


def random_index(rng, num_entries):
    num_questions = rng.integers(0, 5, num_entries)
    num_questions[-1] = 0
    entries = np.repeat(np.arange(num_entries), num_questions + 1).astype(np.int32)
    is_answer = np.concatenate([[True], entries[1:] != entries[:-1]])
    return {
        "vectors": unit(rng.normal(size=(len(entries), 8))),
        "entries": entries,
        "questions": np.array([b"" if own else b"q%d" % i for i, own in enumerate(is_answer)], object),
        "answers": np.array([b"a%d" % i for i in range(num_entries)], object),
        "offset": np.float32(rng.choice([0, 0.3, 0.6])),
    }


def search_slowly(vector, values, max_entries):
    """Compare a vector with every vector of every entry, in Python."""
    results = []
    similarity = values["vectors"] @ vector
    for entry, answer in enumerate(values["answers"]):
        answer_vector, *question_vectors = np.flatnonzero(values["entries"] == entry)
        matched = (
            values["questions"][question_vectors[similarity[question_vectors].argmax()]] if question_vectors else b""
        )
        best = max([similarity[answer_vector], *(similarity[question_vectors] - values["offset"])])
        results.append((float(best), answer, matched))
    return sorted(results, key=lambda result: -result[0])[:max_entries]


@pytest.fixture(scope="module")
def searching():
    """Return a search function whose graph is traced once and accepts indexes of any size."""
    variables = {
        name: tf.Variable(tf.zeros([0] * spec.shape.rank, spec.dtype), shape=spec.shape)
        for name, spec in AnswerIndex.specs.items()
    }
    traced = []

    @tf.function(input_signature=[tf.TensorSpec([None, 8])], autograph=False)
    def find(vectors):
        traced.append(1)
        return search(vectors, variables, 10)

    def run(vectors, values):
        for name, value in values.items():
            variables[name].assign(value)
        results = [result.numpy() for result in find(tf.constant(vectors))]
        assert len(traced) == 1
        return results

    return run


@pytest.mark.parametrize("num_entries", [1, 3, 10, 60])
def test_search_finds_the_nearest_entries(searching, num_entries):
    rng = np.random.default_rng(num_entries)
    values, vectors = random_index(rng, num_entries), unit(rng.normal(size=(7, 8)))
    answers, questions, similarity = searching(vectors, values)
    assert answers.shape == questions.shape == similarity.shape == (7, min(10, num_entries))
    for number, vector in enumerate(vectors):
        expected = search_slowly(vector, values, 10)
        assert answers[number].tolist() == [answer for _, answer, _ in expected]
        assert questions[number].tolist() == [question for _, _, question in expected]
        np.testing.assert_allclose(similarity[number], [best for best, _, _ in expected], atol=1e-6)


def test_search_in_an_empty_index_and_without_vectors(searching):
    empty = {
        name: np.zeros([0] * spec.shape.rank, spec.dtype.as_numpy_dtype) for name, spec in AnswerIndex.specs.items()
    }
    assert [result.shape for result in searching(unit(np.ones((2, 8))), empty)] == [(2, 0)] * 3
    values = random_index(np.random.default_rng(0), 4)
    assert [result.shape for result in searching(np.zeros((0, 8), np.float32), values)] == [(0, 4)] * 3


def test_the_earlier_of_equal_entries_is_first(searching):
    values = random_index(np.random.default_rng(0), 12)
    values["vectors"][:], values["offset"] = unit(np.ones(8)), np.float32(0)
    answers, _, _ = searching(unit(np.ones((1, 8))), values)
    assert answers[0].tolist() == [b"a%d" % entry for entry in range(10)]


@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_nearest_neighbors_in_blocks(monkeypatch, block):
    monkeypatch.setattr(index, "_BLOCK_VALUES", block)
    rng = np.random.default_rng(2)
    vectors, candidates = unit(rng.normal(size=(23, 8))), unit(rng.normal(size=(17, 8)))
    indices, similarities = zip(*nearest_neighbors(vectors, candidates, 5), strict=True)
    expected = vectors @ candidates.T
    order = np.argsort(-expected, axis=1)[:, :5]
    np.testing.assert_array_equal(np.stack(indices), order)
    np.testing.assert_allclose(np.stack(similarities), np.take_along_axis(expected, order, 1), atol=1e-6)
    assert all(len(indices) == 17 for indices, _ in nearest_neighbors(vectors, candidates, 30))


@pytest.mark.parametrize("block", [1, 300, 10_000])
def test_tuned_offset_is_the_best_candidate(monkeypatch, block):
    monkeypatch.setattr(index, "_BLOCK_VALUES", block)
    rng = np.random.default_rng(7)
    values = random_index(rng, 30)
    vectors = unit(rng.normal(size=(40, 8)))
    correct = [[f"a{entry}" for entry in rng.choice(30, rng.integers(1, 3), replace=False)] for _ in vectors]

    def score(offset):
        reciprocal_ranks = []
        for vector, correct_answers in zip(vectors, correct, strict=True):
            results = search_slowly(vector, values | {"offset": offset}, 10)
            ranks = [rank for rank, (_, answer, _) in enumerate(results, 1) if answer.decode() in correct_answers]
            reciprocal_ranks.append(1 / min(ranks) if ranks else 0)
        return np.mean(reciprocal_ranks)

    chosen = tuned_offset(values, vectors, correct)
    assert score(chosen) == pytest.approx(max(score(offset) for offset in np.arange(9) / 20))
    assert chosen.dtype == np.float32


def test_the_offset_favors_questions_or_answers_depending_on_which_are_correct():
    # The nearest vectors are the question of entry 0 and the answer of entry 1; entry 2 is never correct.
    values = {
        "vectors": unit(np.array([[0, 1], [4, 3], [5, 1], [0, 1], [1, 0]])),
        "entries": np.array([0, 0, 1, 2, 2], np.int32),
        "questions": np.array([b"", b"q", b"", b"", b"r"], object),
        "answers": np.array([b"a", b"b", b"c"], object),
    }
    text = unit(np.array([[4, 2]]))
    # The similarities are 0.984 and 0.965, so only the smallest offset keeps entry 0 first.
    assert tuned_offset(values, text, [["a"]]) == np.float32(0)
    assert tuned_offset(values, text, [["b"]]) == np.float32(DEFAULT_OFFSET)
