"""Tables for a terminal: alignment, wide characters, and tables that are too wide."""

from tfbert.commands.table import sentence_lines, table_lines, table_lines_with_details


def test_numbers_are_aligned_on_the_right_and_texts_on_the_left():
    lines = table_lines(["model", "score", "time"], [["a", "9.5 %", "1,200"], ["long", "81.0 %", "–"]], 80)
    assert lines == ["model   score   time", "a       9.5 %  1,200", "long   81.0 %      –"]


def test_wide_and_combining_characters_keep_columns_aligned():
    assert table_lines(["t", "n"], [["中文", "1"], ["e\u0301", "2"]], 80) == ["t     n", "中文  1", "e\u0301     2"]


def test_the_widest_text_column_is_cut_to_the_width():
    lines = table_lines(["id", "text", "n"], [["first", "x" * 50, "1"], ["second", "line\nbreak", "2"]], 30)
    assert lines[1] == "first   " + "x" * 18 + "…  1"
    assert lines[2] == "second  line break           2"
    assert max(map(len, lines)) == 30


def test_details_are_columns_if_they_fit():
    columns, rows = ["run", "score", "epochs", "dropout"], [["a", "9.5 %", "3", "0.1"], ["longer", "8.1 %", "10", "–"]]
    lines = table_lines_with_details(columns, rows, 30, num_details=2)
    assert lines == table_lines(columns, rows, 30) and len(lines[0]) == 30


def test_details_that_do_not_fit_are_below_their_row():
    columns, rows = ["run", "score", "epochs", "dropout"], [["a", "9.5 %", "3", "0.1"], ["longer", "8.1 %", "10", "–"]]
    assert table_lines_with_details(columns, rows, 29, num_details=2) == [
        "run     score", "a       9.5 %", "    epochs=3  dropout=0.1", "longer  8.1 %", "    epochs=10  dropout=–",
    ]  # fmt: skip
    # More columns become details, and each line has as many as fit.
    assert table_lines_with_details(columns, rows[:1], 17, num_details=1) == [
        "run  score", "a    9.5 %", "    epochs=3", "    dropout=0.1",
    ]  # fmt: skip


def test_a_long_first_column_is_not_cut():
    lines = table_lines_with_details(["run", "score"], [["x" * 40, "9.5 %"]], 30, num_details=0)
    assert lines == ["run", "x" * 40, "    score=9.5 %"]


def test_lines_of_many_columns_end_at_the_width():
    lines = table_lines([f"column {index}" for index in range(9)], [["12345678"] * 9], 40)
    assert all(len(line) == 40 and line.endswith("…") for line in lines)


def test_a_table_without_rows_has_headings():
    assert table_lines(["model", "score"], [], 80) == ["model  score"]


def test_sentences_are_wrapped():
    rows = [("leak", f"{'a ' * 20}{'b' * 50}"), ("few", "short")]
    assert sentence_lines(["warning", "description"], rows, 50) == [
        "warning  description",
        f"leak     {'a ' * 20}".rstrip(),
        f"         {'b' * 50}",
        "few      short",
    ]
