"""Faithfulness of explanations, by a deletion test: how much the probability of the label falls without the top words.

Source: DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models", section 4.2: comprehensiveness
    and sufficiency, averaged over fractions of the words. There the units are tokens; here they are words, which are
    deleted from the text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from tfbert.explanation.explanations import Explanation, WordContribution, without_words
from tfbert.text.inputs import rough_lengths

# Fractions of the words that are deleted or kept.
FRACTIONS = (0.05, 0.1, 0.2, 0.5)
_NUM_RANDOM_ORDERS = 3
_BATCH_SIZE = 64

# A function from items and label ids, one for each item, to the probabilities of these labels: float `(items,)`.
Probabilities = Callable[[Sequence[Mapping[str, Any]], Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class Deletions:
    """The results of a deletion test.

    Args:
        comprehensiveness: the mean decrease of the probability if the first words of an order are deleted; higher is
            better.
        sufficiency: the mean decrease if only they are kept; lower is better.
    """

    comprehensiveness: float
    sufficiency: float


@dataclass(frozen=True)
class Faithfulness:
    """The deletion test of explanations next to that of random orders.

    Args:
        num_texts: the number of texts.
        explained: words in the order of their contributions, highest first.
        random: words in random orders.
    """

    num_texts: int
    explained: Deletions
    random: Deletions


def measure_faithfulness(
    items: Sequence[Mapping[str, Any]],
    explanations: Sequence[Explanation],
    label_ids: Sequence[int],
    probabilities: Probabilities,
    seed: int = 0,
) -> Faithfulness | None:
    """Return the faithfulness of explanations; `None` if no text has two words.

    Args:
        items: the explained items.
        explanations: the explanation of each item.
        label_ids: the id of the explained label of each item.
        probabilities: computes the probabilities of labels.
        seed: random seed of the random orders.
    """
    rng = np.random.default_rng(seed)
    chosen = [index for index, explanation in enumerate(explanations) if len(explanation.words) > 1]
    if not chosen:
        return None
    items, label_ids = [items[index] for index in chosen], [label_ids[index] for index in chosen]
    words = [explanations[index].words for index in chosen]
    original = probabilities(items, label_ids)

    def test(orders: Sequence[Sequence[WordContribution]]) -> Deletions:
        changed: tuple[list, list] = [], []
        for item, order in zip(items, orders, strict=True):
            for fraction in FRACTIONS:
                num_first = ceil(fraction * len(order))
                changed[0].append(without_words(item, order[:num_first]))
                changed[1].append(without_words(item, order[num_first:]))
        repeated = np.repeat(label_ids, len(FRACTIONS)).tolist()
        before = np.repeat(original, len(FRACTIONS))
        return Deletions(*(float(np.mean(before - probabilities(texts, repeated))) for texts in changed))

    explained = test([sorted(text, key=lambda word: -word.contribution) for text in words])
    random = [
        test([[text[i] for i in rng.permutation(len(text))] for text in words]) for _ in range(_NUM_RANDOM_ORDERS)
    ]
    means = (float(np.mean([getattr(r, name) for r in random])) for name in ("comprehensiveness", "sufficiency"))
    return Faithfulness(len(items), explained, Deletions(*means))


def label_probabilities(predict: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, np.ndarray]]) -> Probabilities:
    """Return the function that computes the probabilities of labels with a predictor.

    Args:
        predict: returns the outputs of items, with `probabilities` of all labels.
    """

    def probabilities(items: Sequence[Mapping[str, Any]], label_ids: Sequence[int]) -> np.ndarray:
        result = np.zeros(len(items))
        # Batches of texts of similar length.
        order = np.argsort(-rough_lengths(items), kind="stable")
        for start in range(0, len(order), _BATCH_SIZE):
            indices = order[start : start + _BATCH_SIZE]
            outputs = predict([items[index] for index in indices])
            result[indices] = outputs["probabilities"][np.arange(len(indices)), np.asarray(label_ids)[indices]]
        return result

    return probabilities
