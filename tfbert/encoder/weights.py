"""Weights by name, and copying weights from one layer to another."""

import keras


def named_weights(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Return the weights of a layer or model by path inside it, such as `transformer_layer_0/.../kernel`.

    The layer's own name, which Keras numbers, is not part of a path.
    """
    weights = {variable.path.removeprefix(f"{layer.name}/"): variable for variable in layer.weights}
    assert len(weights) == len(layer.weights), f"weights of {layer.name} share a path"
    return weights


def copy_weights(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copy every weight of a built layer or model to the weight with the same name of another.

    Raises:
        ValueError: one of them has a weight that the other lacks, or a weight has another shape; the message names it.
    """
    values, weights = named_weights(source), named_weights(target)
    for layer, missing in ((target, values.keys() - weights.keys()), (source, weights.keys() - values.keys())):
        if missing:
            raise ValueError(f"{layer.name} has no weight {min(missing)!r} ({len(missing)} missing)")
    for name, weight in weights.items():
        if tuple(weight.shape) != tuple(values[name].shape):
            raise ValueError(
                f"weight {name!r} has shape {tuple(values[name].shape)} in {source.name} and {tuple(weight.shape)} in "
                f"{target.name}"
            )
        weight.assign(values[name].value)
