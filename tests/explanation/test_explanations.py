"""One explanation, and texts without some of their words."""

from tfbert.explanation.explanations import Explanation, SimilarExample, WordContribution, without_words

OUTPUTS = {
    "explained_label": "fee",
    "explained_word": 1,
    "log_odds": 2.5,
    "method": "gradients",
    "gap": 0.25,
    "word": ["a", "中"],
    "input": ["text", "text_pair"],
    "start": [0, 2],
    "end": [1, 3],
    "contribution": [0.5, -1.0],
}


def test_an_explanation_of_outputs():
    words = (WordContribution("a", "text", 0, 1, 0.5), WordContribution("中", "text_pair", 2, 3, -1.0))
    explained = {"label": "fee", "log_odds": 2.5, "method": "gradients", "gap": 0.25, "words": words}
    assert Explanation.from_outputs(OUTPUTS) == Explanation(**explained, explained_word=1)


def test_similar_examples_of_outputs():
    similar = {"evidence": ["b", "c"], "evidence_label": ["fee", "card"], "evidence_similarity": [0.75, -0.5]}
    assert Explanation.from_outputs(OUTPUTS | similar).evidence == (
        SimilarExample("b", "fee", 0.75),
        SimilarExample("c", "card", -0.5),
    )
    (pair, _) = Explanation.from_outputs(OUTPUTS | similar | {"evidence_pair": ["d", "e"]}).evidence
    assert pair == SimilarExample("b", "fee", 0.75, "d")


def test_words_are_left_out_of_their_input():
    item = {"text": "a b c", "text_pair": "é 中 x"}
    words = [WordContribution("a", "text", 0, 1, 0), *Explanation.from_outputs(OUTPUTS).words[1:]]
    words.append(WordContribution("c", "text", 4, 5, 0))
    assert without_words(item, words) == {"text": " b ", "text_pair": "é  x"}
    assert item["text"] == "a b c"
