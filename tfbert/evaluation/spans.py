"""True and found entities of texts in; scores, what kinds of mistakes there are, and drawings of both out.

An entity counts as found if start, end and type are right, as in the shared tasks of CoNLL and in seqeval.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter

from tfbert.evaluation import drawing, metrics, plots

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
# A word of a script with blanks, an ideograph or kana, or a mark.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\w\s]")


class Entity(NamedTuple):
    """A labelled part of a text.

    Args:
        start: first Unicode character.
        end: behind the last.
        label: its type.
        text: of it.
        probability: that the model gives it; 1 for a true one.
    """

    start: int
    end: int
    label: str
    text: str
    probability: float = 1.0

    @property
    def key(self) -> tuple[int, int, str]:
        """What has to be right."""
        return self[:3]


Entities = Sequence[Sequence[Entity]]  # of every record


def count(gold: Entities, found: Entities) -> np.ndarray:
    """Return entities found exactly, true ones and found ones of each record: int64 `(records, 3)`."""
    rows = []
    for true, said in zip(gold, found, strict=True):
        true_keys, said_keys = {entity.key for entity in true}, {entity.key for entity in said}
        rows.append((len(true_keys & said_keys), len(true_keys), len(said_keys)))
    return np.asarray(rows, np.int64).reshape(-1, 3)


def precision(counts: np.ndarray) -> float:
    """Return the share of found entities that are right; 0 if none is found. `counts` is that of `count`."""
    hits, _, said = counts.sum(0)
    return float(hits / max(said, 1))


def recall(counts: np.ndarray) -> float:
    """Return the share of true entities that are found; 0 if there is none."""
    hits, true, _ = counts.sum(0)
    return float(hits / max(true, 1))


def f1(counts: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall over all entities together (micro average).

    Source: Tjong Kim Sang and De Meulder 2003, section 2.5, and its script conlleval. Both it and seqeval read
        entities off tags and forgive tags that cannot follow; ours compares spans, so that nothing has to be forgiven.
    """
    hits, true, said = counts.sum(0)
    return float(2 * hits / max(true + said, 1))


FUNCTIONS = {"f1": f1, "precision": precision, "recall": recall}


def scores(gold: Entities, found: Entities, types: Sequence[str]) -> dict:
    """Return `metrics` with intervals over resampled records, and `per_label`, all ready for a report."""
    counts = count(gold, found)
    per_label = {}
    for kind in types:
        of_kind = count(*([[e for e in of if e.label == kind] for of in side] for side in (gold, found)))
        per_label[kind] = {name: function(of_kind) for name, function in FUNCTIONS.items()}
        per_label[kind] |= {"num_examples": int(of_kind[:, 1].sum()), "num_predicted": int(of_kind[:, 2].sum())}
    return {
        "metrics": {
            name: metrics.resampled(_of_rows(function, counts), len(counts)) for name, function in FUNCTIONS.items()
        },
        "per_label": per_label,
    }


def _of_rows(function: Callable[[np.ndarray], float], counts: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: function(counts[rows])


def partners(true: Sequence[Entity], said: Sequence[Entity]) -> list[tuple[Entity | None, Entity | None]]:
    """Pair the true and the found entities of one text, each at most once; one without partner is with `None`.

    Those that are equal first, then those in the same place, then those that overlap, most characters first.
    """
    overlaps = [
        (t.key == s.key, (t.start, t.end) == (s.start, s.end), min(t.end, s.end) - max(t.start, s.start), i, j)
        for i, t in enumerate(true)
        for j, s in enumerate(said)
        if min(t.end, s.end) > max(t.start, s.start)
    ]
    pairs, true_left, said_left = [], dict(enumerate(true)), dict(enumerate(said))
    for *_, i, j in sorted(overlaps, key=lambda o: (not o[0], not o[1], -o[2], o[3], o[4])):
        if i in true_left and j in said_left:
            pairs.append((true_left.pop(i), said_left.pop(j)))
    return pairs + [(t, None) for t in true_left.values()] + [(None, s) for s in said_left.values()]


def kind_of(true: Entity, said: Entity | None) -> str:
    """Return how well a true entity was found: a key of `KINDS`."""
    if said is None:
        return "missed"
    if true.key == said.key:
        return "exact"
    if (true.start, true.end) == (said.start, said.end):
        return "type"
    return "place" if true.label == said.label else "both"


def findings(gold: Entities, found: Entities, types: Sequence[str]) -> dict:
    """Return what the report draws: `figures`, `tables`, `reliability` and `worst`."""
    pairs = [pair for true, said in zip(gold, found, strict=True) for pair in partners(true, said)]
    tables = [_kinds_table(pairs), *_confused_table(pairs), *_length_table(pairs)]
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
    return {
        "figures": figures,
        "tables": tables,
        "reliability": _reliability(gold, found),
        "worst": _worst(gold, found),
    }


def draw_by_length(rows: Mapping[str, tuple[int, int, int]]) -> Markup:
    """Draw recall and precision by the length of entities.

    Args:
        rows: length to entities found exactly, true ones and found ones.
    """
    places = np.arange(len(rows))
    hits, true, said = np.array(list(rows.values())).T
    looks = {"recall": (true, drawing.ACCENT, "-", "o"), "precision": (said, drawing.INK, "--", "s")}
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        for name, (total, color, line, marker) in looks.items():
            share = np.where(total > 0, hits / np.maximum(total, 1), np.nan)
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


Pairs = Sequence[tuple[Entity | None, Entity | None]]


def _kinds_table(pairs: Pairs) -> dict:
    found = Counter(kind_of(*pair) for pair in pairs if pair[0])
    num_true = sum(found.values())
    rows = [[words, found[kind], _percent(found[kind], num_true)] for kind, words in KINDS.items()]
    alarms = sum(true is None for true, _ in pairs)
    rows.append(["nothing there: found beside every true one", alarms, "–"])
    return {
        "title": "Right and wrong",
        "columns": ["true entities", "number", "share of the true ones"],
        "rows": rows,
        "caption": "Only the first row counts as found. Where the third is large, the types are clear and the places "
        "are not: look whether the data agree on what belongs to an entity (titles, articles, quotation marks).",
    }


def _confused_table(pairs: Pairs, most: int = 10) -> list[dict]:
    confused = Counter((true.label, said.label) for true, said in pairs if true and said and true.label != said.label)
    examples: dict[tuple[str, str], dict[str, None]] = {}  # each text once, in order
    for true, said in pairs:
        if true and said and true.label != said.label:
            examples.setdefault((true.label, said.label), {})[true.text] = None
    rows = [[*key, number, ", ".join(list(examples[key])[:3])] for key, number in confused.most_common(most)]
    columns = ["true type", "found type", "number", "such as"]
    caption = "Types of entities that overlap, most often confused first."
    return [{"title": "Confused types", "columns": columns, "rows": rows, "caption": caption}] if rows else []


def _length_table(pairs: Pairs) -> list[dict]:
    rows = [
        [length, true, _percent(hits, true), said, _percent(hits, said)]
        for length, (hits, true, said) in _by_length(pairs).items()
    ]
    columns = ["length in words", "true entities", "found exactly", "found ones", "right"]
    caption = "Each ideograph and each mark counts as a word."
    return [{"title": "By length, in numbers", "columns": columns, "rows": rows, "caption": caption}] if rows else []


def _by_length(pairs: Pairs) -> dict[str, tuple[int, int, int]]:
    """Return, by length in words, the entities found exactly, the true ones and the found ones."""
    true = Counter(_length(true) for true, _ in pairs if true)
    said = Counter(_length(said) for _, said in pairs if said)
    hits = Counter(_length(true) for true, said in pairs if true and said and true.key == said.key)
    return {
        f"{length} or more" if length == _LONGEST_LENGTH else str(length): (hits[length], true[length], said[length])
        for length in sorted(true.keys() | said.keys())
    }


def _length(entity: Entity) -> int:
    return min(_LONGEST_LENGTH, max(1, len(_WORD.findall(entity.text))))


def _types_matrix(pairs: Pairs, names: Sequence[str]) -> np.ndarray:
    index = {name: position for position, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for true, said in pairs:
        matrix[index[true.label if true else NOTHING], index[said.label if said else NOTHING]] += 1
    return matrix


def _reliability(gold: Entities, found: Entities) -> dict:
    """Compare stated probabilities of found entities with how often these are right."""
    pairs = [
        (entity.probability, entity.key in {e.key for e in true})
        for true, said in zip(gold, found, strict=True)
        for entity in said
    ]
    stated, right = (np.array([pair[i] for pair in pairs], float) for i in (0, 1))
    # One class only, which is the answer; its target is another where the answer is wrong.
    return metrics.reliability(1 - right, stated[:, None]) if pairs else {"bins": [], "calibration_error": 0.0}


def _worst(gold: Entities, found: Entities, most: int = 30) -> dict[int, dict]:
    """Return the records with mistakes, those with the surest wrong entity first, those that only miss some last."""
    mistakes = []
    for index, (true, said) in enumerate(zip(gold, found, strict=True)):
        keys, said_keys = {entity.key for entity in true}, {entity.key for entity in said}
        if keys != said_keys:
            surest = max((entity.probability for entity in said if entity.key not in keys), default=None)
            mistakes.append((-(surest or 0.0), -len(keys - said_keys), index, surest))
    return {
        index: {
            "label": _in_words(gold[index]),
            "predicted": _in_words(found[index]),
            "probability": surest,
            "label_probability": None,
        }
        for *_, index, surest in sorted(mistakes, key=lambda mistake: mistake[:3])[:most]
    }


def _in_words(entities: Sequence[Entity]) -> str:
    shown = [f"{entity.text} [{entity.label}]" for entity in entities[:_SHOWN_ENTITIES]]
    rest = len(entities) - len(shown)
    return "; ".join(shown + ([f"and {rest} more"] if rest else [])) or NOTHING


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
