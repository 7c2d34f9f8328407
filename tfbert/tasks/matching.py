"""A text and what matches it: answers of an FAQ, passages for questions, replies; or how alike two texts are.

A record is a question with an answer, maybe with answers that are wrong; the served answer is the nearest of all known
answers, which are part of the model. Or it is two texts and a score; then their similarity is served.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.evaluation import ranking
from tfbert.evaluation.values import Values, scatter
from tfbert.heads import index, negatives
from tfbert.heads.embedding import EmbeddingHead
from tfbert.heads.index import same_text
from tfbert.space import COMMON, Choice, LogRange
from tfbert.tasks.base import Encoding, Task
from tfbert.text.cells import structured
from tfbert.text.columns import Column, shown_json
from tfbert.text.datasets import Example, TokenizedSplit, Tokens
from tfbert.text.input_columns import ANCHOR, MATCH
from tfbert.text.items import Item
from tfbert.text.packing import Packer
from tfbert.text.records import Record, text_of
from tfbert.text.rows import Row

NEGATIVE = Column("negative", "negative, negatives, hard_negative, wrong, wrong_answer", required=False)
SCORE = Column(
    "score", "score, similarity, similarity_score, relatedness", required=False, is_number=True, is_target=True
)
# How many answers are served.
_MOST_FOUND = 10
# What cosines are multiplied by before the softmax.
_SCALE = 20.0


class Matching(Task):
    """One encoder for questions and answers, compared by the cosine of their vectors.

    The facts say by `kind` whether train has `pairs`, with `threshold`, the similarity below which the model abstains,
    or `scored` ones, with `low` and `high`, the scores that stand for a cosine of 0 and of 1.

    A target of pairs is int32 `(2 + MOST_RIGHT,)`: what a row is, the id of its text, and of a question the ids of
    its right answers; see `heads.negatives`.
    """

    title = "the answers that match a text, or how alike two texts are"
    aliases = ("faq", "retrieval", "search", "semantic_search", "ranking")
    columns = (ANCHOR, MATCH, NEGATIVE, SCORE)
    defaults = {"head.dropout": 0.0}
    search_space = COMMON | {
        # An encoder that was pretrained to compare texts forgets at rates that suit others.
        "train.learning_rate": LogRange(1e-5, 3e-4),
        # The other texts of a batch are what is wrong for a question.
        "train.batch_size": Choice(16, 32, 64, 128),
        "train.hard_negatives": Choice(0, 1, 3),
    }
    monitor = "mrr_at_10"
    by_record = True
    by_batch = True

    def parse(self, row: Row) -> Record:
        """Return the record of a row: a question, its answer, wrong answers if there are any, and a score if there is.

        Raises:
            ValueError: a text is missing or blank, a wrong answer is the right one, or the score is no number.
        """
        question, answer = text_of(row, "question"), text_of(row, "answer")
        wrong, score = _wrong_in(row.values.get("negative")), _score_in(row)
        if any(same_text(text) == same_text(answer) for text in wrong):
            raise ValueError(f"negative is {shown_json(answer)} as is the answer; wanted another text")
        if wrong and score is not None:
            raise ValueError("there is a negative and a score; wanted one of them")
        return Record(question, score, row.where, (answer, *wrong))

    def read_facts(self, records: Iterable[Record]) -> dict:
        """Return `kind` and what belongs to it.

        Raises:
            ValueError: all answers or all scores are the same, or some records have a score and some have none.
        """
        answers, scores = set(), []
        for number, record in enumerate(records, start=1):
            if len(answers) < 2:
                answers.add(same_text(record.others[0]))
            if record.target is not None:
                scores.append(record.target)
            if scores and len(scores) < number:
                raise ValueError(f"{record.where}: no score; wanted one in every row of train, or in none")
        if not scores:
            if len(answers) < 2:
                raise ValueError("train has one answer only; wanted at least two to tell apart")
            return {"kind": "pairs", "threshold": -1.0}
        if min(scores) == max(scores):
            raise ValueError(f"every score of train is {scores[0]:g}; wanted different ones")
        return {"kind": "scored", "low": min(scores), "high": max(scores)}

    def input_ranks(self, facts: dict) -> dict[str, int]:
        """Return `text`, and `text_pair` where train has scored pairs."""
        return {"text": 1} if facts["kind"] == "pairs" else {"text": 1, "text_pair": 1}

    def inputs_of(self, record: Record, facts: dict) -> Item:
        """Return the question, or the two texts.

        Raises:
            ValueError: a score where train has none, or the other way round.
        """
        if (record.target is None) != (facts["kind"] == "pairs"):
            said, wish = ("no score", "one") if record.target is None else ("a score", "none")
            raise ValueError(f"{record.where}: {said}; wanted {wish}, as in train")
        return dict(zip(self.input_ranks(facts), record.texts, strict=False))

    def examples(
        self, record: Record, tokens: Sequence[Tokens], packer: Packer, facts: dict, config: Config, remark: Callable
    ) -> list[Example]:
        """Return a row for each text; all have the score as target, or what they are and the ids of their texts."""
        self.inputs_of(record, facts)
        if len(tokens[0].ids) > packer.room(1):
            remark(f"questions have more than {packer.room(1)} tokens and lose their end")
        if any(len(text.ids) > packer.room(1) for text in tokens[1:]):
            remark(f"answers have more than {packer.room(1)} tokens and lose their end")
        rows = [packer.row([text.ids]) for text in tokens]
        if facts["kind"] == "scored":
            share = (record.target - facts["low"]) / (facts["high"] - facts["low"])
            return [Example(*row, np.float32(share)) for row in rows]
        targets = negatives.targets_of([_id_of(text) for text in record.texts])
        return [Example(*row, target) for row, target in zip(rows, targets, strict=True)]

    def cut_length(self, facts: dict, config: Config) -> int | None:
        """Return `None`: a record's texts are in rows of their own, so what is cut is counted where rows are made."""
        return None

    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return a head without weights that gives unit vectors."""
        head = config.head
        return EmbeddingHead(pooling=head.pooling, dropout=head.dropout, seed=config.train.seed, name="head")

    def arrange(
        self, split: TokenizedSplit, embed: Callable[[np.ndarray], np.ndarray], facts: dict, config: Config
    ) -> TokenizedSplit:
        """Return train with more known and added to every question.

        All right answers are known; `train.hard_negatives` wrong answers are added, and another question with the same
        answer, where there is one.
        """
        if facts["kind"] == "scored":
            return split
        split = negatives.with_all_right(split)
        # First, since `embed` knows the rows by their numbers.
        split = negatives.with_mined(split, embed, config.train.hard_negatives)
        return negatives.with_other_words(split, config.train.seed)

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return the multiple negatives ranking loss, or the squared error of the cosine of scored pairs."""
        if batch["targets"].dtype == tf.float32:
            pairs = tf.reshape(logits, [-1, 2, logits.shape[-1]])
            return tf.square(tf.reduce_sum(pairs[:, 0] * pairs[:, 1], axis=-1) - batch["targets"][::2])
        return negatives.ranking_loss(logits, batch["targets"], _SCALE)

    def monitor_of(self, facts: dict) -> str:
        """Return `mrr_at_10`, or `spearman` for scored pairs."""
        return self.monitor if facts["kind"] == "pairs" else "spearman"

    def array_specs(self, facts: dict) -> dict[str, tf.TensorSpec]:
        """Return those of the index."""
        return index.SPECS if facts["kind"] == "pairs" else {}

    def arrays(
        self,
        splits: Mapping[str, Iterable[Record]],
        embed: Callable[[Sequence[str]], np.ndarray],
        facts: dict,
        config: Config,
    ) -> dict[str, np.ndarray]:
        """Return the index: the answers of all splits, found by their own vectors and by the questions of train.

        Questions of validation and test are not in it, so that none of them finds its answer through itself. Those of
        validation decide the offset of questions against answers.
        """
        if facts["kind"] == "scored":
            return {}
        pairs = ((record.text, record.others[0]) for record in splits["train"])
        held_out = (splits[name] for name in ("validation", "test") if name in splits)
        found = index.build(pairs, (record.others[0] for split in held_out for record in split), embed)
        right: dict[str, list[str]] = {}
        for record in splits.get("validation", ()):
            right.setdefault(record.text, []).append(record.others[0])
        if right:
            found["index_offset"] = index.tuned_offset(found, embed(list(right)), list(right.values()))
        return found

    def answer(self, inputs: Mapping[str, tf.Tensor], encoding: Encoding, facts: dict) -> dict[str, tf.Tensor]:
        """Return the answers nearest to a text, or the similarity of two.

        Returns:
            For pairs `answer`, `matched_question` string and `similarity` float32 `(batch, found)`, best first, `found`
            being 10 or all entries of a smaller index; `abstain` bool `(batch,)`, true where the best similarity is
            below the threshold. For scored pairs `similarity` float32 `(batch,)`. For both `truncated` bool `(batch,)`.
        """
        vectors, truncated = _embedded(inputs["text"], encoding)
        if facts["kind"] == "scored":
            others, also = _embedded(inputs["text_pair"], encoding)
            return {"similarity": tf.reduce_sum(vectors * others, axis=-1), "truncated": truncated | also}
        answers, questions, similarity = index.search(vectors, encoding.arrays, _MOST_FOUND)
        return {
            "matched_question": questions,
            "answer": answers,
            "similarity": similarity,
            "abstain": tf.reduce_all(similarity < facts["threshold"], axis=-1),
            "truncated": truncated,
        }

    def answer_rows(self, logits: tf.Tensor, padding_mask: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return `embedding`, float32 `(rows, hidden_dim)`."""
        return {"embedding": logits}

    def model_signatures(self, encoding: Encoding, facts: dict) -> dict[str, Any]:
        """Return `embed`: `text` to `embedding`, a float32 unit vector of each."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)
        def embed(text):
            # A server does not compare the rank with the signature.
            return {"embedding": _embedded(tf.ensure_shape(text, [None]), encoding)[0]}

        return {"embed": embed}

    def gold_of(self, record: Record, facts: dict) -> Any:
        """Return the score, or the question and its answer."""
        self.inputs_of(record, facts)
        return record.target if facts["kind"] == "scored" else (same_text(record.text), same_text(record.others[0]))

    def settle(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return facts with the `threshold` that is best on the validation split."""
        if facts["kind"] == "scored":
            return facts
        return facts | {"threshold": _ranking(answers, gold)[0].best_threshold()}

    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict[str, float]:
        """Return the metrics of `scores`."""
        if facts["kind"] == "pairs":
            return _ranking(answers, gold)[0].means()
        values = Values(np.asarray(gold), answers["similarity"])
        once = np.ones(len(gold), np.int64)
        return {"spearman": values.spearman(once), "pearson": values.pearson(once)}

    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return the metrics with their intervals."""
        if facts["kind"] == "pairs":
            return {"metrics": _ranking(answers, gold)[0].with_intervals(), "per_label": {}}
        values = Values(np.asarray(gold), answers["similarity"])
        functions = {"spearman": values.spearman, "pearson": values.pearson}
        found = {name: values.with_interval(score) for name, score in functions.items()}
        return {"metrics": found, "per_label": {}}

    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return ranks, abstaining and mistakes; for scored pairs similarities by score."""
        if facts["kind"] == "scored":
            values = Values(np.asarray(gold), answers["similarity"])
            caption = "Only the order counts: a similarity is no score."
            return {
                "figures": [{"title": "Similarity by score", "svg": scatter(values), "caption": caption}],
                "worst": {},
            }
        found, records = _ranking(answers, gold)
        threshold = facts["threshold"]
        caption = "The further apart the two are, the better the threshold tells when not to answer."
        plot = {"title": "Similarity", "svg": ranking.similarity_plot(found, threshold), "caption": caption}
        worst = [int(records[question]) for question in found.worst()]
        return {
            "figures": [plot],
            "tables": [found.rank_table(), found.threshold_table(threshold)],
            "worst": {
                record: {
                    "label": gold[record][1],
                    "predicted": _text(answers["answer"][record, 0]),
                    "probability": None,
                    "label_probability": None,
                }
                for record in worst
                if answers["answer"].shape[1]
            },
        }


def _wrong_in(value: Any) -> tuple[str, ...]:
    """Return the wrong answers of a cell, which may be empty, or of a list."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    held = structured(value) if isinstance(value, str) else value
    if not isinstance(held, list):
        held = [value]
    return tuple(text_of(Row("", {"negative": text}), "negative") for text in held)


def _score_in(row: Row) -> float | None:
    """Return the score of a row, or `None` where there is no such column; true counts 1 and false 0."""
    value = row.values.get("score")
    if value is None:
        return None
    try:
        number = {"true": 1.0, "false": 0.0}.get(str(value).strip().lower(), value)
        score = float("nan") if isinstance(number, list) else float(number)
    except (TypeError, ValueError):
        score = float("nan")
    if not np.isfinite(score):
        raise ValueError(f"score is {shown_json(value)}; wanted a number")
    return score


def _id_of(text: str) -> int:
    """Return a number above 0 that texts share which differ in blanks at most, and others only by rare chance."""
    digest = hashlib.blake2b(same_text(text).encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little") % (2**31 - 1) + 1


def _embedded(texts: tf.Tensor, encoding: Encoding) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the unit vectors of texts, and which of these were cut."""
    packed = encoding.packer.pack([encoding.tokenizer(texts)])
    truncated = packed.pop("truncated")
    return encoding.logits(packed), truncated


def _ranking(answers: Mapping[str, np.ndarray], gold: Sequence) -> tuple[ranking.Ranking, np.ndarray]:
    found = [[same_text(_text(answer)) for answer in row] for row in answers["answer"]]
    return ranking.ranking_of(found, answers["similarity"], gold)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


TASK = Matching()
