"""Evaluation of named-entity recognition: precision, recall and F1 of exact spans, confused types, mistakes.

A predicted entity is right if its start, end and type are all right, as in the CoNLL shared tasks and in seqeval.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from tfbert.evaluation import drawing, metrics, plots
from tfbert.evaluation.metric import NONE, Confidences, Evaluation, LabelledSpan, Metric, Outcome, ScoreFunction

F1 = Metric(
    "f1",
    "higher",
    "fraction",
    "harmonic mean of precision and recall over all entities (micro average)",
    title="F1",
)
PRECISION = Metric(
    "precision",
    "higher",
    "fraction",
    "fraction of predicted entities whose start, end and type are right",
    forecast="{} predicted entities to be right",
)
RECALL = Metric(
    "recall",
    "higher",
    "fraction",
    "fraction of true entities that are predicted with the right start, end and type",
    forecast="{} entities in similar texts to be found",
)
METRICS = (F1, PRECISION, RECALL)
KINDS = {
    "exact": "right",
    "type": "right span, wrong type",
    "span": "overlapping span, right type",
    "both": "overlapping span, wrong type",
    "missed": "missed",
}
_LONGEST_LENGTH = 6
_SHOWN_ENTITIES = 12
_MAX_CONFUSIONS = 10
_MAX_EXAMPLES = 3
# An ideograph or kana, a word of any other script, or a punctuation mark.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\w\s]")


class Entity(NamedTuple):
    """A labelled span of a text.

    Args:
        start: the index of the first Unicode character.
        end: the end, exclusive.
        label: the entity type.
        text: the characters of the span.
        probability: that of a predicted entity; 1 for a true one.
    """

    start: int
    end: int
    label: str
    text: str
    probability: float = 1.0

    @property
    def key(self) -> tuple[int, int, str]:
        """Start, end and type, which all have to be right."""
        return self[:3]


# The entities of each record.
Entities = Sequence[Sequence[Entity]]
# A true entity and the predicted one that corresponds to it; `None` where there is none.
Pair = tuple[Entity | None, Entity | None]


class EntityEvaluation(Evaluation):
    """The predicted and the true entities of each record.

    Args:
        predicted: the predicted entities of each record.
        gold: the true entities of each record.
        types: the entity types of the training split.
    """

    def __init__(self, predicted: Entities, gold: Entities, types: Sequence[str]):
        self._predicted, self._gold, self._types = predicted, gold, types
        self._counts = count(gold, predicted)

    def values(self) -> dict[str, float]:
        """Return F1, precision and recall over all entities."""
        return {name: function(self._counts) for name, function in FUNCTIONS.items()}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return F1, precision and recall with intervals over resampled records."""
        return {name: metrics.resampled(score, len(self._counts)) for name, score in self.score_functions().items()}

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric that computes it on resampled records."""
        counts = self._counts
        return {
            name: lambda records, function=function: function(counts[records]) for name, function in FUNCTIONS.items()
        }

    def record_scores(self) -> np.ndarray:
        """Return F1 of the entities of each record; 1 if none is true and none is predicted."""
        num_right, num_true, num_predicted = self._counts.T
        total = num_true + num_predicted
        return np.where(total > 0, 2 * num_right / np.maximum(total, 1), 1.0)

    def outcome(self, record: int) -> Outcome:
        """Return the true and the predicted entities of a record."""
        sides = self._gold[record], self._predicted[record]
        pairs = pair_entities(*sides)
        wrong = [
            (true, predicted) for true, predicted in pairs if not (true and predicted and true.key == predicted.key)
        ]
        confused = tuple((t.label if t else NONE, p.label if p else NONE) for t, p in wrong)
        return Outcome(*map(_entity_list, sides), _highest_wrong(*sides), *map(_spans, sides), confused=confused)

    def confidences(self) -> Confidences:
        """Return the probability of each predicted entity."""
        return Confidences(*confidences(self._gold, self._predicted))

    def per_label(self) -> dict[str, dict]:
        """Return F1, precision, recall and counts of every type."""
        scores = {}
        for name in self._types:
            counts = count(_of_type(self._gold, name), _of_type(self._predicted, name))
            scores[name] = {metric: function(counts) for metric, function in FUNCTIONS.items()}
            scores[name] |= {"num_examples": int(counts[:, 1].sum()), "num_predicted": int(counts[:, 2].sum())}
        return scores

    def sections(self) -> dict:
        """Return kinds of mistakes, confused types, scores by length, and reliability."""
        records = zip(self._gold, self._predicted, strict=True)
        pairs = [pair for true, predicted in records for pair in pair_entities(true, predicted)]
        tables = [_kinds_table(pairs), *_confused_table(pairs), *_length_table(pairs)]
        return {
            "figures": _figures(pairs, self._types),
            "tables": tables,
            "reliability": _reliability(self._gold, self._predicted),
        }

    def mistakes(self) -> list[int]:
        """Return the records with mistakes, by the highest probability of a wrong entity; those without one last."""
        order = []
        for record, (true, predicted) in enumerate(zip(self._gold, self._predicted, strict=True)):
            if _keys(true) != _keys(predicted):
                num_missed = len(_keys(true) - _keys(predicted))
                order.append((-(_highest_wrong(true, predicted) or 0.0), -num_missed, record))
        return [record for *_, record in sorted(order)]


def count(gold: Entities, predicted: Entities) -> np.ndarray:
    """Return the numbers of right, true and predicted entities of each record, int64 `(records, 3)`."""
    rows = []
    for true_entities, predicted_entities in zip(gold, predicted, strict=True):
        true_keys, predicted_keys = _keys(true_entities), _keys(predicted_entities)
        rows.append((len(true_keys & predicted_keys), len(true_keys), len(predicted_keys)))
    return np.asarray(rows, np.int64).reshape(-1, 3)


def precision(counts: np.ndarray) -> float:
    """Return the fraction of predicted entities that are right; 0 if none is predicted.

    Args:
        counts: as returned by `count`.
    """
    num_right, _, num_predicted = counts.sum(0)
    return float(num_right / max(num_predicted, 1))


def recall(counts: np.ndarray) -> float:
    """Return the fraction of true entities that are predicted; 0 if there are none."""
    num_right, num_true, _ = counts.sum(0)
    return float(num_right / max(num_true, 1))


def f1(counts: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall over all entities together (micro average).

    Source: Tjong Kim Sang and De Meulder 2003, section 2.5, and its script conlleval. The script and seqeval derive
        entities from tags and accept invalid tag sequences; ours compares spans, where none can occur.
    """
    num_right, num_true, num_predicted = counts.sum(0)
    return float(2 * num_right / max(num_true + num_predicted, 1))


FUNCTIONS = {F1.name: f1, PRECISION.name: precision, RECALL.name: recall}


def pair_entities(true: Sequence[Entity], predicted: Sequence[Entity]) -> list[Pair]:
    """Pair the true and predicted entities of a text one to one; those without a counterpart are paired with `None`.

    Equal entities are paired first, then those with the same span, then those that overlap most.
    """
    overlaps = [
        (t.key == p.key, (t.start, t.end) == (p.start, p.end), min(t.end, p.end) - max(t.start, p.start), i, j)
        for i, t in enumerate(true)
        for j, p in enumerate(predicted)
        if min(t.end, p.end) > max(t.start, p.start)
    ]
    pairs, true_left, predicted_left = [], dict(enumerate(true)), dict(enumerate(predicted))
    for *_, i, j in sorted(overlaps, key=lambda o: (not o[0], not o[1], -o[2], o[3], o[4])):
        if i in true_left and j in predicted_left:
            pairs.append((true_left.pop(i), predicted_left.pop(j)))
    return pairs + [(t, None) for t in true_left.values()] + [(None, p) for p in predicted_left.values()]


def kind_of(true: Entity, predicted: Entity | None) -> str:
    """Return how well a true entity was predicted: a key of `KINDS`."""
    if predicted is None:
        return "missed"
    if true.key == predicted.key:
        return "exact"
    if (true.start, true.end) == (predicted.start, predicted.end):
        return "type"
    return "span" if true.label == predicted.label else "both"


def confidences(gold: Entities, predicted: Entities) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each predicted entity, and whether it is right."""
    probabilities, is_right = [], []
    for true_entities, predicted_entities in zip(gold, predicted, strict=True):
        true_keys = _keys(true_entities)
        probabilities += [entity.probability for entity in predicted_entities]
        is_right += [entity.key in true_keys for entity in predicted_entities]
    return np.array(probabilities, np.float64), np.array(is_right, bool)


def draw_by_length(rows: Mapping[str, tuple[int, int, int]]) -> Markup:
    """Draw recall and precision by entity length.

    Args:
        rows: the numbers of right, true and predicted entities by length.
    """
    positions = np.arange(len(rows))
    num_right, num_true, num_predicted = np.array(list(rows.values())).T
    styles = {
        "recall": (num_true, drawing.ACCENT, "-", "o"),
        "precision": (num_predicted, drawing.INK, "--", "s"),
    }
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        for name, (total, color, line, marker) in styles.items():
            fractions = np.where(total > 0, num_right / np.maximum(total, 1), np.nan)
            axes.plot(
                positions,
                fractions,
                color=color,
                linestyle=line,
                marker=marker,
                markersize=4,
                linewidth=1.6,
                label=name,
            )
        axes.set(ylim=(-0.02, 1.03), title="Recall and precision by entity length", xlabel="words or ideographs")
        axes.set_xticks(positions, list(rows))
        axes.yaxis.set_major_formatter(drawing.PercentFormatter())
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Recall and precision by entity length")


def _of_type(entities: Entities, name: str) -> Entities:
    return [[entity for entity in of_record if entity.label == name] for of_record in entities]


def _figures(pairs: Sequence[Pair], types: Sequence[str]) -> list[dict]:
    figures = []
    if pairs:
        names = [*types, NONE]
        caption = (
            "Each true entity is paired with at most one predicted entity that overlaps it. The last column counts "
            "missed entities; the last row counts predicted entities without a true one."
        )
        figures.append(
            {
                "title": "Confusion matrix of the types",
                "svg": plots.heat_map(_types_matrix(pairs, names), names, names),
                "caption": caption,
            }
        )
    by_length = _by_length(pairs)
    if len(by_length) > 1:
        caption = "Recall is by length of the true entities, precision by length of the predicted ones."
        figures.append(
            {"title": "Recall and precision by entity length", "svg": draw_by_length(by_length), "caption": caption}
        )
    return figures


def _kinds_table(pairs: Sequence[Pair]) -> dict:
    counts = Counter(kind_of(*pair) for pair in pairs if pair[0])
    num_true = sum(counts.values())
    rows = [[description, counts[kind], _percent(counts[kind], num_true)] for kind, description in KINDS.items()]
    num_spurious = sum(true is None for true, _ in pairs)
    rows.append(["predicted without a true entity", num_spurious, "–"])
    return {
        "title": "Kinds of mistakes",
        "columns": ["kind", "number", "fraction of true entities"],
        "rows": rows,
        "caption": "Only the first row counts as right. If the third row is large, check whether the data "
        "is consistent about what belongs to an entity (titles, articles, quotation marks).",
    }


def _confused_table(pairs: Sequence[Pair]) -> list[dict]:
    confused = [(true, predicted) for true, predicted in pairs if true and predicted and true.label != predicted.label]
    counts = Counter((true.label, predicted.label) for true, predicted in confused)
    examples: dict[tuple[str, str], dict[str, None]] = {}  # each text once, in order
    for true, predicted in confused:
        examples.setdefault((true.label, predicted.label), {})[true.text] = None
    rows = [
        [*labels, number, ", ".join(list(examples[labels])[:_MAX_EXAMPLES])]
        for labels, number in counts.most_common(_MAX_CONFUSIONS)
    ]
    columns = ["true type", "predicted type", "number", "examples"]
    caption = "Pairs of overlapping entities with different types, most frequent first."
    table = {"title": "Confused types", "columns": columns, "rows": rows, "caption": caption, "finds_mistakes": True}
    return [table] if rows else []


def _length_table(pairs: Sequence[Pair]) -> list[dict]:
    rows = [
        [length, num_true, _percent(num_right, num_true), num_predicted, _percent(num_right, num_predicted)]
        for length, (num_right, num_true, num_predicted) in _by_length(pairs).items()
    ]
    columns = ["length in words", "true entities", "recall", "predicted entities", "precision"]
    caption = "Each ideograph and each punctuation mark counts as a word."
    return [{"title": "Scores by entity length", "columns": columns, "rows": rows, "caption": caption}] if rows else []


def _by_length(pairs: Sequence[Pair]) -> dict[str, tuple[int, int, int]]:
    """Return the numbers of right, true and predicted entities by length in words."""
    true = Counter(_length(true) for true, _ in pairs if true)
    predicted = Counter(_length(predicted) for _, predicted in pairs if predicted)
    right = Counter(_length(true) for true, other in pairs if true and other and true.key == other.key)
    return {
        f"{length} or more" if length == _LONGEST_LENGTH else str(length): (
            right[length],
            true[length],
            predicted[length],
        )
        for length in sorted(true.keys() | predicted.keys())
    }


def _length(entity: Entity) -> int:
    return min(_LONGEST_LENGTH, max(1, len(_WORD.findall(entity.text))))


def _types_matrix(pairs: Sequence[Pair], names: Sequence[str]) -> np.ndarray:
    index = {name: position for position, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for true, predicted in pairs:
        matrix[index[true.label if true else NONE], index[predicted.label if predicted else NONE]] += 1
    return matrix


def _reliability(gold: Entities, predicted: Entities) -> dict:
    """Return the reliability of the probabilities of predicted entities; no bins if none is predicted."""
    probabilities, is_right = confidences(gold, predicted)
    if not len(probabilities):
        return {"bins": [], "calibration_error": 0.0}
    return metrics.reliability_of(probabilities, is_right)


def _keys(entities: Sequence[Entity]) -> set[tuple[int, int, str]]:
    return {entity.key for entity in entities}


def _highest_wrong(true: Sequence[Entity], predicted: Sequence[Entity]) -> float | None:
    """Return the highest probability of a predicted entity that is wrong; `None` if none is."""
    return max((entity.probability for entity in predicted if entity.key not in _keys(true)), default=None)


def _entity_list(entities: Sequence[Entity]) -> str:
    shown = [f"{entity.text} [{entity.label}]" for entity in entities[:_SHOWN_ENTITIES]]
    rest = len(entities) - len(shown)
    return "; ".join(shown + ([f"and {rest} more"] if rest else [])) or NONE


def _spans(entities: Sequence[Entity]) -> tuple[LabelledSpan, ...]:
    return tuple(LabelledSpan(*entity.key) for entity in entities)


def _percent(number: int, total: int) -> str:
    return f"{100 * number / total:.1f} %" if total else "–"
