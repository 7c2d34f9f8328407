"""Evaluation of entities: precision, recall and F1 over exact spans, kinds of mistakes, confused types, worst mistakes.

A predicted entity is right if its start, end and type are, as in the shared tasks of CoNLL and in seqeval.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter

from tfbert.evaluation import drawing, metrics, plots
from tfbert.evaluation.metric import Evaluation, Metric

F1 = Metric("f1", "higher", "fraction", "harmonic mean of precision and recall over all entities (micro average)")
PRECISION = Metric(
    "precision", "higher", "fraction", "fraction of the predicted entities whose start, end and type are right"
)
RECALL = Metric(
    "recall",
    "higher",
    "fraction",
    "fraction of the true entities that are predicted with the right start, end and type",
)
METRICS = (F1, PRECISION, RECALL)
NOTHING = "(nothing)"
KINDS = {
    "exact": "found exactly",
    "type": "right place, wrong type",
    "place": "right type, place only overlaps",
    "both": "wrong type, place only overlaps",
    "missed": "missed",
}
_LONGEST_LENGTH = 6
_SHOWN_ENTITIES = 12
_MAX_CONFUSIONS = 10
_MAX_EXAMPLES = 3
_MAX_MISTAKES = 30
# A word of a script with spaces, an ideograph or kana, or a punctuation mark.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\w\s]")


class Entity(NamedTuple):
    """A labelled part of a text.

    Args:
        start: the first Unicode character.
        end: the end, exclusive.
        label: the type.
        text: the characters.
        probability: what the model states; 1 for a true entity.
    """

    start: int
    end: int
    label: str
    text: str
    probability: float = 1.0

    @property
    def key(self) -> tuple[int, int, str]:
        """What has to be right: start, end and type."""
        return self[:3]


Entities = Sequence[Sequence[Entity]]  # of every record
# A true entity and the predicted one that corresponds to it; `None` where there is none.
Pair = tuple[Entity | None, Entity | None]


class EntityEvaluation(Evaluation):
    """The predicted and the true entities of each record.

    Args:
        predicted: by the model.
        gold: the true ones.
        types: the entity types of train.
    """

    def __init__(self, predicted: Entities, gold: Entities, types: Sequence[str]):
        self._predicted, self._gold, self._types = predicted, gold, types
        self._counts = count(gold, predicted)

    def values(self) -> dict[str, float]:
        """Return F1, precision and recall over all entities."""
        return {name: function(self._counts) for name, function in FUNCTIONS.items()}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return F1, precision and recall with intervals over resampled records."""
        counts = self._counts
        return {
            name: metrics.resampled(_of_records(function, counts), len(counts)) for name, function in FUNCTIONS.items()
        }

    def per_label(self) -> dict[str, dict]:
        """Return F1, precision and recall of every type."""
        scores = {}
        for name in self._types:
            counts = count(_of_type(self._gold, name), _of_type(self._predicted, name))
            scores[name] = {metric: function(counts) for metric, function in FUNCTIONS.items()}
            scores[name] |= {"num_examples": int(counts[:, 1].sum()), "num_predicted": int(counts[:, 2].sum())}
        return scores

    def sections(self) -> dict:
        """Return kinds of mistakes, confused types, scores by length, reliability, and the worst mistakes."""
        records = zip(self._gold, self._predicted, strict=True)
        pairs = [pair for true, predicted in records for pair in matched(true, predicted)]
        tables = [_kinds_table(pairs), *_confused_table(pairs), *_length_table(pairs)]
        return {
            "figures": _figures(pairs, self._types),
            "tables": tables,
            "reliability": _reliability(self._gold, self._predicted),
            "worst": _worst(self._gold, self._predicted),
        }


def count(gold: Entities, predicted: Entities) -> np.ndarray:
    """Return the number of exact matches, true and predicted entities of each record: int64 `(records, 3)`."""
    rows = []
    for true, of_model in zip(gold, predicted, strict=True):
        true_keys, predicted_keys = {entity.key for entity in true}, {entity.key for entity in of_model}
        rows.append((len(true_keys & predicted_keys), len(true_keys), len(predicted_keys)))
    return np.asarray(rows, np.int64).reshape(-1, 3)


def precision(counts: np.ndarray) -> float:
    """Return the fraction of predicted entities that are right; 0 if none is predicted. `counts` is from `count`."""
    num_matches, _, num_predicted = counts.sum(0)
    return float(num_matches / max(num_predicted, 1))


def recall(counts: np.ndarray) -> float:
    """Return the fraction of true entities that are predicted; 0 if there is none."""
    num_matches, num_true, _ = counts.sum(0)
    return float(num_matches / max(num_true, 1))


def f1(counts: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall over all entities together (micro average).

    Source: Tjong Kim Sang and De Meulder 2003, section 2.5, and its script conlleval. Both it and seqeval read
        entities off tags and forgive tags that cannot follow; ours compares spans, so that nothing has to be forgiven.
    """
    num_matches, num_true, num_predicted = counts.sum(0)
    return float(2 * num_matches / max(num_true + num_predicted, 1))


FUNCTIONS = {"f1": f1, "precision": precision, "recall": recall}


def matched(true: Sequence[Entity], predicted: Sequence[Entity]) -> list[Pair]:
    """Pair the true and the predicted entities of one text, each at most once; one without a partner is with `None`.

    Equal entities are paired first, then those with the same span, then those that overlap, most characters first.
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
    return "place" if true.label == predicted.label else "both"


def draw_by_length(rows: Mapping[str, tuple[int, int, int]]) -> Markup:
    """Draw recall and precision by the length of entities.

    Args:
        rows: the numbers of exact matches, true and predicted entities by length.
    """
    places = np.arange(len(rows))
    num_matches, num_true, num_predicted = np.array(list(rows.values())).T
    looks = {
        "recall": (num_true, drawing.ACCENT, "-", "o"),
        "precision": (num_predicted, drawing.INK, "--", "s"),
    }
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        for name, (total, color, line, marker) in looks.items():
            share = np.where(total > 0, num_matches / np.maximum(total, 1), np.nan)
            axes.plot(
                places, share, color=color, linestyle=line, marker=marker, markersize=4, linewidth=1.6, label=name
            )
        axes.set(
            ylim=(-0.02, 1.03), title="Recall and precision by length", xlabel="words, or ideographs, of the entity"
        )
        axes.set_xticks(places, list(rows))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Recall and precision by length of the entity")


def _of_records(function: Callable[[np.ndarray], float], counts: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda records: function(counts[records])


def _of_type(entities: Entities, name: str) -> Entities:
    return [[entity for entity in of_record if entity.label == name] for of_record in entities]


def _figures(pairs: Sequence[Pair], types: Sequence[str]) -> list[dict]:
    figures = []
    if pairs:
        names = [*types, NOTHING]
        caption = (
            "Each true entity beside the found one that shares most with it, wherever the latter begins and ends. "
            "The last column: missed. The last row: found where nothing is."
        )
        figures.append(
            {"title": "Types", "svg": plots.heat_map(_types_matrix(pairs, names), names, names), "caption": caption}
        )
    by_length = _by_length(pairs)
    if len(by_length) > 1:
        caption = (
            "Of the true entities of a length, the share found exactly; of the found ones, the share that is right."
        )
        figures.append({"title": "By length of the entity", "svg": draw_by_length(by_length), "caption": caption})
    return figures


def _kinds_table(pairs: Sequence[Pair]) -> dict:
    num_of_kind = Counter(kind_of(*pair) for pair in pairs if pair[0])
    num_true = sum(num_of_kind.values())
    rows = [[words, num_of_kind[kind], _percent(num_of_kind[kind], num_true)] for kind, words in KINDS.items()]
    num_spurious = sum(true is None for true, _ in pairs)
    rows.append(["nothing there: found beside every true one", num_spurious, "–"])
    return {
        "title": "Right and wrong",
        "columns": ["true entities", "number", "share of the true ones"],
        "rows": rows,
        "caption": "Only the first row counts as found. Where the third is large, the types are clear and the places "
        "are not: look whether the data agree on what belongs to an entity (titles, articles, quotation marks).",
    }


def _confused_table(pairs: Sequence[Pair]) -> list[dict]:
    confused = [(true, predicted) for true, predicted in pairs if true and predicted and true.label != predicted.label]
    numbers = Counter((true.label, predicted.label) for true, predicted in confused)
    examples: dict[tuple[str, str], dict[str, None]] = {}  # each text once, in order
    for true, predicted in confused:
        examples.setdefault((true.label, predicted.label), {})[true.text] = None
    rows = [
        [*labels, number, ", ".join(list(examples[labels])[:_MAX_EXAMPLES])]
        for labels, number in numbers.most_common(_MAX_CONFUSIONS)
    ]
    columns = ["true type", "found type", "number", "such as"]
    caption = "Types of entities that overlap, most often confused first."
    return [{"title": "Confused types", "columns": columns, "rows": rows, "caption": caption}] if rows else []


def _length_table(pairs: Sequence[Pair]) -> list[dict]:
    rows = [
        [length, num_true, _percent(num_matches, num_true), num_predicted, _percent(num_matches, num_predicted)]
        for length, (num_matches, num_true, num_predicted) in _by_length(pairs).items()
    ]
    columns = ["length in words", "true entities", "found exactly", "found ones", "right"]
    caption = "Each ideograph and each mark counts as a word."
    return [{"title": "By length, in numbers", "columns": columns, "rows": rows, "caption": caption}] if rows else []


def _by_length(pairs: Sequence[Pair]) -> dict[str, tuple[int, int, int]]:
    """Return the numbers of exact matches, true and predicted entities by length in words."""
    true = Counter(_length(true) for true, _ in pairs if true)
    predicted = Counter(_length(predicted) for _, predicted in pairs if predicted)
    matches = Counter(_length(true) for true, other in pairs if true and other and true.key == other.key)
    return {
        f"{length} or more" if length == _LONGEST_LENGTH else str(length): (
            matches[length],
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
        matrix[index[true.label if true else NOTHING], index[predicted.label if predicted else NOTHING]] += 1
    return matrix


def _reliability(gold: Entities, predicted: Entities) -> dict:
    """Compare the stated probabilities of predicted entities with how often these are right."""
    pairs = [
        (entity.probability, entity.key in {e.key for e in true})
        for true, of_model in zip(gold, predicted, strict=True)
        for entity in of_model
    ]
    stated, right = (np.array([pair[i] for pair in pairs], float) for i in (0, 1))
    # There is one class only, the prediction; where the prediction is wrong, its target is another class.
    return metrics.reliability(1 - right, stated[:, None]) if pairs else {"bins": [], "calibration_error": 0.0}


def _worst(gold: Entities, predicted: Entities) -> dict[int, dict]:
    """Return records with mistakes: the most probable wrong entity first, records that only miss some last."""
    mistakes = []
    for index, (true, of_model) in enumerate(zip(gold, predicted, strict=True)):
        true_keys, predicted_keys = {entity.key for entity in true}, {entity.key for entity in of_model}
        if true_keys != predicted_keys:
            surest = max((entity.probability for entity in of_model if entity.key not in true_keys), default=None)
            mistakes.append((-(surest or 0.0), -len(true_keys - predicted_keys), index, surest))
    return {
        index: {
            "label": _in_words(gold[index]),
            "predicted": _in_words(predicted[index]),
            "probability": surest,
            "label_probability": None,
        }
        for *_, index, surest in sorted(mistakes, key=lambda mistake: mistake[:3])[:_MAX_MISTAKES]
    }


def _in_words(entities: Sequence[Entity]) -> str:
    shown = [f"{entity.text} [{entity.label}]" for entity in entities[:_SHOWN_ENTITIES]]
    rest = len(entities) - len(shown)
    return "; ".join(shown + ([f"and {rest} more"] if rest else [])) or NOTHING


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
