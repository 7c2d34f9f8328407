"""What benchmarks need of tfbert beyond its command lines: records, scores, weights. No other module reaches inside."""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tfbert.audit.run import audit_model
from tfbert.config import Config, DataConfig, from_dict, override
from tfbert.data_quality.label_errors import score_labels
from tfbert.data_quality.probe import out_of_sample
from tfbert.data_quality.vectors import record_vectors
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.encoder.precision import choose_precision
from tfbert.encoder.presets import resolve
from tfbert.encoder.weights import copy_weights
from tfbert.explanation.explainer import Explainer
from tfbert.explanation.explanations import Explanation
from tfbert.explanation.faithfulness import label_probabilities, measure_faithfulness
from tfbert.files import read_json, write_json
from tfbert.heads.pooled import PooledHead
from tfbert.huggingface import exporting
from tfbert.models.data import load_task_splits
from tfbert.models.predictor import Predictor, predict_all
from tfbert.models.saved_run import SavedRun, load_run
from tfbert.models.task_model import Embedder, embed_sequences
from tfbert.serving import export_run
from tfbert.tasks.base import FittedTask, fitted_from_json
from tfbert.tasks.base_decision import Predicted
from tfbert.tasks.base_outputs import GRADIENTS
from tfbert.tasks.classification import LabelDecision
from tfbert.text.records import Record
from tfbert.text.splits import Split, load_splits
from tfbert.text.terms import load_terms
from tfbert.training.problem import prepare

# Inverse strengths of the penalty: chosen on validation, or the middle one where there is no validation split.
_STRENGTHS = (1.0, 10.0, 100.0)
_DEFAULT_STRENGTH = 10.0
# Options that a run must have for the other libraries to build the same model.
_SAME_MODEL = {("head", "pooling"): "mean", ("encoder", "long_text"): "cut"}


@dataclass(frozen=True)
class RunData:
    """Config, data and task of a finished run.

    Args:
        config: the config of the run.
        task: the fitted task.
        splits: records by split.
    """

    config: Config
    task: FittedTask
    splits: Mapping[str, Split]

    def write_records(self, directory: Path) -> dict[str, str]:
        """Write every split as JSON lines with `texts` and `target`, and return the paths by split."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = {name: directory / f"{name}.jsonl" for name in self.splits}
        for name, path in paths.items():
            with open(path, "w", encoding="utf-8") as stream:
                for record in self.splits[name]:
                    stream.write(json.dumps({"texts": record.texts, "target": record.target}) + "\n")
        return {name: str(path) for name, path in paths.items()}

    def test_scores(self, predictions: Path) -> dict[str, float]:
        """Return the test scores of another library's predictions, by metric.

        Args:
            predictions: JSON lines, each with the outputs that the SavedModel would give for one test record.
        """
        lines = predictions.read_text(encoding="utf-8").splitlines()
        gold = [self.task.gold(record) for record in self.splits["test"]]
        outputs = outputs_of([json.loads(line) for line in lines])
        decided = self.task.decision.initial() if self.task.decision else {}
        intervals = self.task.evaluate(outputs, gold, decided).intervals()
        return {name: metric["value"] for name, metric in intervals.items()}


def run_data(run_dir: Path) -> RunData:
    """Return config, data and task of a finished run."""
    config = from_dict(read_json(run_dir / "config.json"))
    task = fitted_from_json(read_json(run_dir / "model.json")["task"])
    return RunData(config, task, load_task_splits(config, task.definition))


def outputs_of(predictions: Sequence[Mapping]) -> dict[str, np.ndarray]:
    """Return predictions as a SavedModel's outputs: arrays by name, lists padded with 0 or ""."""
    outputs = {}
    for name, first in predictions[0].items():
        values = [prediction[name] for prediction in predictions]
        if isinstance(first, list):
            width = max(map(len, values))
            items = [item for value in values for item in value]
            filler = "" if items and isinstance(items[0], str) else 0
            values = [[*value, *[filler] * (width - len(value))] for value in values]
        array = np.asarray(values)
        outputs[name] = np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array
    return outputs


def frozen_accuracy(run_dir: Path) -> float:
    """Return the test accuracy of logistic regression on the mean-pooled unit vectors of the untrained encoder.

    Args:
        run_dir: of a classification; its data and encoder are used.
    """
    config = from_dict(read_json(run_dir / "config.json"))
    problem = prepare(config)
    embedder = Embedder(problem.encoder.backbone, PooledHead(1, pooling="mean"))
    vectors, targets = {}, {}
    for name, split in problem.tokenized.items():
        pooled = embed_sequences(embedder, split, config.encoder.sequence_length, np.arange(split.num_sequences))
        vectors[name] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        targets[name] = split.targets["label_id"]

    def fit(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=1000).fit(vectors["train"], targets["train"])

    if "validation" not in vectors:
        return float(fit(_DEFAULT_STRENGTH).score(vectors["test"], targets["test"]))
    best = max(map(fit, _STRENGTHS), key=lambda model: model.score(vectors["validation"], targets["validation"]))
    return float(best.score(vectors["test"], targets["test"]))


def untrained_scores(run_dir: Path) -> dict[str, float]:
    """Return the test scores of a run of matching with the weights that its encoder had before training."""
    run, data = load_run(run_dir), run_data(run_dir)
    encoder = load_encoder(data.config.encoder.name)
    copy_weights(encoder.backbone, run.predictor.model.backbone)
    run.predictor.refresh(data.splits)
    outputs, gold = predict_all(run.predictor, run.task, data.splits["test"], None, "test, untrained")
    return run.task.evaluate(outputs, gold, run.predictor.decided_values()).values()


def guarantees(run_dir: Path, num_draws: int) -> dict[str, list[float]]:
    """Return what is guaranteed by calibration records that are drawn from the test records of a classification.

    Args:
        run_dir: of a run with a calibration split.
        num_draws: number of draws, each of the same number of records as the calibration split of the run.

    Returns:
        By draw, measured on the other test records: `coverage` and `size` of prediction sets at 90 %; the `exact`
        coverage, for which no set gets the most probable label only because it would be empty, and whether it is
        `within` two standard deviations of 90 %; the fraction `answered` with errors of at most 2 %, whether the
        model `answers` anything, and whether the error is `bounded` by 2 %.
    """
    data = run_data(run_dir)
    run, split = load_run(run_dir), data.splits["test"]
    outputs, gold = predict_all(run.predictor.decode, run.task, split, None, "test")
    number = _num_calibration(run)
    decision = LabelDecision(replace(run.task.options, coverage=0.9, max_error=0.02), run.task.labels)
    # The variances of the coverage of a draw, and of its measurement.
    deviation = (0.09 / (number + 2) + 0.09 / (len(gold) - number)) ** 0.5
    drawn: dict[str, list[float]] = {
        name: [] for name in ("coverage", "size", "exact", "within", "answered", "answers", "bounded")
    }
    for seed in range(num_draws):
        order = np.random.default_rng(seed).permutation(len(gold))
        calibration, rest = (
            Predicted({name: values[part] for name, values in outputs.items()}, [gold[index] for index in part])
            for part in (order[:number], order[number:])
        )
        decided = decision.fit({"calibration": calibration})
        tensors = {name: tf.constant(value) for name, value in rest.outputs.items()}
        served = {name: value.numpy() for name, value in decision.apply(tensors, decided).items()}
        is_used, is_right = ~served["abstain"], served["label_id"] == np.asarray(rest.gold)
        of_true_label = served["probabilities"][np.arange(len(rest.gold)), rest.gold]
        exact = float((of_true_label >= decided["set_threshold"]).mean())
        drawn["coverage"].append(float(decision.covered(served, rest.gold).mean()))
        drawn["exact"].append(exact)
        drawn["size"].append(float(served["set_size"].mean()))
        drawn["within"].append(abs(exact - 0.9) <= 2 * deviation)
        drawn["answered"].append(float(is_used.mean()))
        drawn["answers"].append(bool(is_used.any()))
        drawn["bounded"].append(bool(is_right[is_used].mean() >= 0.98) if is_used.any() else True)
    return drawn


def out_of_scope(run_dir: Path, texts: Sequence[str]) -> dict[str, list[float]]:
    """Return how well the p-values of a run tell its test texts from texts that belong to no label.

    Returns:
        `auroc`, and `recall`, the fraction of the texts with a p-value below 0.05.
    """
    run = load_run(run_dir)
    items = [{"text": text} for text in texts]
    inside, _ = predict_all(run.predictor, run.task, run_data(run_dir).splits["test"], None, "test")
    outside = np.concatenate(
        [run.predictor(items[start : start + 64])["out_of_domain"] for start in range(0, len(items), 64)]
    )
    p_values = np.concatenate([inside["out_of_domain"], outside])
    is_outside = np.arange(len(p_values)) >= len(inside["out_of_domain"])
    return {"auroc": [float(roc_auc_score(is_outside, -p_values))], "recall": [float((outside < 0.05).mean())]}


def latency_of_decisions(run_dir: Path, num_blocks: int = 15) -> list[float]:
    """Return the median time with sets and the domain as a multiple of that without, for one text and for 32."""
    run = load_run(run_dir)
    plain = replace(run.task, options=replace(run.task.options, coverage=None, max_error=None, out_of_domain="none"))
    predictors = run.predictor, Predictor(plain, run.predictor.model, run.predictor.tokenizer, run.config)
    ratios = []
    for size, repeats in ((1, 40), (32, 4)):
        items = (list(run.samples) * 32)[:size]
        seconds: list[list[float]] = [[], []]
        for _ in range(num_blocks + 1):
            for predictor, measured in zip(predictors, seconds, strict=True):
                started = time.perf_counter()
                for _ in range(repeats):
                    predictor(items)
                measured.append(time.perf_counter() - started)
        # The first block traces the graphs.
        ratios.append(float(np.median(np.divide(seconds[0][1:], seconds[1][1:]))))
    return ratios


def _num_calibration(run: SavedRun) -> int:
    return run.report["data"]["calibration"]["num_examples"]


def known_labels(run_dir: Path) -> tuple[str, ...]:
    """Return the labels of a run by id; empty for tasks without labels.

    Raises:
        ValueError: there is no such run.
    """
    return tuple(load_run(run_dir).task.known_labels)


def write_head(run_dir: Path, directory: Path) -> list[str]:
    """Write what other libraries need besides the encoder to build a classifier of single texts.

    `head.npz` has `kernel` `(hidden_dim, num_classes)` and `bias` `(num_classes,)`, float32; `model.json` has `labels`,
    `sequence_length`, `num_heads` and `hidden_dim`.

    Returns:
        The labels, by id.

    Raises:
        ValueError: there is no such run, or other libraries cannot build its model.
    """
    run = load_run(run_dir)
    _check_same_model(run, run_dir)
    head, backbone = run.predictor.model.head.logits, run.predictor.model.backbone
    np.savez(directory / "head.npz", kernel=np.asarray(head.kernel), bias=np.asarray(head.bias))
    about = {name: getattr(backbone, name) for name in ("num_heads", "hidden_dim")}
    about |= {"labels": list(run.task.known_labels), "sequence_length": run.config.encoder.sequence_length}
    write_json(directory / "model.json", about)
    return list(run.task.known_labels)


def _check_same_model(run: SavedRun, run_dir: Path) -> None:
    for (section, field), expected in _SAME_MODEL.items():
        value = getattr(getattr(run.config, section), field)
        if value != expected:
            raise ValueError(
                f"{run_dir}: {section}.{field} is {value!r}; other libraries build the model only with {expected!r}"
            )
    if set(run.predictor.specs) != {"text"} or not any(output.is_label for output in run.task.outputs):
        raise ValueError(f"{run_dir}: is not a classification of single texts")


def read_splits(path: Path, settings: Mapping[str, str]) -> dict[str, list[Record]]:
    """Return the records of a classification data set by split.

    Args:
        path: of the data.
        settings: fields of the config's section `data`.
    """
    return {name: list(split) for name, split in load_splits(DataConfig(**settings), path).items()}


def export_saved_model(run_dir: Path, model_dir: Path, precision: str = "float32") -> None:
    """Export a finished run as version 1 of a model in any directory, which `tools/export.py` does not offer."""
    export_run.export_run(run_dir, model_dir, precision)


def export_encoder(run_dir: Path, directory: Path) -> None:
    """Write the encoder of a run for transformers, without the head, which `tools/export.py` does not offer."""
    exporting.export_encoder(run_dir, directory)


def multiplies_bfloat16() -> bool:
    """Say whether the processor has instructions that multiply bfloat16."""
    return choose_precision("auto").product_dtype == "bfloat16"


def encoder_dir(name: str) -> Path:
    """Return the directory of a preset's downloaded files."""
    return resolve(name).directory


def save_preset(name: str, directory: Path) -> None:
    """Write an encoder as a KerasNLP preset."""
    save_encoder(load_encoder(name), directory)


def explanation_scores(run_dir: Path, method: str, num_texts: int, planted_words: Sequence[str]) -> dict[str, float]:
    """Return how good explanations of the first test texts of a classification are.

    Args:
        run_dir: the run.
        method: `occlusion` or `gradients`.
        num_texts: the maximum number of texts.
        planted_words: words of which each text has one that decides its label; empty for none.

    Returns:
        `comprehensiveness` and `sufficiency`, also with the prefix `random_`; `gap`, the median, for gradients;
        `first`, the fraction of texts in which a planted word has the highest contribution; `seconds` per text.
    """
    run, data = load_run(run_dir), run_data(run_dir)
    items = [run.task.inputs_of(record) for record in itertools.islice(data.splits["test"], num_texts)]
    explainer = Explainer(run.predictor)
    explainer(items[:1])  # traces the graph
    started = time.monotonic()
    outputs = [outputs for _, outputs in explainer.explain(items, method=method)]
    seconds = (time.monotonic() - started) / len(items)
    explanations = [Explanation.from_outputs(output) for output in outputs]
    label_ids = [run.task.known_labels.index(explanation.label) for explanation in explanations]
    faithfulness = measure_faithfulness(items, explanations, label_ids, label_probabilities(run.predictor))
    assert faithfulness is not None
    scores = vars(faithfulness.explained) | {f"random_{k}": v for k, v in vars(faithfulness.random).items()}
    if method == GRADIENTS:
        scores["gap"] = float(np.median([output["gap"] for output in outputs]))
    if planted_words:
        first = [max(e.words, key=lambda word: word.contribution).word for e in explanations]
        scores["first"] = float(np.mean([word in planted_words for word in first]))
    return scores | {"seconds": seconds}


def english_terms(name: str) -> list[tuple[str, ...]]:
    """Return the rows of a list of identity terms that are in Latin letters."""
    rows = load_terms(name).rows
    return [tuple(row) for row in rows if all(term is not None and term.isascii() for term in row)]


def audit(run_dir: Path, data: Path, terms: str) -> dict:
    """Return the audit of a run as JSON values.

    Args:
        run_dir: the run.
        data: a labelled file.
        terms: the list of identity terms to use.
    """
    return audit_model(run_dir, str(data), {}, terms)[1].to_json()


def text_vectors(path: Path) -> np.ndarray:
    """Return the unit vectors of the texts of a classification file by the default encoder, in file order."""
    unsplit = {f"data.{name}_fraction": 0.0 for name in ("validation", "calibration", "test")}
    problem = prepare(override(Config(), {"data.path": str(path), **unsplit}))
    train, length = problem.tokenized["train"], problem.config.encoder.sequence_length
    return record_vectors(problem.encoder, train, length, np.arange(len(train.num_tokens)))


def judge_labels(vectors: np.ndarray, targets: np.ndarray, num_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each label, the lower the more doubtful, and the out-of-fold probabilities of the probe."""
    scores, _, _ = score_labels(vectors, targets, num_labels, {}, seed)
    return scores.score, out_of_sample(vectors, targets, num_labels, seed=seed)[0]
