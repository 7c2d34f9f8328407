"""Adaptation of an encoder to a task: which encoder is kept by which scores, and how a killed run is resumed."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tfbert.config import Config, override
from tfbert.pretraining import adapt
from tfbert.tasks.base import FittedTask
from tfbert.tasks.classification import TASK
from tfbert.text.records import Record
from tfbert.training.distribution import Replicas

RECORDS = [Record("one\ntwo", "a", "x:1"), Record("three", "b", "x:2")]
FITTED = TASK.fit(RECORDS, TASK.options.from_config(Config()))


class Split(list):
    """Records with the path and the hash of their file."""

    path, sha256 = Path("data/train.csv"), "1"


@dataclass(frozen=True)
class Problem:
    """The attributes of a problem that adapting uses."""

    config: Config
    task: FittedTask = FITTED
    splits: dict = field(default_factory=lambda: {"train": Split(RECORDS), "validation": Split()})
    replicas: Replicas = Replicas()

    def fingerprint(self):
        return "fingerprint"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function from losses, scores and config paths to the adaptation and the trainings that were run."""

    def return_adaptation(run_dir, adaptation, command):
        return adaptation

    def train(losses=(5.0, 4.0), scores=(0.5, 0.6), corpus=(), keep=return_adaptation, **values):
        problem = Problem(override(Config(), {path.replace("__", "."): value for path, value in values.items()}))
        trainings, remaining_scores = [], iter(scores)
        name = problem.config.train.monitor or "accuracy"

        def pretrain(config, run_dir, command):
            trainings.append(config)
            report = {"config": config.to_dict(), "before": {"masked_word_loss": losses[0]}}
            return write(run_dir, report | {"after": {"masked_word_loss": losses[1]}})

        def train_task(problem, run_dir, num_seeds, command):
            trainings.append(f"{run_dir.name} {problem.config.encoder.name}")
            history = [{"validation": {name: 0.0}}, {"validation": {name: next(remaining_scores)}}]
            report = {"config": problem.config.to_dict(), "seeds": None, "history": history}
            report |= {"best_epoch": 2, "untrained": None}
            return write(run_dir, report)

        monkeypatch.setattr(adapt.pretraining, "pretrain", pretrain)
        monkeypatch.setattr(adapt.run, "train", train_task)
        monkeypatch.setattr(adapt.run, "keep", keep)
        monkeypatch.setattr(adapt, "prepare", Problem)
        return adapt.train(problem, corpus, tmp_path / "run"), trainings

    return train


def write(run_dir, report):
    run_dir.mkdir()
    (run_dir / "report.json").write_text(json.dumps(report))
    return json.loads(json.dumps(report))


@pytest.mark.parametrize(
    ("losses", "scores", "monitor", "kept"),
    [
        ((5.0, 4.0), (0.5, 0.6), None, "adapted"),
        ((5.0, 4.0), (0.6, 0.5), None, "original"),
        ((5.0, 4.0), (0.5, 0.5), None, "original"),
        ((5.0, 4.0), (0.5, 0.4), "loss", "adapted"),
        ((5.0, 4.0), (0.4, 0.5), "loss", "original"),
    ],
)
def test_the_encoder_with_the_better_validation_score_is_kept(run, losses, scores, monitor, kept):
    adaptation, trainings = run(losses, scores, train__monitor=monitor)
    assert adaptation["kept"] == kept
    assert adaptation["validation"] == {"metric": monitor or "accuracy", "original": scores[0], "adapted": scores[1]}
    assert [training.partition(" ")[0] for training in trainings[1:]] == ["original", "adapted"]
    assert trainings[1].endswith(" minilm") and trainings[2].endswith("run/pretraining/encoder")
    comparison = f"{scores[1]:.4f} with it and {scores[0]:.4f} without"
    assert adaptation["sentence"].endswith(f"{comparison}: the {kept} encoder is kept.")
    assert "from 5.000 to 4.000" in adaptation["sentence"]


def test_without_a_gain_in_masked_words_the_adapted_encoder_is_not_tried(run):
    adaptation, trainings = run(losses=(4.0, 4.0))
    assert (adaptation["kept"], adaptation["validation"]) == ("original", None)
    assert len(trainings) == 2
    assert adaptation["sentence"].endswith("from 4.000 to 4.000, which is no gain: the original encoder is kept.")


def test_the_texts_of_train_are_the_corpus(run, tmp_path):
    _, (config, *_) = run(encoder__sequence_length=48, encoder__name="tiny", train__seed=7)
    lines = (tmp_path / "run" / "texts.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"text": "one\ntwo"}, {"text": "three"}]
    assert config.corpus.paths == (str(tmp_path / "run" / "texts.jsonl"),)
    assert (config.encoder.name, config.examples.sequence_length, config.train.seed) == ("tiny", 48, 7)


def test_a_given_corpus_is_read_instead(run, tmp_path):
    _, (config, *_) = run(corpus=["archive", "more.txt"])
    assert config.corpus.paths == ("archive", "more.txt")
    assert not (tmp_path / "run" / "texts.jsonl").exists()


def test_finished_trainings_of_a_killed_run_are_not_repeated(run, tmp_path):
    run()
    adaptation, trainings = run(losses=(0.0, 9.0), scores=())
    assert trainings == []
    assert (adaptation["kept"], adaptation["masked_word_loss"]) == ("adapted", {"before": 5.0, "after": 4.0})
    with pytest.raises(ValueError, match="run/pretraining: belongs to another run"):
        run(train__seed=1)


def test_the_score_of_several_seeds_is_their_mean():
    seeds = {"validation": {"accuracy": {"mean": 0.7, "std": 0.1}}}
    history = [{"validation": {"accuracy": 0.8, "loss": 0.3}}]
    report = {"seeds": seeds, "history": history, "best_epoch": 1, "untrained": None}
    assert adapt.validation_score(report, "accuracy") == 0.7
    assert adapt.validation_score(report, "loss") == 0.3
    assert adapt.validation_score(report | {"seeds": None}, "accuracy") == 0.8


def test_a_killed_run_on_other_data_is_not_continued(run, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="holds no checkpoint"):
        run(scores=(0.5, 0.6), keep=killed)
    monkeypatch.setattr(Split, "sha256", "2")
    with pytest.raises(ValueError, match=r"data/train\.csv: has changed since .*run was started"):
        run(scores=(0.7, 0.8))


def test_adapting_in_several_processes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--adapt: trains in one process, but TF_CONFIG names several; expected "):
        adapt.train(Problem(Config(), replicas=Replicas("multi_worker", None, 1, 2)), (), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_adapting_without_a_validation_split_is_refused(tmp_path):
    problem = Problem(Config(), splits={"train": []})
    with pytest.raises(ValueError, match="needs a validation split to measure the gain; expected data.validation_frac"):
        adapt.train(problem, [], tmp_path)


def test_another_corpus_is_another_run(tmp_path):
    problem = Problem(Config())
    digests = {adapt.choose_run_dir(problem, corpus, tmp_path).name[-8:] for corpus in ([], ["a"], ["a", "b"])}
    assert len(digests) == 3
    assert adapt.choose_run_dir(problem, [], tmp_path).parent == tmp_path / "classification"
