"""Predict with onnxruntime or PyTorch, in this process; or write the ONNX files that takes.

The job has `model`, the directory of the encoder and the head that tfbert exported, and `kind`: `write` writes the ONNX
files and `about.json`; `onnx`, `onnx-int8`, `torch` and `torch-bfloat16` predict, and need `num_threads` of one
operation and `texts` by name.
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.workers import protocol

FUSED, INT8, ABOUT = "fused.onnx", "int8.onnx", "about.json"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OPSET = 18


class Classifier:
    """Predicts what the SavedModel does: Rust tokenizer, encoder and head.

    The tokenizer is called directly, which is faster than through transformers and gives the same.

    Args:
        directory: that tfbert exported.
        probabilities: function from int64 arrays by input to float32 `(texts, num_classes)`.
    """

    def __init__(self, directory, probabilities):
        from transformers import AutoTokenizer

        about = json.loads((directory / "model.json").read_text(encoding="utf-8"))
        self._labels, self._probabilities = np.array(about["labels"], object), probabilities
        self._tokenizer = AutoTokenizer.from_pretrained(directory / "encoder").backend_tokenizer
        self._tokenizer.enable_truncation(about["sequence_length"])
        self._tokenizer.enable_padding()

    def __call__(self, texts):
        """Return `label`, `label_id`, `probability` and `probabilities`, arrays with the text first."""
        encodings = self._tokenizer.encode_batch(texts)
        names = zip(_INPUTS, ("ids", "attention_mask", "type_ids"), strict=True)
        found = self._probabilities({name: np.array([getattr(e, own) for e in encodings]) for name, own in names})
        label_id = found.argmax(1)
        return {
            "label": self._labels[label_id],
            "label_id": label_id,
            "probability": found.max(1),
            "probabilities": found,
        }


def json_rows(outputs):
    """Return outputs as TensorFlow Serving's JSON has them: a dict per text."""
    columns = {name: values.tolist() for name, values in outputs.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def with_onnx(directory, name, num_threads):
    """Return a classifier with onnxruntime; `name` is one of the ONNX files."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(directory / name, options, providers=["CPUExecutionProvider"])
    inputs = {each.name for each in session.get_inputs()}
    return Classifier(directory, lambda a: session.run(None, {name: a[name] for name in a if name in inputs})[0])


def with_torch(directory, num_threads, is_bfloat16):
    """Return a classifier with PyTorch, in float32 or with autocast to bfloat16."""
    import torch

    torch.set_num_threads(num_threads)
    model = build(directory)

    def probabilities(arrays):
        tensors = [torch.from_numpy(arrays[name]) for name in _INPUTS]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            return model(*tensors).numpy()

    return Classifier(directory, probabilities)


def build(directory, attention="sdpa"):
    """Return a module from the int64 inputs to float32 probabilities: the encoder, the mean of all tokens, the head.

    Args:
        directory: that tfbert exported.
        attention: implementation of transformers; onnxruntime's fusions know what becomes of `eager`.
    """
    import torch
    from transformers import AutoModel

    class Module(torch.nn.Module):
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
            outputs = self.encoder(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            mask = attention_mask[:, :, None].float()
            # The head is float32 in tfbert too.
            with torch.autocast("cpu", enabled=False):
                pooled = (outputs[0].float() * mask).sum(1) / mask.sum(1)
                return self.logits(pooled).softmax(-1)

    return Module().eval()


def write_onnx(directory):
    """Write the model fused by onnxruntime's tool for BERT, and the same with int8 weights.

    `about.json` gets `has_bfloat16`: whether PyTorch finds instructions that multiply it.
    """
    import onnx
    import torch
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    sizes = json.loads((directory / "model.json").read_text(encoding="utf-8"))
    plain = directory / "plain.onnx"
    example = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in _INPUTS)
    axes = dict.fromkeys(_INPUTS, {0: "texts", 1: "length"}) | {"probabilities": {0: "texts"}}
    names = {"input_names": list(_INPUTS), "output_names": ["probabilities"], "dynamic_axes": axes}
    torch.onnx.export(build(directory, "eager"), example, plain, opset_version=_OPSET, dynamo=False, **names)
    fused = optimize_model(
        str(plain), "bert", num_heads=sizes["num_heads"], hidden_size=sizes["hidden_dim"], opt_level=1
    )
    fused.save_model_to_file(str(directory / FUSED))
    # Without VNNI the sums of 8-bit products overflow unless weights use 7 bits, says onnxruntime's guide. One scale
    # per column costs nothing and changes fewer labels.
    options = {"per_channel": True, "reduce_range": True}
    float32 = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(directory / FUSED, directory / INT8, **options, extra_options=float32)
    about = {"has_bfloat16": torch.ops.mkldnn._is_mkldnn_bf16_supported()}
    (directory / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def main():
    """Write the files, or load a model and predict until the input ends."""
    job, out = protocol.read_job()
    directory = Path(job["model"])
    if job["kind"] == "write":
        write_onnx(directory)
        return
    classifiers = {
        "onnx": lambda threads: with_onnx(directory, FUSED, threads),
        "onnx-int8": lambda threads: with_onnx(directory, INT8, threads),
        "torch": lambda threads: with_torch(directory, threads, is_bfloat16=False),
        "torch-bfloat16": lambda threads: with_torch(directory, threads, is_bfloat16=True),
    }
    protocol.predict_lines(classifiers[job["kind"]](job["num_threads"]), job["texts"], out)


if __name__ == "__main__":
    main()
