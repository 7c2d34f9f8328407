"""Entities: named entity recognition, which finds labelled spans of a text, such as names, places and products.

A record is a text of any length with its labelled spans. The outputs are the spans with types and probabilities.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.config import DataConfig
from tfbert.evaluation import entities as evaluation
from tfbert.evaluation.entities import Entity
from tfbert.evaluation.metric import Baseline, Evaluation
from tfbert.heads.tags import TagHead, best_tags, spans_of, tag_losses
from tfbert.nearest import did_you_mean
from tfbert.space import COMMON, Choice
from tfbert.tasks import base_outputs
from tfbert.tasks.base_confidence import ConfidenceDecision
from tfbert.tasks.base_context import Context
from tfbert.tasks.base_decision import Predicted
from tfbert.tasks.base_editing import EditableTask
from tfbert.tasks.base_explained import ExplainedTags
from tfbert.tasks.base_huggingface import ConvertibleTask, FittedConvertibleTask, ModelClass
from tfbert.tasks.base_options import EvidenceOptions, LearnedHeadOptions, option
from tfbert.text.borders import Borders, borders_of, continuing_tokens
from tfbert.text.corrections import Correction
from tfbert.text.datasets import Target, TokenizedSplit, Warn
from tfbert.text.edits import Edit, keeping_spans, shifted
from tfbert.text.entity_corrections import corrected_spans
from tfbert.text.entity_rows import COLUMNS, EntityRows, spans_in
from tfbert.text.inputs import Item, Text
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences, TextTokens
from tfbert.text.records import Record, Schema
from tfbert.text.spans import Span, tag_tokens, tags_of_types, token_ranges, trimmed, types_of_tags
from tfbert.text.words import substrings, valid_utf8

# Padding values for texts that have fewer entities than another text of the batch.
_PADDING = {"entity_text": "", "entity_label": "", "start": -1, "end": -1, "probability": 0.0}
# The name of the token values that tell whether a token continues the unit of the previous token.
_CONTINUES = "continues"
# A text of at least this many single characters separated by spaces is probably a mistake.
_MIN_SPACED_CHARACTERS = 10


@dataclass(frozen=True, kw_only=True)
class EntitiesOptions(LearnedHeadOptions, EvidenceOptions):
    """Options of entities. The preprocessor applies the overlap of windows."""

    label_smoothing: float = option("train.label_smoothing")
    window_overlap_fraction: float = option("encoder.window_overlap_fraction")


class Entities(ConvertibleTask, EditableTask):
    """Named entity recognition: predicts a tag per word piece, and decodes the best legal sequence of tags to spans."""

    title = "labelled spans of a text, with their positions"
    aliases = ("ner", "named_entity_recognition", "token_classification", "sequence_labeling", "sequence_labelling")
    columns = COLUMNS
    inputs = (Text("text"),)
    options = EntitiesOptions
    data_options = tuple(
        f"data.{name}"
        for name in ("tag_scheme", "word_separator", "span_end", "nested_spans", "label_names", "corrections")
    )
    # The head starts with random weights, without a probe of the pretrained encoder. On wnut17 it learned too slowly at
    # the encoder's learning rate.
    defaults = {"train.head_learning_rate_factor": 10.0}
    search_space = COMMON | {"train.epochs": Choice(3, 5, 8, 12)}
    label_noun = "entity type"
    model_class = ModelClass(suffix="TokenClassification", pipeline="token-classification")

    @property
    def schema(self) -> Schema:
        """The columns of a file and the functions that read rows, depending on the config and the file's tags."""
        return Schema(self.columns, self.parse, EntityRows, self.labels_of, self.corrected)

    def parse(self, row: Row) -> Record:
        """Return the record of a single row, read with the default config.

        Raises:
            ValueError: the row is invalid.
        """
        return EntityRows(DataConfig(), lambda: (row,))(row)

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the types that are learned from the record; entities inside longer ones are not learned."""
        return sorted({span.label for span in spans_in(record)})

    def corrected(self, record: Record, corrections: Sequence[Correction]) -> Record:
        """Return the record with the entities that a person has corrected; raises what `corrected_spans` raises."""
        return replace(record, target=corrected_spans(record, corrections))

    def truth_of(self, record: Record) -> list[dict[str, Any]]:
        """Return the entities with their texts."""
        return [
            {"text": record.text[span.start : span.end], "start": span.start, "end": span.end, "label": span.label}
            for span in record.target
        ]

    def allowed_edits(self, record: Record, edits: Sequence[Edit]) -> Sequence[Edit]:
        """Return the edits that do not cross the border of a span."""
        return keeping_spans([(span.start, span.end) for span in record.target], edits)

    def edited(self, record: Record, edits: Sequence[Sequence[Edit]]) -> Record:
        """Return the record with its text edited and its spans moved."""
        spans = (Span(*shifted(span.start, span.end, edits[0]), span.label) for span in record.target)
        return replace(super().edited(record, edits), target=tuple(spans))

    def fit(self, records: Iterable[Record], options: EntitiesOptions) -> "FittedEntities":
        """Return the task with its types, sorted by name, and the borders at which nearly all entities start and end.

        Raises:
            ValueError: no record has an entity.
        """
        types: set[str] = set()

        def learned_spans() -> Iterator[tuple[str, Span]]:
            for record in records:
                for span in spans_in(record):
                    types.add(span.label)
                    yield record.text, span

        borders = borders_of(learned_spans())
        if not types:
            raise ValueError("train has no entity; expected at least one")
        return FittedEntities(options=options, types=tuple(sorted(types)), borders=borders)

    def fit_to_model(self, labels: tuple[str, ...], options: EntitiesOptions, has_pair: bool) -> "FittedEntities":
        """Return the task with the types of a model's tags, in the order of the tags; entities consist of words.

        Raises:
            ValueError: the tags are not those of IOB2.
        """
        return FittedEntities(options=options, types=types_of_tags(labels), borders="words")


class EntityConfidence(ConfidenceDecision):
    """Calibrated confidence that an entity has the right position and type."""

    def confidences_of(self, predicted: Predicted) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each predicted entity, and whether it is right."""
        return evaluation.confidences(predicted.gold, predicted_entities(predicted.outputs))


@dataclass(frozen=True, kw_only=True)
class FittedEntities(FittedConvertibleTask):
    """Named entity recognition with the types of train and the borders of its entities.

    Only the first word piece of a unit between borders is trained and decoded; the other pieces belong to the same
    entity.

    Args:
        types: the entity types by id; in training sorted by name, in models that were trained elsewhere in their order.
        borders: the positions at which entities start and end.
    """

    options: EntitiesOptions
    types: tuple[str, ...]
    borders: Borders

    inputs = Entities.inputs
    all_outputs = base_outputs.ENTITIES
    metrics = evaluation.METRICS
    monitor = evaluation.F1
    targets = {"tag_id": Target("int32", per_token=True)}
    decision = EntityConfidence()

    @property
    def known_labels(self) -> Sequence[str]:
        """The types, by id."""
        return self.types

    @property
    def tags(self) -> list[str]:
        """The tags, by tag id."""
        return tags_of_types(self.types)

    @property
    def model_labels(self) -> Sequence[str]:
        """The tags, by tag id."""
        return self.tags

    @property
    def explained(self) -> ExplainedTags:
        """The log-odds of a type at the token that most likely has it."""
        return ExplainedTags(self.types, _CONTINUES)

    @property
    def decoding(self) -> str:
        """How tags become entities."""
        return (
            "decoding: tfbert returns the most probable legal sequence of tags, and only the first word piece of each "
            f"unit (borders: {self.borders}) decides; use aggregation_strategy='first', which is similar"
        )

    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the record's text."""
        return {"text": record.text}

    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return one sequence per window of the text, with token values that tell which tokens continue a unit."""
        texts = valid_utf8(inputs["text"])
        text = preprocessor.tokenize(texts, with_offsets=True)
        continues = continuing_tokens(text, texts, self.borders, preprocessor.tokenizer.vocabulary)
        return replace(preprocessor.read_in_windows("text", text), token_values={_CONTINUES: continues})

    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, np.ndarray]]:
        """Return the tag id of every token of each window; -1 for special tokens and tokens that continue a unit.

        Raises:
            ValueError: train does not have the type of an entity.
        """
        (text,) = sequences.texts["text"]
        continues = sequences.token_values[_CONTINUES]
        spans = spans_in(record)
        ids = [self._type_id(record, span.label) for span in spans]
        ranges = token_ranges(text.starts, text.ends, spans)
        _warn_of_spans(record, spans, warn)
        _warn_of_tokens(spans, ranges, text, continues, warn)
        for first, end in ranges:
            if end - first > max(sequences.window_lengths):
                warn("entities are longer than a window")
        _warn_of_text(record, text, warn)
        tag_ids = np.where(continues, -1, tag_tokens(ranges, ids, len(text.ids)))
        windows = zip(sequences.window_starts, sequences.window_lengths, strict=True)
        return [{"tag_id": np.pad(tag_ids[start : start + length], 1, constant_values=-1)} for start, length in windows]

    def head(self, seed: int) -> TagHead:
        """Return a tag head."""
        return TagHead(len(self.tags), dropout=self.options.dropout, seed=seed, name="head")

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the mean cross-entropy of the tags of each sequence, smoothed by `train.label_smoothing`."""
        return tag_losses(scores, batch["tag_id"], self.options.label_smoothing)

    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return the entities of each text in text order, padded with "", -1 and 0, and their number.

        Returns:
            `entity_text`, `entity_label` string, `start`, `end` int32 in Unicode characters of the text, with the end
            exclusive, `probability` float32, all `(batch, largest number of entities, 1 or more)`, and `num_entities`
            int32 `(batch,)`.
        """
        text, continues = sequences.texts["text"], sequences.token_values[_CONTINUES]
        log_probabilities = _merged_log_probabilities(scores, sequences)
        # The scores of tokens that continue a unit are ignored.
        log_probabilities = log_probabilities.with_flat_values(
            tf.where(continues.flat_values[:, None], 0.0, log_probabilities.flat_values)
        )
        lengths = sequences.windows.lengths
        tags = best_tags(log_probabilities.to_tensor(), lengths, continues.to_tensor())
        tags = tf.boolean_mask(tags, tf.sequence_mask(lengths, tf.shape(tags)[1]))
        spans = spans_of(
            tags, tf.gather(log_probabilities.flat_values, tags, batch_dims=1), counts=~continues.flat_values
        )
        record = tf.gather(tf.cast(text.ids.value_rowids(), tf.int32), spans.first)
        start, end = tf.gather(text.starts.flat_values, spans.first), tf.gather(text.ends.flat_values, spans.last)
        codes = tf.strings.unicode_decode(valid_utf8(context.inputs["text"]), "UTF-8")
        entities = {
            "entity_text": substrings(codes, record, start, end),
            "entity_label": tf.gather(tf.constant(self.types), spans.type_id),
            "start": start,
            "end": end,
            "probability": spans.probability,
        }
        return _by_record(entities, record, tf.shape(lengths)[0])

    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the best legal tags of each sequence and their probabilities.

        Returns:
            `tag` string, `tag_id` int32 and `probability` float32, all `(sequences, length)`; "", -1 and 0 for [CLS],
            [SEP] and padding.
        """
        # [CLS] is the first token, [SEP] the last that is not padding.
        lengths = tf.maximum(tf.reduce_sum(padding_mask, axis=1) - 2, 0)
        log_probabilities = tf.nn.log_softmax(scores[:, 1:])
        tags = best_tags(log_probabilities, lengths)
        inside = tf.sequence_mask(lengths, tf.shape(tags)[1])
        probability = tf.exp(tf.gather(log_probabilities, tags, batch_dims=2))
        first = [[0, 0], [1, 0]]
        names = tf.gather(tf.constant(self.tags), tags)
        return {
            "tag": tf.pad(tf.where(inside, names, ""), first, constant_values=""),
            "tag_id": tf.pad(tf.where(inside, tags, -1), first, constant_values=-1),
            "probability": tf.pad(tf.where(inside, probability, 0.0), first),
        }

    def gold(self, record: Record) -> tuple[Entity, ...]:
        """Return the true entities.

        Raises:
            ValueError: train does not have the type of an entity.
        """
        spans = spans_in(record)
        for span in spans:
            self._type_id(record, span.label)
        return tuple(Entity(*span, record.text[span.start : span.end]) for span in spans)

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence[Sequence[Entity]], decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return the evaluation of predicted entities."""
        return evaluation.EntityEvaluation(predicted_entities(outputs), gold, self.types)

    def constant_baseline(self, train: TokenizedSplit, gold: Sequence[Sequence[Entity]]) -> Baseline:
        """Return the scores of finding no entity: 0."""
        return Baseline("finding no entity", {metric.name: 0.0 for metric in self.metrics})

    def _type_id(self, record: Record, label: str) -> int:
        if label in self.types:
            return self.types.index(label)
        hint = did_you_mean(label, self.types)
        raise ValueError(f"{record.where}: entity type {label!r} is not one of the {len(self.types)} of train{hint}")


def predicted_entities(outputs: Mapping[str, np.ndarray]) -> list[list[Entity]]:
    """Return the predicted entities of each text."""
    columns = [outputs[name] for name in ("start", "end", "entity_label", "entity_text", "probability")]
    entities = []
    for index, number in enumerate(outputs["num_entities"]):
        values = zip(*(column[index, :number] for column in columns), strict=True)
        entities.append(
            [
                Entity(int(start), int(end), label.decode(), text.decode(), float(probability))
                for start, end, label, text, probability in values
            ]
        )
    return entities


def _merged_log_probabilities(scores: tf.Tensor, sequences: Sequences) -> tf.RaggedTensor:
    """Return the log probability of each tag per token, merged over windows: ragged float32 `(records, None, tags)`."""
    windows, logits = sequences.windows, scores[:, 1:]
    lengths = tf.cast(windows.token_ids.row_lengths(), tf.int32)
    by_token = tf.boolean_mask(logits, tf.sequence_mask(lengths, tf.shape(logits)[1]))
    merged = windows.merge(tf.nn.log_softmax(by_token))
    return merged.with_flat_values(tf.nn.log_softmax(merged.flat_values))


def _by_record(entities: Mapping[str, tf.Tensor], record: tf.Tensor, num_records: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the values of entities as padded tensors with the record first, and `num_entities`.

    Args:
        entities: the values by name, each `(entities,)`.
        record: the record of each entity, int32 `(entities,)`, ascending.
        num_records: the number of records in the batch.
    """
    num_entities = tf.math.unsorted_segment_sum(tf.ones_like(record), record, num_records)
    # At least one column: not every client and server can handle arrays without elements.
    num_missing = tf.maximum(0, 1 - tf.reduce_max(tf.pad(num_entities, [[0, 1]])))
    dense = {}
    for name, values in entities.items():
        padding = _PADDING[name]
        by_record = tf.RaggedTensor.from_row_lengths(values, num_entities).to_tensor(padding)
        dense[name] = tf.pad(by_record, [[0, 0], [0, num_missing]], constant_values=padding)
    return dense | {"num_entities": num_entities}


def _warn_of_spans(record: Record, spans: Sequence[Span], warn: Warn) -> None:
    """Warn of spans that are changed or left out."""
    for _ in range(len({trimmed(span, record.text) for span in record.target}) - len(spans)):
        warn("entities overlap a longer one and are left out")
    for span in record.target:
        if trimmed(span, record.text) != span:
            warn("entities start or end with whitespace, which is left out")


def _warn_of_tokens(
    spans: Sequence[Span], ranges: Sequence[tuple[int, int]], text: TextTokens, continues: np.ndarray, warn: Warn
) -> None:
    """Warn of spans that the model cannot find exactly, because no tokens start and end at their positions."""
    for span, (first, end) in zip(spans, ranges, strict=True):
        if first == end:
            warn("entities have no word piece of their own and cannot be found")
        elif text.starts[first] < span.start or text.ends[end - 1] > span.end:
            warn("entities start or end inside a word piece, which is tagged as a whole")
        elif continues[first] or continues[end : end + 1].any():
            warn("entities start or end inside a word and cannot be found exactly")
        elif text.starts[first] > span.start or text.ends[end - 1] < span.end:
            warn("entities start or end with characters that the encoder does not see")


def _warn_of_text(record: Record, text: TextTokens, warn: Warn) -> None:
    """Warn of a text that is probably malformed."""
    if not len(text.ids):
        warn("texts have no word piece")
    characters = record.text.split(" ")
    if len(characters) >= _MIN_SPACED_CHARACTERS and all(len(character) == 1 for character in characters):
        warn("texts are single characters separated by spaces; --set data.word_separator= joins them")


TASK = Entities()
