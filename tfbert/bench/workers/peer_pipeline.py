"""Answer a file of texts with transformers' pipeline, JSON lines to standard output: `peer_pipeline.py JOB`.

The job has `model`, the directory that tfbert exported; `texts`, a file with one a line; `batch_size`, `num_threads`
and `is_bfloat16`.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, BertForSequenceClassification, logging, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooled(BertForSequenceClassification):
    """BERT with a head on the mean of its tokens, as tfbert trained it."""

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, **_):
        """Return the logits."""
        found = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
        mask = attention_mask[:, :, None].to(found.dtype)
        return SequenceClassifierOutput(logits=self.classifier((found * mask).sum(1) / mask.sum(1)))


class Lines(torch.utils.data.Dataset):
    """The lines of a file."""

    def __init__(self, path):
        self.lines = Path(path).read_text(encoding="utf-8").splitlines()

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        return self.lines[index]


def main():
    """Load, and answer all lines in order."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # Libraries may print what they like.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # It would list all the classes that it knows, as an error: this one is not among them.
    logging.set_verbosity(logging.CRITICAL)
    torch.set_num_threads(job["num_threads"])
    directory = Path(job["model"])
    facts = json.loads((directory / "model.json").read_text(encoding="utf-8"))
    named = dict(enumerate(facts["labels"]))
    model = MeanPooled.from_pretrained(directory / "encoder", num_labels=len(named), id2label=named)
    head = np.load(directory / "head.npz")
    model.classifier.weight.data = torch.from_numpy(head["kernel"].T.copy())
    model.classifier.bias.data = torch.from_numpy(head["bias"])
    if job["is_bfloat16"]:
        model = model.to(torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(directory / "encoder")
    answer = pipeline("text-classification", model=model.eval(), tokenizer=tokenizer, device=-1)
    options = {"batch_size": job["batch_size"], "truncation": True, "max_length": facts["sequence_length"]}
    lines = Lines(job["texts"])
    with torch.inference_mode():
        for text, found in zip(lines.lines, answer(lines, **options), strict=True):
            said = {"text": text, "label": found["label"], "probability": found["score"]}
            out.write(json.dumps(said, ensure_ascii=False) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
