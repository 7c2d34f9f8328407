"""Prepare a corpus as others do: a job as JSON in, tokens and processor seconds of each way as JSON out.

Run by the Python of another environment, which has transformers and datasets but not tfbert: `preparation_peer.py JOB`.
The job names a file of documents, each a JSON list of its sentences on a line, the encoder's directory and the length.

- `loop`: the loop of google-research/bert `create_pretraining_data.py` over transformers' tokenizer in pure Python. Its
  masks are drawn, its records are not written.
- `map`: `datasets.map` with the Rust tokenizer in batches, then in blocks of one length, as transformers' run_mlm does.

Source: the two named; written anew.
"""

import json
import os
import random
import resource
import sys
import tempfile
from pathlib import Path

import datasets
from transformers import AutoTokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

_MASK_FRACTION, _SHORT_FRACTION = 0.15, 0.1


def pack(documents, length, draw):
    """Yield rows of tokens of every document in turn."""
    for index in range(len(documents)):
        yield from pack_document(documents, index, length - 3, draw)


def pack_document(documents, index, most, draw):
    """Yield rows of a document, half of them with random text behind."""
    document, chunk, size, at = documents[index], [], 0, 0
    target = draw.randint(2, most) if draw.random() < _SHORT_FRACTION else most
    while at < len(document):
        chunk.append(document[at])
        size += len(document[at])
        if at == len(document) - 1 or size >= target:
            end = draw.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            first = [token for sentence in chunk[:end] for token in sentence]
            if len(chunk) == 1 or draw.random() < 0.5:
                second = random_text(documents, index, target - len(first), draw)
                at -= len(chunk) - end
            else:
                second = [token for sentence in chunk[end:] for token in sentence]
            while len(first) + len(second) > most:
                longer = first if len(first) > len(second) else second
                longer.pop(0 if draw.random() < 0.5 else -1)
            yield ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
            chunk, size = [], 0
        at += 1


def random_text(documents, index, wanted, draw):
    """Return text of another document, from a random sentence on."""
    other = index
    for _ in range(10):
        other = draw.randint(0, len(documents) - 1)
        if other != index:
            break
    text = []
    for sentence in documents[other][draw.randint(0, len(documents[other]) - 1) :]:
        text += sentence
        if len(text) >= wanted:
            break
    return text


def mask(tokens, vocabulary, draw):
    """Return a row with 15 % of its tokens masked."""
    places = [index for index, token in enumerate(tokens) if token not in ("[CLS]", "[SEP]")]
    draw.shuffle(places)
    masked = list(tokens)
    for place in places[: max(1, round(len(tokens) * _MASK_FRACTION))]:
        kind = draw.random()
        if kind < 0.8:
            masked[place] = "[MASK]"
        elif kind < 0.9:
            masked[place] = vocabulary[draw.randint(0, len(vocabulary) - 1)]
    return masked


def loop(job):
    """Return the number of tokens in the rows of the Python loop."""
    tokenizer = BertTokenizerLegacy(str(Path(job["encoder"]) / "vocab.txt"))
    vocabulary, draw = list(tokenizer.get_vocab()), random.Random(0)
    documents = []
    with open(job["sample"], encoding="utf-8") as stream:
        for line in stream:
            sentences = [tokenizer.tokenize(sentence) for sentence in json.loads(line)]
            documents.append([sentence for sentence in sentences if sentence])
    draw.shuffle(documents)
    ids = {token: index for index, token in enumerate(vocabulary)}
    rows = pack([document for document in documents if document], job["sequence_length"], draw)
    return sum(len([ids[token] for token in mask(row, vocabulary, draw)]) for row in rows)


def mapped(job):
    """Return the number of tokens in the blocks of `datasets.map`."""
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(job["encoder"])
    length = job["sequence_length"]

    def tokenize(batch):
        return tokenizer(batch["text"], return_special_tokens_mask=True)

    def blocks(batch):
        joined = {name: [value for row in rows for value in row] for name, rows in batch.items()}
        total = len(joined["input_ids"]) // length * length
        return {name: [v[i : i + length] for i in range(0, total, length)] for name, v in joined.items()}

    with tempfile.TemporaryDirectory() as cache:
        found = datasets.load_dataset("text", data_files=job["lines"], split="train", cache_dir=cache)
        found = found.map(tokenize, batched=True, remove_columns=["text"])
        return len(found.map(blocks, batched=True)) * length


def main():
    """Measure both and write what came out."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    results = {}
    for name, way in (("loop", loop), ("map", mapped)):
        started = resource.getrusage(resource.RUSAGE_SELF)
        tokens = way(job)
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = used.ru_utime + used.ru_stime - started.ru_utime - started.ru_stime
        results[name] = {"tokens": tokens, "seconds": seconds}
    Path(job["out"]).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
