"""Examples for the report of pretraining: masked words in held-out text, with the model's predictions."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfbert.pretraining.batches import Batcher
from tfbert.pretraining.heads import PretrainingModel
from tfbert.pretraining.masking import HELD_OUT_DRAW

# Tokens shown on each side of a masked word.
_NUM_CONTEXT_TOKENS = 16


def predict_examples(
    model: PretrainingModel, held_out: Batcher, vocabulary: list[str], limit: int, *, count: int = 12, num_best: int = 3
) -> list[dict]:
    """Return the model's predictions for one masked word in each of some held-out sequences.

    Args:
        model: computes in float32.
        held_out: the examples are spread evenly over its sequences.
        vocabulary: token of each id.
        limit: maximum length of a sequence in tokens.
        count: number of examples; there are fewer if there are fewer sequences.
        num_best: number of predictions per word, the most probable first.

    Returns:
        For each example the texts `before` and `after` the masked word, its `truth`, and `guesses`, each with `token`
        and `probability`.
    """
    indices = np.unique(np.linspace(0, len(held_out.sequences) - 1, count).astype(np.int64))
    batch = held_out.batch(indices, HELD_OUT_DRAW, limit)
    logits = model({name: tf.constant(value) for name, value in batch.items()}, training=False)["masked_words"]
    best = tf.math.top_k(tf.nn.softmax(logits), k=min(num_best, len(vocabulary)))
    special = held_out.masker.special
    examples = []
    for row, ids in enumerate(batch["token_ids"]):
        columns = np.flatnonzero(batch["weights"][row])
        # Some of the words to predict are not masked: the encoder sees the word itself or a random one.
        masked = [column for column in columns if ids[batch["positions"][row, column]] == special.mask]
        if not masked:
            continue
        column = masked[len(masked) // 2]
        position = batch["positions"][row, column]
        end = int(batch["padding_mask"][row].sum())
        pairs = zip(best.indices[row, column].numpy(), best.values[row, column].numpy(), strict=True)
        # An embedding may have more rows than the vocabulary has tokens.
        guesses = [{"token": vocabulary[i], "probability": float(p)} for i, p in pairs if i < len(vocabulary)]
        examples.append(
            {
                "before": _to_text(ids[max(0, position - _NUM_CONTEXT_TOKENS) : position], vocabulary),
                "after": _to_text(ids[position + 1 : min(end, position + 1 + _NUM_CONTEXT_TOKENS)], vocabulary),
                "truth": vocabulary[batch["targets"][row, column]],
                "guesses": guesses,
            }
        )
    return examples


def _to_text(token_ids: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Return tokens as readable text: pieces joined to words, no spaces between ideographs."""
    text = ""
    for token in (vocabulary[token_id] for token_id in token_ids):
        is_joined = token.startswith("##") and text
        is_ideograph = len(token) == 1 and ord(token) >= 0x2E80
        space = "" if is_joined or not text or (is_ideograph and ord(text[-1]) >= 0x2E80) else " "
        text += space + (token[2:] if is_joined else token)
    return text
