"""Names, places, products, references: labelled parts of a text, with their places in it.

A record is a text of any length and its labelled spans of characters. The served answer is the spans over all windows
of the text: their texts, types, places and probabilities.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config, DataConfig
from tfbert.evaluation import spans as evaluation
from tfbert.evaluation.spans import Entity
from tfbert.heads.tags import TagHead, best_tags, spans_of, tag_losses
from tfbert.nearest import did_you_mean
from tfbert.space import COMMON, Choice
from tfbert.tasks.base import Encoding, Task
from tfbert.tasks.base_windows import in_parts
from tfbert.text import tokenizer
from tfbert.text.borders import Borders, borders_of, cuts_unit_in_graph, goes_on
from tfbert.text.datasets import Example, Tokens
from tfbert.text.entity_rows import COLUMNS, EntityRows
from tfbert.text.items import Item
from tfbert.text.packing import Packer
from tfbert.text.records import Record, Schema
from tfbert.text.rows import Row
from tfbert.text.spans import Span, outermost, tag_tokens, tags_of_types, token_ranges, trimmed

# Behind the last entity of a text that has fewer than another of its batch.
_PADDING = {"entity_text": "", "entity_label": "", "start": -1, "end": -1, "probability": 0.0}
# A text of at least so many characters with a blank between each is no text as people write it.
_FEWEST_SPACED = 10


class Entities(Task):
    """Named entity recognition: a tag for every word piece, the best legal sequence of tags, its spans.

    The facts hold `types`, their `counts` and `tags`, and `borders`: where entities begin and end, as nearly all of
    train's do. Of what stands between borders only the first piece is learned and read; the others go with it.
    """

    title = "labelled parts of a text"
    aliases = ("ner", "named_entity_recognition", "token_classification", "sequence_labeling", "sequence_labelling")
    columns = COLUMNS
    # The head starts from nothing: no probe of the untrained encoder goes before. On wnut17 it learned too slowly with
    # the encoder's own rate.
    defaults = {"train.head_learning_rate_factor": 10.0}
    search_space = COMMON | {"train.epochs": Choice(3, 5, 8, 12)}
    monitor = "f1"
    with_offsets = True
    by_token = True
    label_noun = "entity type"

    @property
    def schema(self) -> Schema:
        """What the task wants of a file: how its rows are read depends on the config and on the file's tags."""
        return Schema(self.columns, self.parse, EntityRows, self.labels_of)

    def parse(self, row: Row) -> Record:
        """Return the record of a row that stands alone, read by the default config.

        Raises:
            ValueError: what is wrong with the row.
        """
        return EntityRows(DataConfig(), lambda: (row,))(row)

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return each type that is learned from the record; what lies inside a longer entity is not."""
        return sorted({span.label for span in spans_in(record)})

    def known_labels(self, facts: dict) -> Sequence[str]:
        """Return `types`."""
        return facts["types"]

    def read_facts(self, records: Iterable[Record]) -> dict:
        """Return `types`, sorted by name, their `counts`, `tags` and `borders`.

        Raises:
            ValueError: no entity.
        """
        counts: Counter = Counter()

        def counted() -> Iterator[tuple[str, Span]]:
            for record in records:
                for span in spans_in(record):
                    counts[span.label] += 1
                    yield record.text, span

        borders = borders_of(counted())
        if not counts:
            raise ValueError("train has no entity; wanted at least one")
        types = sorted(counts)
        return {
            "types": types,
            "counts": [counts[kind] for kind in types],
            "tags": tags_of_types(types),
            "borders": borders,
        }

    def input_ranks(self, facts: dict) -> dict[str, int]:
        """Return `text`."""
        return {"text": 1}

    def inputs_of(self, record: Record, facts: dict) -> Item:
        """Return the record's text."""
        return {"text": record.text}

    def examples(
        self, record: Record, tokens: Sequence[Tokens], packer: Packer, facts: dict, config: Config, remark: Callable
    ) -> list[Example]:
        """Return a row for each window of the text, all of it, with a tag id for every word piece that is learned."""
        (text,) = tokens
        spans = spans_in(record)
        ids = [self._type_id(record, span.label, facts) for span in spans]
        ranges = token_ranges(text.starts, text.ends, spans)
        room = packer.room(1)
        held = goes_on(record.text, text.starts, facts["borders"])
        _remark(record, spans, ranges, text, held, room, remark)
        tags = np.where(held, -1, tag_tokens(ranges, ids, len(text.ids)))
        rows = []
        for start in packer.window_starts(len(tags), room):
            within = slice(start, start + room)
            rows.append(Example(*packer.row([text.ids[within]]), np.pad(tags[within], 1, constant_values=-1)))
        return rows

    def cut_length(self, facts: dict, config: Config) -> None:
        """Return `None`: all of a text is read."""

    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return the head that tags."""
        return TagHead(len(facts["tags"]), dropout=config.head.dropout, seed=config.train.seed, name="head")

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return the mean cross entropy of each row's tags, smoothed by `train.label_smoothing`."""
        return tag_losses(logits, batch["targets"], config.train.label_smoothing)

    def answer(self, inputs: Mapping[str, tf.Tensor], encoding: Encoding, facts: dict) -> dict[str, tf.Tensor]:
        """Return the entities of each text in order, padded with "", -1 and 0, and their number.

        Returns:
            `entity_text`, `entity_label` string, `start`, `end` int32 in Unicode characters of the text, the end
            exclusive, `probability` float32, all `(batch, most entities of a text, at least 1)`, and `num_entities`
            int32 `(batch,)`.
        """
        # What is not UTF-8 becomes U+FFFD here as it does in the tokenizer, so that places mean the same.
        texts = tf.strings.unicode_transcode(inputs["text"], "UTF-8", "UTF-8", errors="replace")
        tokens = encoding.tokenizer.with_offsets(texts)
        codes = tf.strings.unicode_decode(texts, "UTF-8")
        held = _held(tokens, codes, encoding.tokenizer.vocabulary, facts["borders"])
        log_probabilities = self._log_probabilities(tokens.ids, encoding, facts)
        log_probabilities = log_probabilities.with_flat_values(
            tf.where(held.flat_values[:, None], 0.0, log_probabilities.flat_values)
        )
        lengths = tf.cast(tokens.ids.row_lengths(), tf.int32)
        tags = best_tags(log_probabilities.to_tensor(), lengths, held.to_tensor())
        tags = tf.boolean_mask(tags, tf.sequence_mask(lengths, tf.shape(tags)[1]))
        spans = spans_of(tags, tf.gather(log_probabilities.flat_values, tags, batch_dims=1), ~held.flat_values)
        record = tf.gather(tf.cast(tokens.ids.value_rowids(), tf.int32), spans.first)
        start, end = tf.gather(tokens.starts.flat_values, spans.first), tf.gather(tokens.ends.flat_values, spans.last)
        found = {
            "entity_text": _cut_out(codes, record, start, end),
            "entity_label": tf.gather(tf.constant(facts["types"]), spans.kind),
            "start": start,
            "end": end,
            "probability": spans.probability,
        }
        num_entities = tf.math.unsorted_segment_sum(tf.ones_like(spans.first), record, tf.shape(texts)[0])
        # One column at least: not every client and server knows what to do with arrays without elements.
        missing = tf.maximum(0, 1 - tf.reduce_max(tf.pad(num_entities, [[0, 1]])))
        dense = {}
        for name, values in found.items():
            filling = _PADDING[name]
            by_text = tf.RaggedTensor.from_row_lengths(values, num_entities).to_tensor(filling)
            dense[name] = tf.pad(by_text, [[0, 0], [0, missing]], constant_values=filling)
        return dense | {"num_entities": num_entities}

    def answer_rows(self, logits: tf.Tensor, padding_mask: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return the best legal tags of each row and their probabilities.

        Returns:
            `tag` string, `tag_id` int32 and `probability` float32, all `(rows, length)`; "", -1 and 0 for [CLS], [SEP]
            and padding.
        """
        # [CLS] is first, [SEP] the last that is not padding.
        lengths = tf.maximum(tf.reduce_sum(padding_mask, axis=1) - 2, 0)
        log_probabilities = tf.nn.log_softmax(logits[:, 1:])
        tags = best_tags(log_probabilities, lengths)
        inside = tf.sequence_mask(lengths, tf.shape(tags)[1])
        probability = tf.exp(tf.gather(log_probabilities, tags, batch_dims=2))
        first = [[0, 0], [1, 0]]
        return {
            "tag": tf.pad(tf.where(inside, tf.gather(tf.constant(facts["tags"]), tags), ""), first, constant_values=""),
            "tag_id": tf.pad(tf.where(inside, tags, -1), first, constant_values=-1),
            "probability": tf.pad(tf.where(inside, probability, 0.0), first),
        }

    def gold_of(self, record: Record, facts: dict) -> tuple[Entity, ...]:
        """Return the true entities.

        Raises:
            ValueError: train does not have the type of one.
        """
        spans = spans_in(record)
        for span in spans:
            self._type_id(record, span.label, facts)
        return tuple(Entity(*span, record.text[span.start : span.end]) for span in spans)

    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict[str, float]:
        """Return F1, precision and recall over all entities."""
        counts = evaluation.count(gold, found_in(answers))
        return {name: function(counts) for name, function in evaluation.FUNCTIONS.items()}

    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return the metrics with their intervals, and those of every type."""
        return evaluation.scores(gold, found_in(answers), facts["types"])

    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return what kinds of mistakes there are, which types are confused, and the worst mistakes."""
        return evaluation.findings(gold, found_in(answers), facts["types"])

    def _type_id(self, record: Record, label: str, facts: dict) -> int:
        types = facts["types"]
        if label in types:
            return types.index(label)
        hint = did_you_mean(label, types)
        raise ValueError(f"{record.where}: entity type {label!r} is not one of the {len(types)} of train{hint}")

    def _log_probabilities(self, ids: tf.RaggedTensor, encoding: Encoding, facts: dict) -> tf.RaggedTensor:
        """Return those of all tags for every token, joined over windows: ragged float32 `(batch, None, tags)`."""
        windows = encoding.packer.windows(ids, encoding.packer.room(1))
        packed = encoding.packer.pack([windows.token_ids])
        packed.pop("truncated")
        logits = in_parts(encoding.logits, packed, len(facts["tags"]))[:, 1:]
        sizes = tf.cast(windows.token_ids.row_lengths(), tf.int32)
        of_tokens = tf.boolean_mask(logits, tf.sequence_mask(sizes, tf.shape(logits)[1]))
        merged = windows.merge(tf.nn.log_softmax(of_tokens))
        return merged.with_flat_values(tf.nn.log_softmax(merged.flat_values))


def spans_in(record: Record) -> list[Span]:
    """Return the spans that are learned of a record: without edge blanks, the outermost of those that overlap."""
    return outermost(dict.fromkeys(trimmed(span, record.text) for span in record.target))


def found_in(answers: Mapping[str, np.ndarray]) -> list[list[Entity]]:
    """Return the entities that a model found in each text."""
    names = ("start", "end", "entity_label", "entity_text", "probability")
    columns = [answers[name] for name in names]
    found = []
    for row, number in enumerate(answers["num_entities"]):
        starts, ends, labels, texts, probabilities = (column[row, :number] for column in columns)
        found.append(
            [
                Entity(int(start), int(end), label.decode(), text.decode(), float(probability))
                for start, end, label, text, probability in zip(starts, ends, labels, texts, probabilities, strict=True)
            ]
        )
    return found


def _held(
    tokens: tokenizer.Tokens, codes: tf.RaggedTensor, vocabulary: Sequence[str], borders: Borders
) -> tf.RaggedTensor:
    """Say in the graph what `text.borders.goes_on` says: ragged bool `(batch, None)`."""
    if borders == "blanks":
        begin = tf.gather(tf.cast(codes.row_starts(), tf.int32), tf.cast(tokens.ids.value_rowids(), tf.int32))
        return tokens.ids.with_flat_values(tf.gather(cuts_unit_in_graph(codes), begin + tokens.starts.flat_values))
    pieces = tf.constant([borders == "words" and piece.startswith("##") for piece in vocabulary])
    return tokens.ids.with_flat_values(tf.gather(pieces, tokens.ids.flat_values))


def _cut_out(codes: tf.RaggedTensor, record: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Return characters of texts: string `(spans,)`, from `start` to `end` of the text at `record`, int32 `(spans,)`.

    `tf.strings.substr` would want a copy of the whole text for every span.
    """
    begin = tf.gather(tf.cast(codes.row_starts(), tf.int32), record)
    places = tf.ragged.range(begin + start, begin + end)
    found = places.with_flat_values(tf.gather(codes.flat_values, places.flat_values))
    return tf.strings.unicode_encode(found, "UTF-8")


def _remark(
    record: Record,
    spans: Sequence[Span],
    ranges: Sequence[tuple[int, int]],
    tokens: Tokens,
    held: np.ndarray,
    room: int,
    remark: Callable,
) -> None:
    """Say what of a record's spans is left out or cannot be found exactly."""
    given = {trimmed(span, record.text) for span in record.target}
    for _ in range(len(given) - len(spans)):
        remark("entities overlap another that is longer, and are left out")
    for span in record.target:
        if trimmed(span, record.text) != span:
            remark("entities begin or end with a blank, which is left out")
    for span, (first, behind) in zip(spans, ranges, strict=True):
        if first == behind:
            remark("entities have no word piece of their own and cannot be found")
            continue
        if tokens.starts[first] < span.start or tokens.ends[behind - 1] > span.end:
            remark("entities begin or end inside a word piece, which is tagged as theirs")
        elif held[first] or held[behind : behind + 1].any():
            remark("entities begin or end inside a word and cannot be found exactly")
        elif tokens.starts[first] > span.start or tokens.ends[behind - 1] < span.end:
            remark("entities begin or end with characters that the encoder does not see")
        if behind - first > room:
            remark("entities are longer than a window")
    if not len(tokens.ids):
        remark("texts have no word piece")
    characters = record.text.split(" ")
    if len(characters) >= _FEWEST_SPACED and all(len(character) == 1 for character in characters):
        remark("texts are characters with a blank between each; --set data.word_separator= joins them")


TASK = Entities()
