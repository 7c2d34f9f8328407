"""Tasks on whole texts: one text or a pair, compatible options, cut texts and windows."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.config import Config, override
from tfbert.tasks.base import load_task
from tfbert.tasks.base_pooled import has_pair
from tfbert.tasks.classification import FittedClassification
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.records import Record
from tfbert.text.tokenizer import Tokenizer

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]


def fitted(has_pair=False, **values):
    config = override(Config(), {path.replace("__", "."): value for path, value in values.items()})
    options = load_task("classification").options.from_config(config)
    return FittedClassification(options=options, has_pair=has_pair, labels=("x", "y"))


def preprocessor(sequence_length=6):
    return Preprocessor(Tokenizer(VOCABULARY, lowercase=True, strip_accents=True), sequence_length, 0.25)


def sequences(task, **inputs):
    return task.sequences({name: tf.constant(texts) for name, texts in inputs.items()}, preprocessor())


def test_the_first_record_decides_whether_there_are_pairs():
    records = [Record("a", "x", "1", ("b",)), Record("c", "y", "2")]
    are_pairs, all_records = has_pair(iter(records))
    assert are_pairs and list(all_records) == records
    assert has_pair(iter(records[1:]))[0] is False


def test_a_record_with_another_number_of_texts_is_rejected():
    single, pair = Record("a", "x", "f:1"), Record("a", "x", "f:2", ("b",))
    assert fitted().inputs_of(single) == {"text": "a"}
    assert fitted(has_pair=True).inputs_of(pair) == {"text": "a", "text_pair": "b"}
    with pytest.raises(ValueError, match="f:2: has two texts; expected one text, as in train"):
        fitted().inputs_of(pair)
    with pytest.raises(ValueError, match="f:1: has one text; expected two texts, like the first record of train"):
        fitted(has_pair=True).inputs_of(single)


def test_pairs_are_always_cut():
    with pytest.raises(ValueError, match="encoder.long_text=mean: pairs of texts are always cut"):
        fitted(has_pair=True, encoder__long_text="mean")


def test_an_overlap_without_windows_is_rejected():
    with pytest.raises(ValueError, match="encoder.window_overlap_fraction=0.5: there are no windows with enc"):
        fitted(encoder__window_overlap_fraction=0.5)
    assert fitted(encoder__window_overlap_fraction=0.5, encoder__long_text="max").options.window_overlap_fraction == 0.5


def test_noise_needs_one_sequence_per_text():
    with pytest.raises(ValueError, match="train.noise=0.1: expected 0 with encoder.long_text=max, or cut"):
        fitted(train__noise=0.1, encoder__long_text="max")
    assert fitted(train__noise=0.1).options.noise == 0.1


def test_long_texts_are_cut_or_read_in_windows():
    cut = sequences(fitted(), text=["a b c d e f g h", "a"])
    assert cut.token_ids.to_list() == [[2, 5, 6, 7, 8, 3], [2, 5, 3]]
    assert cut.is_cut.numpy().tolist() == [True, False] and fitted().cuts_texts
    task = fitted(encoder__long_text="mean")
    windows = sequences(task, text=["a b c d e f g h", "a"])
    assert not task.cuts_texts and windows.records.numpy().tolist() == [0, 0, 0, 1]
    # The last window of the long text ends with its last token.
    assert windows.token_ids.to_list()[2:] == [[2, 9, 10, 11, 12, 3], [2, 5, 3]]


@pytest.mark.parametrize(
    ("long_text", "expected"), [("mean", [[2.0, 1.0], [5.0, 0.0]]), ("max", [[3.0, 2.0], [5.0, 0.0]])]
)
def test_scores_of_windows_are_combined(long_text, expected):
    task = fitted(encoder__long_text=long_text)
    windows = sequences(task, text=["a b c d e f g h", "a"])
    scores = tf.constant([[1.0, 0.0], [2.0, 1.0], [3.0, 2.0], [5.0, 0.0]])
    outputs = task.decode(scores, windows, None)
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-6)
    assert outputs["truncated"].numpy().tolist() == [False, False]
