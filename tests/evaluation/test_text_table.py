"""Tables of texts on a page: highlighted spans, the part of a long text that is shown, and links to rows."""

from tfbert.evaluation.metric import LabelledSpan as Span
from tfbert.evaluation.text_table import Contribution, Labelling, TextRow, link, segments, table_view

SOURCES = ["true", "predicted"]


def _row(text, true=(), predicted=(), **values):
    labellings = (Labelling(label="a", spans=tuple(true)), Labelling(label="b", is_wrong=True, spans=tuple(predicted)))
    return TextRow(texts=(text,), labellings=labellings, **values)


def test_equal_spans_have_one_note_and_others_name_their_source():
    pieces = segments("Ada met Bob", [[Span(0, 3, "per"), Span(8, 11, "per")], [Span(0, 3, "per")]], SOURCES)
    assert pieces == [("Ada", "s3", ["per"]), (" met ", "", []), ("Bob", "s1", ["true per"])]


def test_overlapping_spans_are_split_where_they_differ():
    pieces = segments("Ada Lovelace met", [[Span(0, 12, "per")], [Span(4, 16, "org")]], SOURCES)
    assert pieces == [("Ada ", "s1", []), ("Lovelace", "s3", ["true per"]), (" met", "s2", ["predicted org"])]
    assert segments("Ada", [[Span(0, 3, "per")], [Span(0, 3, "org")]], SOURCES) == [
        ("Ada", "s3", ["true per", "predicted org"])
    ]


def test_spans_outside_the_text_are_cut():
    assert segments("Ada", [[Span(1, 9, "x")], [Span(-1, 0, "y")]], SOURCES) == [
        ("A", "", []),
        ("da", "s1", ["true x"]),
    ]


def test_three_sources():
    spans = [[Span(0, 1, "x")], [Span(0, 1, "x")], [Span(0, 1, "y")]]
    assert segments("ab", spans, ["true", "A", "B"]) == [("a", "s7", ["true, A x", "B y"]), ("b", "", [])]


def _shown(row):
    return "".join(piece for piece, *_ in table_view([row], SOURCES)["rows"][0]["text"])


def test_a_long_text_shows_its_beginning_or_the_part_with_the_spans():
    text = "".join(chr(0x4E00 + i) for i in range(5000))
    assert _shown(_row(text)) == text[:2000] + " … and 3,000 more characters"
    shown = _shown(_row(text, [Span(4000, 4010, "x")]))
    assert shown == " … " + text[3000:]
    shown = _shown(_row(text, [Span(3000, 3010, "x")]))
    assert shown == " … " + text[2500:4500] + " … and 500 more characters"


def test_many_rows_have_shorter_texts_and_rows_beyond_the_limit_are_left_out():
    view = table_view([_row("x" * 5000)] * 12_000, SOURCES)
    assert len(view["rows"]) == 10_000 and view["num_rows"] == 12_000
    assert len(view["rows"][0]["text"][0][0]) == 300


def test_texts_that_belong_together_and_the_spans_of_one_of_them():
    labellings = (Labelling(label="a", spans=(Span(0, 2, "x"),)), Labelling(label="b"))
    row = TextRow(texts=("why?", "so it is"), labellings=labellings)
    assert [piece[:2] for piece in table_view([row], SOURCES)["rows"][0]["text"]] == [
        ("why?", ""),
        ("\n\n", ""),
        ("so", "s1"),
        (" it is", ""),
    ]


def test_links_name_the_labels():
    assert link("mistakes", {"true": "a&b c", "predicted": "体育"}) == (
        "#mistakes?true=a%26b+c&predicted=%E4%BD%93%E8%82%B2"
    )


def test_no_rows():
    assert table_view([], SOURCES) is None


def test_words_have_styles_by_the_sign_and_size_of_their_contributions():
    contributions = (
        Contribution(0, 0, 4, 2.0),
        Contribution(0, 5, 6, 0.1),
        Contribution(0, 7, 10, -0.9),
        Contribution(1, 0, 1, 0.3),
    )  # fmt: skip
    labellings = (Labelling(label="x"), Labelling(label="y"))
    row = TextRow(texts=("good a bad", "b"), labellings=labellings, contributions=contributions)
    (shown,) = table_view([row], SOURCES[:2])["rows"]
    assert shown["text"] == [
        ("good", "p3", []), (" a ", "", []), ("bad", "n2", []), ("\n\n", "", []), ("b", "p1", []),
    ]  # fmt: skip
    spans = (Labelling(label="x", spans=(Span(0, 1, "per"),)), Labelling(label="y"))
    (shown,) = table_view([TextRow(texts=("b",), labellings=spans, contributions=contributions)], SOURCES[:2])["rows"]
    assert [style for _, style, _ in shown["text"]] == ["s1"]
