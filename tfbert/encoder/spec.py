"""Encoder specification: architecture, activation, and the origin of the weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The architecture and the origin of an encoder, as stored in runs and reports.

    Args:
        kind: layout of its files, as in `presets.EncoderSource`.
        activation: a name in `activations.ACTIVATIONS`.
        layer_norm_epsilon: added to variances.
        has_pooler: False if the loaded weights had no pooler and `pooled_dense` is therefore random.
        vocabulary_size: number of token embeddings.
        num_layers: number of encoder layers.
        num_heads: attention heads per layer.
        hidden_dim: size of a token's vector.
        intermediate_dim: size of the feed-forward sublayers.
        max_sequence_length: number of position embeddings.
        num_segments: number of segment embeddings.
        dropout: the rate with which the encoder was loaded.
        commit: hash of the files' commit on the Hugging Face hub; `None` for other origins.
        pretraining: how tfbert pretrained the encoder, ready for JSON; `None` if it did not.
    """

    kind: str
    activation: str
    layer_norm_epsilon: float
    has_pooler: bool
    vocabulary_size: int
    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    max_sequence_length: int
    num_segments: int
    dropout: float
    commit: str | None = None
    pretraining: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are not `None`, ready for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EncoderSpec":
        """Return the spec that `to_json` converted."""
        return cls(**values)
