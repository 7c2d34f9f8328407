"""Answers without what fills their lists up: in a batch, lists are as long as its longest one.

Which lists an answer has depends on the task, of which a client of a server sees nothing but the names of the outputs.
"""

from collections.abc import Mapping

# Lists by the output that says how many of their values count.
_COUNTED = {
    "num_labels": ("labels", "label_probabilities"),
    "num_entities": ("entity_text", "entity_label", "start", "end", "probability"),
}
# Lists by the one that is -1 where they are filled up, of answers that have this other output.
_PLACED = {"best_answer": ("start", ("answer", "start", "end", "probability"))}
# Lists by the input that has as many texts.
_PER_INPUT = {"choices": ("probabilities",)}


def without_padding(item: Mapping, answer: Mapping) -> dict:
    """Return an answer with its lists cut to what belongs to the item alone.

    Args:
        item: what was asked, by input.
        answer: as JSON has it, by output.
    """
    lengths: dict[str, int] = {}
    for count, names in _COUNTED.items():
        if isinstance(answer.get(count), int):
            lengths |= dict.fromkeys(names, answer[count])
    for marker, (place, names) in _PLACED.items():
        if marker in answer and isinstance(answer.get(place), list):
            lengths |= dict.fromkeys(names, sum(value != -1 for value in answer[place]))
    for name, names in _PER_INPUT.items():
        if name in item:
            lengths |= dict.fromkeys(names, len(item[name]))
    return {
        name: value[: lengths[name]] if name in lengths and isinstance(value, list) else value
        for name, value in answer.items()
    }
