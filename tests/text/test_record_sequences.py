"""Sequences of single records: their tokens, texts, windows and token values."""

import numpy as np
import tensorflow as tf
from support.tokenized import BY_TOKEN, plain_recipe, positions_of

from tfbert.text.datasets import tokenize
from tfbert.text.records import Record

TEXTS = ["good people", "", "Bad time, no way!", " \t\n", "see you", "the first number is two " * 9, "é\u0301", "[SEP]"]
RECORDS = [Record(text, f"label{index % 3}", f"train.csv:{index + 2}") for index, text in enumerate(TEXTS)]


def test_targets_are_computed_from_the_tokens_and_windows_of_a_record(tiny_tokenizer, tmp_path):
    all_sequences = []

    def targets_of(record, sequences, warn):
        all_sequences.append(sequences)
        return positions_of(record, sequences, warn)

    tokenize(RECORDS, plain_recipe(tiny_tokenizer, **BY_TOKEN | {"targets_of": targets_of}), tmp_path)
    tokens = tiny_tokenizer.with_offsets(tf.constant(TEXTS))
    for index, sequences in enumerate(all_sequences):
        ids = tokens.ids[index].numpy()
        assert [token_ids.tolist() for token_ids in sequences.token_ids] == ([[2, t, 3] for t in ids] or [[2, 3]])
        (text,) = sequences.texts["text"]
        np.testing.assert_array_equal(text.ids, ids)
        np.testing.assert_array_equal(text.starts, tokens.starts[index])
        np.testing.assert_array_equal(text.ends, tokens.ends[index])
        assert list(sequences.window_starts) == list(range(max(1, len(ids))))
        assert list(sequences.window_lengths) == ([1] * len(ids) or [0])
        assert sequences.token_values["is_first"].tolist() == (tokens.starts[index].numpy() == 0).tolist()


def test_several_texts_of_one_input(tiny_tokenizer, tmp_path):
    def sequences(inputs, preprocessor):
        texts = tf.stack([inputs["text"], inputs["text_pair"]], axis=1)
        tokens = preprocessor.tokenize_many(texts, texts != "")
        return preprocessor.pack([tokens.ids], records=tokens.records, texts={"texts": tokens})

    def targets_of(record, sequences, warn):
        assert [text.ids.tolist() for text in sequences.texts["texts"]] == [
            ids[1:-1].tolist() for ids in sequences.token_ids
        ]
        return [{"label_id": index} for index in range(len(sequences))]

    records = [Record("good", "a", "1", ("bad time",)), Record("", "a", "2", ("see you",)), Record("", "a", "3", ("",))]
    recipe = plain_recipe(tiny_tokenizer, num_texts=2, sequences=sequences, targets_of=targets_of, by_record=True)
    split = tokenize(records, recipe, tmp_path)
    assert split.targets["label_id"].tolist() == [0, 1, 0] and split.examples.tolist() == [0, 2, 3, 3]
    lengths = [len(ids) for ids in tiny_tokenizer(tf.constant(["good", "bad time", "see you"])).to_list()]
    assert split.num_tokens.tolist() == [lengths[0] + lengths[1] + 3, lengths[2] + 2, 1]
