"""Answer spans: layouts of answers in files, positions in the context, and rejected answers."""

import pytest

from tfbert.text.answer_spans import has_whole_words, is_impossible, num_pieces, spans_of

CONTEXT = "The cat sat on the mat. The dog sat on the log, and the cat slept."


def at(text, start=None):
    return {"text": text, "answer_start": CONTEXT.index(text) if start is None else start}


@pytest.mark.parametrize(
    ("answers", "start", "expected"),
    [
        ([at("The dog")], None, ["The dog"]),
        ([{"text": "The dog", "start": 24}], None, ["The dog"]),
        (at("The dog"), None, ["The dog"]),
        ("The dog", None, ["The dog"]),
        (["The dog", "slept"], None, ["The dog", "slept"]),
        ("cat", "56", ["cat"]),
        ({"text": ["cat", "mat"], "answer_start": [4, 19]}, None, ["cat", "mat"]),
        ({"text": [], "answer_start": []}, None, []),
        ({"text": ["mat"]}, None, ["mat"]),
        ([at("log"), at("mat"), at("mat")], None, ["mat", "log"]),  # the most frequent first, each once
        ([], None, []),
        (None, None, []),
        ("", None, []),
        (" ", "", []),
    ],
)
def test_layouts_of_answers(answers, start, expected):
    spans = spans_of(answers, start, CONTEXT)
    assert [CONTEXT[first:end] for first, end in spans] == expected


def test_the_stated_position_selects_the_occurrence():
    assert spans_of([at("cat", 56)], None, CONTEXT) == ((56, 59),)
    assert spans_of("sat on", 32, CONTEXT) == ((32, 38),)


@pytest.mark.parametrize(
    ("answers", "start", "message"),
    [
        (
            [at("cat", 5)],
            None,
            r"answer 'cat' is not at answer_start 5, where the context has 'at '; its nearest occurrence is at 4",
        ),
        ([at("cat", 40)], None, r"its nearest occurrence is at 56"),
        ([at("cat", 900)], None, r"beyond the context's 66 characters; its nearest occurrence is at 56"),
        ([at("The bird", 0)], None, r"answer 'The bird' is not in the context; expected an exact excerpt from it"),
        ("the dog", None, r"answer 'the dog' is not in the context"),
        (
            "cat",
            None,
            r"answer 'cat' occurs in the context 2 times, at 4, 56; expected an answer_start that selects one",
        ),
        ([at("cat", -1)], None, r"answer_start is -1; expected the position of the first character"),
        ([at("cat", True)], None, r"answer_start is true"),
        ("cat", "four", r'answer_start is "four"'),
        ([""], None, r"an answer is ''; expected at least one non-whitespace character"),
        ([{"answer_start": 3}], None, r"an answer is null; expected a list of"),
        ([7], None, r"an answer is 7; expected a list of"),
        (7, None, r"answers are 7; expected a list of"),
        ({"text": ["cat"], "answer_start": [4, 5]}, None, r"1 answer texts but the starts \[4, 5\]; expected one"),
    ],
)
def test_a_bad_answer_is_rejected(answers, start, message):
    with pytest.raises(ValueError, match=message):
        spans_of(answers, start, CONTEXT)


def test_a_text_in_brackets_may_be_an_answer():
    assert spans_of("[1, 2]", None, "as shown in [1, 2] before") == ((12, 18),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("TRUE", True), (1, True), ("1.0", True), (False, False), (0, False), ("no", False)]
    + [(None, False), ("", False), (float("nan"), False), ("null", False)],
)
def test_a_flag_marks_a_question_without_an_answer(value, expected):
    assert is_impossible(value) is expected


@pytest.mark.parametrize("value", ["maybe", 2, [], {}, "0.5"])
def test_an_invalid_flag_is_rejected(value):
    with pytest.raises(ValueError, match="^is_impossible is .*; expected true or false$"):
        is_impossible(value)


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(0, 3, True), (4, 7, True), (1, 3, False), (4, 6, False), (22, 23, True)]
)
def test_spans_of_whole_words(start, end, expected):
    assert has_whole_words(CONTEXT, start, end) is expected


@pytest.mark.parametrize(
    ("answer", "expected"), [("", 0), ("in 1999", 2), ("transformers", 2), ("3 %", 2), ("北京", 2)]
)
def test_pieces_of_words_numbers_marks_and_characters_are_counted(answer, expected):
    assert num_pieces(answer) == expected
