"""Toy tuning methods, one for each extension point of the encoder."""

import keras
import tensorflow as tf

from tfbert.encoder.tuning import HEAD


class LowRank(keras.layers.Layer):
    """A product of two narrow matrices added to a product of the encoder, as in LoRA (Hu et al. 2021)."""

    def __init__(self, num_inputs, num_outputs, rank, **kwargs):
        super().__init__(**kwargs)
        start = keras.initializers.RandomNormal(0.0, 0.3, seed=1)
        self.narrow = self.add_weight((num_inputs, rank), start, name="narrow")
        self.wide = self.add_weight((rank, num_outputs), "zeros", name="wide")
        self.built = True

    @property
    def update(self):
        return tf.matmul(tf.convert_to_tensor(self.narrow), tf.convert_to_tensor(self.wide))

    def call(self, inputs, multiply):
        product = multiply(inputs)
        return product + tf.cast(tf.matmul(tf.matmul(inputs, self.narrow), self.wide), product.dtype)


class Adapter(keras.layers.Layer):
    """A narrow layer with a residual at the end of a sublayer, as in Houlsby et al. 2019."""

    def __init__(self, hidden_dim, **kwargs):
        super().__init__(**kwargs)
        start = keras.initializers.RandomNormal(0.0, 0.5, seed=1)
        self.down = keras.layers.Dense(2, "tanh", kernel_initializer=start, name="down")
        self.up = keras.layers.Dense(hidden_dim, kernel_initializer=start, name="up")
        self.build((None, hidden_dim))

    def build(self, shape):
        self.down.build(shape)
        self.up.build((None, 2))

    def call(self, output):
        return output + self.up(self.down(output))


class Prefix(keras.layers.Layer):
    """Keys and values that do not depend on the text, as in Li and Liang 2021."""

    def __init__(self, keys, values, **kwargs):
        super().__init__(**kwargs)
        self.keys, self.values = (
            self.add_weight(array.shape, lambda shape, dtype, array=array: tf.cast(array, dtype), name=name)
            for name, array in (("keys", keys), ("values", values))
        )
        self.built = True

    def call(self, key, value):
        return tf.convert_to_tensor(self.keys), tf.convert_to_tensor(self.values)


class LowRankTuning:
    """Trains low-rank updates of some products in all layers, and no other weights of the encoder.

    Args:
        names: the names of the products.
        rank: the rank of the updates.
    """

    def __init__(self, names=("query", "feedforward_out"), rank=2):
        self.names, self.rank = names, rank
        self.attached = []

    def attach(self, encoder):
        for layer in encoder.layers:
            layer.trainable = False
        for layer in encoder.transformer_layers:
            for name in self.names:
                point = layer.products[name]
                update = LowRank(*point.kernel.shape, self.rank, name=f"{layer.name}_{name}_low_rank")
                encoder.extend(point, update)
                self.attached.append((point, update))

    def groups(self):
        return {variable.path: HEAD for _, update in self.attached for variable in update.variables}

    def merge(self, encoder):
        for point, update in self.attached:
            point.assign_kernel(point.kernel + update.update)
            encoder.remove_extension(point)
        self.attached = []
