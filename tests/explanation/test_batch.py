"""The word at each position of token sequences, of pairs and of windows."""

import tensorflow as tf
from support.untrained import untrained_run

from tfbert.explanation.batch import words_at_positions
from tfbert.text.words import words_of


def positions(run, pair, **texts):
    predictor = run.predictor
    tensors = {name: tf.constant([text]) for name, text in texts.items()}
    tokenized = {name: predictor.preprocessor.tokenize(tensor) for name, tensor in tensors.items()}
    if pair:
        sequences = predictor.preprocessor.pack([text.ids for text in tokenized.values()], texts=tokenized)
    else:
        sequences = predictor.preprocessor.read_in_windows("text", tokenized["text"])
    words = {name: words_of(tensor, predictor.tokenizer) for name, tensor in tensors.items()}
    length = int(max(sequences.token_ids.row_lengths()))
    return words_at_positions(sequences, words, length).numpy().tolist()


def test_words_of_a_pair_are_numbered_on():
    assert positions(untrained_run("classification"), True, text="my good", text_pair="the") == [[-1, 0, 1, -1, 2, -1]]


def test_words_of_windows():
    run = untrained_run("classification", encoder__long_text="mean")
    rows = positions(run, False, text=" ".join(["my"] * 50))
    # 38 of 40 tokens are left for words, and the last window ends with the text.
    assert rows[0] == [-1, *range(38), -1] and rows[1] == [-1, *range(12, 50), -1]
