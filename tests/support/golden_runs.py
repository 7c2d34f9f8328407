"""Small runs of every task by the command-line tools, and their losses, scores and outputs for the golden files."""

import csv
import hashlib
import json
import math
import random

from support import golden_inputs, small

_LONGEST_TEXT = 60
GOLDEN_DIR = small.ROOT / "tests" / "golden"


def _pairs(count, seed):
    """Return `count` pairs of texts, each with the labels of both."""
    firsts, seconds = small.rows(count, seed), small.rows(count, seed + 10)
    random.Random(seed).shuffle(seconds)
    return [
        (first, second, first_label, second_label)
        for (first, first_label), (second, second_label) in zip(firsts, seconds, strict=True)
    ]


def _write_splits(directory, header, row_of):
    directory.mkdir()
    for seed, (split, count) in enumerate({"train": 80, "validation": 24, "test": 24}.items(), start=1):
        with open(directory / f"{split}.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *(row_of(*pair) for pair in _pairs(count, seed))])


def labelled_pairs(directory):
    """Write pairs of texts, labelled by whether they have the same topic."""
    _write_splits(
        directory,
        ["text", "text_pair", "label"],
        lambda first, second, first_label, second_label: [
            first,
            second,
            "same" if first_label == second_label else "different",
        ],
    )


def scored_pairs(directory):
    """Write pairs of texts with a score: the number of common words, plus 3 for the same topic."""
    _write_splits(
        directory,
        ["question", "answer", "score"],
        lambda first, second, first_label, second_label: [
            first, second, len({*first.split()} & {*second.split()}) + 3 * (first_label == second_label)
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
    """Write the first two articles of the samples, without the questions that have no answer."""
    directory.mkdir()
    for path in (small.ROOT / "tfbert" / "samples" / "answers").glob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        document["data"] = document["data"][:2]
        for passage in (passage for article in document["data"] for passage in article["paragraphs"]):
            passage["qas"] = [question for question in passage["qas"] if question["answers"]]
        (directory / path.name).write_text(json.dumps(document), encoding="utf-8")


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
# Trained long enough to predict some entities.
_LEARNS = {"train.epochs": 5, "train.batch_size": 8, "train.learning_rate": 5e-3}
# Config values of runs by task and name. `serves` names the inputs of the model if it is exported; `data` is a function
# that writes the data, which by default are the samples of the task.
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
    """Train, export and run the models of a task.

    Args:
        task: the name of the task.
        runs: config values by the name of the run, as in `RUNS`.
        folder: an empty directory.

    Returns:
        The losses, scores and outputs of each run.
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
        assert [result.code for result in (trained, *predicted)] == [0] * (1 + len(predicted)), trained.err
        stored[name] = _numbers(folder / name)
        for result in predicted:
            stored[name]["served"] = _by_case(requests[name], result.out)
            stored[name] |= _outputs(folder / "saved_models" / name / "1")
    return compact(stored)


def _numbers(run_dir):
    """Return the losses of a run, its scores after every epoch, and those of the best weights."""
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
    """Return the predictions that `tools/predict.py` printed by case, without the inputs."""
    predictions = [json.loads(line) for line in out.split("\n") if line]
    return {
        case: {name: value for name, value in prediction.items() if name not in item}
        for (case, item), prediction in zip(requests.items(), predictions, strict=True)
    }


def _outputs(version_dir):
    """Return the outputs of a SavedModel for inputs that the tool cannot send: invalid UTF-8 and packed sequences."""
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
    """Return a JSON value with floats rounded to 7 significant digits and long strings shortened with a hash."""
    if isinstance(value, dict):
        return {name: compact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [compact(item) for item in value]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        digest = hashlib.sha256(value.encode("utf-8")).hexdigest()
        return f"{value[:20]}... {digest[:12]}"
    return float(f"{value:.7g}") if isinstance(value, float) else value


def to_text(value, depth=4):
    """Return JSON with one line per value at a depth, so that changing one case changes one line."""
    if depth and isinstance(value, dict) and value:
        lines = [f"{json.dumps(name)}: {to_text(item, depth - 1)}" for name, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}" + "\n" * (depth == 4)
    return json.dumps(value, ensure_ascii=False)


def differences(measured, stored, tolerance, path=""):
    """Yield a message for each difference between two JSON values.

    Args:
        measured: the value of this run.
        stored: the recorded value.
        tolerance: the largest absolute or relative difference between floats. All other values must be equal.
        path: the path of the value in the messages.
    """
    if isinstance(measured, dict) and isinstance(stored, dict):
        if measured.keys() != stored.keys():
            yield f"{path}: names {sorted(measured)}, stored {sorted(stored)}"
        for name in measured.keys() & stored.keys():
            yield from differences(measured[name], stored[name], tolerance, f"{path}/{name}")
    elif isinstance(measured, list) and isinstance(stored, list) and len(measured) == len(stored):
        for index, pair in enumerate(zip(measured, stored, strict=True)):
            yield from differences(*pair, tolerance, f"{path}/{index}")
    elif type(measured) is type(stored) is float:
        if not math.isclose(measured, stored, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{path}: {measured!r}, stored {stored!r}"
    elif type(measured) is not type(stored) or measured != stored:
        yield f"{path}: {measured!r}, stored {stored!r}"
