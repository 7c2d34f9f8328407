"""Extension points of an encoder layer for tuning methods: matrix products, sublayer ends, and keys and values.

An extension is a Keras layer that follows one of the protocols below; `BertEncoder.extend` attaches it. The same
extension is called in training and inference, by tfbert's fast code and by KerasNLP's. A point without an extension
adds nothing to the graph.
"""

import math
from collections.abc import Callable
from typing import Protocol

import keras
import tensorflow as tf

DenseLayer = keras.layers.Dense | keras.layers.EinsumDense


class ProductExtension(Protocol):
    """Changes a matrix product, for example by a low-rank update (LoRA) or a scale (IA3)."""

    def __call__(self, vectors: tf.Tensor, multiply: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Return the replacement for `multiply(vectors)`: the same shape, any float dtype.

        Args:
            vectors: float `(num_vectors, num_inputs)`.
            multiply: the product of the layer, with its bias and before its activation: `(num_vectors, num_inputs)` to
                `(num_vectors, num_outputs)`.
        """


class SublayerExtension(Protocol):
    """Changes the output of a sublayer, for example by an adapter."""

    def __call__(self, output: tf.Tensor) -> tf.Tensor:
        """Return the replacement for the output of a sublayer: the same shape, any float dtype.

        Args:
            output: float `(..., hidden_dim)`, after dropout and before residual and LayerNorm. Training passes
                `(batch, length, hidden_dim)`, fast inference `(num_tokens, hidden_dim)`, so every position must be
                computed separately.
        """


class PrefixExtension(Protocol):
    """Adds positions that every query can attend to, as in prefix tuning."""

    def __call__(self, key: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return additional keys and values, each float `(num_positions, num_heads, head_dim)`.

        Args:
            key: keys of the tokens, float `(batch, length, num_heads, head_dim)`.
            value: values of the tokens, float, the same shape as `key`.
        """


class Product:
    """A matrix product of an encoder layer with its bias: query, key, value, attention output, feed-forward in or out.

    Args:
        dense: the built layer that holds the weights of the product.

    Attributes:
        extension: replaces the product; `None` for none.
    """

    def __init__(self, dense: DenseLayer):
        self.dense = dense
        self.extension: ProductExtension | None = None
        self._copy: tf.Variable | None = None

    @property
    def kernel(self) -> tf.Tensor:
        """The weights as one matrix, `(num_inputs, num_outputs)`."""
        return tf.reshape(self.dense.kernel, [-1, self._num_outputs])

    def assign_kernel(self, kernel: tf.Tensor) -> None:
        """Set the weights from one matrix, `(num_inputs, num_outputs)`."""
        self.dense.kernel.assign(tf.reshape(kernel, self.dense.kernel.shape))

    @property
    def inference_dtype(self) -> tf.DType | None:
        """The dtype of the copy that inference multiplies by; `None` without a copy."""
        return None if self._copy is None else self._copy.dtype

    def copy_kernel(self, dtype: str | None) -> None:
        """Make inference multiply by a copy of the current kernel; `None` returns to the kernel itself."""
        # A variable instead of a cast of the kernel, which a server would repeat for every request.
        self._copy = tf.Variable(tf.cast(self.dense.kernel.value, dtype), trainable=False) if dtype else None

    def train(self, vectors: tf.Tensor, dtype: str | None) -> tf.Tensor:
        """Return the product in training: `(num_vectors, num_outputs)` in the dtype of the vectors.

        Args:
            vectors: float `(num_vectors, num_inputs)`.
            dtype: dtype of the multiplication; `None` for that of the vectors.
        """
        return self._compute(vectors, self.dense.kernel, dtype or vectors.dtype, vectors.dtype)

    def infer(self, vectors: tf.Tensor, result_dtype: tf.DType | None = None) -> tf.Tensor:
        """Return the product in inference, with the copy of the kernel if there is one: `(num_vectors, num_outputs)`.

        Args:
            vectors: float `(num_vectors, num_inputs)`.
            result_dtype: dtype of the result; `None` for that of the vectors.
        """
        kernel = self.dense.kernel if self._copy is None else self._copy
        return self._compute(vectors, kernel, self.inference_dtype or vectors.dtype, result_dtype or vectors.dtype)

    def compute_with_keras(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the output of the dense layer, with its activation and in its shapes, and with the extension."""
        if self.extension is None:
            return self.dense(inputs)
        kernel, bias = self.dense.kernel, self.dense.bias
        num_input_axes = len(kernel.shape) - len(bias.shape)
        leading = tf.shape(inputs)[: len(inputs.shape) - num_input_axes]
        num_inputs = math.prod(kernel.shape) // self._num_outputs
        product = self.train(tf.reshape(inputs, [-1, num_inputs]), None)
        return self.dense.activation(tf.reshape(product, tf.concat([leading, bias.shape], axis=0)))

    @property
    def _num_outputs(self) -> int:
        return math.prod(self.dense.bias.shape)

    def _compute(self, vectors, kernel, dtype, result_dtype):
        def multiply(vectors):
            matrix = tf.reshape(kernel, [vectors.shape[-1], -1])
            product = tf.cast(tf.matmul(tf.cast(vectors, dtype), tf.cast(matrix, dtype)), result_dtype)
            return tf.nn.bias_add(product, tf.cast(tf.reshape(self.dense.bias, [-1]), result_dtype))

        if self.extension is None:
            return multiply(vectors)
        return tf.cast(self.extension(vectors, multiply=multiply), result_dtype)


class SublayerEnd:
    """The end of a sublayer, after its dropout and before residual and LayerNorm.

    Attributes:
        extension: replaces the output; `None` for none.
    """

    def __init__(self):
        self.extension: SublayerExtension | None = None

    def __call__(self, output: tf.Tensor) -> tf.Tensor:
        """Return the output of the sublayer, `(..., hidden_dim)`."""
        return output if self.extension is None else tf.cast(self.extension(output), output.dtype)


class KeysValues:
    """The keys and values of an attention sublayer.

    Attributes:
        extension: provides positions to prepend; `None` for none.
    """

    def __init__(self):
        self.extension: PrefixExtension | None = None

    def prepend(self, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return keys, values and mask with the additional positions in front, where every query may attend.

        Args:
            key: float `(batch, length, num_heads, head_dim)`.
            value: float, the same shape as `key`.
            mask: `(batch, 1 or length, length)`, true or nonzero where a query may attend.
        """
        if self.extension is None:
            return key, value, mask
        batch_size = tf.shape(key)[0]
        key, value = (
            tf.concat([tf.repeat(tf.cast(prefix, sequence.dtype)[None], batch_size, axis=0), sequence], axis=1)
            for prefix, sequence in zip(self.extension(key, value), (key, value), strict=True)
        )
        prefix_length = tf.shape(key)[1] - tf.shape(mask)[2]
        return key, value, tf.pad(tf.cast(mask, tf.bool), [[0, 0], [0, 0], [prefix_length, 0]], constant_values=True)


ExtensionPoint = Product | SublayerEnd | KeysValues
