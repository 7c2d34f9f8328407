"""Learn masked words with PyTorch transformers as its own example does: a job as JSON in, the time it took out.

Run by the Python of another environment: `transformers_mlm_peer.py JOB`. The job names the prepared rows, the encoder's
directory, batch size, updates and precision; both sides learn from the same rows.

Source: the recipe of transformers' example run_mlm; written anew, without its evaluation.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)


class Rows(torch.utils.data.Dataset):
    """Prepared rows as lists of ids."""

    def __init__(self, path):
        arrays = np.load(path)
        self.token_ids, self.starts = arrays["token_ids"], arrays["starts"]

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, index):
        return {"input_ids": self.token_ids[self.starts[index] : self.starts[index + 1]].tolist()}


class Counting(DataCollatorForLanguageModeling):
    """The usual collator, which also counts what is learned from."""

    num_tokens = 0

    def __call__(self, examples, return_tensors=None):
        """Return a masked batch."""
        self.num_tokens += sum(len(example["input_ids"]) for example in examples)
        return super().__call__(examples, return_tensors)


def main():
    """Train, and write tokens and seconds."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    transformers.set_seed(job["seed"])
    tokenizer = AutoTokenizer.from_pretrained(job["encoder"])
    model = AutoModelForMaskedLM.from_pretrained(job["encoder"])
    arguments = TrainingArguments(
        output_dir=str(Path(job["out"]).with_suffix(".trainer")),
        max_steps=job["updates"],
        per_device_train_batch_size=job["batch_size"],
        learning_rate=job["learning_rate"],
        train_sampling_strategy="group_by_length",
        bf16=job["bf16"],
        seed=job["seed"],
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    collator = Counting(tokenizer, mlm_probability=job["mask_fraction"], pad_to_multiple_of=8)
    trainer = Trainer(model=model, args=arguments, train_dataset=Rows(job["rows"]), data_collator=collator)
    done = trainer.train()
    summary = {
        "num_tokens": collator.num_tokens,
        "seconds": done.metrics["train_runtime"],
        "loss": done.training_loss,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    Path(job["out"]).write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
