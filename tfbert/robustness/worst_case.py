"""Search for edits that mislead a model: typing errors in the words that matter most, with a limited number of queries.

Source: Gao et al. 2018, "Black-box Generation of Adversarial Text Sequences to Evade Deep Learning Classifiers"
    (DeepWordBug), for character edits in important words. Ours asks the model for the importance of a word, by leaving
    the word out, and keeps the best of several edits.
"""

import itertools
import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tfbert.evaluation.metric import Outcome
from tfbert.evaluation.metrics import proportion
from tfbert.models.predictor import Predict, predict_all
from tfbert.robustness.results import NUM_WORST, WorstCase, WorstText
from tfbert.tasks.base import FittedTask
from tfbert.text.edits import apply_edits
from tfbert.text.perturbations.spelling import misspellings
from tfbert.text.perturbations.words import Word, words_of
from tfbert.text.records import Record

MAX_QUERIES = 50
MAX_TEXTS = 200
_EDITS_PER_WORD = 2
# At most this many queries find the words that matter.
_IMPORTANCE_QUERIES = 25


@dataclass(frozen=True)
class Attacked:
    """A record to mislead the model with, whose prediction is right.

    Args:
        record: the record.
        probability: the probability of its true label.
    """

    record: Record
    probability: float


@dataclass(frozen=True)
class _Found:
    """What the search has found for a record.

    Args:
        texts: the texts with the lowest probability of the true label.
        outcome: the prediction for them; `None` if no edit lowers the probability.
        num_queries: the number of queries.
    """

    texts: tuple[str, ...]
    outcome: Outcome | None
    num_queries: int

    @property
    def is_wrong(self) -> bool:
        """Whether the prediction is wrong."""
        return self.outcome is not None and self.outcome.predicted != self.outcome.gold


# Yields candidate texts of a record, is sent the predictions for them, and returns what it has found.
_Search = Generator[list[tuple[str, ...]], list[Outcome], _Found]


def search_worst_cases(
    predict: Predict, task: FittedTask, decided: Mapping[str, np.ndarray], attacked: Sequence[Attacked]
) -> WorstCase | None:
    """Search for misleading edits of records.

    Args:
        predict: returns the served outputs for items.
        task: the fitted task, whose outcomes have the probability of the true label.
        decided: the values of the decision's variables by name.
        attacked: the records. Of more than `MAX_TEXTS`, this many are drawn at random, always the same.

    Returns:
        The result; `None` without records.
    """
    if not attacked:
        return None
    attacked = random.Random(0).sample(attacked, min(MAX_TEXTS, len(attacked)))
    found = _search_together(predict, task, decided, attacked)
    wrong = [(entry.record, result) for entry, result in zip(attacked, found, strict=True) if result.is_wrong]
    wrong.sort(key=lambda pair: -(pair[1].outcome.confidence or 0.0))
    worst = [
        WorstText(
            where=record.where,
            original=record.texts,
            perturbed=result.texts,
            gold=result.outcome.gold,
            before=result.outcome.gold,
            after=result.outcome.predicted,
            confidence=result.outcome.confidence,
        )
        for record, result in wrong[:NUM_WORST]
    ]
    return WorstCase(
        num_texts=len(attacked),
        success=proportion(len(wrong), len(attacked)),
        max_queries=MAX_QUERIES,
        mean_queries=sum(result.num_queries for result in found) / len(found),
        worst=worst,
    )


def _search_together(
    predict: Predict, task: FittedTask, decided: Mapping[str, np.ndarray], attacked: Sequence[Attacked]
) -> list[_Found]:
    """Return what the search finds for each record; the next queries of all records are predicted together."""
    found: dict[int, _Found] = {}
    searches = dict(enumerate(map(_search, attacked)))
    asked = {index: next(search) for index, search in searches.items()}
    while asked:
        queries = [_with_texts(attacked[index].record, texts) for index, several in asked.items() for texts in several]
        outcomes: Iterator[Outcome] = iter(())
        if queries:
            outputs, gold = predict_all(predict, task, queries, len(queries), "worst case")
            outcomes = map(task.evaluate(outputs, gold, decided).outcome, range(len(queries)))
        next_asked = {}
        for index, several in asked.items():
            try:
                next_asked[index] = searches[index].send(list(itertools.islice(outcomes, len(several))))
            except StopIteration as stop:
                found[index] = stop.value
        asked = next_asked
    return [found[index] for index in range(len(attacked))]


def _search(attacked: Attacked) -> _Search:
    """Misspell the words of a record, the most important ones first, until its prediction is wrong."""
    rng = random.Random("\n".join(attacked.record.texts))
    pieces = list(map(_pieces, attacked.record.texts))
    # Words are every second piece. Long words usually say most.
    words = [(text, index) for text, of_text in enumerate(pieces) for index in range(1, len(of_text), 2)]
    words = sorted(words, key=lambda word: -len(pieces[word[0]][word[1]]))[:_IMPORTANCE_QUERIES]
    without = yield [_joined(pieces, *word, "") for word in words]
    num_queries, lowest, best = len(words), attacked.probability, None
    for position in np.argsort([outcome.gold_probability for outcome in without], kind="stable"):
        text, index = words[position]
        for _ in range(_EDITS_PER_WORD):
            word = pieces[text][index]
            edits = misspellings(Word(0, len(word), word), rng) if len(word) > 1 else []
            changed = [apply_edits(word, [edit]) for edit in edits[: MAX_QUERIES - num_queries]]
            outcomes = yield [_joined(pieces, text, index, other) for other in changed]
            num_queries += len(changed)
            probabilities = [outcome.gold_probability for outcome in outcomes]
            if not changed or min(probabilities) >= lowest:
                break
            lowest = min(probabilities)
            pieces[text][index], best = changed[probabilities.index(lowest)], outcomes[probabilities.index(lowest)]
            if best.predicted != best.gold:
                return _Found(tuple(map("".join, pieces)), best, num_queries)
    return _Found(tuple(map("".join, pieces)), best, num_queries)


def _pieces(text: str) -> list[str]:
    """Return the pieces of a text between the borders of its words, of which every second one is a word."""
    borders = [0, *itertools.chain.from_iterable((word.start, word.end) for word in words_of(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(borders)]


def _joined(pieces: Sequence[Sequence[str]], text: int, index: int, replacement: str) -> tuple[str, ...]:
    """Return the texts with another piece at an index of one of them."""
    changed = [*pieces[text][:index], replacement, *pieces[text][index + 1 :]]
    return tuple("".join(changed if number == text else of_text) for number, of_text in enumerate(pieces))


def _with_texts(record: Record, texts: Sequence[str]) -> Record:
    return replace(record, text=texts[0], others=tuple(texts[1:]))
