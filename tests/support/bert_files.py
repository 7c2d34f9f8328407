"""A small BERT in the layout of Hugging Face, with random values in every tensor."""

import json

import numpy as np
from safetensors.numpy import save_file

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "caf", "##é", "##e", "the", "."]
CONFIG = {
    "model_type": "bert",
    "vocab_size": 12,  # more rows than tokens, as in models padded to a round number
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 9,
    "type_vocab_size": 3,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.2,
}
UNCASED = {"do_lower_case": True}


def make_tensors(config):
    """Draw every tensor of a BERT, including biases and norms, large enough for the two forms of GELU to differ."""
    hidden, intermediate, draw = config["hidden_size"], config["intermediate_size"], np.random.default_rng(7)
    shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    sizes = {"pooler.dense": (hidden, hidden)}
    norms = ["embeddings"]
    for prefix in (f"encoder.layer.{index}" for index in range(config["num_hidden_layers"])):
        sizes |= {f"{prefix}.attention.self.{name}": (hidden, hidden) for name in ("query", "key", "value")}
        sizes |= {
            f"{prefix}.attention.output.dense": (hidden, hidden),
            f"{prefix}.output.dense": (hidden, intermediate),
        }
        sizes |= {f"{prefix}.intermediate.dense": (intermediate, hidden)}
        norms += [f"{prefix}.attention.output", f"{prefix}.output"]
    shapes |= {f"{name}.weight": size for name, size in sizes.items()}
    shapes |= {f"{name}.bias": size[:1] for name, size in sizes.items()}
    shapes |= {f"{name}.LayerNorm.{parameter}": (hidden,) for name in norms for parameter in ("weight", "bias")}
    return {name: draw.normal(0, 0.5, shape).astype("float32") for name, shape in shapes.items()}


def write(directory, config=(), tensors=None, tokenizer=UNCASED, vocabulary=VOCABULARY):
    """Write a Hugging Face directory. A config value of `None` omits the key."""
    config = {key: value for key, value in (CONFIG | dict(config)).items() if value is not None}
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    save_file(make_tensors(CONFIG) if tensors is None else tensors, directory / "model.safetensors")
    if vocabulary is not None:
        (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    if tokenizer is not None:
        (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return directory
