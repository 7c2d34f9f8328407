"""Preparation of a corpus: the same shards with any number of processes, and after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import corpora

from tfbert.pretraining import preparation
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.preparation import prepare
from tfbert.pretraining.sequences import load_sequences

ROOT = Path(__file__).parents[2]
PIECES = corpora.word_pieces()
EXAMPLES = ExamplesConfig(sequence_length=48, num_shards=4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = corpora.write_corpus(tmp_path_factory.mktemp("corpus"), 120)
    return CorpusConfig(paths=(str(folder),), held_out_fraction=0.2)


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("out") / "rows"
    return out_dir, prepare(corpus, EXAMPLES, PIECES, out_dir, num_processes=1)


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_the_index_describes_the_shards(prepared):
    out_dir, index = prepared
    assert index == json.loads((out_dir / "index.json").read_text())
    counts = {"files": 3, "empty_files": 1, "documents": 121, "duplicates": 1, "blank_documents": 0, "replaced": 0}
    assert {name: index["corpus"][name] for name in counts} == counts
    assert index["vocabulary"]["sha256"] == PIECES.sha256 and index["vocabulary"]["lowercase"] is True
    assert index["config"]["examples"]["sequence_length"] == 48
    names = [shard["name"] for split in index["splits"].values() for shard in split["shards"]]
    assert sorted([*names, "index.json"]) == list(contents(out_dir)) and len(names) == 5
    splits = index["splits"]
    assert splits["train"]["num_documents"] + splits["held_out"]["num_documents"] == 120
    assert 10 < splits["held_out"]["num_documents"] < 40


def test_no_text_is_in_both_splits(prepared):
    """Every document contains its own number."""
    out_dir, _ = prepared
    splits = []
    for split in ("train", "held_out"):
        tokens = [PIECES.vocabulary[token_id] for token_id in load_sequences(out_dir, split).token_ids.tolist()]
        words = " ".join(tokens).replace(" ##", "").split()
        splits.append({second for first, second in zip(words, words[1:], strict=False) if first == "number"})
    train, held_out = splits
    numbers = {str(number) for number in range(120)}
    assert len(train & numbers) > 60 and len(held_out & numbers) > 10
    # A trimmed number may equal another one.
    complete = {number for number in numbers if len(number) == 3}
    assert not train & held_out & complete


def test_two_processes_write_the_same_bytes_and_do_not_run_the_main_script(corpus, prepared, tmp_path, monkeypatch):
    # A script without `if __name__ == "__main__"`.
    script = tmp_path / "script.py"
    script.write_text(f"open({str(tmp_path / 'run-again')!r}, 'w')")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=2)
    script.unlink()
    assert contents(tmp_path / "rows") == contents(prepared[0])
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_more_passes_and_another_seed_give_other_sequences(corpus, prepared, tmp_path):
    index = prepare(corpus, replace(EXAMPLES, passes=3), PIECES, tmp_path / "passes", num_processes=1)
    once = prepared[1]["splits"]
    assert index["splits"]["train"]["num_rows"] > 2.5 * once["train"]["num_rows"]
    assert index["splits"]["held_out"]["shards"] == once["held_out"]["shards"]
    other = prepare(corpus, replace(EXAMPLES, seed=1), PIECES, tmp_path / "seed", num_processes=1)
    assert other["splits"]["held_out"]["shards"] != once["held_out"]["shards"]


def test_equal_sequences_are_kept_and_others_replaced(corpus, prepared, tmp_path, monkeypatch):
    out_dir = shutil.copytree(prepared[0], tmp_path / "rows")
    times = {path.name: path.stat().st_mtime_ns for path in out_dir.iterdir()}
    monkeypatch.setattr(preparation, "make_shard", None)
    assert prepare(corpus, EXAMPLES, PIECES, out_dir, num_processes=1) == prepared[1]
    assert {path.name: path.stat().st_mtime_ns for path in out_dir.iterdir()} == times
    monkeypatch.undo()
    index = prepare(corpus, replace(EXAMPLES, num_shards=1), PIECES, out_dir, num_processes=1)
    assert len(index["splits"]["train"]["shards"]) == 1 and len(contents(out_dir)) == 3


def test_finished_shards_are_not_made_again(corpus, prepared, tmp_path, monkeypatch):
    make_shard, splits = preparation.make_shard, []

    def fails_at_the_third(documents, split, packer):
        if len(splits) == 2:
            raise KeyboardInterrupt
        splits.append(split)
        return make_shard(documents, split, packer)

    monkeypatch.setattr(preparation, "make_shard", fails_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)
    assert not (tmp_path / "rows").exists() and len(splits) == 2
    monkeypatch.setattr(preparation, "make_shard", lambda *args: splits.append(args[1]) or make_shard(*args))
    prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)
    assert len(splits) == 5
    assert contents(tmp_path / "rows") == contents(prepared[0])


KILLED = """
import sys, time
from support import corpora
from tfbert.pretraining import segmenters
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.preparation import prepare

if __name__ == "__main__":
    segmenters.allow("slow:cut")
    corpus = CorpusConfig(paths=(sys.argv[1],), held_out_fraction=0.2)
    examples = ExamplesConfig(sequence_length=48, num_shards=4, segmenter="slow:cut")
    prepare(corpus, examples, corpora.word_pieces(), sys.argv[2], num_processes=2)
"""
SLOW = "import os, time, pathlib\n\ndef cut(text):\n    pathlib.Path(f'{os.getpid()}.pid').touch()\n    time.sleep(9)\n"


def test_workers_end_with_the_process_that_was_killed(corpus, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    (tmp_path / "slow.py").write_text(SLOW)
    folders = [str(tmp_path), str(ROOT / "tests"), str(ROOT)]
    process = subprocess.Popen(
        [sys.executable, "killed.py", corpus.paths[0], "rows"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        stderr=subprocess.DEVNULL,
    )
    while len(pids := [int(file.stem) for file in tmp_path.glob("*.pid")]) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(250):
        if not any(is_alive(pid) for pid in pids):
            return
        time.sleep(0.02)
    raise AssertionError(f"workers {pids} still run")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_directory_is_prepared_by_one_process_at_a_time(corpus, tmp_path, monkeypatch):
    def prepare_again(*args):
        with pytest.raises(ValueError, match="another process is preparing it; expected another --out directory"):
            prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "make_shard", prepare_again)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)


def test_a_corpus_that_changes_is_noticed(tmp_path, monkeypatch):
    folder, plan_shards = corpora.write_corpus(tmp_path / "corpus", 20), preparation.plan_shards

    def plan_while_the_corpus_grows(*args):
        with open(folder / "a.txt", "a") as stream:
            stream.write(corpora.text_of(20) + "\n")
        return plan_shards(*args)

    monkeypatch.setattr(preparation, "plan_shards", plan_while_the_corpus_grows)
    with pytest.raises(ValueError, match="the corpus changed while it was read"):
        prepare(CorpusConfig(paths=(str(folder),)), EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)


def test_other_files_are_not_overwritten(corpus, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for path in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ValueError, match="does not hold prepared sequences; expected a new directory"):
            prepare(corpus, EXAMPLES, PIECES, path, num_processes=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_corpus_without_tokens_is_refused(tmp_path):
    folder = corpora.write_corpus(tmp_path / "c", 6)
    (folder / "a.txt").write_text("\u200b\n\u200c\n\u200d\n")
    (folder / "b.txt").write_text("\u200e\n\u200f\n\u2060\n")
    with pytest.raises(
        ValueError, match=r"train: no sequences from \d documents; expected more text, or another corpus.hel"
    ):
        prepare(CorpusConfig(paths=(str(folder),)), EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)


def test_shards_have_a_few_megabytes_and_enough_documents(corpus):
    survey = preparation.Survey()
    for document in corpora.documents(200):
        survey.add(document)
    plan = preparation.plan_shards(survey, corpus, ExamplesConfig())
    assert plan.num_shards == {"train": 1, "held_out": 1}
    survey.num_bytes = 40 * 2**20
    assert preparation.plan_shards(survey, corpus, ExamplesConfig()).num_shards == {"train": 10, "held_out": 2}
    survey.num_bytes = 2**40
    assert preparation.plan_shards(survey, corpus, ExamplesConfig()).num_shards == {"train": 10, "held_out": 2}
    survey.num_documents = 10**7
    assert preparation.plan_shards(survey, corpus, ExamplesConfig()).num_shards == {"train": 500, "held_out": 125}
