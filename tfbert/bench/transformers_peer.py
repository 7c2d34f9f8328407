"""Fine-tune with PyTorch transformers as its own examples do: a job as JSON in, predictions as JSON lines out.

Run by the Python of another environment, which has torch and transformers but not tfbert: `transformers_peer.py JOB`.
The job names the records of each split, the encoder's directory, and what both sides have in common: epochs, batch
size, learning rate, seed and sequence length. A prediction is a dict that holds what tfbert's answer would, so that the
same code scores both.

Source: the recipes of transformers' examples run_glue, run_ner and run_qa; written anew. Theirs keep the last epoch.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, Trainer, TrainingArguments

_IGNORED = -100  # label of what the loss leaves out
_NUM_BEST, _LONGEST_ANSWER = 20, 30


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

    def __init__(self, job, tokenizer, train):
        self.length, self.tokenizer = job["sequence_length"], tokenizer
        self.labels = sorted({record["target"] for record in train})

    def rows(self, records, with_targets):
        """Return the encoded rows of all records, in order."""
        texts = list(zip(*[record["texts"] for record in records], strict=True))
        encoded = self.tokenizer(*map(list, texts), truncation=True, max_length=self.length)
        found = [{name: values[index] for name, values in encoded.items()} for index in range(len(records))]
        if with_targets:
            for row, record in zip(found, records, strict=True):
                row["labels"] = self.labels.index(record["target"])
        return found

    def predictions(self, records, logits):
        """Yield what is predicted of each record."""
        for values in logits:
            probabilities = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
            yield {"label_id": int(probabilities.argmax()), "probabilities": probabilities.tolist()}


class Tokens:
    """A tag for each word; words behind the longest length are not predicted, as in the example."""

    model_class = transformers.AutoModelForTokenClassification

    def __init__(self, job, tokenizer, train):
        self.length, self.tokenizer = job["sequence_length"], tokenizer
        types = sorted({span[2] for record in train for span in record["target"]})
        self.labels = ["O", *(f"{prefix}-{name}" for name in types for prefix in "BI")]

    def rows(self, records, with_targets):
        """Return the encoded rows of all records, in order."""
        found = []
        for record in records:
            words, starts = self.words_of(record)
            encoded = self.tokenizer(words, is_split_into_words=True, truncation=True, max_length=self.length)
            row = dict(encoded)
            if with_targets:
                tags = self.tags_of(record, words, starts)
                row["labels"] = [_IGNORED if word is None else tags[word] for word in first_pieces(encoded)]
            found.append(row)
        return found

    def words_of(self, record):
        """Return the words of a record, and where each begins in its text."""
        words, starts, position = [], [], 0
        for word in record["texts"][0].split(" "):
            words.append(word)
            starts.append(position)
            position += len(word) + 1
        return words, starts

    def tags_of(self, record, words, starts):
        """Return the tag id of each word."""
        tags = [0] * len(words)
        for begin, end, name in record["target"]:
            inside = [i for i, start in enumerate(starts) if start < end and start + len(words[i]) > begin]
            for order, index in enumerate(inside):
                tags[index] = self.labels.index(f"{'I' if order else 'B'}-{name}")
        return tags

    def predictions(self, records, logits):
        """Yield what is predicted of each record."""
        for record, values in zip(records, logits, strict=True):
            words, starts = self.words_of(record)
            encoded = self.tokenizer(words, is_split_into_words=True, truncation=True, max_length=self.length)
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
    found, before = [], None
    for word in encoded.word_ids():
        found.append(word if word != before else None)
        before = word
    return found


class Spans:
    """Start and end of the answer, in windows."""

    model_class = transformers.AutoModelForQuestionAnswering
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
        found = []
        for record in records:
            encoded = self.encoded(record)
            for window in range(len(encoded["input_ids"])):
                row = {name: encoded[name][window] for name in ("input_ids", "token_type_ids", "attention_mask")}
                if with_targets:
                    row["start_positions"], row["end_positions"] = self.target_of(record, encoded, window)
                found.append(row)
        return found

    def target_of(self, record, encoded, window):
        """Return first and last token of the answer in a window, or [CLS] twice."""
        if not record["target"]:
            return 0, 0
        begin, end = record["target"][0]
        places = [
            index
            for index, (segment, (first, last)) in enumerate(
                zip(encoded.sequence_ids(window), encoded["offset_mapping"][window], strict=True)
            )
            if segment == 1 and first < end and last > begin
        ]
        if not places:
            return 0, 0
        offsets = encoded["offset_mapping"][window]
        is_whole = offsets[places[0]][0] <= begin and offsets[places[-1]][1] >= end
        return (places[0], places[-1]) if is_whole else (0, 0)

    def predictions(self, records, logits):
        """Yield what is predicted of each record."""
        index = 0
        for record in records:
            encoded = self.encoded(record)
            best, null = (-np.inf, 0, 0), np.inf
            for window in range(len(encoded["input_ids"])):
                starts, ends = (values[index] for values in logits)
                index += 1
                null = min(null, float(starts[0] + ends[0]))
                offsets, segments = encoded["offset_mapping"][window], encoded.sequence_ids(window)
                size = len(offsets)
                for first in np.argsort(-starts[:size])[:_NUM_BEST]:
                    for last in np.argsort(-ends[:size])[:_NUM_BEST]:
                        if segments[first] != 1 or segments[last] != 1 or not 0 <= last - first < _LONGEST_ANSWER:
                            continue
                        best = max(best, (float(starts[first] + ends[last]), offsets[first][0], offsets[last][1]))
            is_none = self.may_be_none and null > best[0]
            yield {"best_answer": "" if is_none else record["texts"][1][best[1] : best[2]]}


KINDS = {"sequence": Sequence, "tokens": Tokens, "spans": Spans}


def read(path):
    """Return the records of a JSON lines file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


class Clock(transformers.TrainerCallback):
    """Notes when the first update was done, and how long tokenizing and learning took."""

    first_update_at = tokenize_seconds = learn_seconds = None

    def on_step_end(self, *_, **__):
        """Note the time of the first update, in seconds since 1970."""
        self.first_update_at = self.first_update_at or time.time()


def trained(job, kind, train, clock=None):
    """Return a Trainer that has trained a fresh model."""
    clock = clock or Clock()
    transformers.set_seed(job["seed"])
    options = {} if kind.labels is None else {"num_labels": len(kind.labels)}
    model = kind.model_class.from_pretrained(job["encoder"], **options, **job.get("model", {}))
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
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        **job.get("arguments", {}),
    )
    collators = {"tokens": transformers.DataCollatorForTokenClassification}
    collator = collators.get(job["kind"], transformers.DataCollatorWithPadding)(kind.tokenizer, pad_to_multiple_of=8)
    started = time.monotonic()
    rows = Rows(kind.rows(train, True))
    clock.tokenize_seconds = time.monotonic() - started
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator, callbacks=[clock])
    started = time.monotonic()
    trainer.train()
    clock.learn_seconds = time.monotonic() - started
    return trainer


def predicted(trainer, kind, records):
    """Return what a Trainer predicts of some records, a dict each."""
    # With length grouping the Trainer predicts in an order of its own and does not undo it.
    trainer.args.train_sampling_strategy = "sequential"
    return list(kind.predictions(records, trainer.predict(Rows(kind.rows(records, False))).predictions))


def write(path, predictions):
    """Write predictions as JSON lines."""
    Path(path).write_text("".join(json.dumps(prediction) + "\n" for prediction in predictions), encoding="utf-8")


def main():
    """Train, predict, and write what was asked for."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.monotonic()
    train, test = read(job["train"]), read(job["test"])
    kind = KINDS[job["kind"]](job, AutoTokenizer.from_pretrained(job["encoder"]), train)
    clock = Clock()
    trainer = trained(job, kind, train, clock)
    write(job["out"], predicted(trainer, kind, test))
    summary = {
        "num_examples": len(train),
        "tokenize_seconds": clock.tokenize_seconds,
        "learn_seconds": clock.learn_seconds,
        "seconds_to_first_update": clock.first_update_at - job["started_at"],
        "seconds": time.monotonic() - started,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    Path(job["out"]).with_suffix(".summary.json").write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
