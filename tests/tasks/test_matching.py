"""Matching: what files may say, what the index holds and must not hold, and both kinds of data from file to server."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfbert.config import Config, DataConfig, override
from tfbert.serving import publish
from tfbert.serving.predictor import Predictor
from tfbert.serving.scoring import evaluate
from tfbert.tasks.base import Encoding
from tfbert.tasks.matching import TASK
from tfbert.text.datasets import Tokens
from tfbert.text.packing import Packer
from tfbert.text.records import Record, read_records
from tfbert.text.rows import Row
from tfbert.training import run
from tfbert.training.answering import Answering
from tfbert.training.finished import load_run
from tfbert.training.problem import prepare

PAIRS, SCORED = {"kind": "pairs", "threshold": -1.0}, {"kind": "scored", "low": 0.0, "high": 5.0}

# What files may say


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
        ({"question": "", "answer": "a"}, r"question is ''; wanted at least one character"),
        ({"question": "q", "answer": None}, r"answer is null; wanted a string"),
        (
            {"question": "q", "answer": "a  b", "negative": " a b"},
            r'negative is "a  b" as is the answer; wanted another',
        ),
        ({"question": "q", "answer": "a", "negative": ["b", ""]}, r"negative is ''; wanted at least one character"),
        ({"question": "q", "answer": "a", "negative": 3}, r"negative is 3; wanted a string"),
        ({"question": "q", "answer": "a", "negative": "b", "score": "1"}, r"there is a negative and a score"),
        ({"question": "q", "answer": "a", "score": "high"}, r'score is "high"; wanted a number'),
        ({"question": "q", "answer": "a", "score": "nan"}, r'score is "nan"; wanted a number'),
        ({"question": "q", "answer": "a", "score": "yes"}, r'score is "yes"; wanted a number'),
        ({"question": "q", "answer": "a", "score": ""}, r'score is ""; wanted a number'),
        ({"question": "q", "answer": "a", "score": [1]}, r"score is \[1\]; wanted a number"),
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


def test_facts():
    pair, scored = Record("q", None, "a:1", ("a",)), Record("q", 2.0, "a:2", ("b",))
    assert TASK.read_facts([pair, Record("q", None, "a:3", ("b",))]) == PAIRS
    assert TASK.read_facts([scored, Record("q", -1.0, "a:3", ("a",))]) == {"kind": "scored", "low": -1.0, "high": 2.0}
    with pytest.raises(ValueError, match="train has one answer only; wanted at least two"):
        TASK.read_facts([pair, Record("r", None, "a:3", (" a ",))])
    with pytest.raises(ValueError, match="every score of train is 2; wanted different ones"):
        TASK.read_facts([scored, scored])
    for records in ([pair, scored], [scored, pair]):
        with pytest.raises(ValueError, match="no score; wanted one in every row of train, or in none"):
            TASK.read_facts([*records, pair])


def test_what_train_does_not_have_is_refused():
    pair, scored = Record("q", None, "a:1", ("a",)), Record("q", 2.0, "a:2", ("b",))
    assert TASK.inputs_of(pair, PAIRS) == {"text": "q"}
    assert TASK.inputs_of(scored, SCORED) == {"text": "q", "text_pair": "b"}
    with pytest.raises(ValueError, match="a:1: no score; wanted one, as in train"):
        TASK.gold_of(pair, SCORED)
    with pytest.raises(ValueError, match="a:2: a score; wanted none, as in train"):
        TASK.gold_of(scored, PAIRS)
    assert TASK.gold_of(scored, SCORED) == 2.0
    assert TASK.gold_of(Record(" q  r", None, "a:1", ("a ",)), PAIRS) == ("q r", "a")


# What is learned


def examples(texts, facts, packer, score=None):
    said = []
    tokens = [Tokens(np.arange(10, 10 + len(text.split()), dtype=np.int32)) for text in texts]
    record = Record(texts[0], score, "here", tuple(texts[1:]))
    return TASK.examples(record, tokens, packer, facts, Config(), said.append), said


def test_a_row_for_each_text(tiny_tokenizer):
    packer = Packer(tiny_tokenizer.special, 8)
    rows, said = examples(["a b", "c d e", "f"], PAIRS, packer)
    special = tiny_tokenizer.special
    assert [row.token_ids.tolist() for row in rows] == [
        [special.start, *range(10, 10 + number), special.end] for number in (2, 3, 1)
    ]
    assert [row.target[0] for row in rows] == [0, 1, 2]
    assert rows[0].target[2] == rows[1].target[1] != rows[2].target[1]
    assert min(row.target[1] for row in rows) > 0
    assert said == []
    _, said = examples(["a b c d e f g", "c", "a b c d e f g h"], PAIRS, packer)
    assert said == [
        "questions have more than 6 tokens and lose their end", "answers have more than 6 tokens and lose their end",
    ]  # fmt: skip


def test_texts_that_differ_in_blanks_have_one_id(tiny_tokenizer):
    packer = Packer(tiny_tokenizer.special, 8)
    (first, answer), _ = examples(["How  so?", "so"], PAIRS, packer)
    (second, other), _ = examples([" How so?\n", "So"], PAIRS, packer)
    assert first.target[1] == second.target[1]
    assert answer.target[1] != other.target[1]


def test_loss_of_scored_pairs_is_the_squared_error_of_the_cosine(tiny_tokenizer):
    rows, _ = examples(["a b", "c"], SCORED, Packer(tiny_tokenizer.special, 8), score=4.0)
    assert [row.target for row in rows] == [pytest.approx(0.8)] * 2  # of 0 to 5
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, -1]], np.float32)
    batch = {"targets": tf.constant([0.8, 0.8, 0.25, 0.25]), "units": tf.constant([0, 0, 1, 1])}
    np.testing.assert_allclose(TASK.loss(tf.constant(vectors), batch, Config()), [0.04, 1.5625], rtol=1e-5)


# What the index holds


def pair(question, *answers):
    return Record(question, None, f"file:{question}", answers)


SPLITS = {
    "train": [pair("t1", "x"), pair("t2", "y", "z"), pair("t3", "x")],
    "validation": [pair("v1", "y"), pair("v2", "w")],
    "test": [pair("s1", "x"), pair("s2", "u")],
}


def test_questions_of_validation_and_test_are_not_in_the_index():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.zeros((len(texts), 4), np.float32)

    found = TASK.arrays(SPLITS, embed, PAIRS, Config())
    assert found["index_answers"].tolist() == [b"x", b"y", b"w", b"u"]
    assert found["index_questions"].tolist() == [b"", b"t1", b"t3", b"", b"t2", b"", b""]
    # Those of validation become vectors all the same: they decide the offset.
    assert sorted(asked) == ["t1", "t2", "t3", "u", "v1", "v2", "w", "x", "y"]
    only = TASK.arrays({"train": SPLITS["train"]}, embed, PAIRS, Config())
    assert only["index_answers"].tolist() == [b"x", b"y"]
    assert TASK.arrays(SPLITS, embed, SCORED, Config()) == TASK.array_specs(SCORED) == {}


# What is scored

ANSWERS = {
    "answer": np.array([[b"x", b"y"], [b"y", b" x"], [b"x", b"y"]], object),
    "similarity": np.array([[0.9, 0.1], [0.8, 0.7], [0.3, 0.2]], np.float32),
}
GOLD = [("q", "x"), ("r", "x"), ("s", "w")]


def test_scores_of_pairs():
    found = TASK.scores(ANSWERS, GOLD, PAIRS)
    assert found["metrics"]["mrr_at_10"]["value"] == 0.5
    assert found["metrics"]["recall_at_1"]["value"] == pytest.approx(1 / 3)
    assert TASK.quick_scores(ANSWERS, GOLD, PAIRS)["mrr_at_10"] == 0.5
    assert TASK.settle(ANSWERS, GOLD, PAIRS) == {"kind": "pairs", "threshold": pytest.approx(0.85)}
    details = TASK.details(ANSWERS, GOLD, PAIRS)
    assert list(details["worst"]) == [1, 2]
    assert (details["worst"][1]["label"], details["worst"][1]["predicted"]) == ("x", "y")
    assert len(details["figures"]) == 1 and len(details["tables"]) == 2


def test_scores_of_scored_pairs():
    answers = {"similarity": np.array([0.1, 0.4, 0.35, 0.8], np.float32)}
    gold = [0.0, 1.0, 2.0, 5.0]
    assert TASK.quick_scores(answers, gold, SCORED)["spearman"] == pytest.approx(0.8)
    assert TASK.scores(answers, gold, SCORED)["metrics"]["spearman"]["value"] == pytest.approx(0.8)
    assert TASK.settle(answers, gold, SCORED) == SCORED
    assert TASK.monitor_of(SCORED) == "spearman" and TASK.monitor_of(PAIRS) == "mrr_at_10"
    assert TASK.details(answers, gold, SCORED)["worst"] == {}


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
    version_dir, _ = publish.export_run(folder / "run", folder / "model")
    return SimpleNamespace(data=folder, run=folder / "run", version=version_dir, problem=problem)


def test_the_index_is_part_of_the_saved_model(faq):
    model = tf.saved_model.load(str(faq.version))
    embed = model.signatures["embed"]
    finished = load_run(faq.run)
    of = {name: variable.numpy() for name, variable in finished.answering.arrays.items()}
    assert of["index_answers"].tolist() == [f"the {word}".encode() for word in WORDS]
    assert len(of["index_vectors"]) == 4 * len(WORDS)
    questions = [text for text in of["index_questions"].tolist() if text]
    assert len(questions) == 3 * len(WORDS) and all(b" 0 " in text for text in questions)
    vectors = embed(text=tf.constant([b"the pin", *questions[:4]]))["embedding"].numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], of["index_vectors"][4], atol=1e-5)
    np.testing.assert_allclose(vectors[1:], of["index_vectors"][[1, 2, 3, 5]], atol=1e-5)
    rows = model.signatures["token_ids"](**{
        name: tf.constant([[2, 7, 3]] if name == "token_ids" else [[1, 1, 1]] if name == "padding_mask" else [[0] * 3])
        for name in ("token_ids", "segment_ids", "padding_mask")
    })  # fmt: skip
    assert rows["embedding"].shape == (1, vectors.shape[1])


def test_the_served_answers_are_the_nearest(faq):
    answering = load_run(faq.run).answering
    of = {name: variable.numpy() for name, variable in answering.arrays.items()}
    texts = ["house 0 ??", "my fee", "qqq zzz"]
    answers = Predictor(faq.version)([{"text": text} for text in texts])
    for row, vector in enumerate(answering.embed(texts)):
        similar = of["index_vectors"] @ vector - np.where(of["index_questions"] == b"", 0, of["index_offset"])
        by_entry = np.array([similar[of["index_entries"] == entry].max() for entry in range(len(WORDS))])
        order = np.argsort(-by_entry)
        assert answers["answer"][row].tolist() == of["index_answers"][order].tolist()
        np.testing.assert_allclose(answers["similarity"][row], by_entry[order], atol=1e-5)
    assert answers["answer"].shape == (3, 10)
    known = answers["answer"][0].tolist().index(b"the house")
    assert answers["matched_question"][0, known] == b"house 0 ??"


def test_abstains_below_the_threshold(faq):
    finished = load_run(faq.run)
    of = finished.answering
    items = [{"text": "house 0 ??"}, {"text": "qqq zzz"}]
    best = of(items)["similarity"][:, 0]
    for threshold in (-1.0, float(best.mean()), 1.5):
        facts = of.facts | {"threshold": threshold}
        asked = Answering(TASK, facts, of.model, of.tokenizer, finished.config, of.arrays)
        assert asked(items)["abstain"].tolist() == (best < threshold).tolist()
    assert best[0] != best[1]


def test_report_and_saved_model_score_alike(faq):
    report = json.loads((faq.run / "report.json").read_text(encoding="utf-8"))
    assert set(report["history"][0]["validation"]) == set(report["test"]["metrics"])
    found = evaluate(faq.version, str(faq.data / "test.csv"), {})
    for name, metric in report["test"]["metrics"].items():
        assert found["metrics"][name]["value"] == pytest.approx(metric["value"], abs=1e-6)
    assert -1 <= json.loads((faq.run / "model.json").read_text(encoding="utf-8"))["facts"]["threshold"] <= 1


@pytest.mark.parametrize(("later", "best_epoch"), [([0.4, 0.5], 0), ([0.4, 0.6], 2)])
def test_training_has_to_do_better_than_the_encoder_as_it_came(faq, tmp_path, monkeypatch, later, best_epoch):
    mrr = iter([0.5, *later, 0.0, 0.0, 0.0])
    monkeypatch.setattr(type(TASK), "quick_scores", lambda *_: {"mrr_at_10": next(mrr)})
    report = run.train(faq.problem, tmp_path / "run")
    assert report["untrained"] == {"mrr_at_10": 0.5} and report["best_epoch"] == best_epoch
    assert [entry["validation"]["mrr_at_10"] for entry in report["history"]] == later
    start, kept = faq.problem.encoder.backbone.weights, load_run(tmp_path / "run").answering.model.backbone.weights
    is_same = all(np.array_equal(one, other) for one, other in zip(start, kept, strict=True))
    assert is_same == (best_epoch == 0)
    text = " ".join((tmp_path / "run" / "report.html").read_text(encoding="utf-8").split())
    said = "no epoch was better" if best_epoch == 0 else "60.0 % after the best epoch"
    assert f"On validation, MRR at 10 was 50.0 % before training and {said}" in text
    assert ("A lower train.learning_rate" in text) == (best_epoch == 0)


def test_hard_negatives_are_rows_of_every_record(faq):
    problem = faq.problem
    split = problem.tokenized["train"]
    vectors = np.random.default_rng(0).normal(size=(len(split.targets), 8)).astype(np.float32)
    arranged = TASK.arrange(split, lambda rows: vectors[rows], problem.facts, problem.config)
    assert len(arranged) == len(split) == 3 * len(WORDS)
    # Every answer has three questions, so that each of these has other words.
    none = TASK.arrange(split, lambda rows: vectors[rows], problem.facts, Config())
    assert len(none.targets) == 3 * len(split) == 1.5 * len(split.targets)
    assert len(none.targets) < len(arranged.targets) <= 5 * len(split)


def test_the_same_index_again_without_tracing_again(faq, tiny_tokenizer):
    finished = load_run(faq.run)
    of = finished.answering
    before = of([{"text": "pin"}])
    of.refresh({"train": [pair("only", "this"), pair("one", "that")]})
    after = of([{"text": "only"}])
    assert before["answer"].shape == (1, 10)
    assert after["answer"].tolist() == [[b"this", b"that"]]
    assert of.answer.experimental_get_tracing_count() == 1


def test_scored_pairs(tmp_path):
    rng = np.random.default_rng(0)
    for name, number in (("train", 24), ("validation", 8), ("test", 8)):
        pairs = rng.choice(WORDS, (number, 2))
        write(tmp_path / f"{name}.csv", ["sentence1", "sentence2", "score"],
              [(f"a {a}", f"the {b}", 5 * (a == b) + rng.integers(0, 2)) for a, b in pairs])  # fmt: skip
    problem = prepare(config(tmp_path, **{"train.epochs": 1}))
    report = run.train(problem, tmp_path / "run")
    assert report["test"]["metrics"].keys() == {"spearman", "pearson"}
    assert not (tmp_path / "run" / "arrays.safetensors").exists()
    version_dir, _ = publish.export_run(tmp_path / "run", tmp_path / "model")
    predictor = Predictor(version_dir)
    found = predictor([{"text": "a card", "text_pair": "a card"}, {"text": "a card", "text_pair": "the loan"}])
    assert found["similarity"][0] == pytest.approx(1, abs=1e-5)
    assert found["similarity"][1] < 1
    assert found.keys() == {"similarity", "truncated"}


def test_truncated_says_whose_end_is_lost(tiny_tokenizer):
    encoding = Encoding(
        tiny_tokenizer,
        Packer(tiny_tokenizer.special, 8),
        lambda packed: (
            tf.one_hot(tf.shape(packed["token_ids"])[:1] * 0, 4) + tf.zeros_like(packed["token_ids"][:, :1], tf.float32)
        ),
        Config(),
    )
    served = TASK.answer({"text": tf.constant(["a", "b " * 9]), "text_pair": tf.constant(["c", "d"])}, encoding, SCORED)
    assert served["truncated"].numpy().tolist() == [False, True]
