"""BERT for PyTorch transformers with the classifier on pooled token vectors; `trust_remote_code=True` loads it.

The classes of transformers have the classifier on BERT's pooler. These have it on the mean or the maximum of the token
vectors and are otherwise the same. tfbert copies this file into the directories that need it.
"""

from transformers import BertConfig, BertForMultipleChoice, BertForSequenceClassification, BertModel


class TfbertConfig(BertConfig):
    """Config of BERT with `pooling`: `mean` or `max`."""

    model_type = "tfbert"
    pooling: str = "mean"


class TfbertModel(BertModel):
    """BERT whose `pooler_output` is the mean or the maximum of the vectors of all tokens, without padding."""

    config_class = TfbertConfig

    def __init__(self, config):
        super().__init__(config, add_pooling_layer=False)

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        """Return the output of BERT with the pooled vectors."""
        kwargs["return_dict"] = True
        output = super().forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        vectors = output.last_hidden_state
        if attention_mask is None:
            attention_mask = vectors.new_ones(vectors.shape[:2])
        mask = attention_mask.to(vectors.dtype)[:, :, None]
        if self.config.pooling == "max":
            pooled = vectors.masked_fill(mask == 0, float("-inf")).amax(1)
        else:
            pooled = (vectors * mask).sum(1) / mask.sum(1)
        # Classes with a classifier take the second value of the output.
        others = {name: value for name, value in output.items() if name not in ("last_hidden_state", "pooler_output")}
        return type(output)(last_hidden_state=vectors, pooler_output=pooled, **others)


class TfbertForSequenceClassification(BertForSequenceClassification):
    """A classifier or a regression on pooled vectors."""

    config_class = TfbertConfig

    def __init__(self, config):
        super().__init__(config)
        self.bert = TfbertModel(config)
        self.post_init()


class TfbertForMultipleChoice(BertForMultipleChoice):
    """A logit for each choice, on pooled vectors."""

    config_class = TfbertConfig

    def __init__(self, config):
        super().__init__(config)
        self.bert = TfbertModel(config)
        self.post_init()
