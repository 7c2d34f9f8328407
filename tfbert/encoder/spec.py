"""What an encoder is: its architecture, how it computes, and where its weights are from."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The architecture and the origin of an encoder, as stored with runs and in reports.

    Args:
        kind: layout of its files, as in `presets.EncoderSource`.
        activation: a name in `activations.ACTIVATIONS`.
        layer_norm_epsilon: added to variances.
        has_pooler: False where the weights came without a pooler, so that `pooled_dense` is random.
        vocabulary_size: rows of the token embedding.
        num_layers: encoder layers.
        num_heads: attention heads of each layer.
        hidden_dim: size of a token's vector.
        intermediate_dim: size of the feed-forward sublayers.
        max_sequence_length: rows of the position embedding.
        num_segments: rows of the segment embedding.
        dropout: rate it was loaded with.
        commit: hash of the files' commit on the Hugging Face hub; `None` for other origins.
        pretraining: on what and how long tfbert pretrained it, ready for JSON; `None` where tfbert did not.
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
        """Return what `to_json` wrote."""
        return cls(**values)
