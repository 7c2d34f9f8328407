"""A model that tfbert exported for its peers in; a module of PyTorch, ONNX files and what answers with them out.

Imported by the other programs for the peers; `peer_models.py DIRECTORY` writes the ONNX files and `about.json`.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np

FUSED, INT8, ABOUT = "fused.onnx", "int8.onnx", "about.json"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OPSET = 18


class Tokenizer:
    """The Rust tokenizer with nothing around it: quicker than transformers' own call, with the same result.

    Args:
        directory: that tfbert exported.
    """

    def __init__(self, directory):
        from transformers import AutoTokenizer

        facts = json.loads((directory / "model.json").read_text(encoding="utf-8"))
        self._tokenizer = AutoTokenizer.from_pretrained(directory / "encoder").backend_tokenizer
        self._tokenizer.enable_truncation(facts["sequence_length"])
        self._tokenizer.enable_padding()

    def __call__(self, texts):
        """Return int64 arrays `(texts, length)` by input, padded to the longest."""
        found = self._tokenizer.encode_batch(texts)
        rows = ("ids", "attention_mask", "type_ids")
        return {name: np.array([getattr(one, row) for one in found]) for name, row in zip(_INPUTS, rows, strict=True)}


class Answerer:
    """Texts in, what the SavedModel answers out.

    Args:
        directory: that tfbert exported.
        probabilities: int64 arrays by input to float32 `(texts, num_classes)`.
    """

    def __init__(self, directory, probabilities):
        labels = json.loads((directory / "model.json").read_text(encoding="utf-8"))["labels"]
        self._labels, self._probabilities = np.array(labels, object), probabilities
        self._tokenizer = Tokenizer(directory)

    def __call__(self, texts):
        """Return `label`, `label_id`, `probability`, `probabilities`, as arrays with the text first."""
        found = self._probabilities(self._tokenizer(texts))
        label_id = found.argmax(1)
        return {
            "label": self._labels[label_id],
            "label_id": label_id,
            "probability": found.max(1),
            "probabilities": found,
        }


def rows_of(found):
    """Return answers as TensorFlow Serving's JSON has them: a dict a text."""
    columns = {name: values.tolist() for name, values in found.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def with_onnx(directory, name, num_threads):
    """Return what answers with onnxruntime, `name` being one of the ONNX files."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(directory / name, options, providers=["CPUExecutionProvider"])
    wanted = {found.name for found in session.get_inputs()}

    def probabilities(arrays):
        return session.run(None, {name: array for name, array in arrays.items() if name in wanted})[0]

    return Answerer(directory, probabilities)


def with_torch(directory, num_threads, is_bfloat16):
    """Return what answers with PyTorch, in float32 or with autocast to bfloat16."""
    import torch

    torch.set_num_threads(num_threads)
    model = build(directory)

    def probabilities(arrays):
        tensors = [torch.from_numpy(arrays[name]) for name in _INPUTS]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            return model(*tensors).numpy()

    return Answerer(directory, probabilities)


def build(directory, attention="sdpa"):
    """Return a module from the int64 inputs to float32 probabilities: the encoder, the mean of all tokens, the head.

    Args:
        directory: that tfbert exported.
        attention: of transformers' implementations; the fusions of onnxruntime know what becomes of `eager`.
    """
    import torch
    from transformers import AutoModel

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = AutoModel.from_pretrained(
                directory / "encoder", add_pooling_layer=False, attn_implementation=attention
            )
            head = np.load(directory / "head.npz")
            self.logits = torch.nn.Linear(*head["kernel"].shape)
            self.logits.weight.data = torch.from_numpy(head["kernel"].T.copy())
            self.logits.bias.data = torch.from_numpy(head["bias"])

        def forward(self, input_ids, attention_mask, token_type_ids):
            found = self.encoder(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            mask = attention_mask[:, :, None].float()
            # The head is float32 in tfbert too.
            with torch.autocast("cpu", enabled=False):
                pooled = (found[0].float() * mask).sum(1) / mask.sum(1)
                return self.logits(pooled).softmax(-1)

    return Classifier().eval()


def write_onnx(directory):
    """Write the model to ONNX files: fused by onnxruntime's tool for BERT, and that with int8 weights.

    A third file says `versions` and `has_bfloat16`, whether PyTorch finds instructions for it in the processor.
    """
    import onnx
    import onnxruntime
    import torch
    import transformers
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    facts = json.loads((directory / "model.json").read_text(encoding="utf-8"))
    plain = directory / "plain.onnx"
    example = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in _INPUTS)
    axes = dict.fromkeys(_INPUTS, {0: "texts", 1: "length"}) | {"probabilities": {0: "texts"}}
    names = {"input_names": list(_INPUTS), "output_names": ["probabilities"], "dynamic_axes": axes}
    torch.onnx.export(build(directory, "eager"), example, plain, opset_version=_OPSET, dynamo=False, **names)
    fused = optimize_model(
        str(plain), "bert", num_heads=facts["num_heads"], hidden_size=facts["hidden_dim"], opt_level=1
    )
    logging.info("fused: %s", fused.get_fused_operator_statistics())
    fused.save_model_to_file(str(directory / FUSED))
    # Without VNNI the sums of 8-bit products overflow unless the weights use 7 bits, as onnxruntime's guide says. A
    # scale for each column costs nothing and keeps more labels.
    fused_types = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    options = {"per_channel": True, "reduce_range": True, "extra_options": fused_types}
    quantize_dynamic(directory / FUSED, directory / INT8, **options)
    versions = {library.__name__: library.__version__ for library in (onnx, onnxruntime, torch, transformers)}
    about = {"versions": versions, "has_bfloat16": torch.ops.mkldnn._is_mkldnn_bf16_supported()}
    (directory / ABOUT).write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    write_onnx(Path(sys.argv[1]))
