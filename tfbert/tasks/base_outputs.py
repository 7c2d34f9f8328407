"""The served outputs of each task, with their dtypes, roles and descriptions.

They are declared apart from the tasks because clients of a server read predictions without importing TensorFlow.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Role = Literal["answer", "confidence", "abstain", "evidence", "note"]


@dataclass(frozen=True)
class Output:
    """One served output.

    Args:
        name: the key in a prediction.
        dtype: `string`, `int32`, `float32` or `bool`.
        description: the meaning of the values, in a few words.
        role: `answer`; `confidence`, how sure the model is of the answer; `abstain`, whether there is no answer;
            `evidence`, from which the answer was chosen; or `note`.
        is_list: whether there are several values per record.
        length_from: for a padded list, the name of the field that gives its length: an output with the number of
            values, an `int32` list that is -1 in padding, or an input with the same number of values.
        abstain_value: for an `abstain` output, the value that means that there is no answer.
        is_label: whether the output is the only label of a record, out of a fixed set.
        only_with: the config path of the option that adds the output; empty if the task always has it.
    """

    name: str
    dtype: Literal["string", "int32", "float32", "bool"]
    description: str
    role: Role = "note"
    is_list: bool = False
    length_from: str | None = None
    abstain_value: Any = None
    is_label: bool = False
    only_with: str = ""


Outputs = tuple[Output, ...]

_TRUNCATED = Output("truncated", "bool", "whether the input is longer than `encoder.sequence_length` and was cut")
_PROBABILITIES = Output(
    "probabilities", "float32", "the probability of every label, in the order of `assets/labels.txt`", "evidence", True
)
_END = "the position after the last Unicode character of each; padded with -1"
_COVERAGE, _MAX_ERROR = "decision.coverage", "decision.max_error"
_ABSTAIN = Output(
    "abstain",
    "bool",
    "whether the prediction should not be used: its probability is below the threshold, or the text is out of domain",
    "abstain",
    abstain_value=True,
    only_with=_MAX_ERROR,
)
_OUT_OF_DOMAIN = Output(
    "out_of_domain",
    "float32",
    "a p-value: the fraction of texts like those of train that are at least as unusual; below 0.05, a text counts as "
    "out of domain, which about 5 % of texts like those of train do, too",
    "evidence",
    only_with="decision.out_of_domain",
)
CLASSIFICATION: Outputs = (
    Output("label", "string", "the most probable label", "answer", is_label=True),
    Output("label_id", "int32", "its position in `assets/labels.txt`, counted from 0", "evidence"),
    Output("probability", "float32", "its probability", "confidence"),
    _PROBABILITIES,
    Output(
        "label_set",
        "string",
        'the labels that contain the true one with the chosen coverage, most probable first; padded with ""',
        "evidence",
        True,
        "set_size",
        only_with=_COVERAGE,
    ),
    Output("set_size", "int32", "the number of these labels", "evidence", only_with=_COVERAGE),
    _ABSTAIN,
    _OUT_OF_DOMAIN,
    _TRUNCATED,
)
REGRESSION: Outputs = (
    Output(
        "value", "float32", "the predicted number, in the units of the data and within the range of train", "answer"
    ),
    Output(
        "low",
        "float32",
        "the lower end of the interval that contains the true number with the chosen coverage",
        "evidence",
        only_with=_COVERAGE,
    ),
    Output("high", "float32", "its upper end", "evidence", only_with=_COVERAGE),
    _OUT_OF_DOMAIN,
    _TRUNCATED,
)
MULTILABEL: Outputs = (
    Output(
        "labels",
        "string",
        'the labels whose probability reaches their threshold, most probable first; padded with ""',
        "answer",
        True,
        "num_labels",
    ),
    Output("label_probabilities", "float32", "their probabilities; padded with 0", "confidence", True, "num_labels"),
    Output(
        "num_labels", "int32", "the number of these labels; 0 if none reaches its threshold", "abstain", abstain_value=0
    ),
    _PROBABILITIES,
    _OUT_OF_DOMAIN,
    _TRUNCATED,
)
MULTIPLE_CHOICE: Outputs = (
    Output("choice", "string", 'the most probable choice; "" if there are no choices', "answer"),
    Output("choice_index", "int32", "its position among the choices, counted from 0; -1 if there are none", "evidence"),
    Output("probability", "float32", "its probability; 0 if there are no choices", "confidence"),
    Output(
        "probabilities", "float32", "the probability of every choice; 0 for empty choices", "evidence", True, "choices"
    ),
    Output(
        "choice_set",
        "string",
        'the choices that contain the right one with the chosen coverage, most probable first; padded with ""',
        "evidence",
        True,
        "set_size",
        only_with=_COVERAGE,
    ),
    Output("set_size", "int32", "the number of these choices", "evidence", only_with=_COVERAGE),
    replace(_ABSTAIN, description="whether the prediction should not be used: its probability is below the threshold"),
    Output("truncated", "bool", "whether tokens of the question or of a choice were cut"),
)
MATCHING_PAIRS: Outputs = (
    Output(
        "answer",
        "string",
        "the 10 most similar answers of the index, best first; all answers if it has fewer",
        "answer",
        is_list=True,
    ),
    Output("similarity", "float32", "the similarity of each answer to the text", "confidence", is_list=True),
    Output(
        "matched_question",
        "string",
        'the most similar training question of each answer; "" if it has none',
        "evidence",
        True,
    ),
    Output("abstain", "bool", "whether the best similarity is below the threshold", "abstain", abstain_value=True),
    _TRUNCATED,
)
MATCHING_SCORED: Outputs = (
    Output("similarity", "float32", "the cosine similarity of the vectors of the two texts, from -1 to 1", "answer"),
    Output("truncated", "bool", "whether one of the texts is longer than `encoder.sequence_length` and was cut"),
)
ENTITIES: Outputs = (
    Output("entity_text", "string", 'the entities, in text order; padded with ""', "answer", True, "num_entities"),
    Output("entity_label", "string", 'their types; padded with ""', "answer", True, "num_entities"),
    Output(
        "start",
        "int32",
        "the position of the first Unicode character of each in the text as sent; padded with -1",
        "evidence",
        True,
        "num_entities",
    ),
    Output("end", "int32", _END, "evidence", True, "num_entities"),
    Output(
        "probability",
        "float32",
        "the geometric mean of the probabilities of its tags; padded with 0",
        "confidence",
        True,
        "num_entities",
    ),
    Output("num_entities", "int32", "the number of entities", "abstain", abstain_value=0),
)
ANSWERS: Outputs = (
    Output("best_answer", "string", 'the best answer; "" if the context has none', "abstain", abstain_value=""),
    Output(
        "answer",
        "string",
        'the 5 best spans of the context, best first, which may overlap; padded with ""',
        "answer",
        True,
        "start",
    ),
    Output(
        "start",
        "int32",
        "the position of the first Unicode character of each in the context as sent; padded with -1",
        "evidence",
        True,
        "start",
    ),
    Output("end", "int32", _END, "evidence", True, "start"),
    Output("probability", "float32", "the probability of each; padded with 0", "confidence", True, "start"),
    Output("no_answer_probability", "float32", "the probability that the context has no answer", "evidence"),
    Output(
        "no_answer_margin",
        "float32",
        'the logit of no answer minus that of the best span; above the threshold, `best_answer` is ""',
        "evidence",
    ),
    Output("truncated", "bool", "whether the question was cut"),
)
# The outputs of all tasks, for models on a server, which does not tell their task.
ALL = (CLASSIFICATION, REGRESSION, MULTILABEL, MULTIPLE_CHOICE, MATCHING_PAIRS, MATCHING_SCORED, ENTITIES, ANSWERS)

# The signature that explains predictions, and the names of its methods.
EXPLAIN, OCCLUSION, GRADIENTS = "explain", "occlusion", "gradients"
_EVIDENCE = "decision.evidence"
EXPLANATION: Outputs = (
    Output("explained_label", "string", "the label that is explained"),
    Output(
        "log_odds",
        "float32",
        "the log-odds of this label, to which the words contribute; for regression, the value itself, without limits",
    ),
    Output(
        "explained_word",
        "int32",
        "for entities, the position in `word` of the word whose type is explained; otherwise -1",
    ),
    Output("method", "string", f"`{OCCLUSION}` or `{GRADIENTS}`"),
    Output(
        "gap",
        "float32",
        "for gradients, by how much the sum of the contributions differs from the change of the log-odds from an empty "
        "text, as a fraction of this change; otherwise -1",
    ),
    Output("word", "string", 'the words, in text order; padded with ""', "evidence", True, "start"),
    Output("input", "string", 'the input that contains each word; padded with ""', "evidence", True, "start"),
    Output(
        "start",
        "int32",
        "the position of the first Unicode character of each in the input as sent; padded with -1",
        "evidence",
        True,
        "start",
    ),
    Output("end", "int32", _END, "evidence", True, "start"),
    Output(
        "contribution",
        "float32",
        "what each contributes to the log-odds; 0 for words beyond the cut and in padding",
        "evidence",
        True,
        "start",
    ),
    Output(
        "evidence",
        "string",
        "the most similar training examples that the model keeps, up to 5, most similar first",
        "evidence",
        True,
        only_with=_EVIDENCE,
    ),
    Output("evidence_pair", "string", "their second texts, for pairs", "evidence", True, only_with=_EVIDENCE),
    Output("evidence_label", "string", "their labels", "evidence", True, only_with=_EVIDENCE),
    Output(
        "evidence_similarity",
        "float32",
        "the cosine similarity of their vectors to that of the input, from -1 to 1",
        "evidence",
        True,
        only_with=_EVIDENCE,
    ),
)


def declared(names: Collection[str]) -> Outputs:
    """Return the outputs of the signature whose outputs have these names; empty if there is no such one."""
    names = set(names)
    for outputs in (*ALL, EXPLANATION):
        required = {output.name for output in outputs if not output.only_with}
        if required <= names <= {output.name for output in outputs}:
            return tuple(output for output in outputs if output.name in names)
    return ()


def to_json(outputs: Outputs) -> dict[str, dict[str, Any]]:
    """Return declarations as JSON, by output name; `from_json` reads them."""
    return {output.name: asdict(output) for output in outputs}


def from_json(document: Mapping[str, Mapping[str, Any]]) -> Outputs:
    """Return the declarations that `to_json` has written.

    Raises:
        TypeError: a declaration has missing or unknown fields.
    """
    return tuple(Output(**fields) for fields in document.values())


def without_padding(outputs: Outputs, item: Mapping, prediction: Mapping) -> dict:
    """Return a prediction without the padding that gives the lists of all items of a batch the same length.

    Args:
        outputs: the declared outputs of the model.
        item: the inputs by name.
        prediction: JSON values by output name.
    """
    lengths: dict[str, int] = {}
    for output in outputs:
        if output.length_from in prediction:
            source = prediction[output.length_from]
            if isinstance(source, list):
                lengths[output.name] = sum(value != -1 for value in source)
            elif isinstance(source, int):
                lengths[output.name] = source
        elif output.length_from in item:
            lengths[output.name] = len(item[output.length_from])
    return {
        name: value[: lengths[name]] if name in lengths and isinstance(value, list) else value
        for name, value in prediction.items()
    }
