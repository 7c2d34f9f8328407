"""Matching: files, targets, losses, the threshold, and pairs and scored pairs from file to SavedModel."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfbert.config import Config, DataConfig, override
from tfbert.evaluation.ranking import RankingEvaluation
from tfbert.heads.negatives import ANSWER, NEGATIVE, PARAPHRASE, QUESTION
from tfbert.models.saved_run import load_run
from tfbert.serving import export_run
from tfbert.serving.evaluate import evaluate
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_config import check_options, used_options
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.base_decision import Predicted
from tfbert.tasks.matching import TASK, EmbeddingOptions, FittedPairs, FittedScored, MatchingOptions
from tfbert.text.inputs import batch_of, specs_of
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences, TextTokens
from tfbert.text.records import Record, read_records
from tfbert.training import run
from tfbert.training.problem import prepare

PAIRS = FittedPairs(options=MatchingOptions())
SCORED = FittedScored(options=EmbeddingOptions(), lowest=0.0, highest=5.0)

# Files


def parse(**values):
    return TASK.parse(Row("train.csv:2", values))


def test_records():
    record = parse(question="How? ", answer="So.")
    assert (record.text, record.others, record.target) == ("How? ", ("So.",), None)
    assert parse(question="q", answer="a", negative="b").others == ("a", "b")
    assert parse(question="q", answer="a", negative=["b", "c"]).others == ("a", "b", "c")
    assert parse(question="q", answer="a", negative=" ").others == ("a",)
    assert parse(question="q", answer="a", negative=None, score=None).target is None
    assert parse(question="q", answer="a", score=" 3.5 ").target == 3.5
    assert parse(question="q", answer="a", score=4).target == 4.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"question": "", "answer": "a"}, r"question is ''; expected at least one non-whitespace character"),
        ({"question": "q", "answer": None}, r"answer is null; expected a string"),
        (
            {"question": "q", "answer": "a  b", "negative": " a b"},
            r'negative is "a  b", which is also the answer; expected a different text',
        ),
        (
            {"question": "q", "answer": "a", "negative": ["b", ""]},
            r"negative is ''; expected at least one non-whitespace character",
        ),
        ({"question": "q", "answer": "a", "negative": 3}, r"negative is 3; expected a string"),
        (
            {"question": "q", "answer": "a", "negative": "b", "score": "1"},
            r"the row has a negative and a score; expected only one of them",
        ),
        ({"question": "q", "answer": "a", "score": "high"}, r'score is "high"; expected a number'),
        ({"question": "q", "answer": "a", "score": "nan"}, r'score is "nan"; expected a number'),
        ({"question": "q", "answer": "a", "score": "yes"}, r'score is "yes"; expected a number'),
        ({"question": "q", "answer": "a", "score": ""}, r'score is ""; expected a number'),
        ({"question": "q", "answer": "a", "score": [1]}, r"score is \[1\]; expected a number"),
    ],
)
def test_bad_rows(values, message):
    with pytest.raises(ValueError, match=message):
        parse(**values)


@pytest.mark.parametrize("header", ["question,answer", "Query,Passage,id", "text1,text2", "sentence1,sentence2,genre"])
def test_usual_columns(tmp_path, header):
    path = tmp_path / "train.csv"
    path.write_text(f"{header}\nHow?,So.{',x' * (header.count(',') - 1)}\n")
    (record,) = read_records(path, DataConfig(), TASK.schema)
    assert (record.text, record.others, record.target) == ("How?", ("So.",), None)


@pytest.mark.parametrize(("score", "expected"), [(True, 1.0), ("False", 0.0), ("0.5", 0.5), (2, 2.0)])
def test_scores(score, expected):
    assert parse(question="q", answer="a", score=score).target == expected


def test_a_cell_may_hold_a_list_of_wrong_answers(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("question,answer,negative\nHow?,So.,\"['Not so.', 'Never.']\"\nWhy?,Because.,[sic]\n")
    first, second = read_records(path, DataConfig(), TASK.schema)
    assert (first.others, second.others) == (("So.", "Not so.", "Never."), ("Because.", "[sic]"))


def test_fit_finds_pairs_or_scores():
    pair, scored = Record("q", None, "a:1", ("a",)), Record("q", 2.0, "a:2", ("b",))
    options = MatchingOptions(pooling="max")
    assert TASK.fit([pair, Record("q", None, "a:3", ("b",))], options) == FittedPairs(options=options)
    assert TASK.fit([scored, Record("q", -1.0, "a:3", ("a",))], options) == FittedScored(
        options=EmbeddingOptions(pooling="max"), lowest=-1.0, highest=2.0
    )
    with pytest.raises(ValueError, match="train has only one answer; expected at least two$"):
        TASK.fit([pair, Record("r", None, "a:3", (" a ",))], options)
    with pytest.raises(ValueError, match="every score in train is 2; expected at least two that differ"):
        TASK.fit([scored, scored], options)
    for records in ([pair, scored], [scored, pair]):
        with pytest.raises(ValueError, match="has no score; expected one in every row of train, or in none"):
            TASK.fit([*records, pair], options)


def test_records_of_the_other_kind_are_rejected():
    pair, scored = Record("q", None, "a:1", ("a",)), Record("q", 2.0, "a:2", ("b",))
    assert PAIRS.inputs_of(pair) == {"text": "q"}
    assert SCORED.inputs_of(scored) == SCORED.inputs_of(scored, training=True) == {"text": "q", "text_pair": "b"}
    for training in (False, True):
        with pytest.raises(ValueError, match="a:1: has no score; expected one, as in train"):
            SCORED.inputs_of(pair, training=training)
        with pytest.raises(ValueError, match="a:2: has a score; expected none, as in train"):
            PAIRS.inputs_of(scored, training=training)
    with pytest.raises(ValueError, match="a:1: has no score; expected one, as in train"):
        SCORED.gold(pair)
    with pytest.raises(ValueError, match="a:2: has a score; expected none, as in train"):
        PAIRS.gold(scored)
    assert SCORED.gold(scored) == TASK.truth_of(scored) == 2.0
    assert PAIRS.gold(Record(" q  r", None, "a:1", ("a ",))) == ("q r", "a")
    assert TASK.truth_of(pair) == "a"
    assert [text.name for text in PAIRS.inputs] == ["text"]
    assert [text.name for text in SCORED.inputs] == ["text", "text_pair"]


# Options


@pytest.mark.parametrize("fitted", [PAIRS, SCORED])
def test_a_fitted_task_survives_json(fitted):
    options = dataclasses.replace(fitted.options, pooling="max", dropout=0.3)
    if fitted is PAIRS:
        options = dataclasses.replace(options, hard_negatives=2)
    fitted = dataclasses.replace(fitted, options=options)
    assert fitted_from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_options_without_effect_are_rejected():
    assert used_options(TASK) == {"head.pooling", "head.dropout", "train.hard_negatives"}
    for path, value in {
        "train.part_tokens": 64, "train.head_learning_rate_factor": 2.0, "head.start": "random",
        "train.label_smoothing": 0.1, "train.class_weights": "balanced", "encoder.long_text": "mean",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{path}={value}: matching does not use it"):
            check_options(override(Config(task="matching"), {path: value}))


def test_hard_negatives_of_scored_pairs_are_rejected():
    records = [Record("q", 1.0, "a:1", ("a",)), Record("q", 2.0, "a:2", ("b",))]
    with pytest.raises(ValueError, match="train.hard_negatives=2: has no effect on pairs with a score; expected 0"):
        TASK.fit(records, MatchingOptions(hard_negatives=2))


@pytest.mark.parametrize("fitted", [PAIRS, SCORED])
def test_the_head_has_the_options(fitted):
    options = dataclasses.replace(fitted.options, pooling="max", dropout=0.4)
    head = dataclasses.replace(fitted, options=options).head(seed=0)
    assert head.pooling == "max" and head.dropout.rate == 0.4


# Targets and losses

LONG = "the first number is two and the next one is three"


def sequences_of(task, records, preprocessor, training=True):
    items = [task.inputs_of(record, training=training) for record in records]
    inputs = task.training_inputs if training and task.training_inputs else task.inputs
    return task.sequences(batch_of(items, specs_of(inputs)), preprocessor)


def record_of(*texts, score=None):
    return Record(texts[0], score, "here", texts[1:])


def test_a_sequence_for_each_text(tiny_tokenizer):
    records = [record_of("my card", "the new house"), record_of("a", LONG, "no", "yes")]
    sequences = sequences_of(PAIRS, records, Preprocessor(tiny_tokenizer, 8))
    texts = [text for record in records for text in record.texts]
    special = tiny_tokenizer.special
    ids = tiny_tokenizer(tf.constant(texts)).to_list()
    assert sequences.token_ids.to_list() == [[special.start, *text_ids[:6], special.end] for text_ids in ids]
    assert sequences.records.numpy().tolist() == [0, 0, 1, 1, 1, 1]
    assert sequences.is_cut.numpy().tolist() == [len(text_ids) > 6 for text_ids in ids]
    assert set(sequences.is_cut.numpy()) == {True, False}
    served = sequences_of(PAIRS, records, Preprocessor(tiny_tokenizer, 8), training=False)
    assert served.token_ids.to_list() == [sequences.token_ids.to_list()[index] for index in (0, 2)]
    assert served.records is None


def test_scored_pairs_are_two_sequences_each(tiny_tokenizer):
    records = [
        record_of("my card", "the house", score=1.0),
        record_of("the fee is low and the card is new", "", score=2),
    ]
    sequences = sequences_of(SCORED, records, Preprocessor(tiny_tokenizer, 8))
    ids = [token_ids[1:-1] for token_ids in sequences.token_ids.to_list()]
    texts = tf.constant([text for record in records for text in record.texts])
    assert ids == [token_ids[:6] for token_ids in tiny_tokenizer(texts).to_list()]
    assert sequences.records.numpy().tolist() == [0, 0, 1, 1]


def targets(task, record, lengths, max_tokens=6):
    """Return the targets of a record whose texts have these lengths in tokens, and the warnings about it."""
    warnings = []
    texts = [TextTokens(np.arange(length)) for length in lengths]
    token_ids = [np.arange(min(length, max_tokens) + 2) for length in lengths]
    return task.targets_of(record, RecordSequences(token_ids, {"texts": texts}), warnings.append), warnings


def test_targets_of_pairs_are_roles_and_ids():
    target_values, warnings = targets(PAIRS, record_of("a b", "c d e", "f"), (2, 3, 6))
    assert [target["role"] for target in target_values] == [QUESTION, ANSWER, NEGATIVE]
    question, answer, negative = (target["text_id"] for target in target_values)
    assert target_values[0]["positive_ids"][0] == answer and len({question, answer, negative}) == 3
    assert min(question, answer, negative) > 0
    assert warnings == []


@pytest.mark.parametrize(
    ("lengths", "cut"), [((7, 3, 2), ["questions"]), ((6, 7, 6), ["answers"]), ((9, 1, 8), ["questions", "answers"])]
)
@pytest.mark.parametrize("task", [PAIRS, SCORED])
def test_cut_texts_cause_warnings(task, lengths, cut):
    _, warnings = targets(task, record_of("a", "b", "c", score=1.0), lengths)
    assert warnings == [f"{noun} have more than 6 tokens and are cut" for noun in cut]


def test_texts_that_differ_in_whitespace_have_one_id():
    (first, answer), _ = targets(PAIRS, record_of("How  so?", "so"), (1, 1))
    (second, other), _ = targets(PAIRS, record_of(" How so?\n", "So"), (1, 1))
    assert first["text_id"] == second["text_id"]
    assert answer["text_id"] != other["text_id"]


def test_loss_of_scored_pairs_is_the_squared_error_of_the_cosine():
    target_values, _ = targets(SCORED, record_of("a b", "c", score=4.0), (2, 1))
    assert target_values == [{"similarity": pytest.approx(0.8)}] * 2  # of 0 to 5
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, -1]], np.float32)
    batch = {"similarity": tf.constant([0.8, 0.8, 0.25, 0.25]), "example": tf.constant([0, 0, 1, 1])}
    np.testing.assert_allclose(SCORED.loss(tf.constant(vectors), batch), [0.04, 1.5625], rtol=1e-5)


# Evaluation and the threshold

ANSWERS = {
    "answer": np.array([[b"x", b"y"], [b"y", b" x"], [b"x", b"y"]], object),
    "similarity": np.array([[0.9, 0.1], [0.8, 0.7], [0.3, 0.2]], np.float32),
}
GOLD = [("q", "x"), ("r", "x"), ("s", "w")]


def test_evaluation_of_pairs():
    evaluation = PAIRS.evaluate(ANSWERS, GOLD, {"threshold": np.float32(0.85)})
    assert evaluation.values()["mrr_at_10"] == 0.5
    assert evaluation.values()["recall_at_1"] == pytest.approx(1 / 3)
    assert {metric.name for metric in PAIRS.metrics} == evaluation.values().keys() == evaluation.intervals().keys()
    assert PAIRS.monitor.name == "mrr_at_10" and PAIRS.monitor in PAIRS.metrics
    sections = evaluation.sections()
    assert evaluation.mistakes() == [1, 2] and evaluation.outcome(1).predicted == "y"
    assert "0.8500" in sections["tables"][1]["caption"]


def test_the_threshold_is_fitted_to_validation_and_applied_in_the_graph():
    decision = PAIRS.decision
    fitted = decision.fit({"validation": Predicted(ANSWERS, GOLD)})
    assert fitted == {"threshold": pytest.approx(0.85)} and decision.initial() == {"threshold": -1.0}
    for value in (fitted, decision.initial()):
        assert value["threshold"].dtype == decision.specs["threshold"].dtype.as_numpy_dtype
    outputs = {name: tf.constant(values) for name, values in ANSWERS.items()}
    for values, expected in ((fitted, [False, True, True]), (decision.initial(), [False] * 3)):
        decided = decision.apply(outputs, {name: tf.Variable(value) for name, value in values.items()})
        assert decided.pop("abstain").numpy().tolist() == expected
        assert decided == outputs
    assert SCORED.decision is None and SCORED.index is None


def test_evaluation_of_scored_pairs():
    outputs = {"similarity": np.array([0.1, 0.4, 0.35, 0.8], np.float32)}
    evaluation = SCORED.evaluate(outputs, [0.0, 1.0, 2.0, 5.0], {})
    assert evaluation.values()["spearman"] == pytest.approx(0.8)
    assert evaluation.intervals()["spearman"]["value"] == pytest.approx(0.8)
    assert {metric.name for metric in SCORED.metrics} == evaluation.values().keys() == evaluation.intervals().keys()
    assert SCORED.monitor.name == "spearman"
    assert evaluation.mistakes() == []


def test_similarities_of_scored_pairs(tiny_tokenizer):
    records = [record_of("my card", "my card", score=1.0), record_of(LONG, "", score=2.0)]
    sequences = sequences_of(SCORED, records, Preprocessor(tiny_tokenizer, 8))
    vectors = tf.constant([[1, 0], [1, 0], [0.6, 0.8], [0, 1.0]])
    outputs = SCORED.decode(vectors, sequences, Context({}, (), {}))
    np.testing.assert_allclose(outputs["similarity"], [1, 0.8], rtol=1e-6)
    assert outputs["truncated"].numpy().tolist() == [False, True]
    assert outputs.keys() == {output.name for output in SCORED.outputs}


def test_the_signature_embed_returns_the_vectors_of_texts(tiny_tokenizer):
    def model(packed):
        return tf.cast(packed["token_ids"] * packed["padding_mask"], tf.float32)[:, :4]

    served = Served(None, Preprocessor(tiny_tokenizer, 8), model, {})
    for task in (PAIRS, SCORED):
        signatures = task.signatures(served)
        assert signatures.keys() == {"embed"}
        vectors = signatures["embed"](tf.constant(["my new card", "the house is low"]))["embedding"]
        ids = tiny_tokenizer(tf.constant(["my new card", "the house is low"])).to_list()
        start = tiny_tokenizer.special.start
        assert vectors.numpy().tolist() == [[start, *token_ids[:3]] for token_ids in ids]
        assert task.decode_sequences(vectors, None) == {"embedding": vectors}


# From file to server

WORDS = ["card", "pin", "loan", "house", "fee", "rate", "bank", "cash", "sum", "bill"]


def write(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def config(path, **values):
    base = {
        "data.path": str(path),
        "encoder.name": "tiny",
        "encoder.sequence_length": 24,
        "encoder.precision": "float32",
        "head.dropout": 0.0,
        "train.epochs": 2,
        "train.batch_size": 8,
        "train.learning_rate": 2e-3,
    }
    return override(Config(task="matching"), base | values)


@pytest.fixture(scope="module")
def faq(tmp_path_factory):
    """Return the directories of data, of a run with hard negatives on it, and of its SavedModel."""
    folder = tmp_path_factory.mktemp("faq")
    for number, name in enumerate(["train", "validation", "test"]):
        rows = [(f"{word} {number} {'?' * repeat}", f"the {word}") for word in WORDS for repeat in range(3 - number)]
        write(folder / f"{name}.csv", ["question", "answer"], rows)
    problem = prepare(config(folder, **{"train.hard_negatives": 2}))
    run.train(problem, folder / "run")
    version_dir, _ = export_run.export_run(folder / "run", folder / "model")
    return SimpleNamespace(data=folder, run=folder / "run", version=version_dir, problem=problem)


def index_of(run_dir):
    """Return the predictor of a run, and the values of its index."""
    predictor = load_run(run_dir).predictor
    return predictor, {name: variable.numpy() for name, variable in predictor.index.items()}


def test_the_index_is_part_of_the_saved_model(faq):
    model = tf.saved_model.load(str(faq.version))
    embed = model.signatures["embed"]
    _, index = index_of(faq.run)
    assert index["answers"].tolist() == [f"the {word}".encode() for word in WORDS]
    assert len(index["vectors"]) == 4 * len(WORDS)
    questions = [text for text in index["questions"].tolist() if text]
    assert len(questions) == 3 * len(WORDS) and all(b" 0 " in text for text in questions)
    vectors = embed(text=tf.constant([b"the pin", *questions[:4]]))["embedding"].numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], index["vectors"][4], atol=1e-5)
    np.testing.assert_allclose(vectors[1:], index["vectors"][[1, 2, 3, 5]], atol=1e-5)
    outputs = model.signatures["token_ids"](**{
        name: tf.constant([[2, 7, 3]] if name == "token_ids" else [[1, 1, 1]] if name == "padding_mask" else [[0] * 3])
        for name in ("token_ids", "segment_ids", "padding_mask")
    })  # fmt: skip
    assert outputs["embedding"].shape == (1, vectors.shape[1])


def test_the_served_answers_are_the_nearest(faq):
    predictor, index = index_of(faq.run)
    texts = ["house 0 ??", "my fee", "qqq zzz"]
    outputs = SavedPredictor(faq.version)([{"text": text} for text in texts])
    for row, vector in enumerate(predictor.embed(texts)):
        similarity = index["vectors"] @ vector - np.where(index["questions"] == b"", 0, index["offset"])
        by_entry = np.array([similarity[index["entries"] == entry].max() for entry in range(len(WORDS))])
        order = np.argsort(-by_entry)
        assert outputs["answer"][row].tolist() == index["answers"][order].tolist()
        np.testing.assert_allclose(outputs["similarity"][row], by_entry[order], atol=1e-5)
    assert outputs["answer"].shape == (3, 10)
    known = outputs["answer"][0].tolist().index(b"the house")
    assert outputs["matched_question"][0, known] == b"house 0 ??"


def test_abstains_below_the_threshold(faq):
    predictor, _ = index_of(faq.run)
    items = [{"text": "house 0 ??"}, {"text": "qqq zzz"}]
    best = predictor(items)["similarity"][:, 0]
    for threshold in (-1.0, float(best.mean()), 1.5):
        predictor.decided["threshold"].assign(threshold)
        assert predictor(items)["abstain"].tolist() == (best < threshold).tolist()
    assert best[0] != best[1]
    # A threshold is a variable, not a constant of the graph.
    assert predictor.predict.experimental_get_tracing_count() == 1


def test_the_threshold_is_that_of_validation_and_exported(faq):
    predictor, _ = index_of(faq.run)
    records = list(faq.problem.splits["validation"])
    outputs = predictor.decode([predictor.task.inputs_of(record) for record in records])
    gold = [predictor.task.gold(record) for record in records]
    expected = predictor.task.decision.fit({"validation": Predicted(outputs, gold)})
    threshold = predictor.decided_values()["threshold"]
    assert threshold == pytest.approx(expected["threshold"], abs=1e-6) and -1 <= threshold <= 1
    served = SavedPredictor(faq.version)([{"text": word} for word in WORDS])
    assert served["abstain"].tolist() == (served["similarity"][:, 0] < threshold).tolist()


def test_report_and_saved_model_score_alike(faq):
    report = json.loads((faq.run / "report.json").read_text(encoding="utf-8"))
    assert set(report["history"][0]["validation"]) == set(report["test"]["metrics"])
    scores = evaluate(faq.version, str(faq.data / "test.csv"), {})
    for name, metric in report["test"]["metrics"].items():
        assert scores["metrics"][name]["value"] == pytest.approx(metric["value"], abs=1e-6)


@pytest.mark.parametrize(
    ("later", "averages", "best_epoch", "averaged", "outcome"),
    [
        ([0.4, 0.5], [0.5, 0.5], 0, None, "no epoch was clearly better"),
        pytest.param([0.4, 0.6], [0.6, 0.6], 2, None, "60.0 % after epoch 2", marks=pytest.mark.slow),
        pytest.param(
            *([0.4, 0.6], [0.7, 0.6], 2, [1, 2], "70.0 % with the average of epochs 1 and 2."),
            marks=pytest.mark.slow,
        ),
        ([0.4, 0.6], [0.6, 0.7], 2, [0, 1, 2], "70.0 % with the average of epochs 1, 2 and the model before training"),
    ],
)
def test_the_pretrained_encoder_is_kept_unless_an_epoch_or_their_average_is_better(
    faq, tmp_path, monkeypatch, later, averages, best_epoch, averaged, outcome
):
    # Averages are measured without and with the model before training.
    mrr = iter([0.5, *later, *averages])
    monkeypatch.setattr(RankingEvaluation, "values", lambda self: {"mrr_at_10": next(mrr)})
    report = run.train(faq.problem, tmp_path / "run")
    assert report["untrained"] == {"mrr_at_10": 0.5} and report["best_epoch"] == best_epoch
    assert [entry["validation"]["mrr_at_10"] for entry in report["history"]] == later
    initial = faq.problem.encoder.backbone.weights
    weights = load_run(tmp_path / "run").predictor.model.backbone.weights
    is_same = all(np.array_equal(before, after) for before, after in zip(initial, weights, strict=True))
    assert is_same == (best_epoch == 0)
    text = " ".join((tmp_path / "run" / "report.html").read_text(encoding="utf-8").split())
    assert report["average"] == ({"epochs": averaged, "validation": {"mrr_at_10": 0.7}} if averaged else None)
    assert f"On validation, MRR at 10 was 50.0 % before training and {outcome}" in text
    assert ("A lower train.learning_rate" in text) == (best_epoch == 0)


def test_examples_are_augmented_with_hard_negatives_and_paraphrases(faq):
    split = faq.problem.tokenized["train"]
    vectors = np.random.default_rng(0).normal(size=(split.num_sequences, 8)).astype(np.float32)

    def roles(hard_negatives):
        task = dataclasses.replace(PAIRS, options=MatchingOptions(hard_negatives=hard_negatives))
        augmented = task.augment(split, lambda sequences: vectors[sequences], 0)
        assert len(augmented) == len(split) == 3 * len(WORDS)
        return np.bincount(augmented.targets["role"], minlength=4)

    # Every answer has three questions, so that each of these has a paraphrase.
    number = len(split)
    assert roles(0)[[QUESTION, ANSWER, NEGATIVE, PARAPHRASE]].tolist() == [number, number, 0, number]
    with_negatives = roles(2)
    assert with_negatives[[QUESTION, ANSWER, PARAPHRASE]].tolist() == [number] * 3
    assert 0 < with_negatives[NEGATIVE] <= 2 * number


def test_another_index_needs_no_other_graph(faq):
    predictor, _ = index_of(faq.run)
    before = predictor([{"text": "pin"}])
    records = [Record("only", None, "a:1", ("this",)), Record("one", None, "a:2", ("that",))]
    predictor.refresh({"train": records})
    after = predictor([{"text": "only"}])
    assert before["answer"].shape == (1, 10)
    assert after["answer"].tolist() == [[b"this", b"that"]]
    assert predictor.predict.experimental_get_tracing_count() == 1


def test_scored_pairs(tmp_path):
    rng = np.random.default_rng(0)
    for name, number in (("train", 24), ("validation", 8), ("test", 8)):
        pairs = rng.choice(WORDS, (number, 2))
        write(tmp_path / f"{name}.csv", ["sentence1", "sentence2", "score"],
              [(f"a {a}", f"the {b}", 5 * (a == b) + rng.integers(0, 2)) for a, b in pairs])  # fmt: skip
    problem = prepare(config(tmp_path, **{"train.epochs": 1}))
    report = run.train(problem, tmp_path / "run")
    assert report["test"]["metrics"].keys() == {"spearman", "pearson"}
    assert not (tmp_path / "run" / "variables.safetensors").exists()
    version_dir, _ = export_run.export_run(tmp_path / "run", tmp_path / "model")
    items = [{"text": "a card", "text_pair": "a card"}, {"text": "a card", "text_pair": "the loan"}]
    outputs = SavedPredictor(version_dir)(items)
    assert outputs["similarity"][0] == pytest.approx(1, abs=1e-5)
    vectors = load_run(tmp_path / "run").predictor.embed(["a card", "the loan"])
    assert outputs["similarity"][1] == pytest.approx(vectors[0] @ vectors[1], abs=1e-5) and outputs["similarity"][1] < 1
    assert outputs.keys() == {"similarity", "truncated"}
