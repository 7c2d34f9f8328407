"""Embedding head: one unit vector per text, for tasks that compare texts by cosine."""

from keras import ops

from tfbert.heads.pooled import PoolingHead

# Shorter vectors are not scaled to length 1, to avoid a division by zero.
_MIN_LENGTH = 1e-12


class EmbeddingHead(PoolingHead):
    """Pool the tokens of a text into one vector of length 1. The head has no weights.

    Source: Reimers and Gurevych 2019, "Sentence-BERT", section 3: mean pooling. Ours includes [CLS] and [SEP],
        as their code does, and always returns unit vectors, so that a product is a cosine.
    """

    def scores_of(self, vectors, training: bool = False):
        """Return unit vectors: float32 `(batch, hidden_dim)`."""
        vectors = self.dropout(vectors, training=training)
        length = ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))
        return vectors / ops.maximum(length, _MIN_LENGTH)
