"""The drawing style: shortened names, and SVG that inherits font and colours from the page."""

import re

import matplotlib
import pytest

from tfbert.evaluation import drawing


def draw(title="A title", style=None):
    with matplotlib.rc_context(style or {}), drawing.report_style():
        figure, axes = drawing.new_axes(width=144, height=72)
        axes.plot([1, 2], [3, 4], color=drawing.ACCENT, label="$x^2$ 价格")
        axes.legend()
        return str(drawing.to_svg(figure, title))


@pytest.mark.parametrize(
    ("name", "max_length", "expected"),
    [
        ("a" * 20 + "\n" + "b" * 20, 30, "a" * 15 + "…" + "b" * 14),
        ("a" * 30, 30, "a" * 30),
        (" a\tb \u2028 c ", 30, "a b c"),
        (12345, 4, "12…5"),
    ],
)
def test_names_are_shortened_in_the_middle(name, max_length, expected):
    assert drawing.shorten(name, max_length) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.05, "0.05"), (0.0002, "2e-4"), (1234.5, "1,234"), (-0.5, "-0.5"), (12345, "1.23e4"), (99.96, "100")],
)
def test_numbers_are_short(value, text):
    assert drawing.short_number(value) == text


def test_a_chinese_character_is_one_em_wide():
    assert drawing.text_em("价格") == 2 and 1 < drawing.text_em("ab") < 2


def test_svg_size_in_pixels():
    head = draw().partition(">")[0]
    # 144 by 72 points are 2 by 1 inches.
    assert 'width="192.0" height="96.0"' in head and 'viewBox="0 0 144 72"' in head
    assert head.startswith('<svg class="plot" role="img" aria-label="A title"')


def test_colours_and_fonts_come_from_the_page():
    text = draw()
    assert "var(--accent)" in text and "var(--muted)" in text
    assert not re.search("#0[1-6]0[1-6]0[1-6]|font-family|<metadata>", text)
    assert "$x^2$ 价格" in text  # text is kept as text, and dollar signs are not parsed as math


def test_user_settings_of_matplotlib_are_ignored():
    assert draw() == draw(style={"font.size": 30, "axes.grid": False, "svg.fonttype": "path"})


def test_drawings_are_repeatable_and_have_distinct_identifiers():
    assert draw("one") == draw("one")
    first, second = (set(re.findall(r'id="([^"]+)"', draw(title))) for title in ("one", "two"))
    assert first and not first & second


def test_titles_are_escaped():
    assert 'aria-label="&lt;a&gt; &amp; &quot;b&quot;"' in draw('<a> & "b"')
