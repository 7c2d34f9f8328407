"""The three places of an encoder layer that tuning methods extend: products, sublayer ends, keys and values.

An extension is a Keras layer that follows one of the protocols below; `BertEncoder.extend` attaches it. Training and
inference, fast or by KerasNLP, call the same extension. A point without an extension adds nothing to the graph.
"""

import math
from collections.abc import Callable
from typing import Protocol

import keras
import tensorflow as tf

DenseLayer = keras.layers.Dense | keras.layers.EinsumDense


class ProductExtension(Protocol):
    """Changes a matrix product, such as a low-rank update (LoRA) or a scale (IA3)."""

    def __call__(self, rows: tf.Tensor, multiply: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Return what stands in place of `multiply(rows)`.

        Args:
            rows: float `(num_rows, num_inputs)`.
            multiply: the product of the layer, with its bias and before its activation: `(num_rows, num_inputs)` to
                `(num_rows, num_outputs)`. The result has its shape, in any float dtype.
        """


class SublayerExtension(Protocol):
    """Changes what a sublayer returns, such as an adapter."""

    def __call__(self, output: tf.Tensor) -> tf.Tensor:
        """Return what stands in place of the output of a sublayer, after dropout, before residual and LayerNorm.

        Args:
            output: float `(..., hidden_dim)`. Training passes `(batch, length, hidden_dim)`, fast inference one row per
                token, so every position must be computed by itself. The result has its shape, in any float dtype.
        """


class PrefixExtension(Protocol):
    """Gives extra positions that every query can attend to, as in prefix tuning."""

    def __call__(self, key: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return extra keys and values, each float `(num_positions, num_heads, head_dim)`.

        Args:
            key: float `(batch, length, num_heads, head_dim)`, of the tokens.
            value: float, of the same shape.
        """


class Product:
    """A matrix product of an encoder layer with its bias: query, key, value, attention output, feed-forward in or out.

    Args:
        dense: built; its weights are those of the product.

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
        """Let inference multiply by a copy of the kernel as it is now; `None` returns to the kernel itself."""
        # A variable, not a cast of the kernel, which a server would repeat for every request.
        self._copy = tf.Variable(tf.cast(self.dense.kernel.value, dtype), trainable=False) if dtype else None

    def train(self, rows: tf.Tensor, dtype: str | None) -> tf.Tensor:
        """Return the product in training: `(num_rows, num_outputs)` in the dtype of the rows.

        Args:
            rows: float `(num_rows, num_inputs)`.
            dtype: of the multiplication; `None` for that of the rows.
        """
        return self._compute(rows, self.dense.kernel, dtype or rows.dtype, rows.dtype)

    def infer(self, rows: tf.Tensor, result_dtype: tf.DType | None = None) -> tf.Tensor:
        """Return the product in inference, by the copy of the kernel if there is one: `(num_rows, num_outputs)`.

        Args:
            rows: float `(num_rows, num_inputs)`.
            result_dtype: dtype of the result; `None` for that of the rows.
        """
        kernel = self.dense.kernel if self._copy is None else self._copy
        return self._compute(rows, kernel, self.inference_dtype or rows.dtype, result_dtype or rows.dtype)

    def by_keras(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return what the dense layer itself computes, with its activation and in its shapes, and the extension."""
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

    def _compute(self, rows, kernel, dtype, result_dtype):
        def multiply(rows):
            matrix = tf.reshape(kernel, [rows.shape[-1], -1])
            product = tf.cast(tf.matmul(tf.cast(rows, dtype), tf.cast(matrix, dtype)), result_dtype)
            return tf.nn.bias_add(product, tf.cast(tf.reshape(self.dense.bias, [-1]), result_dtype))

        if self.extension is None:
            return multiply(rows)
        return tf.cast(self.extension(rows, multiply=multiply), result_dtype)


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
        extension: gives positions that are prepended; `None` for none.
    """

    def __init__(self):
        self.extension: PrefixExtension | None = None

    def prepend(self, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return keys, values and mask with the extra positions in front, where every query may look.

        Args:
            key: float `(batch, length, num_heads, head_dim)`.
            value: float, of the same shape.
            mask: `(batch, 1 or length, length)`, true or nonzero where a query may look.
        """
        if self.extension is None:
            return key, value, mask
        batch_size = tf.shape(key)[0]
        key, value = (
            tf.concat([tf.repeat(tf.cast(extra, sequence.dtype)[None], batch_size, axis=0), sequence], axis=1)
            for extra, sequence in zip(self.extension(key, value), (key, value), strict=True)
        )
        num_extra = tf.shape(key)[1] - tf.shape(mask)[2]
        return key, value, tf.pad(tf.cast(mask, tf.bool), [[0, 0], [0, 0], [num_extra, 0]], constant_values=True)


ExtensionPoint = Product | SublayerEnd | KeysValues
