"""Questions about a text in windows: which rows are learned, the loss, and what is answered, wherever windows fall."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tfbert.tasks.base_windows import in_parts
from tfbert.text.packing import Packer, pad_rows

from tfbert.config import Config, override
from tfbert.tasks.answers import TASK
from tfbert.tasks.base import Encoding
from tfbert.text.datasets import Tokens
from tfbert.text.records import Record

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=25)


# Which rows are learned


def tokens_of(tokenizer, text):
    found = tokenizer.with_offsets(tf.constant([text]))
    return Tokens(*(part.flat_values.numpy() for part in found))


def made(tokenizer, record, sequence_length=40, longest=30, whole_words=False):
    """Return the rows of a record with the text of each target, and the remarks."""
    packer, remarks = Packer(tokenizer.special, sequence_length), []
    texts = [tokens_of(tokenizer, text) for text in record.texts]
    facts = {"longest_answer": longest, "whole_words": whole_words, "threshold": None}
    return TASK.examples(record, texts, packer, facts, Config(), remarks.append), remarks


def spelled(tokenizer, row, target):
    pieces = [tokenizer.vocabulary[id_] for id_ in row[target[0] : target[1] + 1]]
    return "".join(piece.removeprefix("##") if piece.startswith("##") else f" {piece}" for piece in pieces).strip()


def record_of(question, context, *answers):
    spans = tuple((context.index(text), context.index(text) + len(text)) for text in answers)
    return Record(question, spans, "train.json:q", (context,))


def test_a_short_context_is_one_row(tiny_tokenizer):
    (row,), remarks = made(tiny_tokenizer, record_of("Who is it?", "It is the Cat, I said.", "the Cat"), 64)
    assert spelled(tiny_tokenizer, row.token_ids, row.target) == "the cat"
    assert row.target.dtype == np.int32 and row.target.shape == (2,)
    assert spelled(tiny_tokenizer, row.token_ids, (0, row.second - 1)) == "[CLS] who is it ? [SEP]"
    assert spelled(tiny_tokenizer, row.token_ids, (row.second, 99)) == "it is the cat , i said . [SEP]"
    assert remarks == []


def test_a_context_without_an_answer_teaches_cls(tiny_tokenizer):
    (row,), remarks = made(tiny_tokenizer, record_of("Who?", "It was not."))
    assert (row.target.tolist(), remarks) == ([0, 0], [])


def test_windows_with_and_without_the_answer(tiny_tokenizer):
    context = " ".join(["one two"] * 20) + " is it " + " ".join(["more"] * 40)
    record = record_of("Who?", context, "two is it more")
    rows, remarks = made(tiny_tokenizer, record, 30, longest=4)
    words = [spelled(tiny_tokenizer, row.token_ids, row.target) for row in rows]
    has_all = ["two is it more" in spelled(tiny_tokenizer, row.token_ids, (0, 99)) for row in rows]
    assert words == ["two is it more" if whole else "[CLS]" for whole in has_all]
    assert any(has_all) and not all(has_all)
    assert all(len(row.token_ids) <= 30 for row in rows)
    assert remarks == []


def test_the_most_frequent_answer_of_those_in_a_window_is_learned(tiny_tokenizer):
    context = "see " + " ".join(["one two"] * 25) + " then"
    rows, _ = made(tiny_tokenizer, record_of("Who?", context, "then", "see"), 30, longest=4)
    words = [spelled(tiny_tokenizer, row.token_ids, row.target) for row in rows]
    assert (words[0], words[-1], set(words[1:-1])) == ("see", "then", {"[CLS]"})
    (row,), _ = made(tiny_tokenizer, record_of("Who?", "see or then", "then", "see"))
    assert spelled(tiny_tokenizer, row.token_ids, row.target) == "then"


def test_an_answer_that_no_window_holds_is_said_and_its_parts_teach_nothing(tiny_tokenizer):
    context = "so " * 30 + "one " * 40 + "then " * 30
    rows, remarks = made(tiny_tokenizer, record_of("Who?", context, ("one " * 40).strip()), 30)
    assert remarks == [
        "answers longer than 9 word pieces, which are never given whole",
        "answers that no window holds whole, which are not learned",
    ]
    read = [spelled(tiny_tokenizer, row.token_ids, (0, 99)) for row in rows]
    assert rows and not any("one" in text for text in read)
    assert all(row.target.tolist() == [0, 0] for row in rows)


def test_answers_inside_word_pieces(tiny_tokenizer):
    context = "It was good."
    (row,), remarks = made(tiny_tokenizer, Record("Who?", ((4, 9),), "", (context,)))
    assert remarks == ["answers that begin or end inside a word piece, which is learned whole"]
    assert spelled(tiny_tokenizer, row.token_ids, row.target) == "was good"
    (row,), remarks = made(tiny_tokenizer, Record("Who?", ((2, 7),), "", (context,)))
    assert (remarks, spelled(tiny_tokenizer, row.token_ids, row.target)) == ([], "was")
    (row,), remarks = made(tiny_tokenizer, Record("Who?", ((2, 3),), "", (context,)))
    assert (remarks, row.target.tolist()) == (["answers without a word piece, which are not learned"], [0, 0])


def test_answers_inside_words(tiny_tokenizer):
    record = record_of("Who?", "It is unlikely, so far.", "like")
    assert made(tiny_tokenizer, record)[1] == []
    (row,), remarks = made(tiny_tokenizer, record, whole_words=True)
    assert remarks == [
        "answers that begin or end inside a word, as next to none of train do, and that are never given so"
    ]
    assert spelled(tiny_tokenizer, row.token_ids, row.target) == "like"
    assert made(tiny_tokenizer, record_of("Who?", "It is unlikely, so far.", "unlikely"), whole_words=True)[1] == []


def test_a_long_question_leaves_room_for_the_context(tiny_tokenizer):
    rows, remarks = made(tiny_tokenizer, record_of("which " * 50, "one two " * 40, "one two"), 33)
    assert remarks == ["questions longer than 10 word pieces, which are cut there"]
    assert all(spelled(tiny_tokenizer, row.token_ids, (0, row.second - 1)).count("which") == 10 for row in rows)
    assert max(len(row.token_ids) for row in rows) == 33


def test_rows_too_short_for_a_question_and_a_context(tiny_tokenizer):
    with pytest.raises(ValueError, match="encoder.sequence_length=15: wanted 16 or more"):
        made(tiny_tokenizer, record_of("Who?", "one two", "two"), 15)
    made(tiny_tokenizer, record_of("Who?", "one two " * 40, "one two"), 16)


@pytest.mark.parametrize(("sequence_length", "longest"), [(64, 30), (32, 30), (48, 7), (16, 2)])
def test_every_answer_that_may_be_given_is_whole_in_a_window(tiny_tokenizer, sequence_length, longest):
    words = [["one", "two", "see", "then", "more"][index % 5] for index in range(130)]
    context = " ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])
    room = sequence_length - 3
    given = min(longest, (room - room // 3) // 2)
    for first in range(0, 130 - given, 3):
        span = (int(starts[first]), int(starts[first + given]) - 1)
        rows, remarks = made(tiny_tokenizer, Record("Who?", (span,), "", (context,)), sequence_length, longest)
        assert remarks == []
        assert any(row.target[1] - row.target[0] == given - 1 for row in rows)


# The loss


def batch_of(rows, tokenizer, limit=64):
    packed = pad_rows([row.token_ids for row in rows], [row.second for row in rows], tokenizer.special.padding, limit)
    return {name: tf.constant(values) for name, values in packed.items()} | {
        "targets": tf.constant(np.stack([row.target for row in rows]))
    }


def test_loss_is_over_cls_and_the_context(tiny_tokenizer):
    (first,), _ = made(tiny_tokenizer, record_of("Who is it?", "It is the one.", "the one"), 64)
    (second,), _ = made(tiny_tokenizer, record_of("Who?", "It was not."), 64)
    batch = batch_of([first, second], tiny_tokenizer)
    length = batch["token_ids"].shape[1]
    logits = tf.Variable(np.random.default_rng(0).normal(size=(2, length, 2)).astype("float32"))
    with tf.GradientTape() as tape:
        losses = TASK.loss(logits, batch, Config())
    gradient, expected = tape.gradient(losses, logits).numpy(), []
    for index, row in enumerate([first, second]):
        possible = [0, *range(row.second, len(row.token_ids) - 1)]
        z = [np.log(np.exp(logits[index].numpy()[possible, side]).sum()) for side in (0, 1)]
        expected.append(np.mean([z[side] - logits[index].numpy()[row.target[side], side] for side in (0, 1)]))
        assert np.flatnonzero(np.abs(gradient[index]).sum(1)).tolist() == possible
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert first.target.tolist() == [first.second + 2, first.second + 3]


def test_label_smoothing_spreads_over_what_is_possible(tiny_tokenizer):
    rows, _ = made(tiny_tokenizer, record_of("Who?", "It is the one.", "the one"), 64)
    batch = batch_of(rows, tiny_tokenizer)
    logits = np.random.default_rng(0).normal(size=(1, batch["token_ids"].shape[1], 2)).astype("float32")
    possible = [0, *range(rows[0].second, len(rows[0].token_ids) - 1)]
    log_p = logits[0, possible] - np.log(np.exp(logits[0, possible]).sum(0))
    hits = [log_p[possible.index(rows[0].target[side]), side] for side in (0, 1)]
    found = TASK.loss(tf.constant(logits), batch, override(Config(), {"train.label_smoothing": 0.2}))
    np.testing.assert_allclose(found, [-0.8 * np.mean(hits) - 0.2 * log_p.mean()], rtol=1e-5)


def test_balanced_weights():
    targets = np.array([[0, 0], [4, 5], [0, 0], [0, 0]])
    config = override(Config(), {"train.class_weights": "balanced"})
    np.testing.assert_allclose(TASK.unit_weights(targets, {}, config), [2 / 3, 2, 2 / 3, 2 / 3])
    assert TASK.unit_weights(targets[1:2], {}, config) is None
    assert TASK.unit_weights(targets, {}, Config()) is None


# What is answered


def encoding_of(tokenizer, sequence_length, overlap=0.25):
    """Return an encoding whose logits are those of each token alone."""
    of_token = np.random.default_rng(0).normal(0, 2, (len(tokenizer.vocabulary), 2)).astype("float32")
    packer = Packer(tokenizer.special, sequence_length, overlap)
    return Encoding(tokenizer, packer, lambda packed: tf.gather(of_token, packed["token_ids"]), Config())


def asking(encoding, longest=30, threshold=None, whole_words=False):
    """Return the served function, run as it stands: what is traced is tested where models are exported."""
    facts = {"longest_answer": longest, "whole_words": whole_words, "threshold": threshold}
    return lambda question, context: TASK.answer({"question": question, "context": context}, encoding, facts)


def ask(served, questions, contexts):
    texts = [tf.constant([t if isinstance(t, bytes) else t.encode() for t in of]) for of in (questions, contexts)]
    return {name: value.numpy() for name, value in served(*texts).items()}


@pytest.fixture(scope="module")
def served(tiny_tokenizer):
    """Return the function for rows of 32 tokens that always answers."""
    return asking(encoding_of(tiny_tokenizer, 32))


def test_outputs_are_dense_with_the_batch_first(served):
    in_graph = tf.function(served, autograph=False, input_signature=[tf.TensorSpec([None], tf.string)] * 2)
    answers = ask(in_graph, ["Who?", "What?"], ["It is the one.", "two"])
    kinds = {name: (values.dtype.kind, values.shape) for name, values in answers.items()}
    assert kinds == {
        "answer": ("O", (2, 5)), "start": ("i", (2, 5)), "end": ("i", (2, 5)), "probability": ("f", (2, 5)),
        "best_answer": ("O", (2,)), "no_answer_probability": ("f", (2,)), "no_answer_margin": ("f", (2,)),
        "truncated": ("b", (2,)),
    }  # fmt: skip
    assert answers["answer"][1].tolist() == [b"two", b"", b"", b"", b""]
    assert (answers["start"][1].tolist(), answers["end"][1].tolist()) == ([0, -1, -1, -1, -1], [3, -1, -1, -1, -1])
    assert not answers["probability"][1, 1:].any()
    assert answers["probability"][1, 0] + answers["no_answer_probability"][1] == pytest.approx(1)
    assert (np.diff(answers["probability"]) <= 0).all()


ODD = "Cafe\u0301 Zoë 日本 한국어 👩‍🚀 a\u200bb ½ İx \u00ad- É"
TEXTS = st.text(st.sampled_from("ab é e\u0301 日한 👍🏽\u200d\t\u00a0,.\u200b\ufeffßİ½\u0000Ω"), max_size=40)


@REPEATABLE
@given(st.lists(TEXTS, min_size=1, max_size=3))
@example([ODD, "", " "])
@example([ODD * 5, "\u0301\u0301", "x"])
def test_answers_are_where_they_say(served, contexts):
    answers = ask(served, ["Who?"] * len(contexts), contexts)
    for row, context in enumerate(contexts):
        spans = list(zip(answers["start"][row].tolist(), answers["end"][row].tolist(), strict=True))
        given = [span for span in spans if span != (-1, -1)]
        assert spans == given + [(-1, -1)] * (5 - len(given))
        assert len(set(given)) == len(given)
        texts = [text.decode() for text in answers["answer"][row]]
        assert texts == [context[start:end] for start, end in given] + [""] * (5 - len(given))
        assert all(texts[: len(given)])
        assert answers["best_answer"][row].decode() == texts[0]


def test_whole_words_where_train_has_them(tiny_tokenizer):
    context = "Unlikely, quiet lions; a xyz-like jazz"
    words = [match.span() for match in re.finditer(r"\w+|[^\w\s]", context)]
    encoding = encoding_of(tiny_tokenizer, 48)

    def are_whole(whole_words):
        answers = ask(asking(encoding, 3, None, whole_words), ["Who?"], [context])
        assert (answers["start"] >= 0).all()
        places = zip(answers["start"][0], answers["end"][0], strict=True)
        return [start in {w[0] for w in words} and end in {w[1] for w in words} for start, end in places]

    assert not all(are_whole(False))
    assert all(are_whole(True))


@pytest.mark.parametrize("longest", [3, 8])
def test_the_length_of_the_windows_changes_nothing(tiny_tokenizer, longest):
    rng = np.random.default_rng(5)
    words = ["one", "two", "Now,", "then", "über", "日本", "👍", "good."]
    contexts = [" ".join(rng.choice(words, size)) for size in (150, 3, 61)]
    questions = ["Who?", "How many of it?", "Why"]
    whole = ask(asking(encoding_of(tiny_tokenizer, 600), longest), questions, contexts)
    assert (whole["start"] >= 0).all()
    for sequence_length, overlap in ((40, 0.0), (64, 0.25), (130, 0.6)):
        encoding = encoding_of(tiny_tokenizer, sequence_length, overlap)
        answers = ask(asking(encoding, longest), questions, contexts)
        for name, values in answers.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values, whole[name], rtol=1e-5)
            else:
                np.testing.assert_array_equal(values, whole[name])


def test_what_a_batch_holds_beside_it_changes_nothing(served):
    questions, contexts = ["Who?", "Why is it?", "When"], ["one two " * 60, "Now and then", ""]
    together = ask(served, questions, contexts)
    for row in range(3):
        alone = ask(served, questions[row : row + 1], contexts[row : row + 1])
        for name, values in alone.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values[0], together[name][row], rtol=1e-5)
            else:
                np.testing.assert_array_equal(values[0], together[name][row], name)


def test_nothing_to_find_is_no_answer(served):
    answers = ask(served, ["Who?", "", ""], ["", " \u200b\n", "one"])
    assert answers["best_answer"].tolist() == [b"", b"", b"one"]
    assert answers["no_answer_probability"][:2].tolist() == [1.0, 1.0]
    assert answers["no_answer_margin"][:2].tolist() == [1e9, 1e9]
    assert np.isfinite(answers["no_answer_margin"]).all()


def test_bytes_that_are_not_utf_8_count_as_python_decodes_them(served):
    contexts = [b"\xffone \xe4\xbd two", b"\xff\xfe"]
    answers = ask(served, [b"Wh\xff", b"\xc3"], contexts)
    decoded = contexts[0].decode("utf-8", "replace")
    for text, start, end in zip(answers["answer"][0], answers["start"][0], answers["end"][0], strict=True):
        assert text.decode() == (decoded[start:end] if start >= 0 else "")
    assert {"one", "two"} & {text.decode() for text in answers["answer"][0]}
    assert answers["best_answer"][1] == b""


def test_the_threshold_decides(tiny_tokenizer, served):
    always = ask(served, ["Who?"], ["one two"])
    margin = float(always["no_answer_margin"][0])
    encoding = encoding_of(tiny_tokenizer, 32)
    best = [ask(asking(encoding, 30, margin + d), ["Who?"], ["one two"])["best_answer"][0] for d in (0.5, -0.5)]
    assert best == [always["answer"][0, 0], b""]


def test_a_cut_question_is_said(served):
    # Of 29 word pieces a third may be the question.
    answers = ask(served, ["which " * 10, "which " * 9], ["one", "two"])
    assert answers["truncated"].tolist() == [True, False]


def test_rows_that_are_packed_already():
    logits = tf.constant(np.arange(12, dtype="float32").reshape(2, 3, 2))
    answers = TASK.answer_rows(logits, tf.constant([[1, 1, 1], [1, 1, 0]]), {})
    np.testing.assert_array_equal(answers["start_logits"], [[0, 2, 4], [6, 8, -1e9]])
    np.testing.assert_array_equal(answers["end_logits"], [[1, 3, 5], [7, 9, -1e9]])


@pytest.mark.parametrize("part_tokens", [1, 7, 15, 1000])
def test_parts_join_to_the_whole(part_tokens):
    packed = {name: tf.constant(np.arange(35).reshape(7, 5) + seed) for seed, name in enumerate(("token_ids", "other"))}
    seen = []

    @tf.function(autograph=False)
    def joined():
        def logits(rows):
            seen.append(rows["token_ids"].shape)
            return tf.cast(tf.stack([rows["token_ids"], rows["other"] * 2], 2), tf.float32)

        return in_parts(logits, packed, 2, part_tokens)

    np.testing.assert_array_equal(joined(), np.stack([np.arange(35), 2 * np.arange(1, 36)], 1).reshape(7, 5, 2))
    assert len(seen) == 1
