"""Explanations of predictions on the command line: their computation by any method, and how a terminal shows them."""

import argparse
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfbert.explanation.explanations import Explanation, SimilarExample, WordContribution, without_words
from tfbert.explanation.shapley import shapley_values
from tfbert.nearest import did_you_mean
from tfbert.tasks.base_outputs import GRADIENTS, OCCLUSION

DEFAULT, SHAPLEY = "default", "shapley"
METHODS = (DEFAULT, OCCLUSION, GRADIENTS, SHAPLEY)
Item = Mapping[str, Any]
Predictions = Iterator[tuple[Item, dict[str, Any]]]
# Background colours of 256, from weak to strong, with their text colour.
_SUPPORTS, _CONTRADICTS, _TEXT_COLOUR = (22, 28, 34), (52, 88, 124), 231
# Contributions below this fraction of the largest one have no colour.
_MIN_FRACTION = 0.1
_MAX_LISTED = 5
# The number of similar training examples that are shown, and the characters of each.
_MAX_SIMILAR, _MAX_CHARACTERS = 3, 80
# The smallest odds that a prediction is taken to have.
_MIN_PROBABILITY = 1e-12


@dataclass(frozen=True)
class LoadedModel:
    """A model, in this process or on a server.

    Args:
        name: the model as the user gave it, for messages.
        inputs: the inputs by name.
        outputs: the names of its outputs; empty if they are unknown.
        labels: all labels; empty if they are unknown.
        predict: yields items with their predictions, without padding.
        explain: yields items with their explanations; takes items, a label and a method, "" for the defaults.
    """

    name: str
    inputs: Mapping[str, Any]
    outputs: Sequence[str]
    labels: Sequence[str]
    predict: Callable[[Iterable[Item]], Predictions]
    explain: Callable[[Iterable[Item], str, str], Predictions]


def method(name: str) -> str:
    """Return the value of `--explain`.

    Raises:
        ArgumentTypeError: there is no such method.
    """
    if name not in METHODS:
        raise argparse.ArgumentTypeError(f"'{name}' is not one of {', '.join(METHODS)}; texts come before --explain")
    return name


def explain(model: LoadedModel, items: Iterable[Item], method: str, label: str) -> Predictions:
    """Yield items with their explanations.

    Args:
        model: the model.
        items: any number; read lazily.
        method: one of `METHODS`.
        label: the label to explain; "" for the predicted one.

    Raises:
        ValueError: the model does not have the label, or Shapley values need outputs that it does not have.
    """
    if label and model.outputs and label not in model.labels:
        expected = "one of the labels of the model" if model.labels else f"a model with labels, unlike {model.name}"
        raise ValueError(f"--label '{label}': expected {expected}{did_you_mean(label, model.labels)}")
    if method != SHAPLEY:
        yield from model.explain(items, label, "" if method == DEFAULT else method)
        return
    if label and not model.labels:
        raise ValueError(f"--label '{label}': a server does not send the labels; expected no --explain {SHAPLEY}")
    for item, outputs in model.explain(items, label, OCCLUSION):
        yield item, _with_shapley(model, item, outputs, label)


def _with_shapley(model: LoadedModel, item: Item, outputs: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return an explanation with Shapley values as contributions."""
    explained = Explanation.from_outputs(outputs).words
    label_id = model.labels.index(label) if label else None

    def values(sets: np.ndarray) -> np.ndarray:
        nonlocal label_id
        texts = [without_words(item, [w for w, kept in zip(explained, row, strict=True) if not kept]) for row in sets]
        predictions = [prediction for _, prediction in model.predict([item, *texts])]
        if label_id is None and "probabilities" in predictions[0]:
            label_id = int(np.argmax(predictions[0]["probabilities"]))
        return np.array([_value(model, prediction, label_id) for prediction in predictions[1:]])

    contributions = shapley_values(len(explained), values).tolist()
    return {**outputs, "contribution": contributions, "method": SHAPLEY, "gap": -1.0}


def _value(model: LoadedModel, prediction: Mapping[str, Any], label_id: int | None) -> float:
    """Return the log-odds of a label in a prediction, or its value."""
    if "value" in prediction:
        return prediction["value"]
    if label_id is None or "probabilities" not in prediction:
        raise ValueError(f"--explain {SHAPLEY}: expected a model with probabilities of labels, unlike {model.name}")
    probabilities = np.asarray(prediction["probabilities"])
    probability = probabilities[label_id]
    # The probabilities of several labels do not add up to 1. The sum of the others is more precise than the difference.
    others = 1 - probability if "labels" in prediction else np.delete(probabilities, label_id).sum()
    return float(np.log(max(probability, _MIN_PROBABILITY)) - np.log(max(others, _MIN_PROBABILITY)))


def explanation_lines(item: Item, outputs: Mapping[str, Any]) -> list[str]:
    """Return the lines that show one explanation on a terminal.

    They are the coloured texts, the label, the strongest words and similar training examples.

    Args:
        item: the inputs by name.
        outputs: the explanation, without padding.
    """
    explanation = Explanation.from_outputs(outputs)
    largest = max((abs(word.contribution) for word in explanation.words), default=0.0)
    has_colours = not os.environ.get("NO_COLOR")
    lines = []
    for name, text in item.items():
        inside = [word for word in explanation.words if word.input == name]
        shown = _coloured(text, inside, largest) if has_colours else text
        lines.append(f"{name}: {shown}" if len(item) > 1 else shown)
    about = f"{explanation.label}  {outputs['log_odds']:+.2f}"
    if explanation.explained_word >= 0:
        about += f" at {explanation.words[explanation.explained_word].word}"
    lines.append(f"  {about}  ({outputs['method']})")
    for title, sign in (("for", 1), ("against", -1)):
        strongest = sorted(explanation.words, key=lambda word, sign=sign: -sign * word.contribution)[:_MAX_LISTED]
        named = [
            f"{_quoted(w.word)} {w.contribution:+.2f}"
            for w in strongest
            if sign * w.contribution > _MIN_FRACTION * largest
        ]
        lines += [f"  {title}: {', '.join(named)}"] if named else []
    similar = explanation.evidence[:_MAX_SIMILAR]
    return lines + ["  similar in train:"] * bool(similar) + [f"    {_similar_line(example)}" for example in similar]


def _quoted(word: str) -> str:
    """Return a word, in quotes if it is punctuation, which would look like that of the list."""
    return word if any(map(str.isalnum, word)) else f"'{word}'"


def _similar_line(example: SimilarExample) -> str:
    text = " ".join(" | ".join(filter(None, (example.text, example.text_pair))).split())
    label = example.label or "nothing"
    return f"{example.similarity:.2f}  {label}  {textwrap.shorten(text, _MAX_CHARACTERS, placeholder=' …')}"


def _coloured(text: str, inside: Sequence[WordContribution], largest: float) -> str:
    """Return a text with the words coloured by sign and size."""
    result, end = "", 0
    for word in inside:
        fraction = abs(word.contribution) / largest if largest else 0.0
        result += text[end : word.start]
        part, end = text[word.start : word.end], word.end
        if fraction < _MIN_FRACTION:
            result += part
            continue
        colours = _SUPPORTS if word.contribution > 0 else _CONTRADICTS
        colour = colours[min(int(fraction * len(colours)), len(colours) - 1)]
        result += f"\x1b[38;5;{_TEXT_COLOUR};48;5;{colour}m{part}\x1b[0m"
    return result + text[end:]
