"""Tuning methods and learning-rate groups: which weights of an encoder are trained, and how fast."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tfbert.encoder.bert import BertEncoder

# Learning-rate groups. Each encoder layer has one too: `layer_group`.
HEAD, POOLER, EMBEDDINGS = "head", "pooler", "embeddings"


class TuningMethod(Protocol):
    """Adapts an encoder through its extension points; examples are LoRA, adapters and prefix tuning."""

    def attach(self, encoder: "BertEncoder") -> None:
        """Attach extensions with `BertEncoder.extend`, and set which of the encoder's own weights are trainable."""

    def groups(self) -> Mapping[str, str]:
        """Return the learning-rate group by path, for the method's own variables and those whose group it changes."""

    def merge(self, encoder: "BertEncoder") -> None:
        """Fold the extensions into the encoder's weights where possible, and remove those from their points."""


def layer_group(index: int) -> str:
    """Return the learning-rate group of an encoder layer, 0 for the first."""
    return f"layer_{index}"


def encoder_groups(encoder: "BertEncoder") -> dict[str, str]:
    """Return the learning-rate group of every variable of an encoder by its path."""
    embeddings = (encoder.token_embedding, encoder.position_embedding, encoder.segment_embedding)
    layers = [(EMBEDDINGS, layer) for layer in (*embeddings, encoder.embeddings_layer_norm)]
    layers += [(layer_group(index), layer) for index, layer in enumerate(encoder.transformer_layers)]
    layers.append((POOLER, encoder.pooled_dense))
    groups = {variable.path: group for group, layer in layers for variable in layer.variables}
    return groups | dict(encoder.tuning.groups() if encoder.tuning else {})


def check_layers(num_layers_to_train: int | None, num_layers: int, name: str) -> None:
    """Check that an encoder has the layers that are to be trained.

    Args:
        num_layers_to_train: `None` for all layers and the embeddings.
        num_layers: number of layers of the encoder.
        name: the encoder's name.

    Raises:
        ValueError: the encoder has fewer layers.
    """
    if num_layers_to_train is not None and num_layers_to_train > num_layers:
        raise ValueError(
            f"train.trainable_layers={num_layers_to_train}: expected at most {num_layers}, the layers of {name}"
        )
