"""Columns of what a model is asked about: of records in training, of the inputs of a served model afterwards.

They are not defined beside the tasks because a client of a server reads files without TensorFlow.
"""

from collections.abc import Mapping

from tfbert.text.columns import Column
from tfbert.text.records import TEXT

TEXT_PAIR = Column("text_pair", "text_pair, text2, sentence2, sentence_2, question2, hypothesis", required=False)
# Of answers: a question about a context.
QUESTION = Column("question", "question, query")
CONTEXT = Column("context", "context, passage, paragraph, document")
# Of multiple choice.
STEM = Column("question", "question, query, prompt, stem, context, text, sentence, premise, problem, goal")
CHOICES = Column("choices", "choices, options, endings, alternatives, candidates", several=True)
# Of matching: a text and what matches it.
ANCHOR = Column("question", "question, query, text, text1, sentence1, sentence_1, anchor, utterance, message")
MATCH = Column(
    "answer", "answer, response, reply, passage, document, positive, text2, text_pair, sentence2, sentence_2, answers"
)
# Of the inputs of a served model together, the columns that tasks learn them from.
_COLUMNS = (
    {"text": (TEXT, ANCHOR)},
    {"text": (TEXT, ANCHOR), "text_pair": (TEXT_PAIR, MATCH)},
    {"question": (QUESTION,), "context": (CONTEXT,)},
    {"question": (STEM,), "choices": (CHOICES,)},
)


def input_columns(input_ranks: Mapping[str, int]) -> tuple[Column, ...]:
    """Return a column for each input of a served model, with all usual names that the tasks give it.

    Args:
        input_ranks: of the model, by name: 1 for a text, 2 for several. Inputs that no task has are known by their own
            names only.
    """
    own = {name: (Column(name, name),) for name in input_ranks}
    known = next((columns for columns in _COLUMNS if columns.keys() == input_ranks.keys()), own)
    return tuple(Column(name, _names(known[name]), several=input_ranks[name] > 1) for name in known)


def _names(columns: tuple[Column, ...]) -> str:
    return ", ".join(dict.fromkeys(name for column in columns for name in column.usual_names.split(", ")))
