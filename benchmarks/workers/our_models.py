"""Predict with what tfbert exports, in this process.

The job has `kind`, `saved_model` or `litert`; `model`, the directory that `tools/export.py` wrote; `num_threads` of one
operation; and `texts` by name.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from tokenizers import BertWordPieceTokenizer

from benchmarks.workers import protocol
from tfbert.serving import litert
from tfbert.serving.saved_predictor import SavedPredictor


def saved_model(job):
    """Return a function that predicts with the SavedModel."""
    tf.config.threading.set_intra_op_parallelism_threads(job["num_threads"])
    predictor = SavedPredictor(Path(job["model"]))
    return lambda texts: predictor([{"text": text} for text in texts])


def litert_model(job):
    """Return a function that tokenizes with the Rust tokenizer, as an application would, and predicts with LiteRT."""
    directory = Path(job["model"])
    about = json.loads((directory / litert.DESCRIPTION).read_text(encoding="utf-8"))
    rules, length = about["tokenizer"], about["sequence_length"]
    tokenizer = BertWordPieceTokenizer(
        str(directory / litert.VOCABULARY),
        lowercase=rules["lowercase"],
        strip_accents=rules["strip_accents"],
        handle_chinese_chars=rules["split_on_cjk"],
    )
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    predict_row = litert.sequence_predictor((directory / litert.MODEL).read_bytes(), job["num_threads"])

    def predict(texts):
        outputs = []
        for encoding in tokenizer.encode_batch(texts):
            row = {"token_ids": encoding.ids, "segment_ids": encoding.type_ids, "padding_mask": encoding.attention_mask}
            outputs.append(predict_row({name: np.array([values], np.int32) for name, values in row.items()}))
        return {name: np.concatenate([output[name] for output in outputs]) for name in ("label_id", "probabilities")}

    return predict


def main():
    """Load the model and predict until the input ends."""
    job, out = protocol.read_job()
    predict = {"saved_model": saved_model, "litert": litert_model}[job["kind"]](job)
    protocol.predict_lines(predict, job["texts"], out)


if __name__ == "__main__":
    main()
