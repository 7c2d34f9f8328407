"""Matching: retrieval of the texts that match a text, such as FAQ answers, and semantic similarity of two texts.

For retrieval, a record is a question with an answer and possibly wrong answers; the model contains an index of all
known answers and returns the most similar ones. For similarity, a record is two texts with a score.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.evaluation import ranking, similarity
from tfbert.evaluation.metric import Evaluation
from tfbert.evaluation.values import SPEARMAN
from tfbert.heads import negatives
from tfbert.heads.embedding import EmbeddingHead
from tfbert.heads.index import AnswerIndex, search
from tfbert.space import COMMON, Choice, LogRange
from tfbert.tasks import base_outputs
from tfbert.tasks.base import Embed, FittedTask, Task
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.base_decision import VALIDATION, Decision, Predicted
from tfbert.tasks.base_options import Options, option
from tfbert.text.datasets import Target, TokenizedSplit, Warn
from tfbert.text.input_columns import ANCHOR, MATCH
from tfbert.text.inputs import Item, Text
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.columns import Column, shown_json
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record, normalize_whitespace, text_of

NEGATIVE = Column("negative", "negative, negatives, hard_negative, wrong, wrong_answer", required=False)
SCORE = Column(
    "score", "score, similarity, similarity_score, relatedness", required=False, is_number=True, is_target=True
)
# The number of answers that are served per text.
_MAX_ANSWERS = 10
# The factor on cosines before the softmax of the loss, an inverse temperature.
_SCALE = 20.0


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions(Options):
    """Options of a head that has no weights; scored pairs have no others."""

    pooling: str = option("head.pooling")
    dropout: float = option("head.dropout")


@dataclass(frozen=True, kw_only=True)
class MatchingOptions(EmbeddingOptions):
    """Options of pairs, whose loss compares the examples of a batch with each other."""

    hard_negatives: int = option("train.hard_negatives")


class Matching(Task):
    """A bi-encoder: questions and answers have the same encoder and are compared by the cosine of their vectors."""

    title = "the answers that match a question, or the similarity of two texts"
    aliases = ("faq", "retrieval", "search", "semantic_search", "ranking")
    columns = (ANCHOR, MATCH, NEGATIVE, SCORE)
    inputs = (Text("text"), Text("text_pair", required=False))
    options = MatchingOptions
    defaults = {"head.dropout": 0.0}
    calibrates = False
    search_space = COMMON | {
        # Encoders that were pretrained to compare texts need lower rates than others, or they forget.
        "train.learning_rate": LogRange(1e-5, 3e-4),
        # The other texts of a batch are the negatives of a question.
        "train.batch_size": Choice(16, 32, 64, 128),
        "train.hard_negatives": Choice(0, 1, 3),
    }

    def parse(self, row: Row) -> Record:
        """Return the record of a row: a question, its answer, and optionally wrong answers or a score.

        Raises:
            ValueError: a text is missing or empty, a wrong answer equals the answer, the score is not a number, or the
                row has both wrong answers and a score.
        """
        question, answer = text_of(row, "question"), text_of(row, "answer")
        wrong_answers, score = _parse_negatives(row.values.get("negative")), _parse_score(row.values.get("score"))
        if any(normalize_whitespace(text) == normalize_whitespace(answer) for text in wrong_answers):
            raise ValueError(f"negative is {shown_json(answer)}, which is also the answer; expected a different text")
        if wrong_answers and score is not None:
            raise ValueError("the row has a negative and a score; expected only one of them")
        return Record(question, score, row.where, (answer, *wrong_answers))

    def truth_of(self, record: Record) -> Any:
        """Return the answer, or the score."""
        return record.others[0] if record.target is None else record.target

    def fit(self, records: Iterable[Record], options: MatchingOptions) -> "FittedPairs | FittedScored":
        """Return the task for pairs, or the one for scored pairs if train has scores.

        Raises:
            ValueError: all answers or all scores are equal, only some records have a score, or an option has no effect
                on scored pairs.
        """
        answers, scores = set(), []
        for number, record in enumerate(records, start=1):
            if len(answers) < 2:
                answers.add(normalize_whitespace(record.others[0]))
            if record.target is not None:
                scores.append(record.target)
            if scores and len(scores) < number:
                raise ValueError(f"{record.where}: has no score; expected one in every row of train, or in none")
        if not scores:
            if len(answers) < 2:
                raise ValueError("train has only one answer; expected at least two")
            return FittedPairs(options=options)
        if min(scores) == max(scores):
            raise ValueError(f"every score in train is {scores[0]:g}; expected at least two that differ")
        if options.hard_negatives:
            raise ValueError(
                f"train.hard_negatives={options.hard_negatives}: has no effect on pairs with a score; expected 0"
            )
        options = EmbeddingOptions(pooling=options.pooling, dropout=options.dropout)
        return FittedScored(options=options, lowest=min(scores), highest=max(scores))


class AbstainThreshold(Decision):
    """The similarity of the best answer below which the model abstains."""

    specs = {"threshold": tf.TensorSpec([], tf.float32)}

    def initial(self) -> dict[str, np.ndarray]:
        """Return a threshold below every similarity."""
        return {"threshold": np.float32(-1.0)}

    def fit(self, splits: Mapping[str, Predicted]) -> Mapping[str, np.ndarray]:
        """Return the threshold with the highest F1 of correct first answers."""
        if VALIDATION not in splits:
            return self.initial()
        outputs, gold = splits[VALIDATION].outputs, splits[VALIDATION].gold
        answers, _ = ranking.ranking_of(outputs["answer"], outputs["similarity"], gold)
        return {"threshold": np.float32(answers.best_threshold())}

    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return the threshold, if it is above the lowest similarity."""
        threshold = float(decided["threshold"])
        return "" if threshold <= -1 else f"no answer if the best similarity is below {threshold:.4g}"

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the outputs with `abstain`, bool `(batch,)`: whether the best similarity is below the threshold."""
        is_below = ranking.abstains(outputs["similarity"], decided["threshold"])
        return {**outputs, "abstain": tf.reduce_all(is_below, axis=-1)}


@dataclass(frozen=True, kw_only=True)
class FittedMatching(FittedTask):
    """Base class of matching pairs and scored pairs: one sequence and one unit vector per text."""

    options: EmbeddingOptions

    by_record = True
    predicts_untrained = True  # the head has no weights
    # The loss of scored pairs does not need whole batches, but gets them too, so that the two kinds train alike.
    by_batch = True

    def head(self, seed: int) -> EmbeddingHead:
        """Return a head without weights that computes unit vectors."""
        return EmbeddingHead(pooling=self.options.pooling, dropout=self.options.dropout, seed=seed, name="head")

    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `embedding`, float32 `(sequences, hidden_dim)`."""
        return {"embedding": scores}

    def signatures(self, served: Served) -> dict[str, Any]:
        """Return `embed`, which maps `text` to `embedding`, float32 unit vectors."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)
        def embed(text):
            # Servers do not check the rank of inputs against the signature.
            tokens = served.preprocessor.tokenize(tf.ensure_shape(text, [None]))
            return {"embedding": served.preprocessor.pack([tokens.ids]).scores(served.model)}

        return {"embed": embed}


@dataclass(frozen=True, kw_only=True)
class FittedPairs(FittedMatching):
    """Retrieval: training compares all texts of the records, and prediction searches the index for a text."""

    options: MatchingOptions

    inputs = Matching.inputs[:1]
    training_inputs = (Text("texts", many=True),)
    all_outputs = base_outputs.MATCHING_PAIRS
    metrics = ranking.METRICS
    monitor = ranking.MRR_AT_10
    targets = negatives.TARGETS
    decision = AbstainThreshold()
    index = AnswerIndex()

    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the question as `text`, or for training all texts of the record as `texts`.

        Raises:
            ValueError: the record has a score.
        """
        if record.target is not None:
            raise ValueError(f"{record.where}: has a score; expected none, as in train")
        return {"texts": record.texts} if training else {"text": record.text}

    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return one sequence per text."""
        if "texts" in inputs:
            return _sequences_of_texts(inputs["texts"], inputs["texts"] != "", preprocessor)
        text = preprocessor.tokenize(inputs["text"])
        return preprocessor.pack([text.ids], texts={"text": text})

    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, Any]]:
        """Return the role and the id of each text, and for the question the id of its answer."""
        _warn_of_cuts(sequences, warn)
        return negatives.targets_of([_text_id(text) for text in record.texts])

    def augment(self, split: TokenizedSplit, embed: Embed, seed: int) -> TokenizedSplit:
        """Return train with all right answers of each question, hard negatives and paraphrases.

        Each example gets `train.hard_negatives` wrong answers and another question with the same answer, if there is
        one.
        """
        split = negatives.with_all_positives(split)
        # Before paraphrases, since `embed` takes indices of the original sequences.
        split = negatives.with_hard_negatives(split, embed, self.options.hard_negatives)
        return negatives.with_paraphrases(split, seed)

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the multiple negatives ranking loss."""
        return negatives.ranking_loss(scores, batch, _SCALE)

    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return up to 10 of the most similar answers, best first.

        Returns:
            `answer`, `matched_question` string and `similarity` float32 `(batch, answers)`; `truncated` bool
            `(batch,)`.
        """
        answers, questions, similarities = search(scores, context.index, _MAX_ANSWERS)
        return {
            "answer": answers,
            "similarity": similarities,
            "matched_question": questions,
            "truncated": sequences.is_cut,
        }

    def gold(self, record: Record) -> tuple[str, str]:
        """Return the question and its answer, with whitespace normalized.

        Raises:
            ValueError: the record has a score.
        """
        self.inputs_of(record)
        return normalize_whitespace(record.text), normalize_whitespace(record.others[0])

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence[tuple[str, str]], decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return the evaluation of ranked answers."""
        threshold = float(decided["threshold"])
        return ranking.RankingEvaluation(outputs["answer"], outputs["similarity"], gold, threshold)


@dataclass(frozen=True, kw_only=True)
class FittedScored(FittedMatching):
    """Semantic similarity of two texts.

    Args:
        lowest: the lowest score in train, which corresponds to a cosine of 0.
        highest: the highest score in train, which corresponds to a cosine of 1.
    """

    lowest: float
    highest: float

    inputs = Matching.inputs
    all_outputs = base_outputs.MATCHING_SCORED
    metrics = similarity.METRICS
    monitor = SPEARMAN
    targets = {"similarity": Target("float32")}

    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the two texts.

        Raises:
            ValueError: the record has no score.
        """
        if record.target is None:
            raise ValueError(f"{record.where}: has no score; expected one, as in train")
        return dict(zip(("text", "text_pair"), record.texts, strict=True))

    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return two sequences per record, one for each text."""
        texts = tf.stack([inputs["text"], inputs["text_pair"]], axis=1)
        return _sequences_of_texts(texts, tf.ones(tf.shape(texts), tf.bool), preprocessor)

    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, Any]]:
        """Return the target cosine, for both texts."""
        _warn_of_cuts(sequences, warn)
        cosine = (record.target - self.lowest) / (self.highest - self.lowest)
        return [{"similarity": cosine}] * len(sequences)

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the squared error of the cosine of each pair."""
        return tf.square(_cosines(scores) - batch["similarity"][::2])

    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return `similarity` float32 and `truncated` bool `(batch,)`."""
        is_cut = tf.reduce_any(tf.reshape(sequences.is_cut, [-1, 2]), axis=1)
        return {"similarity": _cosines(scores), "truncated": is_cut}

    def gold(self, record: Record) -> float:
        """Return the score.

        Raises:
            ValueError: the record has no score.
        """
        self.inputs_of(record)
        return record.target

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence[float], decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return the evaluation of predicted similarities."""
        return similarity.SimilarityEvaluation(outputs["similarity"], gold)


def _parse_negatives(value: Any) -> tuple[str, ...]:
    """Return the wrong answers from a list or a cell, which may be empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    texts = parse_cell(value) if isinstance(value, str) else value
    if not isinstance(texts, list):
        texts = [value]
    return tuple(text_of(Row("", {"negative": text}), "negative") for text in texts)


def _parse_score(value: Any) -> float | None:
    """Return the score, which is 1 for true and 0 for false; `None` if the row has no score."""
    if value is None:
        return None
    try:
        number = {"true": 1.0, "false": 0.0}.get(str(value).strip().lower(), value)
        score = float("nan") if isinstance(number, list) else float(number)
    except (TypeError, ValueError):
        score = float("nan")
    if not np.isfinite(score):
        raise ValueError(f"score is {shown_json(value)}; expected a number")
    return score


def _text_id(text: str) -> int:
    """Return a hash above 0 that ignores differences in whitespace, 31 bits."""
    digest = hashlib.blake2b(normalize_whitespace(text).encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little") % (2**31 - 1) + 1


def _sequences_of_texts(texts: tf.Tensor, is_text: tf.Tensor, preprocessor: Preprocessor) -> Sequences:
    """Return one sequence for each of the texts `(records, texts)` for which `is_text` is true."""
    tokens = preprocessor.tokenize_many(texts, is_text)
    return preprocessor.pack([tokens.ids], records=tokens.records, texts={"texts": tokens})


def _warn_of_cuts(sequences: RecordSequences, warn: Warn) -> None:
    """Warn of a question, the first text of a record, or answers that are cut."""
    max_tokens = max(map(len, sequences.token_ids)) - 2
    is_cut = [len(text.ids) > max_tokens for text in sequences.texts["texts"]]
    if is_cut[0]:
        warn(f"questions have more than {max_tokens} tokens and are cut")
    if any(is_cut[1:]):
        warn(f"answers have more than {max_tokens} tokens and are cut")


def _cosines(vectors: tf.Tensor) -> tf.Tensor:
    """Return the cosine of the two unit vectors of each record."""
    pairs = tf.reshape(vectors, [-1, 2, vectors.shape[-1]])
    return tf.reduce_sum(pairs[:, 0] * pairs[:, 1], axis=-1)


TASK = Matching()
