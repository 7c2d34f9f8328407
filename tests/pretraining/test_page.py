"""Report page of a pretraining: headline, notes, charts, tables, and the examples of masked words."""

import re

import pytest

from tfbert.pretraining.page import render

HISTORY = [
    {"update": 0, "epoch": 0.0, "num_tokens": 0, "seconds": 0.0, "held_out": {"masked_word_loss": 6.5}},
    {"update": 4, "epoch": 1.0, "num_tokens": 1234, "seconds": 9.0, "held_out": {"masked_word_loss": 4.25}},
]
for entry, accuracy, perplexity in zip(HISTORY, (0.05, 0.3), (665.1, 70.1), strict=True):
    entry["held_out"] |= {
        "masked_word_accuracy": accuracy,
        "pair_loss": 0.7,
        "pair_accuracy": 0.5,
        "perplexity": perplexity,
        "num_masked_words": 4321.0,
    }
REPORT = {
    "encoder": {"name": "tiny"},
    "data_name": "notes",
    "first_update_at": 1.7e9,
    "seed": 3,
    "config": {"prepared": None, "train": {"seed": 3}},
    "versions": {"keras": "3.0"},
    "command": "python tools/pretrain.py --seed 3",
    "corpus": {"sha256": "abc123", "documents": 40, "duplicates": 0, "characters": 5678},
    "rows": {
        "train": {"num_documents": 38, "num_rows": 250, "num_tokens": 9876},
        "held_out": {"num_documents": 2, "num_rows": 13, "num_tokens": 432},
    },
    "lost_shards": [],
    "seconds": {"load_encoder": 1.0, "train": 65.0},
    "peak_memory_bytes": 2**30,
    "tokens_per_second": 137.0,
    "history": HISTORY,
    "curve": [{"update": 2, "masked_word_loss": 5.5, "learning_rate": 1e-3}],
    "best_update": 4,
    "head_updates": 0,
    "before": HISTORY[0]["held_out"],
    "after": HISTORY[1]["held_out"],
    "by_frequency": {"masked_word_loss": 5.0, "masked_word_accuracy": 0.1},
    "guesses": [
        {"before": "a & b", "after": "of it", "truth": "end", "guesses": [{"token": "end", "probability": 0.75}]},
    ],
}


@pytest.fixture
def page(tmp_path):
    """Return a function from changes of the report to the text of its page, without tags and with single spaces."""

    def make(**changes):
        render(REPORT | changes, tmp_path / "report.html")
        content = (tmp_path / "report.html").read_text(encoding="utf-8")
        body = re.sub(r"<(style|svg).*?</\1>", " ", content, flags=re.DOTALL)
        return " ".join(re.sub(r"<[^>]*>", " ", body).split()), content

    return make


def test_the_headline_compares_before_and_after(page):
    text, _ = page()
    assert (
        "tiny, pretrained further on notes 4.250 mean loss of 4,321 masked words of held-out text; before: 6.500"
        in text
    )
    assert "predicts 30.0 % of the masked words correctly (5.0 % before)" in text
    assert "chose among 70.1 equally likely words (before: 665)" in text
    assert "Predicting by frequency alone, without context, would give 10.0 % and a loss of 5.000." in text
    assert "A new encoder, pretrained on notes" in page(encoder={"name": None})[0]
    assert "Date 2023-11-1" in text


NOTES = {
    "not better than": {"by_frequency": {"masked_word_loss": 4.25, "masked_word_accuracy": 0.1}},
    "the encoder is unchanged": {"best_update": 0},
    "In the first 1 updates only the new heads were trained": {"head_updates": 1},
    "Damaged and left out: a.gz, b.gz.": {"lost_shards": ["a.gz", "b.gz"]},
}


@pytest.mark.parametrize("note", NOTES)
def test_a_note_appears_only_for_its_report(page, note):
    assert note not in page()[0]
    assert note in page(**NOTES[note])[0]


def test_charts(page):
    _, content = page()
    assert content.count("<svg") == 5
    for title in ("Loss of masked words", "Accuracy of masked words", "Loss of pairs of segments", "Learning rate"):
        assert f"{title} by update" in content
    without_pairs = [
        entry | {"held_out": {n: v for n, v in entry["held_out"].items() if "pair" not in n}} for entry in HISTORY
    ]
    _, content = page(history=without_pairs)
    assert content.count("<svg") == 3 and "pairs of segments by update" not in content
    assert page(curve=[])[1].count("<svg") == 4


def test_the_best_evaluation_is_marked(page):
    _, content = page()
    rows = re.findall(r"<tr[^>]*>.*?</tr>", content[content.index('id="curves"') : content.index('id="corpus"')])
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert cells[-2:] == [
        ["0", "0.00", "0", "6.500", "5.0 %", "0.700", "50.0 %", "665.100", "0.0 s"],
        ["4", "1.00", "1,234", "4.250", "30.0 %", "0.700", "50.0 %", "70.100", "9.0 s"],
    ]
    assert ['class="best"' in row for row in rows[-2:]] == [False, True]


def test_corpus_and_examples(page):
    text, content = page()
    assert "train 38 250 9,876 held out 2 13 432" in text
    assert "documents: 40 characters: 5,678 SHA-256 abc123" in text
    assert "a &amp; b" in content and "end 75.0 %" in text
    assert 'id="guesses"' not in page(guesses=[])[1]
    assert "python tools/pretrain.py --seed 3" in text
