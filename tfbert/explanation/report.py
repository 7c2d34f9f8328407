"""Explanations in the report of a run: of the first mistakes, and their faithfulness on some texts of a split."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tfbert.explanation.explainer import MAX_OCCLUDED_WORDS, Explainer
from tfbert.explanation.explanations import Explanation
from tfbert.explanation.faithfulness import Faithfulness, label_probabilities, measure_faithfulness
from tfbert.models.predictor import Predictor
from tfbert.text.inputs import Item, rough_lengths
from tfbert.text.splits import Split

# Limits, so that a report takes only a few seconds longer.
_MAX_MISTAKES, _MAX_TEXTS, _MAX_TOKENS = 20, 50, 30_000
# Similar training examples per mistake.
_MAX_SIMILAR = 3
# Forward passes through which a text goes by integrated gradients: at 16 points, with gradients.
_PASSES_OF_GRADIENTS = 48


def explanation_details(predictor: Predictor, split: Split, mistakes: Sequence[int]) -> dict[str, Any]:
    """Return what the page of a report shows of explanations, as JSON values; empty for a task without explanations.

    Args:
        predictor: the predictor.
        split: the split that the page describes.
        mistakes: the positions of the wrongly predicted records, worst first.

    Returns:
        `explanations`, one for each of the first mistakes: for each word the position of its text in the record, its
        start and end, and its contribution to the predicted label; `evidence`, for each of them the texts, the label
        and the similarity of similar training examples; and for a task with probabilities of labels, `faithfulness` on
        the first texts of the split.
    """
    if predictor.task.explained is None:
        return {}
    explainer = Explainer(predictor, run_eagerly=True)
    positions = {name: index for index, name in enumerate(predictor.specs)}
    wrong = [predictor.task.inputs_of(record) for record in split.records_at(mistakes[:_MAX_MISTAKES])]
    explained = _explain(explainer, _affordable(wrong))
    words = [[(positions[w.input], w.start, w.end, w.contribution) for w in each.words] for each in explained]
    similar = [
        [((e.text, *filter(None, [e.text_pair])), e.label, e.similarity) for e in each.evidence[:_MAX_SIMILAR]]
        for each in explained
    ]
    measured = _faithfulness(predictor, explainer, split)
    return {
        "explanations": words,
        "evidence": similar,
        "faithfulness": None if measured is None else asdict(measured),
    }


def _faithfulness(predictor: Predictor, explainer: Explainer, split: Split) -> Faithfulness | None:
    task = predictor.task
    if "probabilities" not in {output.name for output in task.outputs}:
        return None
    items = _affordable([task.inputs_of(record) for record in itertools.islice(split, _MAX_TEXTS)])
    explanations = _explain(explainer, items)
    label_ids = [task.known_labels.index(explanation.label) for explanation in explanations]
    # The graph of `decode` has been traced for the evaluation, that of all outputs has not.
    predict = label_probabilities(lambda batch: predictor.apply_decision(predictor.decode(batch)))
    return measure_faithfulness(items, explanations, label_ids, predict)


def _explain(explainer: Explainer, items: Sequence[Item]) -> list[Explanation]:
    return [Explanation.from_outputs(outputs) for _, outputs in explainer.explain(items, batch_size=_MAX_TEXTS)]


def _affordable(items: Sequence[Item]) -> list[Item]:
    """Return the first items whose explanations take few forward passes together."""
    if not items:
        return []
    lengths = rough_lengths(items)
    passes = np.where(lengths <= MAX_OCCLUDED_WORDS, lengths, _PASSES_OF_GRADIENTS)
    return list(items[: int(np.searchsorted(np.cumsum(passes * lengths), _MAX_TOKENS, "right"))])
