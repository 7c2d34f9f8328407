"""Pretraining heads, masked-word prediction and next-sentence classification, and the model that has them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras_hub.layers import MaskedLMHead
from safetensors import SafetensorError, safe_open

from tfbert.encoder import kerasnlp
from tfbert.encoder.activations import ACTIVATIONS
from tfbert.encoder.backbone import HEADS
from tfbert.encoder.bert import BertEncoder
from tfbert.text.preprocessor import INPUTS

_INITIAL_STDDEV = 0.02


class PretrainingHead(keras.layers.Layer):
    """Predict masked words with the tied token embedding, and whether two segments belong together.

    Args:
        backbone: encoder whose token embedding is also the output matrix of the masked words.
        activation: activation of the encoder, a name in `encoder.activations.ACTIVATIONS`.
        layer_norm_epsilon: epsilon of the encoder's layer normalization.
        with_pairs: whether to classify pairs of segments.
        product_dtype: dtype of the product with the token embedding in training, which is nearly all of the head's
            work; `None` for the compute dtype of the backbone. Everything else is in float32.
        **kwargs: arguments of `keras.layers.Layer`.

    Source: Devlin et al. 2019, section 3.1, and google-research/bert `run_pretraining.py`. KerasNLP's masked language
        model always uses the exact gelu and an epsilon of 1e-5; ours uses those of the encoder, as the original does.
    """

    def __init__(
        self,
        backbone: BertEncoder,
        *,
        activation: str,
        layer_norm_epsilon: float,
        with_pairs: bool,
        product_dtype: str | None = None,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.product_dtype = product_dtype
        self.masked_words = MaskedLMHead(
            token_embedding=backbone.token_embedding,
            intermediate_activation=ACTIVATIONS[activation],
            layer_norm_epsilon=layer_norm_epsilon,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=_INITIAL_STDDEV),
            dtype="float32",  # in mixed precision KerasNLP's head adds its bias in another type than its product
            name="masked_words",
        )
        self.pairs = None
        if with_pairs:
            initializer = keras.initializers.TruncatedNormal(stddev=_INITIAL_STDDEV)
            self.pairs = keras.layers.Dense(2, kernel_initializer=initializer, dtype="float32", name="pairs")

    def build(self, hidden_dim: int) -> None:
        """Create the weights."""
        self.masked_words.build((None, None, hidden_dim))
        if self.pairs is not None:
            self.pairs.build((None, hidden_dim))
        self.built = True

    def call(self, encoded: Mapping, positions, training: bool = False) -> dict:
        """Return logits.

        Args:
            encoded: `sequence_output` `(batch, length, hidden_dim)` and `pooled_output` `(batch, hidden_dim)`.
            positions: int32 `(batch, num_positions)`, positions of the tokens to predict.
            training: whether `product_dtype` is used.

        Returns:
            `masked_words` `(batch, num_positions, vocabulary_size)` and, with pairs, `pairs` `(batch, 2)`, whose second
            column is for segments that do not belong together; both float32.
        """
        predict = self._predict_words if training and self.product_dtype else self.masked_words
        logits = {"masked_words": predict(encoded["sequence_output"], positions)}
        if self.pairs is not None:
            logits["pairs"] = self.pairs(keras.ops.cast(encoded["pooled_output"], "float32"))
        return logits

    def _predict_words(self, sequence_output, positions):
        """Compute KerasNLP's masked-word head with the product with the embedding in `product_dtype`."""
        dense, norm, bias = kerasnlp.masked_word_components(self.masked_words)
        hidden = norm(dense(tf.gather(sequence_output, positions, batch_dims=1)))
        embeddings = self.masked_words.token_embedding.embeddings
        hidden, embeddings = (tf.cast(tensor, self.product_dtype) for tensor in (hidden, embeddings))
        flat = tf.matmul(tf.reshape(hidden, [-1, hidden.shape[-1]]), embeddings, transpose_b=True)
        logits = tf.reshape(flat, [*tf.unstack(tf.shape(positions)), embeddings.shape[0]])
        return tf.cast(logits, tf.float32) + bias

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Yield the head's own weights with their names in a Hugging Face model."""
        dense, norm, bias = kerasnlp.masked_word_components(self.masked_words)
        prefix = "cls.predictions.transform"
        yield f"{prefix}.dense.weight", dense.kernel
        yield f"{prefix}.dense.bias", dense.bias
        yield f"{prefix}.LayerNorm.weight", norm.gamma
        yield f"{prefix}.LayerNorm.bias", norm.beta
        yield "cls.predictions.bias", bias
        if self.pairs is not None:
            yield "cls.seq_relationship.weight", self.pairs.kernel
            yield "cls.seq_relationship.bias", self.pairs.bias

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the head's own weights as a Hugging Face model stores them: kernels as `(outputs, inputs)`."""
        return {name: np.ascontiguousarray(np.asarray(variable).T) for name, variable in self.tensors()}

    def load(self, directory: Path) -> list[str]:
        """Load those weights of this head that the directory of an encoder has.

        Args:
            directory: written by tfbert, or a Hugging Face model that was saved with its heads.

        Returns:
            The names of the loaded tensors.

        Raises:
            ValueError: the file is damaged, or a tensor has another shape.
        """
        path = next((p for p in (directory / HEADS, directory / "model.safetensors") if p.is_file()), None)
        if path is None:
            return []
        loaded = []
        try:
            with safe_open(path, framework="np") as stream:
                names = set(stream.keys())
                for name, variable in self.tensors():
                    if name not in names:
                        continue
                    value = stream.get_tensor(name).astype(np.float32).T
                    if value.shape != tuple(variable.shape):
                        raise ValueError(
                            f"{path}: tensor {name!r} has shape {value.T.shape}; expected {variable.shape}"
                        )
                    variable.assign(value)
                    loaded.append(name)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a complete safetensors file: {error}") from error
        return loaded


class PretrainingModel(keras.Model):
    """An encoder with its pretraining heads."""

    def __init__(self, backbone: BertEncoder, head: PretrainingHead):
        super().__init__(name="pretraining_model")
        self.backbone = backbone
        self.head = head
        head.build(backbone.hidden_dim)
        # Without pairs nothing depends on the pooler, and an optimizer slot would be wasted on it.
        backbone.pooled_dense.trainable = head.pairs is not None
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict:
        """Return the logits of the head.

        Args:
            inputs: int32 `token_ids`, `segment_ids`, `padding_mask` `(batch, length)` and `positions`
                `(batch, num_positions)`.
            training: whether dropout is active.
        """
        encoded = self.backbone({name: inputs[name] for name in INPUTS}, training=training)
        return self.head(encoded, inputs["positions"], training=training)

    def sums(self, batch: Mapping[str, tf.Tensor], training: bool) -> dict[str, tf.Tensor]:
        """Return cross-entropies and numbers of correct predictions, summed over a batch: float32 scalars.

        Args:
            batch: inputs with `targets` int32 and `weights` float32 `(batch, num_positions)`, and `pair_labels` int32
                `(batch,)`: 0 for segments that belong together, 1 for others, -1 for sequences of one segment.
            training: whether dropout is active.

        Returns:
            `masked_words`, `masked_words_right` and, with pairs, `pairs`, `pairs_right`.
        """
        logits, batch = self(batch, training=training), dict(batch)
        sums = _sums("masked_words", logits["masked_words"], batch["targets"], batch["weights"])
        if "pairs" in logits:
            labels = batch["pair_labels"]
            is_pair = tf.cast(labels >= 0, tf.float32)
            sums |= _sums("pairs", logits["pairs"], tf.maximum(labels, 0), is_pair)
        return sums


def _sums(name: str, logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> dict[str, tf.Tensor]:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    is_right = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == targets, tf.float32)
    return {name: tf.reduce_sum(losses * weights), f"{name}_right": tf.reduce_sum(is_right * weights)}
