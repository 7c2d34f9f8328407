"""Columns of model inputs in files, for the tasks and for clients of served models.

This module is separate from the tasks because clients do not import TensorFlow.
"""

from collections.abc import Mapping

from tfbert.text.readers.columns import Column
from tfbert.text.records import TEXT

TEXT_PAIR = Column("text_pair", "text_pair, text2, sentence2, sentence_2, question2, hypothesis", required=False)
# Task answers: a question about a context.
QUESTION = Column("question", "question, query")
CONTEXT = Column("context", "context, passage, paragraph, document")
# Task multiple_choice.
STEM = Column("question", "question, query, prompt, stem, context, text, sentence, premise, problem, goal")
CHOICES = Column("choices", "choices, options, endings, alternatives, candidates", several=True)
# Task matching: a text and its match.
ANCHOR = Column("question", "question, query, text, text1, sentence1, sentence_1, anchor, utterance, message")
MATCH = Column(
    "answer", "answer, response, reply, passage, document, positive, text2, text_pair, sentence2, sentence_2, answers"
)
# Sets of served inputs, with the columns from which the tasks read them.
_COLUMNS = (
    {"text": (TEXT, ANCHOR)},
    {"text": (TEXT, ANCHOR), "text_pair": (TEXT_PAIR, MATCH)},
    {"question": (QUESTION,), "context": (CONTEXT,)},
    {"question": (STEM,), "choices": (CHOICES,)},
)


def input_columns(many: Mapping[str, bool]) -> tuple[Column, ...]:
    """Return a column per input of a served model, with its usual names in all tasks that have the same inputs.

    Args:
        many: input name to whether an example has several values. If no task has these inputs, the only usual name of
            an input is its own name.
    """
    own = {name: (Column(name, name),) for name in many}
    known = next((columns for columns in _COLUMNS if columns.keys() == many.keys()), own)
    return tuple(Column(name, _names(known[name]), several=many[name]) for name in known)


def _names(columns: tuple[Column, ...]) -> str:
    return ", ".join(dict.fromkeys(name for column in columns for name in column.usual_names.split(", ")))
