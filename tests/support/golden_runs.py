"""Small runs of every task, made by the command-line tools, and what the golden files store of them."""

import csv
import hashlib
import json
import math
import random

from support import golden_inputs, small

_LONGEST_TEXT = 60
GOLDEN_DIR = small.ROOT / "tests" / "golden"


def _pairs(count, seed):
    """Return two texts and their labels, `count` times."""
    ones, others = small.rows(count, seed), small.rows(count, seed + 10)
    random.Random(seed).shuffle(others)
    return [(one, other, of_one, of_other) for (one, of_one), (other, of_other) in zip(ones, others, strict=True)]


def _write_splits(directory, header, row_of):
    directory.mkdir()
    for seed, (split, count) in enumerate({"train": 80, "validation": 24, "test": 24}.items(), start=1):
        with open(directory / f"{split}.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *(row_of(*pair) for pair in _pairs(count, seed))])


def labelled_pairs(directory):
    """Write pairs of texts with a label that says whether they have the same topic."""
    _write_splits(
        directory,
        ["text", "text_pair", "label"],
        lambda one, other, of_one, of_other: [one, other, "same" if of_one == of_other else "different"],
    )


def scored_pairs(directory):
    """Write pairs of texts with a score, the number of words that they share, and 3 for the same topic."""
    _write_splits(
        directory,
        ["question", "answer", "score"],
        lambda one, other, of_one, of_other: [
            one, other, len({*one.split()} & {*other.split()}) + 3 * (of_one == of_other)
        ],
    )  # fmt: skip


def tagged_words(directory):
    """Write sentences in CoNLL columns, tagged in IOBES."""
    directory.mkdir()
    for seed, (split, count) in enumerate({"train": 60, "validation": 20, "test": 20}.items(), start=1):
        lines = []
        for text, _ in small.rows(count, seed):
            tags = ["O"] * len(text.split())
            tags[-1] = "S-number"
            if len(tags) > 4:
                tags[1:4] = ["B-middle", "I-middle", "E-middle"]
            lines += [f"{word} {tag}\n" for word, tag in zip(text.split(), tags, strict=True)] + ["\n"]
        (directory / f"{split}.conll").write_text("".join(lines), encoding="utf-8")


def answerable(directory):
    """Write the first of the samples' documents without the questions that have no answer."""
    directory.mkdir()
    for path in (small.ROOT / "tfbert" / "samples" / "answers").glob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        document["data"] = document["data"][:2]
        for passage in (passage for part in document["data"] for passage in part["paragraphs"]):
            passage["qas"] = [question for question in passage["qas"] if question["answers"]]
        (directory / path.name).write_text(json.dumps(document), encoding="utf-8")


# The names of options stand here and nowhere else in these tests.
_COMMON = {
    "encoder.name": "tiny",
    "encoder.sequence_length": 64,
    "encoder.precision": "float32",
    "train.seed": 7,
    "train.epochs": 1,
    "train.batch_size": 32,
    "train.learning_rate": 2e-3,
}
_SHORT = {"encoder.sequence_length": 24, "train.epochs": 2}
# So that there are entities to serve.
_LEARNS = {"train.epochs": 5, "train.batch_size": 8, "train.learning_rate": 5e-3}
# Runs by task and name. `serves` names the inputs of the model, if it is exported. `data` writes the data,
# if these are not the task's samples.
RUNS = {
    "answers": {
        "default": {"serves": ("question", "context")},
        "options": {
            "serves": ("question", "context"),
            "data": answerable,
            "train.label_smoothing": 0.1,
            "train.class_weights": "balanced",
            "encoder.window_overlap_fraction": 0.5,
        },
    },
    "classification": {
        "default": {"serves": ("text",)},
        "windows": {
            "serves": ("text",),
            "encoder.long_text": "mean",
            "encoder.sequence_length": 24,
            "head.pooling": "cls",
            "head.start": "random",
            "train.head_learning_rate_factor": 10.0,
            "train.label_smoothing": 0.1,
            "train.class_weights": "balanced",
        },
        "pairs": {"serves": ("text", "text_pair"), "data": labelled_pairs, "head.pooling": "max", **_SHORT},
        "head_only": {"train.trainable_layers": 0, "train.accumulation_steps": 2, "train.ema_momentum": 0.9},
    },
    "entities": {
        "default": {"serves": ("text",), **_LEARNS, "train.batch_size": 16},
        "tagged": {
            "serves": ("text",),
            "data": tagged_words,
            "data.tag_scheme": "iobes",
            "train.label_smoothing": 0.1,
            "encoder.window_overlap_fraction": 0.5,
            "encoder.sequence_length": 24,
            **_LEARNS,
        },
    },
    "matching": {
        "default": {"serves": ("text",)},
        "negatives": {"train.hard_negatives": 2, "head.pooling": "cls"},
        "scored": {"serves": ("text", "text_pair"), "data": scored_pairs, **_SHORT},
    },
    "multilabel": {
        "default": {"serves": ("text",)},
        "windows": {
            "encoder.long_text": "mean",
            "encoder.sequence_length": 24,
            "head.pooling": "max",
            "train.label_smoothing": 0.1,
            "train.class_weights": "balanced",
        },
    },
    "multiple_choice": {
        "default": {"serves": ("question", "choices")},
        "options": {"head.pooling": "pooler", "head.start": "random", "train.label_smoothing": 0.1},
    },
    "regression": {
        "default": {"serves": ("text",)},
        "windows": {
            "encoder.long_text": "max",
            "encoder.sequence_length": 24,
            "head.pooling": "pooler",
        },
    },
}
# One run per task with the default encoder, on the samples.
_MINILM = _COMMON | {"encoder.name": "minilm", "train.learning_rate": 5e-5}
MINILM_RUNS = {
    task: {
        "minilm": _MINILM
        | {"serves": runs["default"]["serves"]}
        | ({**_LEARNS, "train.epochs": 3, "train.learning_rate": 1e-3} if task == "entities" else {})
    }
    for task, runs in RUNS.items()
}


def measure(task, runs, folder):
    """Do the runs of a task.

    Args:
        task: the name of the task.
        runs: values of config fields by the name of the run, as in `RUNS`.
        folder: an empty directory.

    Returns:
        The numbers and outputs of each run.
    """
    tools, chains, requests = small.tools(), [], {}
    for name, values in runs.items():
        values = _COMMON | values
        inputs, data = values.pop("serves", None), values.pop("data", None)
        arguments = ["--task", task, *small.assignments(values), "--out", name]
        if data:
            data(folder / f"{name}_data")
            arguments += ["--data", f"{name}_data"]
        arguments += ["--name", name] if inputs else ["--no-export"]
        chains.append([tools.step("train", *arguments, cwd=folder)])
        if inputs:
            requests[name] = golden_inputs.items(*inputs)
            path = folder / f"{name}.jsonl"
            path.write_text("".join(json.dumps(item) + "\n" for item in requests[name].values()), encoding="utf-8")
            chains[-1].append(tools.step("predict", f"saved_models/{name}", "--file", path, cwd=folder))
    stored = {}
    for name, (trained, *predicted) in zip(runs, tools.run(*chains), strict=True):
        assert [done.code for done in (trained, *predicted)] == [0] * (1 + len(predicted)), trained.err
        stored[name] = _numbers(folder / name)
        for done in predicted:
            stored[name]["served"] = _by_case(requests[name], done.out)
            stored[name] |= _ask(folder / "saved_models" / name / "1")
    return compact(stored)


def _numbers(run_dir):
    """Return what a run reports: losses, metrics after every epoch, and those of the best weights."""
    report, details = (json.loads((run_dir / f"{name}.json").read_text("utf-8")) for name in ("report", "details"))
    return {
        "losses": [loss for _, loss in details["step_losses"]],
        "epochs": [
            {"loss": epoch["loss"], "learning_rate": epoch["learning_rate"], "validation": epoch["validation"]}
            for epoch in report["history"]
        ],
        "best_epoch": report["best_epoch"],
        "untrained": report["untrained"],
        "validation": report["validation"],
        "test": report["test"],
    }


def _by_case(requests, out):
    """Return what `tools/predict.py` printed by case, without the inputs."""
    answers = [json.loads(line) for line in out.split("\n") if line]
    return {
        case: {name: value for name, value in answer.items() if name not in item}
        for (case, item), answer in zip(requests.items(), answers, strict=True)
    }


def _ask(version_dir):
    """Return what the signatures of a SavedModel answer to bytes and to packed rows, which the tool does not send."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (registers the ops of the tokenizer)

    model = tf.saved_model.load(str(version_dir))
    specs = model.signatures["serving_default"].structured_input_signature[1]
    columns = golden_inputs.byte_columns({name: spec.shape.rank for name, spec in specs.items()})
    vocabulary = (version_dir / "assets" / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    rows = golden_inputs.packed_rows(vocabulary)
    return {
        "signatures": sorted(model.signatures),
        "not_utf8": _lists(model.signatures["serving_default"](**{n: tf.constant(c) for n, c in columns.items()})),
        "token_ids": _lists(model.signatures["token_ids"](**{n: tf.constant(r, tf.int32) for n, r in rows.items()})),
    }


def _lists(outputs):
    return {name: _decoded(tensor.numpy().tolist()) for name, tensor in sorted(outputs.items())}


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def compact(value):
    """Return JSON with every float rounded to 7 significant digits and the rest of long strings replaced by a hash."""
    if isinstance(value, dict):
        return {name: compact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [compact(item) for item in value]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        digest = hashlib.sha256(value.encode("utf-8")).hexdigest()
        return f"{value[:20]}... {digest[:12]}"
    return float(f"{value:.7g}") if isinstance(value, float) else value


def to_text(value, depth=4):
    """Return JSON with a line for every value at a depth, so that a change of one case is a change of one line."""
    if depth and isinstance(value, dict) and value:
        lines = [f"{json.dumps(name)}: {to_text(item, depth - 1)}" for name, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}" + "\n" * (depth == 4)
    return json.dumps(value, ensure_ascii=False)


def differences(found, stored, tolerance, where=""):
    """Yield where two JSON values differ.

    Args:
        found: now.
        stored: earlier.
        tolerance: largest absolute or relative difference of floats. Everything else has to be equal.
        where: place of the values, for the messages.
    """
    if isinstance(found, dict) and isinstance(stored, dict):
        if found.keys() != stored.keys():
            yield f"{where}: names {sorted(found)}, stored {sorted(stored)}"
        for name in found.keys() & stored.keys():
            yield from differences(found[name], stored[name], tolerance, f"{where}/{name}")
    elif isinstance(found, list) and isinstance(stored, list) and len(found) == len(stored):
        for index, pair in enumerate(zip(found, stored, strict=True)):
            yield from differences(*pair, tolerance, f"{where}/{index}")
    elif type(found) is type(stored) is float:
        if not math.isclose(found, stored, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{where}: {found!r}, stored {stored!r}"
    elif type(found) is not type(stored) or found != stored:
        yield f"{where}: {found!r}, stored {stored!r}"
