"""Fine-tune with PyTorch transformers as its own examples do, and write predictions as JSON lines.

The job has `kind` of model; the records of each split; the `encoder`; and what both sides have in common: `epochs`,
`batch_size`, `learning_rate`, `weight_decay`, `warmup_fraction`, `seed`, `sequence_length` and `window_overlap`. With
`keeps_best` the epoch with the lowest loss on `validation` is kept instead of the last. A prediction has the outputs
that tfbert's SavedModel would give, so that the same code scores both.

Source: the recipes of transformers' examples run_glue, run_ner and run_qa, which keep the last epoch.
"""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, Trainer, TrainingArguments

from benchmarks.workers import protocol

_IGNORED = -100  # label of tokens that the loss leaves out
_NUM_BEST, _MAX_ANSWER_TOKENS = 20, 30


class Rows(torch.utils.data.Dataset):
    """Encoded rows as dicts of lists."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


class Sequence:
    """A label for a text or a pair."""

    model_class = transformers.AutoModelForSequenceClassification
    collator = transformers.DataCollatorWithPadding

    def __init__(self, job, tokenizer, train):
        self.length, self.tokenizer = job["sequence_length"], tokenizer
        self.labels = sorted({record["target"] for record in train})

    def rows(self, records, with_targets):
        """Return the encoded rows of all records, in order."""
        texts = list(zip(*[record["texts"] for record in records], strict=True))
        encoded = self.tokenizer(*map(list, texts), truncation=True, max_length=self.length)
        rows = [{name: values[index] for name, values in encoded.items()} for index in range(len(records))]
        if with_targets:
            for row, record in zip(rows, records, strict=True):
                row["labels"] = self.labels.index(record["target"])
        return rows

    def predictions(self, records, logits):
        """Yield the outputs for each record."""
        for values in logits:
            probabilities = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
            yield {"label_id": int(probabilities.argmax()), "probabilities": probabilities.tolist()}


class Labels(Sequence):
    """Any number of labels for a text."""

    def __init__(self, job, tokenizer, train):
        self.length, self.tokenizer = job["sequence_length"], tokenizer
        self.labels = sorted({label for record in train for label in record["target"]})

    def rows(self, records, with_targets):
        """Return the encoded rows of all records, in order."""
        rows = super().rows(records, False)
        if with_targets:
            for row, record in zip(rows, records, strict=True):
                row["labels"] = [float(label in record["target"]) for label in self.labels]
        return rows

    def predictions(self, records, logits):
        """Yield the outputs for each record."""
        for values in logits:
            probabilities = 1 / (1 + np.exp(-values))
            yield {"probabilities": probabilities.tolist()}


class Tokens:
    """A tag for each word; words after the longest length get none, as in the example."""

    model_class = transformers.AutoModelForTokenClassification
    collator = transformers.DataCollatorForTokenClassification

    def __init__(self, job, tokenizer, train):
        self.length, self.tokenizer = job["sequence_length"], tokenizer
        types = sorted({span[2] for record in train for span in record["target"]})
        self.labels = ["O", *(f"{prefix}-{name}" for name in types for prefix in "BI")]

    def encoded(self, record):
        """Return the words of a record, the character where each starts, and the encoded words."""
        words = record["texts"][0].split(" ")
        starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])]).tolist()
        encoded = self.tokenizer(words, is_split_into_words=True, truncation=True, max_length=self.length)
        return words, starts, encoded

    def rows(self, records, with_targets):
        """Return the encoded rows of all records, in order."""
        rows = []
        for record in records:
            words, starts, encoded = self.encoded(record)
            row = dict(encoded)
            if with_targets:
                tags = self.tag_ids(record, words, starts)
                row["labels"] = [_IGNORED if word is None else tags[word] for word in first_pieces(encoded)]
            rows.append(row)
        return rows

    def tag_ids(self, record, words, starts):
        """Return the tag id of each word."""
        tags = [0] * len(words)
        for begin, end, name in record["target"]:
            inside = [i for i, start in enumerate(starts) if start < end and start + len(words[i]) > begin]
            for order, index in enumerate(inside):
                tags[index] = self.labels.index(f"{'I' if order else 'B'}-{name}")
        return tags

    def predictions(self, records, logits):
        """Yield the outputs for each record."""
        for record, values in zip(records, logits, strict=True):
            words, starts, encoded = self.encoded(record)
            tags = ["O"] * len(words)
            for position, word in enumerate(first_pieces(encoded)):
                if word is not None:
                    tags[word] = self.labels[int(np.argmax(values[position]))]
            spans = []
            for index, tag in enumerate(tags):
                prefix, _, name = tag.partition("-")
                end = starts[index] + len(words[index])
                if prefix == "I" and spans and index and tags[index - 1].partition("-")[2] == name:
                    spans[-1][1] = end
                elif prefix != "O":
                    spans.append([starts[index], end, name])
            yield {
                "start": [span[0] for span in spans],
                "end": [span[1] for span in spans],
                "entity_label": [span[2] for span in spans],
                "entity_text": [record["texts"][0][span[0] : span[1]] for span in spans],
                "probability": [1.0 for _ in spans],
                "num_entities": len(spans),
            }


def first_pieces(encoded):
    """Return for each token the word whose first piece it is, else `None`."""
    words = encoded.word_ids()
    return [word if word != before else None for word, before in zip(words, [None, *words[:-1]], strict=True)]


class Spans:
    """Start and end of the answer, in windows."""

    model_class = transformers.AutoModelForQuestionAnswering
    collator = transformers.DataCollatorWithPadding
    labels = None

    def __init__(self, job, tokenizer, train):
        self.length, self.overlap, self.tokenizer = job["sequence_length"], job["window_overlap"], tokenizer
        self.may_be_none = any(not record["target"] for record in train)

    def encoded(self, record):
        """Return the windows of a record."""
        return self.tokenizer(
            *record["texts"],
            truncation="only_second",
            max_length=self.length,
            stride=self.overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )

    def rows(self, records, with_targets):
        """Return the encoded rows of all records, in order."""
        rows = []
        for record in records:
            encoded = self.encoded(record)
            for window in range(len(encoded["input_ids"])):
                row = {name: encoded[name][window] for name in ("input_ids", "token_type_ids", "attention_mask")}
                if with_targets:
                    row["start_positions"], row["end_positions"] = self.target(record, encoded, window)
                rows.append(row)
        return rows

    def target(self, record, encoded, window):
        """Return the first and the last token of the answer in a window, or [CLS] twice."""
        if not record["target"]:
            return 0, 0
        begin, end = record["target"][0]
        offsets, segments = encoded["offset_mapping"][window], encoded.sequence_ids(window)
        places = [i for i, (a, b) in enumerate(offsets) if segments[i] == 1 and a < end and b > begin]
        if not places or offsets[places[0]][0] > begin or offsets[places[-1]][1] < end:
            return 0, 0
        return places[0], places[-1]

    def predictions(self, records, logits):
        """Yield the outputs for each record."""
        windows = zip(*logits, strict=True)
        for record in records:
            encoded = self.encoded(record)
            best, null = (-np.inf, 0, 0), np.inf
            for window, offsets in enumerate(encoded["offset_mapping"]):
                starts, ends = next(windows)
                null = min(null, float(starts[0] + ends[0]))
                segments, size = encoded.sequence_ids(window), len(offsets)
                for first in np.argsort(-starts[:size])[:_NUM_BEST]:
                    for last in np.argsort(-ends[:size])[:_NUM_BEST]:
                        is_in_text = segments[first] == segments[last] == 1
                        if is_in_text and 0 <= last - first < _MAX_ANSWER_TOKENS:
                            best = max(best, (float(starts[first] + ends[last]), offsets[first][0], offsets[last][1]))
            is_none = self.may_be_none and null > best[0]
            yield {"best_answer": "" if is_none else record["texts"][1][best[1] : best[2]]}


KINDS = {"sequence": Sequence, "labels": Labels, "tokens": Tokens, "spans": Spans}


def read(path):
    """Return the records of a JSON lines file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


class Clock(transformers.TrainerCallback):
    """Notes when the first update was done, in seconds since 1970."""

    first_update_at = None

    def on_step_end(self, *_, **__):
        """Note the time."""
        self.first_update_at = self.first_update_at or time.time()


def train(job, kind, records):
    """Train a new model; return the Trainer and a summary of how long it took."""
    transformers.set_seed(job["seed"])
    sizes = {} if kind.labels is None else {"num_labels": len(kind.labels)}
    if isinstance(kind, Labels):
        sizes["problem_type"] = "multi_label_classification"
    validation, keeping = None, {"save_strategy": "no"}
    if job.get("keeps_best") and "validation" in job:
        validation = Rows(kind.rows(read(job["validation"]), True))
        keeping = dict.fromkeys(("eval_strategy", "save_strategy"), "epoch")
        keeping |= {"load_best_model_at_end": True, "metric_for_best_model": "loss", "save_total_limit": 1}
    arguments = TrainingArguments(
        output_dir=str(Path(job["out"]).with_suffix(".trainer")),
        num_train_epochs=job["epochs"],
        per_device_train_batch_size=job["batch_size"],
        per_device_eval_batch_size=64,
        learning_rate=job["learning_rate"],
        weight_decay=job["weight_decay"],
        warmup_steps=job["warmup_fraction"],
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        seed=job["seed"],
        report_to="none",
        use_cpu=True,
        **keeping,
        **job.get("arguments", {}),
    )
    clock, started = Clock(), time.monotonic()
    rows = Rows(kind.rows(records, True))
    tokenized = time.monotonic()
    model = kind.model_class.from_pretrained(job["encoder"], **sizes)
    collator = kind.collator(kind.tokenizer, pad_to_multiple_of=8)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=validation,
        data_collator=collator,
        callbacks=[clock],
    )
    built = time.monotonic()
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    shutil.rmtree(arguments.output_dir, ignore_errors=True)
    return trainer, {
        "validation_loss": min(losses, default=0.0),
        "num_examples": len(records),
        "train_seconds": (tokenized - started) + (time.monotonic() - built),
        "seconds_to_first_update": clock.first_update_at - job["started_at"],
    }


def main():
    """Train, predict the test split, and write predictions and summary."""
    started = time.monotonic()
    job, _ = protocol.read_job()
    records, test = read(job["train"]), read(job["test"])
    kind = KINDS[job["kind"]](job, AutoTokenizer.from_pretrained(job["encoder"]), records)
    trainer, summary = train(job, kind, records)
    # The Trainer would predict in order of length and not restore the order.
    trainer.args.train_sampling_strategy = "sequential"
    predictions = kind.predictions(test, trainer.predict(Rows(kind.rows(test, False))).predictions)
    Path(job["out"]).write_text("".join(json.dumps(each) + "\n" for each in predictions), encoding="utf-8")
    summary |= {"seconds": time.monotonic() - started, "peak_memory_bytes": protocol.peak_memory_bytes()}
    Path(job["summary"]).write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
