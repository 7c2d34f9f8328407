"""Multiple choice: a question and several choices, one of which is right, such as exams or endings of stories.

A record is a question, two or more choices, and the index of the right one. The served outputs are the most probable
choice, its index, and the probabilities of all choices.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.evaluation import choices as evaluation
from tfbert.evaluation.metric import Baseline, Evaluation
from tfbert.heads.pooled import PooledHead, start_with_label_probes
from tfbert.space import COMMON, Choice
from tfbert.tasks import base_outputs
from tfbert.tasks.base import Embed
from tfbert.tasks.base_choice import NO_ANSWER_LOGIT, ChoiceDecision, ChoiceOptions
from tfbert.tasks.base_context import Context
from tfbert.tasks.base_decision import Predicted
from tfbert.tasks.base_huggingface import ConvertibleTask, FittedConvertibleTask, ModelClass
from tfbert.tasks.base_options import LearnedHeadOptions, option
from tfbert.text.datasets import Target, TokenizedSplit, Warn
from tfbert.text.input_columns import CHOICES, STEM
from tfbert.text.inputs import Item, Text
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.columns import Column, listing, shown, shown_json
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record, text_of

ANSWER = Column(
    "answer", "answer, label, correct, correct_answer, answer_key, answerkey, target, solution, gold", is_target=True
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The number of records that the initial head is fitted to.
_MAX_RECORDS = 1000


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceOptions(LearnedHeadOptions, ChoiceOptions):
    """Options of multiple choice."""

    pooling: str = option("head.pooling")
    start: str = option("head.start")
    label_smoothing: float = option("train.label_smoothing")


class MultipleChoice(ConvertibleTask):
    """Multiple choice: one sequence and one logit per choice, and a softmax over the choices of a record.

    Source: Devlin et al. 2019, "BERT", section 4.4 (SWAG). Ours allows a different number of choices in every record,
        and uses BERT's pooler only if `head.pooling` is `pooler`.
    """

    title = "the right one of several choices for each question"
    aliases = ("multiplechoice", "mcq", "swag", "race")
    columns = (STEM, CHOICES, ANSWER)
    inputs = (Text("question"), Text("choices", many=True))
    options = MultipleChoiceOptions
    model_class = ModelClass(suffix="MultipleChoice", num_outputs=1, pipeline="multiple-choice")
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max")}

    def parse(self, row: Row) -> Record:
        """Return the record of a row, whose target is the index of the right choice.

        Raises:
            ValueError: there are fewer than two choices, a choice is empty or occurs twice, or the answer matches no
                choice or two.
        """
        question = text_of(row, "question")
        choice_by_number = _parse_choices(row.values.get("choices"))
        choices = tuple(choice_by_number.values())
        if len(choices) < 2:
            raise ValueError(f"choices are {listing(choices)}; expected at least two")
        if len({_normalized(choice) for choice in choices}) < len(choices):
            raise ValueError(f"choices {listing(choices)} contain duplicates; expected different choices")
        names = list(row.values["choices"]) if isinstance(row.values["choices"], Mapping) else ()
        number = _parse_answer(row.values.get("answer"), choice_by_number, names)
        return Record(question, list(choice_by_number).index(number), row.where, choices)

    def fit(self, records: Iterable[Record], options: MultipleChoiceOptions) -> "FittedMultipleChoice":
        """Return the task, which needs nothing from the training records."""
        return FittedMultipleChoice(options=options)

    def fit_to_model(
        self, labels: tuple[str, ...], options: MultipleChoiceOptions, has_pair: bool
    ) -> "FittedMultipleChoice":
        """Return the task, which needs nothing from the model."""
        return FittedMultipleChoice(options=options)


class ChoicesDecision(ChoiceDecision):
    """Decision between the choices of each record, with an additional column of padding."""

    def logits_of(self, outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the logits; records with fewer choices than others are padded."""
        return tf.where(_is_choice(outputs["choices"]), outputs["logits"], NO_ANSWER_LOGIT)

    def targets_of(self, predicted: Predicted) -> np.ndarray:
        """Return the index of the right choice of each record."""
        return np.asarray([right for right, _ in predicted.gold])

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the served outputs, in the graph."""
        outputs = super().apply(outputs, decided)
        choices = outputs.pop("choices")
        outputs["probabilities"] = outputs["probabilities"][:, :-1]
        if "set_ids" in outputs:
            ids = outputs.pop("set_ids")
            outputs["choice_set"] = tf.where(ids < 0, "", tf.gather(choices, tf.maximum(ids, 0), batch_dims=1))
        return outputs

    def covered(self, outputs: Mapping[str, np.ndarray], gold: Sequence[tuple[int, tuple[str, ...]]]) -> Any:
        """Return whether each prediction set has the right choice."""
        if "choice_set" not in outputs:
            return None
        right = np.array([choices[index].encode("utf-8", "surrogatepass") for index, choices in gold], object)
        return (outputs["choice_set"] == right[:, None]).any(axis=1)


@dataclass(frozen=True, kw_only=True)
class FittedMultipleChoice(FittedConvertibleTask):
    """Multiple choice; the training records fit nothing but the model."""

    options: MultipleChoiceOptions

    all_outputs = base_outputs.MULTIPLE_CHOICE
    metrics = evaluation.METRICS
    monitor = evaluation.ACCURACY
    inputs = MultipleChoice.inputs
    targets = {"is_right": Target("bool")}
    by_record = True

    @property
    def decision(self) -> "ChoicesDecision":
        """Calibrated probabilities, the prediction set and abstention."""
        return ChoicesDecision(self.options)

    @property
    def predicts_untrained(self) -> bool:
        """Whether the head is fitted to the vectors of the pretrained encoder before training."""
        return self.options.start == "probe"

    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the question and the choices."""
        return {"question": record.text, "choices": record.others}

    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return one sequence of question and choice per choice; whitespace is not a choice."""
        question = preprocessor.tokenize(inputs["question"])
        choices = preprocessor.tokenize_many(inputs["choices"], _is_choice(inputs["choices"]))
        return preprocessor.pack(
            [tf.gather(question.ids, choices.records), choices.ids],
            records=choices.records,
            texts={"question": question, "choices": choices},
        )

    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, Any]]:
        """Return whether each choice is right; warn of choices that are cut or that the encoder cannot tell apart."""
        (question,), choices = sequences.texts["question"], sequences.texts["choices"]
        for token_ids, choice in zip(sequences.token_ids, choices, strict=True):
            # Without [CLS] and two [SEP]. Only a sequence that was cut has fewer tokens than its texts.
            num_kept = len(token_ids) - 3
            if num_kept < len(question.ids) + len(choice.ids):
                warn(f"questions with a choice have more than {num_kept} tokens together, and the longer text is cut")
                break
        if len({token_ids.tobytes() for token_ids in sequences.token_ids}) < len(sequences):
            warn("questions have choices that the encoder cannot tell apart")
        return [{"is_right": index == record.target} for index in range(len(sequences))]

    def head(self, seed: int) -> PooledHead:
        """Return a pooled head with one logit per sequence."""
        return PooledHead(1, pooling=self.options.pooling, dropout=self.options.dropout, seed=seed, name="head")

    def initialize_head(self, head: PooledHead, embed: Embed, split: TokenizedSplit, seed: int) -> None:
        """Fit the head by logistic regression of right against wrong choices, unless `head.start` is `random`."""
        if self.options.start == "random":
            return
        is_right = split.targets["is_right"]
        right, wrong = np.flatnonzero(is_right), np.flatnonzero(~is_right)
        right = right[np.random.default_rng(seed).permutation(len(right))[:_MAX_RECORDS]]
        wrong = wrong[np.random.default_rng(seed).permutation(len(wrong))[: 3 * len(right)]]
        indices = np.sort(np.concatenate([right, wrong]))
        has_label = is_right[indices, None]
        start_with_label_probes(head, embed(indices), has_label, has_label.mean(0))

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the cross-entropy over the choices of each record, smoothed by `train.label_smoothing`."""
        record, num_records = batch["example"], tf.shape(batch["weights"])[0]
        highest = tf.math.unsorted_segment_max(scores[:, 0], record, num_records)
        shifted = scores[:, 0] - tf.gather(tf.stop_gradient(highest), record)
        total = tf.math.log(tf.math.unsorted_segment_sum(tf.exp(shifted), record, num_records))
        nll = tf.gather(total, record) - shifted
        smoothing = self.options.label_smoothing
        nll_of_right = tf.math.unsorted_segment_sum(nll * tf.cast(batch["is_right"], tf.float32), record, num_records)
        return (1 - smoothing) * nll_of_right + smoothing * tf.math.unsorted_segment_mean(nll, record, num_records)

    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return the most probable choice and the logits of all choices.

        Returns:
            `choice` string, `choice_index` int32 and `truncated` bool `(batch,)`, which are "", -1 and false for a
            record without choices; `choices` string and `logits` float32 `(batch, choices)`.
        """
        choices = context.inputs["choices"]
        is_choice = _is_choice(choices)
        positions = tf.where(is_choice)
        # An additional column of padding makes the maximum defined even without choices.
        shape = tf.shape(choices, tf.int64) + [0, 1]
        is_choice, choices = tf.pad(is_choice, [[0, 0], [0, 1]]), tf.pad(choices, [[0, 0], [0, 1]], constant_values="")
        logits = tf.where(is_choice, tf.scatter_nd(positions, scores[:, 0], shape), NO_ANSWER_LOGIT)
        index = tf.argmax(logits, axis=-1, output_type=tf.int32)
        index = tf.where(tf.gather(is_choice, index, batch_dims=1), index, -1)
        column = tf.where(index < 0, tf.cast(shape[1], tf.int32) - 1, index)
        return {
            "choice_index": index,
            "choice": tf.gather(choices, column, batch_dims=1),
            "choices": choices,
            "logits": logits,
            "truncated": tf.scatter_nd(positions[:, :1], tf.cast(sequences.is_cut, tf.int32), shape[:1]) > 0,
        }

    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `logit`, float32 `(sequences,)`, which is highest for the right choice of a question."""
        return {"logit": scores[:, 0]}

    def gold(self, record: Record) -> tuple[int, tuple[str, ...]]:
        """Return the index of the right choice, and the choices."""
        return record.target, record.others

    def evaluate(
        self,
        outputs: Mapping[str, np.ndarray],
        gold: Sequence[tuple[int, tuple[str, ...]]],
        decided: Mapping[str, np.ndarray],
    ) -> Evaluation:
        """Return the evaluation of predicted choices."""
        return evaluation.ChoiceEvaluation(
            outputs["choice_index"],
            outputs["probabilities"],
            gold=np.asarray([right for right, _ in gold]),
            choices=[choices for _, choices in gold],
        )

    def constant_baseline(self, train: TokenizedSplit, gold: Sequence[tuple[int, tuple[str, ...]]]) -> Baseline:
        """Return the expected accuracy of random choices."""
        chance = float(np.mean([1 / len(choices) for _, choices in gold]))
        return Baseline("choosing at random", {evaluation.ACCURACY.name: chance})


def _is_choice(choices: tf.Tensor) -> tf.Tensor:
    """Return whether each text is a choice and not padding or whitespace, bool of the same shape."""
    return tf.strings.length(tf.strings.strip(choices)) > 0


def _parse_choices(value: Any) -> dict[int, str]:
    """Return the choices from a list, a cell with a JSON list, or several columns, by their numbers from 0.

    Empty cells are left out, but are counted in the numbers.
    """
    if isinstance(value, Mapping):
        cells = {number: cell for number, cell in enumerate(value.values()) if cell not in (None, "")}
        return {number: _choice(cell, number) for number, cell in cells.items() if str(cell).strip()}
    if isinstance(value, str):
        parsed = parse_cell(value)
        if parsed is None:
            expected = "expected a JSON list, or a column per choice with --set data.columns=choices=A|B|C"
            raise ValueError(f"choices is {shown(value)}; {expected}")
        value = parsed
    if not isinstance(value, list):
        raise ValueError(f"choices is {shown_json(value)}; expected a list of strings")
    return {number: _choice(choice, number) for number, choice in enumerate(value)}


def _choice(value: Any, number: int) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = json.dumps(value)
    return text_of(Row("", {f"choices[{number}]": value}), f"choices[{number}]")


def _parse_answer(value: Any, choices: Mapping[int, str], names: Sequence[str]) -> int:
    """Return the number of the right choice.

    Args:
        value: the number of a choice, or text: a choice itself, its letter, the name of its column, or its number.
        choices: the choices by number.
        names: the columns of the choices; empty if the choices are in one column.
    """
    expected = "expected a choice, its number from 0, or its letter from A"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"answer is {shown_json(value)}; {expected}")
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, int):
        numbers = {value}
    else:
        numbers = {number for number, choice in choices.items() if _normalized(choice) == _normalized(text)}
        numbers |= {names.index(text)} if text in names else set()
        numbers |= {_LETTERS.index(text.upper())} if len(text) == 1 and text.upper() in _LETTERS else set()
        numbers |= {int(text)} if re.fullmatch(r"[0-9]{1,9}", text) else set()
    known = numbers & choices.keys()
    if len(known) == 1:
        return known.pop()
    if known:
        both = " and ".join(f"choice {number} ({shown(choices[number])})" for number in sorted(known))
        raise ValueError(f"answer {shown(text)} could be {both}; expected an unambiguous answer, such as a letter")
    if numbers:
        last = f"{max(choices)} or {_LETTERS[max(choices)]}" if max(choices) < len(_LETTERS) else f"{max(choices)}"
        raise ValueError(f"answer is {shown_json(value)}; there is no such choice: the first is 0, the last is {last}")
    raise ValueError(f"answer is {shown_json(value)}, not one of {listing(list(choices.values()))}; {expected}")


def _normalized(text: str) -> str:
    return " ".join(text.split())


TASK = MultipleChoice()
