"""A question and some choices, one of which is right: exams, endings of a story, replies, next steps.

A record is a question, two choices or more, and which of them is right. The served answer is the choice, its number and
the probabilities of all.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.evaluation import metrics
from tfbert.evaluation.formatting import percent
from tfbert.heads.pooled import PooledHead, start_with_label_probes
from tfbert.space import COMMON, Choice
from tfbert.tasks.base import Encoding, Task, TaskModel
from tfbert.text.cells import structured
from tfbert.text.columns import Column, listing, shown, shown_json
from tfbert.text.datasets import Example, Tokens
from tfbert.text.input_columns import CHOICES, STEM
from tfbert.text.items import Item
from tfbert.text.packing import Packer
from tfbert.text.records import Record, text_of
from tfbert.text.rows import Row

ANSWER = Column(
    "answer", "answer, label, correct, correct_answer, answer_key, answerkey, target, solution, gold", is_target=True
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORST_MISTAKES = 30
# Records that the head's start is fitted to: enough for a start, and quick on any data.
_START_RECORDS = 1000
# The logit of what is no choice.
_NO_CHOICE = -1e9


class MultipleChoice(Task):
    """Multiple choice: a row for each choice, one logit a row, a softmax over the choices of a record.

    Source: Devlin et al. 2019, "BERT", section 4.4 (SWAG). Ours takes a different number of choices in every record,
        and uses BERT's pooler only if `head.pooling` says so.
    """

    title = "the right one of several choices for every question"
    aliases = ("multiplechoice", "mcq", "swag", "race")
    columns = (STEM, CHOICES, ANSWER)
    defaults = {}
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max")}
    monitor = "accuracy"
    by_record = True

    def parse(self, row: Row) -> Record:
        """Return the record of a row, whose target is the number of the right choice, from 0.

        Raises:
            ValueError: fewer than two choices, an empty one, one that is there twice, or an answer that names none of
                them or two.
        """
        question = text_of(row, "question")
        numbered = _choices_in(row.values.get("choices"))
        choices = tuple(numbered.values())
        if len(choices) < 2:
            raise ValueError(f"choices are {listing(choices)}; wanted at least two")
        if len({_plain(choice) for choice in choices}) < len(choices):
            raise ValueError(f"choices {listing(choices)} have one twice; wanted different ones")
        names = list(row.values["choices"]) if isinstance(row.values["choices"], Mapping) else ()
        number = _answer_in(row.values.get("answer"), numbered, names)
        return Record(question, list(numbered).index(number), row.where, choices)

    def read_facts(self, records: Iterable[Record]) -> dict:
        """Return how many records have each `num_choices`; keys are strings, as JSON has them."""
        counts: dict[int, int] = {}
        for record in records:
            counts[len(record.others)] = counts.get(len(record.others), 0) + 1
        return {"num_choices": {str(number): counts[number] for number in sorted(counts)}}

    def input_ranks(self, facts: dict) -> dict[str, int]:
        """Return `question` and `choices`."""
        return {"question": 1, "choices": 2}

    def inputs_of(self, record: Record, facts: dict) -> Item:
        """Return the record's texts."""
        return {"question": record.text, "choices": record.others}

    def examples(
        self, record: Record, tokens: Sequence[Tokens], packer: Packer, facts: dict, config: Config, remark: Callable
    ) -> list[Example]:
        """Return a row for each choice, with target 1 for the right one and 0 for the others."""
        question, *choices = [text.ids for text in tokens]
        rows = [packer.row([question, choice]) for choice in choices]
        longest = max(len(question) + len(choice) for choice in choices)
        if longest > packer.room(2):
            remark(f"questions with a choice have more than {packer.room(2)} tokens together, and the longer is cut")
        if len({row.tobytes() for row, _ in rows}) < len(rows):
            remark("questions have choices that are the same to the encoder")
        return [Example(*row, int(index == record.target)) for index, row in enumerate(rows)]

    def cut_length(self, facts: dict, config: Config) -> int | None:
        """Return `None`: no row holds all texts of a record, so what is cut is counted where rows are made."""
        return None

    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return a pooled head with one logit a row."""
        return PooledHead(
            1, pooling=config.head.pooling, dropout=config.head.dropout, seed=config.train.seed, name="head"
        )

    def start_head(
        self, model: TaskModel, embed: Callable[[np.ndarray], np.ndarray], targets: np.ndarray, config: Config
    ) -> None:
        """Start with logistic regression of right against wrong choices, unless `head.start` is `random`."""
        if config.head.start == "random":
            return
        right = np.flatnonzero(targets)
        order = np.random.default_rng(config.train.seed).permutation(len(right))[:_START_RECORDS]
        wrong = np.flatnonzero(targets == 0)
        chosen = np.random.default_rng(config.train.seed).permutation(len(wrong))[: 3 * len(order)]
        rows = np.sort(np.concatenate([right[order], wrong[chosen]]))
        is_right = targets[rows, None] > 0
        start_with_label_probes(model.head, embed(rows), is_right, is_right.mean(0))

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return cross entropy over the choices of each record, smoothed by `train.label_smoothing`."""
        records, number = batch["units"], tf.shape(batch["weights"])[0]
        highest = tf.math.unsorted_segment_max(logits[:, 0], records, number)
        shifted = logits[:, 0] - tf.gather(tf.stop_gradient(highest), records)
        total = tf.math.log(tf.math.unsorted_segment_sum(tf.exp(shifted), records, number))
        nll = tf.gather(total, records) - shifted
        smoothing = config.train.label_smoothing
        right = tf.math.unsorted_segment_sum(nll * tf.cast(batch["targets"], tf.float32), records, number)
        return (1 - smoothing) * right + smoothing * tf.math.unsorted_segment_mean(nll, records, number)

    def answer(self, inputs: Mapping[str, tf.Tensor], encoding: Encoding, facts: dict) -> dict[str, tf.Tensor]:
        """Return the most probable choice. A choice that is "" or blank is none.

        Returns:
            `choice` string, `choice_index` int32, `probability` float32 and `truncated` bool `(batch,)`; where there is
            no choice they are "", -1, 0 and false. `probabilities` float32 `(batch, choices)`, 0 for what is none.
        """
        choices = inputs["choices"]
        is_choice = tf.strings.length(tf.strings.strip(choices)) > 0
        at = tf.where(is_choice)
        questions = tf.gather(encoding.tokenizer(inputs["question"]), at[:, 0])
        packed = encoding.packer.pack([questions, encoding.tokenizer(tf.boolean_mask(choices, is_choice))])
        truncated = packed.pop("truncated")
        # A column more that is no choice, so that there is a maximum even without choices.
        shape = tf.shape(choices, tf.int64) + [0, 1]
        is_choice, choices = tf.pad(is_choice, [[0, 0], [0, 1]]), tf.pad(choices, [[0, 0], [0, 1]], constant_values="")
        logits = tf.where(is_choice, tf.scatter_nd(at, encoding.logits(packed)[:, 0], shape), _NO_CHOICE)
        probabilities = tf.where(is_choice, tf.nn.softmax(logits), 0.0)
        index = tf.argmax(logits, axis=-1, output_type=tf.int32)
        chosen = tf.where(tf.gather(is_choice, index, batch_dims=1), index, -1)
        at_last = tf.where(chosen < 0, tf.cast(shape[1], tf.int32) - 1, chosen)
        return {
            "choice_index": chosen,
            "choice": tf.gather(choices, at_last, batch_dims=1),
            "probability": tf.gather(probabilities, at_last, batch_dims=1),
            "probabilities": probabilities[:, :-1],
            "truncated": tf.scatter_nd(at[:, :1], tf.cast(truncated, tf.int32), shape[:1]) > 0,
        }

    def answer_rows(self, logits: tf.Tensor, padding_mask: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return `logit` float32 `(rows,)`: among the rows of one question the highest is the choice."""
        return {"logit": logits[:, 0]}

    def gold_of(self, record: Record, facts: dict) -> tuple[int, tuple[str, ...]]:
        """Return the number of the right choice, and the choices."""
        return record.target, record.others

    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict[str, float]:
        """Return accuracy and the mean cross entropy in nats."""
        right = [right for right, _ in gold]
        probability = answers["probabilities"][np.arange(len(gold)), right]
        return {
            "accuracy": float(np.mean(answers["choice_index"] == right)),
            "loss": float(-np.log(np.maximum(probability, 1e-12)).mean()),
        }

    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return accuracy with its interval."""
        is_right = answers["choice_index"] == [right for right, _ in gold]
        accuracy = metrics.resampled(lambda records: float(is_right[records].mean()), len(gold))
        return {"metrics": {"accuracy": accuracy}, "per_label": {}}

    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return accuracy next to guessing and by place, reliability, and the mistakes the model was surest of."""
        right, chosen = np.asarray([right for right, _ in gold]), answers["choice_index"]
        probabilities = answers["probabilities"]
        rows = np.arange(len(gold))
        wrong = rows[chosen != right]
        worst = wrong[np.argsort(-probabilities[wrong, chosen[wrong]], kind="stable")][:_WORST_MISTAKES]
        return {
            "reliability": metrics.reliability(right, probabilities),
            "tables": [_table_by_number(right, chosen, gold), _table_by_place(right, chosen)],
            "worst": {
                int(index): {
                    "label": gold[index][1][right[index]],
                    "predicted": gold[index][1][chosen[index]],
                    "probability": float(probabilities[index, chosen[index]]),
                    "label_probability": float(probabilities[index, right[index]]),
                }
                for index in worst
            },
        }


def _choices_in(value: Any) -> dict[int, str]:
    """Return the choices of a list, a cell with a JSON list, or several columns, by their numbers from 0.

    A number that is missing is that of an empty cell.
    """
    if isinstance(value, Mapping):
        cells = {number: cell for number, cell in enumerate(value.values()) if cell not in (None, "")}
        return {number: _choice(cell, number) for number, cell in cells.items() if str(cell).strip()}
    if isinstance(value, str):
        held = structured(value)
        if held is None:
            wish = "wanted a JSON list, or a column for each choice by --set data.columns=choices=A|B|C"
            raise ValueError(f"choices is {shown(value)}; {wish}")
        value = held
    if not isinstance(value, list):
        raise ValueError(f"choices is {shown_json(value)}; wanted a list of strings")
    return {number: _choice(choice, number) for number, choice in enumerate(value)}


def _choice(value: Any, number: int) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = json.dumps(value)
    return text_of(Row("", {f"choices[{number}]": value}), f"choices[{number}]")


def _answer_in(value: Any, choices: Mapping[int, str], names: Sequence[str]) -> int:
    """Return the number of the right choice.

    Args:
        value: a whole number; or text: a choice itself, a letter, the name of its column, or a whole number.
        choices: by number.
        names: of the columns, if the choices are in several.
    """
    wish = "wanted a choice itself, its number from 0, or its letter from A"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"answer is {shown_json(value)}; {wish}")
    said = value.strip() if isinstance(value, str) else ""
    if isinstance(value, int):
        found = {value}
    else:
        found = {number for number, choice in choices.items() if _plain(choice) == _plain(said)}
        found |= {names.index(said)} if said in names else set()
        found |= {_LETTERS.index(said.upper())} if len(said) == 1 and said.upper() in _LETTERS else set()
        found |= {int(said)} if re.fullmatch(r"[0-9]{1,9}", said) else set()
    known = found & choices.keys()
    if len(known) == 1:
        return known.pop()
    if known:
        both = " and ".join(f"choice {number} ({shown(choices[number])})" for number in sorted(known))
        raise ValueError(f"answer {shown(said)} could be {both}; wanted what can be one only, such as a letter")
    if found:
        last = f"{max(choices)} or {_LETTERS[max(choices)]}" if max(choices) < len(_LETTERS) else f"{max(choices)}"
        raise ValueError(f"answer is {shown_json(value)}, which no choice has; the first is 0, the last {last}")
    raise ValueError(f"answer is {shown_json(value)}, none of {listing(list(choices.values()))}; {wish}")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _table_by_number(right: np.ndarray, chosen: np.ndarray, gold: Sequence) -> dict:
    numbers = np.asarray([len(choices) for _, choices in gold])
    groups = [(str(number), numbers == number) for number in np.unique(numbers)]
    rows = [
        [name, int(inside.sum()), percent((right == chosen)[inside].mean()), percent((1 / numbers[inside]).mean())]
        for name, inside in [*groups, ("all", np.ones(len(gold), bool))]
    ]
    caption = "Guessing is what choosing by chance would give. A model that is no better has learned nothing."
    return {
        "title": "Accuracy by number of choices",
        "columns": ["choices", "questions", "accuracy", "guessing"],
        "rows": rows,
        "caption": caption,
    }


def _table_by_place(right: np.ndarray, chosen: np.ndarray) -> dict:
    rows = []
    for place in range(int(max(right.max(), chosen.max())) + 1):
        is_right = right == place
        accuracy = (chosen == place)[is_right].mean() if is_right.any() else None
        rows.append([place, int(is_right.sum()), int((chosen == place).sum()), percent(accuracy)])
    caption = "The model sees one choice at a time and not its place. Places are counted from 0."
    return {
        "title": "Right and chosen by place",
        "columns": ["place", "times right", "times chosen", "accuracy where right"],
        "rows": rows,
        "caption": caption,
    }


TASK = MultipleChoice()
