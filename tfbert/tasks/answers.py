"""Questions about a text, answered by a part of it: extractive question answering as in SQuAD 1.1 and 2.0.

A record is a question, a context of any length, and the spans of characters that answer it, or none. The served answer
is the best spans over all windows of the context with their texts, and whether there is an answer at all.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.evaluation import answer_findings, metrics, squad
from tfbert.heads.spans import NEVER, SpanHead, Spans, best_spans
from tfbert.space import COMMON, Choice
from tfbert.tasks.base import Encoding, Task
from tfbert.tasks.base_windows import in_parts
from tfbert.text.answer_spans import is_impossible, spans_of
from tfbert.text.columns import Column, shown
from tfbert.text.datasets import Example, Tokens
from tfbert.text.input_columns import CONTEXT, QUESTION
from tfbert.text.items import Item
from tfbert.text.packing import Packer
from tfbert.text.records import Record, text_of
from tfbert.text.rows import Row
from tfbert.text.tokenizer import Tokens as OffsetTokens

NUM_ANSWERS = 5
# No span is longer than this many word pieces, or than what nearly all answers of train need. And where nearly all of
# them begin and end with a word, so does every span.
_USUAL_LONGEST = 30
_NEARLY_ALL = 0.99
_SHORTEST_ROW = 16
# A question leaves two thirds of a row to the context.
_QUESTION_SHARE = 3
_WORST_MISTAKES = 30
_NO_ANSWER = "(no answer)"
# Roughly a word piece each: six letters of a word, a character of another script, a punctuation mark.
_PIECE = re.compile(r"[A-Za-z0-9]{1,6}|\S")


@dataclass(frozen=True, slots=True)
class Gold:
    """What the answer to a record should be.

    Args:
        question: for the report.
        answers: the true ones, the most frequent first; none where the context has no answer.
    """

    question: str
    answers: tuple[str, ...]


class Answers(Task):
    """Extractive question answering: first and last token of the answer, [CLS] for none.

    The facts hold `longest_answer` in word pieces, `whole_words`, whether answers begin and end with a word, and the
    `threshold` on the margin by which "no answer" has to beat the best answer, `None` where all questions are answered.
    """

    title = "an answer out of a text to every question about it"
    aliases = ("qa", "question_answering", "extractive_qa", "reading_comprehension", "squad")
    columns = (
        QUESTION,
        CONTEXT,
        Column("answers", "answers, answer, answer_text", is_target=True),
        Column("answer_start", "answer_start, start", required=False),
        Column("is_impossible", "is_impossible, unanswerable", required=False),
    )
    defaults = {"encoder.sequence_length": 384}
    search_space = COMMON | {"train.epochs": Choice(2, 3, 4), "train.batch_size": Choice(16, 32)}
    monitor = "f1"
    with_offsets = True

    def parse(self, row: Row) -> Record:
        """Return the record of a row.

        Raises:
            ValueError: a text is missing or blank, an answer is not where the row says, or there is an answer to a
                question that is marked as impossible.
        """
        question, context = text_of(row, "question"), text_of(row, "context")
        spans = spans_of(row.values.get("answers"), row.values.get("answer_start"), context)
        if is_impossible(row.values.get("is_impossible")) and spans:
            answer = shown(context[slice(*spans[0])])
            raise ValueError(f"is_impossible is true beside the answer {answer}; remove one of them")
        return Record(question, spans, row.where, (context,), group=context)

    def read_facts(self, records: Iterable[Record]) -> dict:
        """Return what answers are like, and the threshold before validation decides: 0 if some questions have none.

        Raises:
            ValueError: no record has an answer.
        """
        sizes, num_whole, has_refusals = [], 0, False
        for record in records:
            has_refusals |= not record.target
            for start, end in record.target[:1]:
                sizes.append(len(_PIECE.findall(record.others[0][start:end])))
                num_whole += _has_whole_words(record.others[0], start, end)
        if not sizes:
            raise ValueError("train has no question with an answer; wanted some to learn from")
        return {
            "longest_answer": max(_USUAL_LONGEST, int(np.quantile(sizes, _NEARLY_ALL, method="higher"))),
            "whole_words": num_whole >= _NEARLY_ALL * len(sizes),
            "threshold": 0.0 if has_refusals else None,
        }

    def input_ranks(self, facts: dict) -> dict[str, int]:
        """Return `question` and `context`."""
        return {"question": 1, "context": 1}

    def inputs_of(self, record: Record, facts: dict) -> Item:
        """Return the two texts."""
        return dict(zip(("question", "context"), record.texts, strict=True))

    def cut_length(self, facts: dict, config: Config) -> None:
        """Return `None`: contexts are read in windows, and a question that is cut gets a remark."""

    def examples(
        self, record: Record, tokens: Sequence[Tokens], packer: Packer, facts: dict, config: Config, remark: Callable
    ) -> list[Example]:
        """Return a row for each window of the context, with the first and last token of the answer in it.

        A window without a whole answer has [CLS] for both. Of several answers the most frequent that is in the window
        counts. Where no window holds an answer whole, those with a part of it teach nothing and are left out.

        Raises:
            ValueError: the sequence length leaves no room.
        """
        question, context = tokens
        packer, longest = _reading(packer, facts)
        most = packer.room(2) // _QUESTION_SHARE
        if len(question.ids) > most:
            remark(f"questions longer than {most} word pieces, which are cut there")
        asked = question.ids[:most]
        room, offset = packer.room(2) - len(asked), len(asked) + 2
        spans = _token_spans(record, context, longest, facts["whole_words"], remark)
        windows = [(start, start + room) for start in packer.window_starts(len(context.ids), room)]
        found = [next((s for s in spans if start <= s[0] and s[1] < end), None) for start, end in windows]
        is_split = bool(spans) and not any(found)
        if is_split:
            remark("answers that no window holds whole, which are not learned")
        made = []
        for (start, end), span in zip(windows, found, strict=True):
            if is_split and any(first < end and start <= last for first, last in spans):
                continue
            target = (0, 0) if span is None else (span[0] - start + offset, span[1] - start + offset)
            row, second = packer.row([asked, context.ids[start:end]])
            made.append(Example(row, second, np.array(target, np.int32)))
        return made

    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return a head with two logits a token."""
        return SpanHead(dropout=config.head.dropout, seed=config.train.seed, name="head")

    def unit_weights(self, targets: np.ndarray, facts: dict, config: Config) -> np.ndarray | None:
        """Return weights that make windows with and without an answer count alike for `balanced`, else `None`."""
        has_answer = targets[:, 1] > 0
        if config.train.class_weights == "none" or has_answer.all() or not has_answer.any():
            return None
        share = has_answer.mean()
        return np.where(has_answer, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return the mean of two cross entropies over [CLS] and the context, of the first and of the last token."""
        position = tf.range(tf.shape(logits)[1])
        end = tf.reduce_sum(batch["padding_mask"], axis=1, keepdims=True) - 1  # where the last [SEP] is
        in_context = (batch["segment_ids"] == 1) & (position < end)
        possible = tf.cast(in_context | (position == 0), tf.float32)[:, :, None]
        log_probabilities = tf.nn.log_softmax(tf.where(possible > 0, logits, NEVER), axis=1)
        found = tf.gather(tf.transpose(log_probabilities, [0, 2, 1]), batch["targets"][:, :, None], batch_dims=2)
        nll = -tf.reduce_mean(found[..., 0], axis=1)
        smoothing = config.train.label_smoothing
        if not smoothing:
            return nll
        mean = tf.reduce_sum(log_probabilities * possible, axis=1) / tf.reduce_sum(possible, axis=1)
        return (1 - smoothing) * nll - smoothing * tf.reduce_mean(mean, axis=1)

    def answer(self, inputs: Mapping[str, tf.Tensor], encoding: Encoding, facts: dict) -> dict[str, tf.Tensor]:
        """Return the best answers of each context, best first, and the decision whether there is one.

        Returns:
            `answer` string, `start` and `end` int32 in characters, `probability` float32 `(batch, 5)`, filled up with
            "", -1 and 0; `best_answer` string, "" for none, `no_answer_probability` and `no_answer_margin` float32,
            and `truncated` bool, where the question was cut, all `(batch,)`.
        """
        packer, longest = _reading(encoding.packer, facts)
        most = packer.room(2) // _QUESTION_SHARE
        question = encoding.tokenizer(inputs["question"])
        context = encoding.tokenizer.with_offsets(inputs["context"])
        asked = question[:, :most]
        sizes = tf.cast(asked.row_lengths(), tf.int32)
        windows = packer.windows(context.ids, packer.room(2) - sizes)
        packed = packer.pack([tf.gather(asked, windows.records), windows.token_ids])
        packed.pop("truncated")
        spans = best_spans(
            in_parts(encoding.logits, packed, num_channels=2),
            windows,
            tf.gather(sizes, windows.records) + 2,
            _bounds(context, encoding.tokenizer.vocabulary if facts["whole_words"] else ()),
            longest=longest,
            count=NUM_ANSWERS,
        )
        cut = question.row_lengths() > most
        return _decoded(spans, inputs["context"], context, facts["threshold"]) | {"truncated": cut}

    def answer_rows(self, logits: tf.Tensor, padding_mask: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return `start_logits` and `end_logits` float32 `(rows, length)`: only logits compare between windows.

        Those of padding are very low; those of the question were never learned, and mean nothing.
        """
        real = tf.where(padding_mask[:, :, None] > 0, logits, NEVER)
        return {"start_logits": real[:, :, 0], "end_logits": real[:, :, 1]}

    def gold_of(self, record: Record, facts: dict) -> Gold:
        """Return the question and the texts of its true answers."""
        return Gold(record.text, tuple(dict.fromkeys(record.others[0][start:end] for start, end in record.target)))

    def settle(self, answers: Mapping[str, np.ndarray], gold: Sequence[Gold], facts: dict) -> dict:
        """Return facts with the threshold of the highest F1; `None` where every question has an answer."""
        if all(item.answers for item in gold):
            return {**facts, "threshold": None}
        best = squad.score_all(_texts(answers["answer"][:, 0]), [item.answers for item in gold])["f1"]
        empty = np.array([squad.f1("", item.answers) for item in gold])
        return {**facts, "threshold": squad.best_threshold(answers["no_answer_margin"], best, empty)}

    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence[Gold], facts: dict) -> dict[str, float]:
        """Return F1, exact match and those by kind, each with the threshold that is best for these very records."""
        settled = _decided(answers, self.settle(answers, gold, facts)["threshold"])
        return {name: float(values.mean()) for name, values in _by_kind(settled, gold).items()}

    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence[Gold], facts: dict) -> dict:
        """Return F1 and exact match with intervals, and by kind where some questions have an answer and some none."""
        by_kind = _by_kind(_texts(answers["best_answer"]), gold)
        found = {
            name: metrics.resampled(lambda drawn, values=values: float(values[drawn].mean()), len(values))
            for name, values in by_kind.items()
        }
        return {"metrics": found, "per_label": {}}

    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence[Gold], facts: dict) -> dict:
        """Return scores by kind of question and length of answer, the threshold's curve, reliability and mistakes."""
        predicted, wanted = _texts(answers["best_answer"]), [item.answers for item in gold]
        found = squad.score_all(predicted, wanted)
        said = np.array([bool(text) for text in predicted])
        sure = np.where(said, answers["probability"][:, 0], answers["no_answer_probability"])
        order = np.lexsort((-sure, found["f1"]))
        worst = [int(index) for index in order if found["f1"][index] < 1][:_WORST_MISTAKES]
        return {
            "reliability": metrics.reliability((found["exact_match"] < 1).astype(int), sure[:, None]),
            "tables": [
                answer_findings.by_question_word(found, [item.question for item in gold]),
                answer_findings.by_length(found, wanted),
            ],
            "figures": _figures(answers, wanted, facts),
            "worst": {
                index: {
                    "label": " / ".join(wanted[index]) or _NO_ANSWER,
                    "predicted": predicted[index] or _NO_ANSWER,
                    "probability": float(sure[index]),
                    "label_probability": None,
                }
                for index in worst
            },
        }


def _has_whole_words(context: str, start: int, end: int) -> bool:
    """Say whether no letter or digit goes on before or behind a part of a text."""
    begins = start == 0 or not (context[start - 1].isalnum() and context[start].isalnum())
    return begins and (end == len(context) or not (context[end - 1].isalnum() and context[end].isalnum()))


def _reading(packer: Packer, facts: dict) -> tuple[Packer, int]:
    """Return a packer whose windows overlap so that each possible span is whole in one of them, and the longest span.

    Raises:
        ValueError: the sequence length leaves no room.
    """
    if packer.sequence_length < _SHORTEST_ROW:
        wish = f"wanted {_SHORTEST_ROW} or more, for a question and a part of its context"
        raise ValueError(f"encoder.sequence_length={packer.sequence_length}: {wish}")
    narrowest = packer.room(2) - packer.room(2) // _QUESTION_SHARE
    longest = min(facts["longest_answer"], narrowest // 2)
    overlap = max(packer.window_overlap_fraction, longest / narrowest)
    return dataclasses.replace(packer, window_overlap_fraction=overlap), longest


def _token_spans(
    record: Record, context: Tokens, longest: int, whole_words: bool, remark: Callable
) -> list[tuple[int, int]]:
    """Return first and last token of each answer, and say what is odd about the most frequent one."""
    spans = []
    for index, (start, end) in enumerate(record.target):
        first = int(np.searchsorted(context.ends, start, side="right"))
        last = int(np.searchsorted(context.starts, end, side="left")) - 1
        said = remark if index == 0 else lambda *_: None
        if last < first:
            said("answers without a word piece, which are not learned")
            continue
        spans.append((first, last))
        if context.starts[first] < start or context.ends[last] > end:
            said("answers that begin or end inside a word piece, which is learned whole")
        if whole_words and not _has_whole_words(record.others[0], start, end):
            said("answers that begin or end inside a word, as next to none of train do, and that are never given so")
        if last - first >= longest:
            said(f"answers longer than {longest} word pieces, which are never given whole")
    return spans


def _bounds(context: OffsetTokens, vocabulary: Sequence[str]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return at which tokens of all contexts a span may begin and may end, bool `(tokens,)` each.

    Not inside a character that tokens share, so that two spans of tokens are never one span of characters. And not
    inside a word, if there is a vocabulary to know by.
    """
    starts, ends = context.starts.flat_values, context.ends.flat_values
    record, count = context.starts.value_rowids(), tf.size(starts)
    joined = starts[1:] < ends[:-1]
    if vocabulary:
        continues = tf.constant([piece.startswith("##") for piece in vocabulary])
        joined |= tf.gather(continues, context.ids.flat_values[1:])
    joined &= record[1:] == record[:-1]
    # Cut for the sake of no tokens at all, where there is still one value to fill in.
    return ~tf.pad(joined, [[1, 0]])[:count], ~tf.pad(joined, [[0, 1]])[:count]


def _decoded(spans: Spans, context: tf.Tensor, tokens: OffsetTokens, threshold: float | None) -> dict[str, tf.Tensor]:
    """Return spans of tokens as characters and text, and the decision."""
    begin = tf.cast(tokens.starts.row_starts(), tf.int32)[:, None]
    first, last = (tf.where(spans.exists, begin + token, 0) for token in (spans.first, spans.last))
    # One more at the end, so that there is something to point at even if no context has a token.
    start = tf.gather(tf.pad(tokens.starts.flat_values, [[0, 1]]), first)
    end = tf.gather(tf.pad(tokens.ends.flat_values, [[0, 1]]), last)
    start, end = (tf.where(spans.exists, place, 0) for place in (start, end))
    # Positions count characters as they are after this, which changes only what is not UTF-8.
    valid = tf.strings.unicode_transcode(context, "UTF-8", "UTF-8", errors="replace")
    answer = tf.strings.substr(valid[:, None], start, end - start, unit="UTF8_CHAR")
    best = answer[:, 0] if threshold is None else tf.where(spans.null_margin > threshold, "", answer[:, 0])
    return {
        "answer": answer,
        "start": tf.where(spans.exists, start, -1),
        "end": tf.where(spans.exists, end, -1),
        "probability": spans.probability,
        "best_answer": best,
        "no_answer_probability": spans.null_probability,
        "no_answer_margin": spans.null_margin,
    }


def _texts(values: np.ndarray) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def _decided(answers: Mapping[str, np.ndarray], threshold: float | None) -> list[str]:
    """Return the best answers, "" where the margin of no answer is above the threshold."""
    best = _texts(answers["answer"][:, 0])
    if threshold is None:
        return best
    refused = answers["no_answer_margin"] > threshold
    return ["" if no else text for text, no in zip(best, refused, strict=True)]


def _by_kind(predicted: Sequence[str], gold: Sequence[Gold]) -> dict[str, np.ndarray]:
    """Return what each metric averages: over all records, over those with and over those without an answer."""
    found = squad.score_all(predicted, [item.answers for item in gold])
    values = {"f1": found["f1"], "exact_match": found["exact_match"]}
    has_answer = np.array([bool(item.answers) for item in gold])
    if has_answer.all() or not has_answer.any():
        return values
    of_answers = {f"has_answer_{name}": found[name][has_answer] for name in values}
    return values | of_answers | {"no_answer_accuracy": found["exact_match"][~has_answer]}


def _figures(answers: Mapping[str, np.ndarray], gold: Sequence[Sequence[str]], facts: dict) -> list[dict]:
    """Return the curve of the threshold, where there is one and some questions have an answer and some none."""
    has_answer = np.array([bool(texts) for texts in gold])
    if facts["threshold"] is None or has_answer.all() or not has_answer.any():
        return []
    best = squad.score_all(_texts(answers["answer"][:, 0]), gold)["f1"]
    curve = squad.threshold_curve(answers["no_answer_margin"], best, has_answer)
    return [answer_findings.threshold_figure(curve, facts["threshold"])]


TASK = Answers()
