"""Answers in windows: training sequences, the loss, and predictions that do not depend on the windows."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.tokenized import tokenized, warnings_of

from tfbert.tasks.answers import AnswersOptions, FittedAnswers
from tfbert.tasks.base_context import Context
from tfbert.text.batches import batches
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.records import Record

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=25)


def fitted(sequence_length=40, max_pieces=30, whole_words=False, **options):
    options = AnswersOptions(sequence_length=sequence_length, **options)
    return FittedAnswers(options=options, max_pieces=max_pieces, whole_words=whole_words, has_unanswerable=True)


# Training sequences


def tokenize_record(tokenizer, record, sequence_length=40, max_pieces=30, whole_words=False):
    """Return the `TokenizedSplit` of a record, and the warnings about it."""
    task = fitted(sequence_length, max_pieces, whole_words)
    split = tokenized(task, [record], Preprocessor(tokenizer, sequence_length))
    return split, warnings_of(split)


def spell(tokenizer, token_ids, span=(0, 999)):
    """Return the words of the tokens from the first to the last, inclusive."""
    pieces = [tokenizer.vocabulary[token] for token in token_ids[span[0] : span[1] + 1]]
    return "".join(piece.removeprefix("##") if piece.startswith("##") else f" {piece}" for piece in pieces).strip()


def record_of(question, context, *answers):
    spans = tuple((context.index(text), context.index(text) + len(text)) for text in answers)
    return Record(question, spans, "train.json:q", (context,))


def targets_in_words(tokenizer, split):
    """Return the words of each target; [CLS] for no answer."""
    spans = split.targets["token_span"]
    return [spell(tokenizer, split.sequences[index], spans[index]) for index in range(len(split))]


def in_words(tokenizer, split):
    return [spell(tokenizer, split.sequences[index]) for index in range(len(split))]


def test_a_short_context_is_one_sequence(tiny_tokenizer):
    split, warnings = tokenize_record(tiny_tokenizer, record_of("Who is it?", "It is the Cat, I said.", "the Cat"), 64)
    assert targets_in_words(tiny_tokenizer, split) == ["the cat"] and warnings == []
    targets, (second,) = split.targets["token_span"], split.second_starts
    assert targets.dtype == np.int32 and targets.shape == (1, 2)
    assert spell(tiny_tokenizer, split.sequences[0], (0, second - 1)) == "[CLS] who is it ? [SEP]"
    assert spell(tiny_tokenizer, split.sequences[0], (second, 99)) == "it is the cat , i said . [SEP]"


def test_the_target_of_a_context_without_an_answer_is_cls(tiny_tokenizer):
    split, warnings = tokenize_record(tiny_tokenizer, record_of("Who?", "It was not."))
    assert (split.targets["token_span"].tolist(), warnings) == ([[0, 0]], [])


def test_windows_with_and_without_the_answer(tiny_tokenizer):
    context = " ".join(["one two"] * 20) + " is it " + " ".join(["more"] * 40)
    record = record_of("Who?", context, "two is it more")
    split, warnings = tokenize_record(tiny_tokenizer, record, 30, max_pieces=4)
    has_all = ["two is it more" in text for text in in_words(tiny_tokenizer, split)]
    expected = ["two is it more" if is_complete else "[CLS]" for is_complete in has_all]
    assert targets_in_words(tiny_tokenizer, split) == expected
    assert any(has_all) and not all(has_all)
    assert split.lengths().max() <= 30
    assert warnings == []


def test_the_most_frequent_answer_of_those_in_a_window_is_learned(tiny_tokenizer):
    context = "see " + " ".join(["one two"] * 25) + " then"
    split, _ = tokenize_record(tiny_tokenizer, record_of("Who?", context, "then", "see"), 30, max_pieces=4)
    words = targets_in_words(tiny_tokenizer, split)
    assert (words[0], words[-1], set(words[1:-1])) == ("see", "then", {"[CLS]"})
    split, _ = tokenize_record(tiny_tokenizer, record_of("Who?", "see or then", "then", "see"))
    assert targets_in_words(tiny_tokenizer, split) == ["then"]


def test_an_answer_longer_than_a_window_is_reported_and_not_learned(tiny_tokenizer):
    context = "so " * 30 + "one " * 40 + "then " * 30
    split, warnings = tokenize_record(tiny_tokenizer, record_of("Who?", context, ("one " * 40).strip()), 30)
    assert warnings == [
        "answers have more than 9 word pieces and are never predicted as a whole",
        "answers are in no window as a whole and are not learned",
    ]
    assert len(split) and not any("one" in text for text in in_words(tiny_tokenizer, split))
    assert not split.targets["token_span"].any()


def test_answers_inside_word_pieces(tiny_tokenizer):
    def tokenize_answer(span):
        split, warnings = tokenize_record(tiny_tokenizer, Record("Who?", (span,), "", ("It was good.",)))
        return targets_in_words(tiny_tokenizer, split), warnings

    inside = "answers start or end inside a word piece, which is learned as a whole"
    assert tokenize_answer((4, 9)) == (["was good"], [inside])
    assert tokenize_answer((2, 7)) == (["was"], [])
    assert tokenize_answer((2, 3)) == (["[CLS]"], ["answers contain no word piece and are not learned"])


def test_answers_inside_words(tiny_tokenizer):
    record = record_of("Who?", "It is unlikely, so far.", "like")
    assert tokenize_record(tiny_tokenizer, record)[1] == []
    split, warnings = tokenize_record(tiny_tokenizer, record, whole_words=True)
    assert warnings == [
        "answers start or end inside a word, unlike nearly all of train, and are never predicted exactly"
    ]
    assert targets_in_words(tiny_tokenizer, split) == ["like"]
    record = record_of("Who?", "It is unlikely, so far.", "unlikely")
    assert tokenize_record(tiny_tokenizer, record, whole_words=True)[1] == []


def test_warnings_are_about_the_most_frequent_answer_only(tiny_tokenizer):
    record = record_of("Who?", "It is unlikely, so far.", "unlikely", "like", " ")
    split, warnings = tokenize_record(tiny_tokenizer, record, whole_words=True)
    assert (targets_in_words(tiny_tokenizer, split), warnings) == (["unlikely"], [])


def test_a_long_question_leaves_room_for_the_context(tiny_tokenizer):
    split, warnings = tokenize_record(tiny_tokenizer, record_of("which " * 50, "one two " * 40, "one two"), 33)
    assert warnings == ["questions have more than 10 word pieces and are cut"]
    assert len(split) > 1 and set(split.second_starts) == {12}
    assert all(text.count("which") == 10 for text in in_words(tiny_tokenizer, split))
    assert split.lengths().max() == 33


@pytest.mark.parametrize(("sequence_length", "max_pieces"), [(64, 30), (32, 30), (48, 7), (16, 2)])
def test_every_possible_answer_is_completely_in_a_window(tiny_tokenizer, sequence_length, max_pieces):
    words = [["one", "two", "see", "then", "more"][index % 5] for index in range(130)]
    context = " ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])
    room = sequence_length - 3
    longest = min(max_pieces, (room - room // 3) // 2)
    spans = [(int(starts[first]), int(starts[first + longest]) - 1) for first in range(0, 130 - longest, 3)]
    records = [Record("Who?", (span,), str(index), (context,)) for index, span in enumerate(spans)]
    for number, overlap in enumerate((0.0, 0.25)):
        task = fitted(sequence_length, max_pieces, window_overlap_fraction=overlap)
        assert task.max_answer_tokens == longest
        split = tokenized(task, records[number::2], Preprocessor(tiny_tokenizer, sequence_length))
        assert split.warnings == {}
        targets = split.targets["token_span"]
        # At least one window contains the answer, and every target is the complete answer.
        assert (targets[:, 1] - targets[:, 0] == longest - 1).sum() >= len(records[number::2])
        assert set((targets[:, 1] - targets[:, 0]).tolist()) <= {longest - 1, 0}


# The loss


def batch_of(*splits):
    """Return a batch for each split with a single sequence."""
    return [next(iter(batches(split, [np.array([0])], 64))) for split in splits]


def test_loss_is_over_cls_and_the_context(tiny_tokenizer):
    first, _ = tokenize_record(tiny_tokenizer, record_of("Who is it?", "It is the one.", "the one"), 64)
    second, _ = tokenize_record(tiny_tokenizer, record_of("Who?", "It was not."), 64)
    for split, batch in zip((first, second), batch_of(first, second), strict=True):
        length, (second_start,) = batch["token_ids"].shape[1], split.second_starts
        logits = tf.Variable(np.random.default_rng(0).normal(size=(1, length, 2)).astype("float32"))
        with tf.GradientTape() as tape:
            losses = fitted().loss(logits, batch)
        gradient = tape.gradient(losses, logits).numpy()[0]
        possible, target = [0, *range(second_start, length - 1)], split.targets["token_span"][0]
        values = logits.numpy()[0]
        z = [np.log(np.exp(values[possible, side]).sum()) for side in (0, 1)]
        expected = np.mean([z[side] - values[target[side], side] for side in (0, 1)])
        np.testing.assert_allclose(losses, [expected], rtol=1e-5)
        assert np.flatnonzero(np.abs(gradient).sum(1)).tolist() == possible
    assert first.targets["token_span"].tolist() == [[first.second_starts[0] + 2, first.second_starts[0] + 3]]


def test_losses_of_a_batch_do_not_depend_on_its_padding(tiny_tokenizer):
    records = [record_of("Who is it?", "It is the one, is it not?", "the one"), record_of("Who?", "It was not.")]
    split = tokenized(fitted(64), records, Preprocessor(tiny_tokenizer, 64))
    (together,) = batches(split, [np.array([0, 1])], 64)
    logits = np.random.default_rng(1).normal(size=(2, together["token_ids"].shape[1], 2)).astype("float32")
    losses = fitted().loss(tf.constant(logits), together).numpy()
    for index in (0, 1):
        (alone,) = batches(split, [np.array([index])], 64)
        loss = fitted().loss(tf.constant(logits[index : index + 1, : alone["token_ids"].shape[1]]), alone)
        np.testing.assert_allclose(loss, losses[index : index + 1], rtol=1e-5)


def test_label_smoothing_spreads_over_what_is_possible(tiny_tokenizer):
    split, _ = tokenize_record(tiny_tokenizer, record_of("Who?", "It is the one.", "the one"), 64)
    (batch,) = batch_of(split)
    length, target = batch["token_ids"].shape[1], split.targets["token_span"][0]
    logits = np.random.default_rng(0).normal(size=(1, length, 2)).astype("float32")
    possible = [0, *range(split.second_starts[0], length - 1)]
    log_p = logits[0, possible] - np.log(np.exp(logits[0, possible]).sum(0))
    hits = [log_p[possible.index(target[side]), side] for side in (0, 1)]
    losses = fitted(label_smoothing=0.2).loss(tf.constant(logits), batch)
    np.testing.assert_allclose(losses, [-0.8 * np.mean(hits) - 0.2 * log_p.mean()], rtol=1e-5)


def test_balanced_weights(tiny_tokenizer):
    records = [record_of("Who?", "It was not."), record_of("Who?", "see it", "see")]
    split = tokenized(fitted(), [records[0], records[1], *records[:1] * 2], Preprocessor(tiny_tokenizer, 40))
    balanced = fitted(class_weights="balanced")
    weights = balanced.example_weights(split)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [2 / 3, 2, 2 / 3, 2 / 3])
    assert balanced.example_weights(split.take(np.array([1]), np.array([0, 1]))) is None
    assert fitted().example_weights(split) is None


# Predictions


def make_served(tokenizer, sequence_length, max_pieces=30, *, whole_words=False, overlap=0.25):
    """Return the served function of a model that scores each token by its id, run eagerly; exports test it traced."""
    scores = np.random.default_rng(0).normal(0, 2, (len(tokenizer.vocabulary), 2)).astype("float32")
    task = fitted(sequence_length, max_pieces, whole_words, window_overlap_fraction=overlap)
    preprocessor = Preprocessor(tokenizer, sequence_length, overlap)

    def served(question, context, threshold=np.inf):
        inputs = {"question": question, "context": context}
        sequences = task.sequences(inputs, preprocessor)
        scores_of_tokens = sequences.scores(lambda packed: tf.gather(scores, packed["token_ids"]))
        outputs = task.decode(scores_of_tokens, sequences, Context(inputs, tokenizer.vocabulary, {}))
        return task.decision.apply(
            outputs, {**task.decision.initial(), "threshold": tf.constant(threshold, tf.float32)}
        )

    return served


def predict(served, questions, contexts, *threshold):
    def encoded(texts):
        return tf.constant([text if isinstance(text, bytes) else text.encode() for text in texts])

    return {name: value.numpy() for name, value in served(encoded(questions), encoded(contexts), *threshold).items()}


@pytest.fixture(scope="module")
def served(tiny_tokenizer):
    """Return the function for sequences of 32 tokens."""
    return make_served(tiny_tokenizer, 32)


def test_outputs_are_dense_with_the_batch_first(served):
    in_graph = tf.function(served, autograph=False, input_signature=[tf.TensorSpec([None], tf.string)] * 2)
    answers = predict(in_graph, ["Who?", "What?"], ["It is the one.", "two"])
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
def test_answers_are_at_their_positions(served, contexts):
    answers = predict(served, ["Who?"] * len(contexts), contexts)
    for row, context in enumerate(contexts):
        spans = list(zip(answers["start"][row].tolist(), answers["end"][row].tolist(), strict=True))
        real = [span for span in spans if span != (-1, -1)]
        assert spans == real + [(-1, -1)] * (5 - len(real))
        assert len(set(real)) == len(real)
        texts = [text.decode() for text in answers["answer"][row]]
        assert texts == [context[start:end] for start, end in real] + [""] * (5 - len(real))
        assert all(texts[: len(real)])
        assert answers["best_answer"][row].decode() == texts[0]


def test_answers_are_whole_words_if_those_of_train_are(tiny_tokenizer):
    context = "Unlikely, quiet lions; a xyz-like jazz"
    words = [match.span() for match in re.finditer(r"\w+|[^\w\s]", context)]

    def are_whole(whole_words):
        answers = predict(make_served(tiny_tokenizer, 48, 3, whole_words=whole_words), ["Who?"], [context])
        assert (answers["start"] >= 0).all()
        spans = zip(answers["start"][0], answers["end"][0], strict=True)
        return [start in {w[0] for w in words} and end in {w[1] for w in words} for start, end in spans]

    assert not all(are_whole(False))
    assert all(are_whole(True))


@pytest.mark.parametrize("longest", [3, 8])
def test_outputs_do_not_depend_on_the_length_of_windows(tiny_tokenizer, longest):
    rng = np.random.default_rng(5)
    words = ["one", "two", "Now,", "then", "über", "日本", "👍", "good."]
    contexts = [" ".join(rng.choice(words, size)) for size in (150, 3, 61)]
    questions = ["Who?", "How many of it?", "Why"]
    whole = predict(make_served(tiny_tokenizer, 600, longest), questions, contexts)
    assert (whole["start"] >= 0).all()
    for sequence_length, overlap in ((40, 0.0), (64, 0.25), (130, 0.6)):
        answers = predict(make_served(tiny_tokenizer, sequence_length, longest, overlap=overlap), questions, contexts)
        for name, values in answers.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values, whole[name], rtol=1e-5)
            else:
                np.testing.assert_array_equal(values, whole[name])


def test_outputs_do_not_depend_on_other_records_of_a_batch(served):
    questions, contexts = ["Who?", "Why is it?", "When"], ["one two " * 60, "Now and then", ""]
    together = predict(served, questions, contexts)
    for row in range(3):
        alone = predict(served, questions[row : row + 1], contexts[row : row + 1])
        for name, values in alone.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values[0], together[name][row], rtol=1e-5)
            else:
                np.testing.assert_array_equal(values[0], together[name][row], name)


def test_an_empty_context_has_no_answer(served):
    answers = predict(served, ["Who?", "", ""], ["", " \u200b\n", "one"])
    assert answers["best_answer"].tolist() == [b"", b"", b"one"]
    assert answers["no_answer_probability"][:2].tolist() == [1.0, 1.0]
    assert answers["no_answer_margin"][:2].tolist() == [1e9, 1e9]
    assert np.isfinite(answers["no_answer_margin"]).all()


def test_positions_in_invalid_utf_8_count_characters_as_python_decodes_them(served):
    contexts = [b"\xffone \xe4\xbd two", b"\xff\xfe"]
    answers = predict(served, [b"Wh\xff", b"\xc3"], contexts)
    decoded = contexts[0].decode("utf-8", "replace")
    for text, start, end in zip(answers["answer"][0], answers["start"][0], answers["end"][0], strict=True):
        assert text.decode() == (decoded[start:end] if start >= 0 else "")
    assert {"one", "two"} & {text.decode() for text in answers["answer"][0]}
    assert answers["best_answer"][1] == b""


def test_the_threshold_decides_whether_an_answer_is_given(served):
    always = predict(served, ["Who?"], ["one two"])
    margin = float(always["no_answer_margin"][0])
    best = [predict(served, ["Who?"], ["one two"], margin + d)["best_answer"][0] for d in (0.5, -0.5)]
    assert best == [always["answer"][0, 0], b""]


def test_a_cut_question_is_reported(served):
    # A third of 29 word pieces may be question.
    answers = predict(served, ["which " * 10, "which " * 9], ["one", "two"])
    assert answers["truncated"].tolist() == [True, False]


def test_outputs_of_packed_sequences():
    logits = tf.constant(np.arange(12, dtype="float32").reshape(2, 3, 2))
    outputs = fitted().decode_sequences(logits, tf.constant([[1, 1, 1], [1, 1, 0]]))
    np.testing.assert_array_equal(outputs["start_logits"], [[0, 2, 4], [6, 8, -1e9]])
    np.testing.assert_array_equal(outputs["end_logits"], [[1, 3, 5], [7, 9, -1e9]])
