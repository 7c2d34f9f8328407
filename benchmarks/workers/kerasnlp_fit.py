"""Fine-tune with KerasNLP's classifier and `fit`, as its guide shows, for some batches.

The job is that of `transformers_finetune`, with `preset`, the encoder's directory; `num_batches` and
`num_warm_batches`, how many are learned and how many of these are not timed; and the differences from KerasNLP's
defaults: `with_length` (pad to the longest text instead of 512 tokens), `dtype` and `jit_compile`. Tokenization is part
of the time, because it happens during training.

Source: the part on fine-tuning a pretrained backbone of KerasHub's guide "Getting Started with KerasHub"; written anew.
"""

import json
import time
from pathlib import Path

import keras
import keras_hub
import numpy as np

from benchmarks.workers import protocol


class Clock(keras.callbacks.Callback):
    """Notes when each batch was done, in seconds since 1970."""

    def __init__(self):
        super().__init__()
        self.done_at = []

    def on_train_batch_end(self, *_, **__):
        """Note the time."""
        self.done_at.append(time.time())


def classifier(job, texts, num_classes):
    """Return the compiled classifier."""
    if "dtype" in job:
        keras.config.set_dtype_policy(job["dtype"])
    backbone = keras_hub.models.BertBackbone.from_preset(job["preset"])
    tokenizer = keras_hub.models.BertTokenizer.from_preset(job["preset"])
    length = {}
    if job.get("with_length"):
        longest = max(len(tokenizer(text)) for text in texts) + 2  # [CLS] and [SEP]
        length = {"sequence_length": min(-(-longest // 8) * 8, job["sequence_length"])}
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, **length)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=num_classes, preprocessor=preprocessor)
    if "jit_compile" in job:
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            optimizer=keras.optimizers.Adam(5e-5),
            metrics=[keras.metrics.SparseCategoricalAccuracy()],
            jit_compile=job["jit_compile"],
        )
    return model


def main():
    """Train on some batches and write the summary."""
    job, _ = protocol.read_job()
    records = [json.loads(line) for line in Path(job["train"]).read_text(encoding="utf-8").splitlines()]
    labels = sorted({record["target"] for record in records})
    size, warm, clock = job["batch_size"], job["num_warm_batches"], Clock()
    order = np.random.default_rng(job["seed"]).permutation(len(records))[: job["num_batches"] * size]
    texts = np.array([records[index]["texts"][0] for index in order])
    targets = np.array([labels.index(records[index]["target"]) for index in order])
    model = classifier(job, [record["texts"][0] for record in records], len(labels))
    model.fit(x=texts, y=targets, batch_size=size, callbacks=[clock], verbose=0)
    summary = {
        "num_examples": len(texts) - warm * size,
        "train_seconds": clock.done_at[-1] - clock.done_at[warm - 1],
        "seconds_to_first_update": clock.done_at[0] - job["started_at"],
        "peak_memory_bytes": protocol.peak_memory_bytes(),
    }
    Path(job["summary"]).write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
