"""Fine-tune with KerasNLP's classifier and `fit`, as its guide shows it: `kerasnlp_fit.py JOB`.

The job is one of `transformers_peer.py`, and further `preset`, the encoder's directory; `num_batches` and
`num_warm_batches`, how many are learned and how many of these are not timed; and what differs from KerasNLP's defaults:
`with_length` (pad to the longest text instead of 512 tokens), `dtype`, and `jit_compile`. The time of the tokens is in
that of the batches, as they are made while it trains.

Source: KerasHub's guide "Getting Started with KerasHub", the part on fine-tuning a pretrained backbone; written anew.
"""

import json
import sys
import time
from pathlib import Path

import asking
import keras
import keras_hub
import numpy as np


class Clock(keras.callbacks.Callback):
    """Notes when batches were done, in seconds since 1970."""

    def __init__(self):
        super().__init__()
        self.done_at = []

    def on_train_batch_end(self, *_, **__):
        """Note the end of a batch."""
        self.done_at.append(time.time())


def classifier_of(job, texts, num_classes):
    """Return the classifier that the job wants."""
    if "dtype" in job:
        keras.config.set_dtype_policy(job["dtype"])
    backbone = keras_hub.models.BertBackbone.from_preset(job["preset"])
    tokenizer = keras_hub.models.BertTokenizer.from_preset(job["preset"])
    length = {}
    if job.get("with_length"):
        longest = max(len(tokenizer(text)) for text in texts) + 2  # [CLS] and [SEP]
        length = {"sequence_length": min(-(-longest // 8) * 8, job["sequence_length"])}
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, **length)
    classifier = keras_hub.models.BertTextClassifier(backbone, num_classes=num_classes, preprocessor=preprocessor)
    if "jit_compile" in job:
        classifier.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            optimizer=keras.optimizers.Adam(5e-5),
            metrics=[keras.metrics.SparseCategoricalAccuracy()],
            jit_compile=job["jit_compile"],
        )
    return classifier


def main():
    """Train some batches, and write what they took."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    records = [json.loads(line) for line in Path(job["train"]).read_text(encoding="utf-8").splitlines()]
    labels = sorted({record["target"] for record in records})
    chosen = np.random.default_rng(job["seed"]).permutation(len(records))[: job["num_batches"] * job["batch_size"]]
    texts = [records[index]["texts"][0] for index in chosen]
    targets = np.array([labels.index(records[index]["target"]) for index in chosen])
    classifier = classifier_of(job, [record["texts"][0] for record in records], len(labels))
    clock = Clock()
    classifier.fit(x=np.array(texts), y=targets, batch_size=job["batch_size"], callbacks=[clock], verbose=0)
    warm = job["num_warm_batches"]
    summary = {
        "num_examples": len(texts) - warm * job["batch_size"],
        "seconds": clock.done_at[-1] - clock.done_at[warm - 1],
        "seconds_to_first_update": clock.done_at[0] - job["started_at"],
        "peak_memory_bytes": asking.memory_bytes("self", "VmHWM"),
    }
    Path(job["out"]).write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
