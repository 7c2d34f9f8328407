"""Answers: extractive question answering, as in SQuAD 1.1 and 2.0, where spans of a context answer questions.

A record is a question, a context of any length, and the spans of characters that answer the question, or none. The
outputs are the best spans over all windows of the context with their texts, and whether there is an answer at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.evaluation import answers as evaluation
from tfbert.evaluation.metric import Baseline, Evaluation, LabelledSpan
from tfbert.heads.spans import NEVER, SpanHead, Spans, best_spans
from tfbert.space import COMMON, Choice
from tfbert.tasks import base_outputs
from tfbert.tasks.base_answer_decision import AnswerDecision
from tfbert.tasks.base_context import Context
from tfbert.tasks.base_huggingface import ConvertibleTask, FittedConvertibleTask, ModelClass
from tfbert.tasks.base_options import LearnedHeadOptions, option
from tfbert.text.answer_spans import has_whole_words, is_impossible, num_pieces, spans_of
from tfbert.text.datasets import Target, TokenizedSplit, Warn
from tfbert.text.input_columns import CONTEXT, QUESTION
from tfbert.text.inputs import Item, Text
from tfbert.text.preprocessor import Preprocessor, Sequences, TokenizedText
from tfbert.text.readers.columns import Column, shown
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences, TextTokens
from tfbert.text.records import Record, text_of

NUM_ANSWERS = 5
# Spans have at most this many word pieces, or the number that nearly all answers in train need, if that is more.
_USUAL_MAX_PIECES = 30
_NEARLY_ALL = 0.99
_MIN_SEQUENCE_LENGTH = 16
# A question takes at most one third of a sequence, so that two thirds are left for the context.
_QUESTION_DIVISOR = 3


@dataclass(frozen=True, kw_only=True)
class AnswersOptions(LearnedHeadOptions):
    """Options of answers."""

    label_smoothing: float = option("train.label_smoothing")
    class_weights: str = option("train.class_weights")
    window_overlap_fraction: float = option("encoder.window_overlap_fraction")
    sequence_length: int = option("encoder.sequence_length", is_common=True)

    def check(self) -> None:
        """Reject sequences that are too short for a question and a part of its context.

        Raises:
            ValueError: `encoder.sequence_length` is below 16.
        """
        if self.sequence_length < _MIN_SEQUENCE_LENGTH:
            raise ValueError(
                f"encoder.sequence_length={self.sequence_length}: expected {_MIN_SEQUENCE_LENGTH} or more, for a "
                "question and a part of its context"
            )


class Answers(ConvertibleTask):
    """Extractive question answering: predicts the first and the last token of the answer, or [CLS] for no answer."""

    title = "answers to questions, found in a given text"
    aliases = ("qa", "question_answering", "extractive_qa", "reading_comprehension", "squad")
    columns = (
        QUESTION,
        CONTEXT,
        Column("answers", "answers, answer, answer_text", is_target=True),
        Column("answer_start", "answer_start, start", required=False),
        Column("is_impossible", "is_impossible, unanswerable", required=False),
    )
    inputs = (Text("question"), Text("context"))
    options = AnswersOptions
    model_class = ModelClass(
        suffix="QuestionAnswering", layer="qa_outputs", num_outputs=2, pipeline="question-answering"
    )
    defaults = {"encoder.sequence_length": 384}
    search_space = COMMON | {"train.epochs": Choice(2, 3, 4), "train.batch_size": Choice(16, 32)}

    def parse(self, row: Row) -> Record:
        """Return the record of a row.

        Raises:
            ValueError: a text is missing or empty, an answer is not at its position, or a question that is marked as
                impossible has an answer.
        """
        question, context = text_of(row, "question"), text_of(row, "context")
        spans = spans_of(row.values.get("answers"), row.values.get("answer_start"), context)
        if is_impossible(row.values.get("is_impossible")) and spans:
            answer = shown(context[slice(*spans[0])])
            raise ValueError(f"is_impossible is true, but the question has the answer {answer}; remove one of them")
        return Record(question, spans, row.where, (context,), group=context)

    def truth_of(self, record: Record) -> list[dict[str, Any]]:
        """Return the true answers, most frequent first."""
        return [{"text": record.others[0][start:end], "start": start, "end": end} for start, end in record.target]

    def fit(self, records: Iterable[Record], options: AnswersOptions) -> "FittedAnswers":
        """Return the task with properties that nearly all answers in train have.

        Raises:
            ValueError: no record has an answer.
        """
        lengths, num_whole, has_unanswerable = [], 0, False
        for record in records:
            has_unanswerable |= not record.target
            for start, end in record.target[:1]:
                lengths.append(num_pieces(record.others[0][start:end]))
                num_whole += has_whole_words(record.others[0], start, end)
        if not lengths:
            raise ValueError("train has no question with an answer; expected at least one")
        return FittedAnswers(
            options=options,
            max_pieces=max(_USUAL_MAX_PIECES, int(np.quantile(lengths, _NEARLY_ALL, method="higher"))),
            whole_words=num_whole >= _NEARLY_ALL * len(lengths),
            has_unanswerable=has_unanswerable,
        )

    def fit_to_model(self, labels: tuple[str, ...], options: AnswersOptions, has_pair: bool) -> "FittedAnswers":
        """Return the task for a model that finds spans of whole words and always answers."""
        return FittedAnswers(options=options, max_pieces=_USUAL_MAX_PIECES, whole_words=True, has_unanswerable=False)


@dataclass(frozen=True, kw_only=True)
class FittedAnswers(FittedConvertibleTask):
    """Extractive question answering with the properties of the answers in train.

    Args:
        max_pieces: the maximum number of word pieces of a span, regardless of the sequence length.
        whole_words: whether spans start and end at word boundaries.
        has_unanswerable: whether some questions have no answer.
    """

    options: AnswersOptions
    max_pieces: int
    whole_words: bool
    has_unanswerable: bool

    inputs = Answers.inputs
    all_outputs = base_outputs.ANSWERS
    metrics = evaluation.METRICS
    monitor = evaluation.F1
    targets = {"token_span": Target("int32", (2,))}

    @property
    def decision(self) -> AnswerDecision:
        """The threshold between answer and no answer."""
        return AnswerDecision(self.has_unanswerable)

    @property
    def max_question_tokens(self) -> int:
        """The maximum number of tokens of a question; longer questions are cut."""
        return self._max_text_tokens // _QUESTION_DIVISOR

    @property
    def max_answer_tokens(self) -> int:
        """The maximum number of tokens of a span: at most half a window, so that some window holds each span whole."""
        return min(self.max_pieces, (self._max_text_tokens - self.max_question_tokens) // 2)

    @property
    def _max_text_tokens(self) -> int:
        # Without [CLS] and two [SEP].
        return self.options.sequence_length - 3

    @property
    def decoding(self) -> str:
        """The search for spans."""
        return f"the search for spans, of up to {self.max_answer_tokens} tokens, and their probabilities"

    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the two texts."""
        return dict(zip(("question", "context"), record.texts, strict=True))

    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return one sequence of question and context per window of the context."""
        question = preprocessor.tokenize(inputs["question"])
        context = preprocessor.tokenize(inputs["context"], with_offsets=True)
        question_ids = question.ids[:, : self.max_question_tokens]
        room = preprocessor.max_text_tokens(2)
        # Windows overlap far enough that some window holds each possible span whole.
        overlap = max(self.options.window_overlap_fraction, self.max_answer_tokens / (room - self.max_question_tokens))
        windows = preprocessor.windows(context.ids, room - tf.cast(question_ids.row_lengths(), tf.int32), overlap)
        return preprocessor.pack(
            [tf.gather(question_ids, windows.records), windows.token_ids],
            records=windows.records,
            windows=windows,
            texts={"question": question, "context": context},
        )

    def targets_of(
        self, record: Record, sequences: RecordSequences, warn: Warn
    ) -> Sequence[Mapping[str, np.ndarray] | None]:
        """Return the positions of the answer's first and last token in each sequence, both 0 ([CLS]) for no answer.

        If a window contains several answers, the target is the most frequent one. If no window contains a whole answer,
        the windows that contain a part of one are left out.
        """
        (question,), (context,) = sequences.texts["question"], sequences.texts["context"]
        if len(question.ids) > self.max_question_tokens:
            warn(f"questions have more than {self.max_question_tokens} word pieces and are cut")
        offset = min(len(question.ids), self.max_question_tokens) + 2
        spans = _token_spans(record, context, self.max_answer_tokens, self.whole_words, warn)
        starts_and_lengths = zip(sequences.window_starts, sequences.window_lengths, strict=True)
        windows = [(start, start + length) for start, length in starts_and_lengths]
        whole = [next((s for s in spans if start <= s[0] and s[1] < end), None) for start, end in windows]
        is_split = bool(spans) and not any(whole)
        if is_split:
            warn("answers are in no window as a whole and are not learned")
        targets: list[Mapping[str, np.ndarray] | None] = []
        for (start, end), span in zip(windows, whole, strict=True):
            if is_split and any(first < end and start <= last for first, last in spans):
                targets.append(None)
            else:
                positions = (0, 0) if span is None else (span[0] - start + offset, span[1] - start + offset)
                targets.append({"token_span": np.array(positions, np.int32)})
        return targets

    def head(self, seed: int) -> SpanHead:
        """Return a span head."""
        return SpanHead(dropout=self.options.dropout, seed=seed, name="head")

    def example_weights(self, split: TokenizedSplit) -> np.ndarray | None:
        """Return weights that give windows with and without an answer the same total for `balanced`, else `None`."""
        has_answer = split.targets["token_span"][:, 1] > 0
        if self.options.class_weights == "none" or has_answer.all() or not has_answer.any():
            return None
        fraction = has_answer.mean()
        return np.where(has_answer, 0.5 / fraction, 0.5 / (1 - fraction)).astype(np.float32)

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the mean cross-entropy of the first and the last token of the answer over [CLS] and the context."""
        position = tf.range(tf.shape(scores)[1])
        last_separator = tf.reduce_sum(batch["padding_mask"], axis=1, keepdims=True) - 1
        in_context = (batch["segment_ids"] == 1) & (position < last_separator)
        possible = tf.cast(in_context | (position == 0), tf.float32)[:, :, None]
        log_probabilities = tf.nn.log_softmax(tf.where(possible > 0, scores, NEVER), axis=1)
        by_side = tf.transpose(log_probabilities, [0, 2, 1])
        nll = -tf.reduce_mean(tf.gather(by_side, batch["token_span"][:, :, None], batch_dims=2)[..., 0], axis=1)
        smoothing = self.options.label_smoothing
        if not smoothing:
            return nll
        mean = tf.reduce_sum(log_probabilities * possible, axis=1) / tf.reduce_sum(possible, axis=1)
        return (1 - smoothing) * nll - smoothing * tf.reduce_mean(mean, axis=1)

    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return the best spans of each context, best first, and the probability and the margin of no answer.

        Returns:
            `answer` string, `start` and `end` int32 in characters, `probability` float32, all `(batch, 5)`, padded with
            "", -1 and 0; `no_answer_probability` and `no_answer_margin` float32 and `truncated` bool, whether the
            question was cut, all `(batch,)`.
        """
        texts = sequences.texts
        spans = best_spans(
            scores,
            sequences.windows,
            sequences.second_starts,
            _bounds(texts["context"], context.vocabulary if self.whole_words else ()),
            max_tokens=self.max_answer_tokens,
            num_spans=NUM_ANSWERS,
        )
        is_cut = texts["question"].ids.row_lengths() > self.max_question_tokens
        return _with_texts(spans, context.inputs["context"], texts["context"]) | {"truncated": is_cut}

    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `start_logits` and `end_logits`, float32 `(sequences, length)`.

        Unlike probabilities, logits can be compared between windows. The logits of padding are very low; those of the
        question are not trained and have no meaning.
        """
        logits = tf.where(padding_mask[:, :, None] > 0, scores, NEVER)
        return {"start_logits": logits[:, :, 0], "end_logits": logits[:, :, 1]}

    def gold(self, record: Record) -> evaluation.Gold:
        """Return the question, the texts of its true answers and their positions in the context."""
        texts = tuple(dict.fromkeys(record.others[0][start:end] for start, end in record.target))
        return evaluation.Gold(record.text, texts, tuple(LabelledSpan(start, end) for start, end in record.target))

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence[evaluation.Gold], decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return the evaluation of predicted answers."""
        return evaluation.AnswerEvaluation(outputs, gold, float(decided["threshold"]))

    def constant_baseline(self, train: TokenizedSplit, gold: Sequence[evaluation.Gold]) -> Baseline | None:
        """Return the scores of never giving an answer, if there are questions without one."""
        if all(item.answers for item in gold):
            return None
        nothing = np.full(len(gold), b"", object)
        outputs = {"answer": nothing[:, None], "best_answer": nothing}
        return Baseline("never giving an answer", self.evaluate(outputs, gold, {"threshold": 0.0}).point_scores())


def _token_spans(
    record: Record, context: TextTokens, max_tokens: int, whole_words: bool, warn: Warn
) -> list[tuple[int, int]]:
    """Return the first and the last token of each answer, and warn of problems with the most frequent answer.

    Args:
        record: a record with its answers as spans of characters.
        context: the tokens of the context.
        max_tokens: the maximum number of tokens of predicted spans.
        whole_words: whether predicted spans start and end at word boundaries.
        warn: called with each warning.
    """
    spans = []
    for index, (start, end) in enumerate(record.target):
        first = int(np.searchsorted(context.ends, start, side="right"))
        last = int(np.searchsorted(context.starts, end, side="left")) - 1
        warn_of_first = warn if index == 0 else lambda *_: None
        if last < first:
            warn_of_first("answers contain no word piece and are not learned")
            continue
        spans.append((first, last))
        if context.starts[first] < start or context.ends[last] > end:
            warn_of_first("answers start or end inside a word piece, which is learned as a whole")
        if whole_words and not has_whole_words(record.others[0], start, end):
            warn_of_first(
                "answers start or end inside a word, unlike nearly all of train, and are never predicted exactly"
            )
        if last - first >= max_tokens:
            warn_of_first(f"answers have more than {max_tokens} word pieces and are never predicted as a whole")
    return spans


def _bounds(context: TokenizedText, vocabulary: Sequence[str]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return at which tokens of all contexts a span may start and at which it may end: bool `(tokens,)` each.

    A span may not start or end inside a character that tokens share, so that different spans of tokens are different
    spans of characters. With a vocabulary, it may also not start or end inside a word.
    """
    starts, ends = context.starts.flat_values, context.ends.flat_values
    record, num_tokens = context.starts.value_rowids(), tf.size(starts)
    joined = starts[1:] < ends[:-1]
    if vocabulary:
        continues = tf.constant([piece.startswith("##") for piece in vocabulary])
        joined |= tf.gather(continues, context.ids.flat_values[1:])
    joined &= record[1:] == record[:-1]
    # Without any tokens, padding still adds one value.
    return ~tf.pad(joined, [[1, 0]])[:num_tokens], ~tf.pad(joined, [[0, 1]])[:num_tokens]


def _with_texts(spans: Spans, contexts: tf.Tensor, tokens: TokenizedText) -> dict[str, tf.Tensor]:
    """Return the outputs for spans of tokens: texts and positions in characters, and probabilities."""
    begin = tf.cast(tokens.starts.row_starts(), tf.int32)[:, None]
    first, last = (tf.where(spans.exists, begin + token, 0) for token in (spans.first, spans.last))
    # The added value makes gather valid even if no context has a token.
    start = tf.gather(tf.pad(tokens.starts.flat_values, [[0, 1]]), first)
    end = tf.gather(tf.pad(tokens.ends.flat_values, [[0, 1]]), last)
    start, end = (tf.where(spans.exists, position, 0) for position in (start, end))
    # Positions count characters after this step, which only changes invalid UTF-8.
    valid = tf.strings.unicode_transcode(contexts, "UTF-8", "UTF-8", errors="replace")
    return {
        "answer": tf.strings.substr(valid[:, None], start, end - start, unit="UTF8_CHAR"),
        "start": tf.where(spans.exists, start, -1),
        "end": tf.where(spans.exists, end, -1),
        "probability": spans.probability,
        "no_answer_probability": spans.null_probability,
        "no_answer_margin": spans.null_margin,
    }


TASK = Answers()
