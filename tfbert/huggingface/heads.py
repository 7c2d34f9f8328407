"""Heads of fitted tasks as PyTorch transformers and sentence-transformers store them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tfbert.encoder.huggingface import ENCODER_ONLY, OWN_MODEL_TYPE, ModelHead
from tfbert.files import write_json
from tfbert.heads.embedding import EmbeddingHead
from tfbert.heads.pooled import PooledHead
from tfbert.huggingface.layout import COPYING_SLOPE, copying_pooler
from tfbert.models.saved_run import SavedRun
from tfbert.tasks.base_huggingface import FittedConvertibleTask, ModelClass

_CODE = "modeling_tfbert"
CODE_FILE = f"{_CODE}.py"
EMBEDDING_FILES = {
    "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling", "2_Dense",
    "2_Normalize", "3_Normalize",
}  # fmt: skip
# Types of modules by the names that all versions of sentence-transformers know.
_MODULES = "sentence_transformers.models"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertedHead:
    """A head in the form of another library.

    Args:
        head: what is written besides the encoder.
        auto_class: the class that loads the directory, such as `AutoModelForTokenClassification`.
        has_pooler: whether the encoder's own pooler is written.
        has_code: whether the directory needs the code in `CODE_FILE`.
    """

    head: ModelHead
    auto_class: str
    has_pooler: bool = False
    has_code: bool = False


def convert_head(run: SavedRun) -> ConvertedHead:
    """Return the head of a run whose task has a class in PyTorch transformers."""
    task, model = run.task, run.predictor.model
    assert isinstance(task, FittedConvertibleTask)
    model_class = task.definition.model_class
    kernel, bias = (np.asarray(weight) * np.float32(task.score_scale) for weight in model.head.logits.weights)
    bias = bias + np.float32(task.score_offset)
    pooling = model.head.pooling if isinstance(model.head, PooledHead) else None
    tensors, config = {}, _label_config(task, model_class)
    if pooling == "cls":
        hidden_dim = model.backbone.hidden_dim
        tensors["bert.pooler.dense.weight"] = copying_pooler(hidden_dim)
        tensors["bert.pooler.dense.bias"] = np.zeros(hidden_dim, np.float32)
        kernel = kernel / np.float32(COPYING_SLOPE)
    tensors[f"{model_class.layer}.weight"] = np.ascontiguousarray(kernel.T)
    tensors[f"{model_class.layer}.bias"] = bias
    architecture, has_code = model_class.architecture, pooling in ("mean", "max")
    if has_code:
        architecture = architecture.replace("Bert", "Tfbert")
        code = {"AutoConfig": "TfbertConfig", "AutoModel": "TfbertModel", model_class.auto_class: architecture}
        config |= {"model_type": OWN_MODEL_TYPE, "pooling": pooling}
        config["auto_map"] = {name: f"{_CODE}.{kind}" for name, kind in code.items()}
    return ConvertedHead(
        head=ModelHead(architecture, tensors, config, run.config.encoder.sequence_length),
        auto_class=model_class.auto_class,
        has_pooler=pooling == "pooler",
        has_code=has_code,
    )


def _label_config(task: FittedConvertibleTask, model_class: ModelClass) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if task.model_labels:
        config["id2label"] = {str(label_id): label for label_id, label in enumerate(task.model_labels)}
        config["label2id"] = {label: label_id for label_id, label in enumerate(task.model_labels)}
    if model_class.problem_type:
        config["problem_type"] = model_class.problem_type
    return config


def convert_embedding_head(run: SavedRun) -> ConvertedHead:
    """Return the head of a run whose model computes embeddings, as sentence-transformers reads it."""
    head = ModelHead(ENCODER_ONLY, max_tokens=run.config.encoder.sequence_length)
    return ConvertedHead(head=head, auto_class="SentenceTransformer", has_pooler=run.predictor.model.head.uses_pooler)


def write_embedding_modules(directory: Path, run: SavedRun) -> None:
    """Write the modules of sentence-transformers after the encoder: pooling, BERT's pooler if used, normalization."""
    head, backbone = run.predictor.model.head, run.predictor.model.backbone
    assert isinstance(head, EmbeddingHead)
    pooling = "cls" if head.pooling == "pooler" else head.pooling
    names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    modules: dict[str, Mapping[str, Any]] = {
        "Pooling": {
            "word_embedding_dimension": backbone.hidden_dim,
            **{f"pooling_mode_{name}": mode == pooling for mode, name in names.items()},
        }
    }
    if head.uses_pooler:
        activation = "torch.nn.modules.activation.Tanh"
        sizes = {"in_features": backbone.hidden_dim, "out_features": backbone.hidden_dim, "bias": True}
        modules["Dense"] = sizes | {"activation_function": activation}
    modules["Normalize"] = {}
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{_MODULES}.Transformer"}]
    for index, (kind, config) in enumerate(modules.items(), start=1):
        path = f"{index}_{kind}"
        listed.append({"idx": index, "name": str(index), "path": path, "type": f"{_MODULES}.{kind}"})
        (directory / path).mkdir()
        write_json(directory / path / "config.json", config)
    if head.uses_pooler:
        kernel, bias = (np.asarray(weight) for weight in backbone.pooled_dense.weights)
        tensors = {"linear.weight": np.ascontiguousarray(kernel.T), "linear.bias": bias}
        save_file(tensors, directory / "2_Dense" / "model.safetensors", metadata={"format": "pt"})
    write_json(directory / "modules.json", listed)
    write_json(directory / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
    # The tokenizer lowercases if its own files say so.
    max_tokens = run.config.encoder.sequence_length
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
