"""A corpus becomes the same shards by any number of processes, after a kill too; what is damaged costs itself only."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import corpora

from tfbert.pretraining import preparation
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.corpus import Corpus
from tfbert.pretraining.preparation import prepare
from tfbert.pretraining.rows import Rows, check_vocabulary, load_rows, read_index, show
from tfbert.pretraining.wordpieces import WordPieces

ROOT = Path(__file__).parents[2]
PIECES = corpora.word_pieces()
EXAMPLES = ExamplesConfig(sequence_length=48, num_shards=4)
NAMES = ("token_ids", "continues", "starts", "second_starts", "pair_labels")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = corpora.write_corpus(tmp_path_factory.mktemp("corpus"), 120)
    return CorpusConfig(paths=(str(folder),), held_out_fraction=0.2)


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("out") / "rows"
    return out_dir, prepare(corpus, EXAMPLES, PIECES, out_dir, num_processes=1)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def copy_of(folder, target):
    target.mkdir()
    for name, content in contents(folder).items():
        (target / name).write_bytes(content)
    return target


def texts_of(rows):
    return " ".join(PIECES.vocabulary[i] for i in rows.token_ids.tolist())


def test_the_index_says_what_is_there(prepared):
    out_dir, index = prepared
    assert index == read_index(out_dir) == json.loads((out_dir / "index.json").read_text())
    counts = {"files": 3, "empty_files": 1, "documents": 121, "duplicates": 1, "blank_documents": 0, "replaced": 0}
    assert {name: index["corpus"][name] for name in counts} == counts
    assert index["vocabulary"]["sha256"] == PIECES.sha256 and index["vocabulary"]["lowercase"] is True
    assert index["config"]["examples"]["sequence_length"] == 48
    names = [shard["name"] for split in index["splits"].values() for shard in split["shards"]]
    assert sorted([*names, "index.json"]) == list(contents(out_dir)) and len(names) == 5
    splits = index["splits"]
    assert splits["train"]["num_documents"] + splits["held_out"]["num_documents"] == 120
    assert 10 < splits["held_out"]["num_documents"] < 40


def test_rows_are_loaded(prepared):
    out_dir, index = prepared
    for split in ("train", "held_out"):
        rows, said = load_rows(out_dir, split), index["splits"][split]
        assert (len(rows), rows.token_ids.size) == (said["num_rows"], said["num_tokens"])
        assert rows.lost == () and rows.starts[0] == 0 and rows.starts[-1] == rows.token_ids.size
        lengths = np.diff(rows.starts)
        assert lengths.min() > 2 and lengths.max() == 48
        assert np.all(rows.token_ids[rows.starts[:-1]] == PIECES.start)
        assert np.all(rows.token_ids[rows.starts[1:] - 1] == PIECES.end)
        seconds = rows.starts[:-1] + rows.second_starts
        has_pair = rows.pair_labels >= 0
        assert has_pair.any() and np.all(rows.token_ids[seconds[has_pair] - 1] == PIECES.end)
        assert np.all(rows.second_starts[~has_pair] == lengths[~has_pair])


def test_no_text_is_on_both_sides(prepared):
    """Every document has a number of its own in it."""
    out_dir, _ = prepared
    sides = []
    for split in ("train", "held_out"):
        words = texts_of(load_rows(out_dir, split)).replace(" ##", "").split()
        sides.append({second for first, second in zip(words, words[1:], strict=False) if first == "number"})
    train, held_out = sides
    numbers = {str(number) for number in range(120)}
    assert len(train & numbers) > 60 and len(held_out & numbers) > 10
    # What trimming leaves of a number may be another's.
    whole = {number for number in numbers if len(number) == 3}
    assert not train & held_out & whole


def test_two_processes_write_the_same_bytes(corpus, prepared, tmp_path):
    prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=2)
    assert contents(tmp_path / "rows") == contents(prepared[0])
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_more_passes_and_another_seed_give_other_rows(corpus, prepared, tmp_path):
    index = prepare(corpus, replace(EXAMPLES, passes=3), PIECES, tmp_path / "passes", num_processes=1)
    once = prepared[1]["splits"]
    assert index["splits"]["train"]["num_rows"] > 2.5 * once["train"]["num_rows"]
    assert index["splits"]["held_out"]["shards"] == once["held_out"]["shards"]
    other = prepare(corpus, replace(EXAMPLES, seed=1), PIECES, tmp_path / "seed", num_processes=1)
    assert other["splits"]["held_out"]["shards"] != once["held_out"]["shards"]


def test_what_is_prepared_is_left_and_what_is_other_replaced(corpus, prepared, tmp_path, monkeypatch):
    out_dir = copy_of(prepared[0], tmp_path / "rows")
    stamps = {path.name: path.stat().st_mtime_ns for path in out_dir.iterdir()}
    monkeypatch.setattr(preparation, "_make_all", None)
    assert prepare(corpus, EXAMPLES, PIECES, out_dir) == prepared[1]
    assert {path.name: path.stat().st_mtime_ns for path in out_dir.iterdir()} == stamps
    monkeypatch.undo()
    index = prepare(corpus, replace(EXAMPLES, num_shards=1), PIECES, out_dir, num_processes=1)
    assert len(index["splits"]["train"]["shards"]) == 1 and len(contents(out_dir)) == 3


def test_a_shard_that_was_finished_is_not_made_again(corpus, prepared, tmp_path, monkeypatch):
    whole, made = preparation.make_shard, []

    def fails_at_the_third(documents, split, packer):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(split)
        return whole(documents, split, packer)

    monkeypatch.setattr(preparation, "make_shard", fails_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)
    assert not (tmp_path / "rows").exists() and len(made) == 2
    monkeypatch.setattr(preparation, "make_shard", lambda *given: made.append(given[1]) or whole(*given))
    prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)
    assert len(made) == 5
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
    raise AssertionError(f"workers {pids} are still there")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_preparation_has_its_directory_to_itself(corpus, tmp_path, monkeypatch):
    def again(*given):
        with pytest.raises(ValueError, match="another process is preparing it; expected another --out directory"):
            prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "_make_all", again)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)


def test_a_corpus_that_changes_is_noticed(corpus, tmp_path, monkeypatch):
    surveys = iter([[*Corpus(corpus)], [*Corpus(corpus)][:-1]])
    monkeypatch.setattr(preparation, "_progress", lambda reader, title: next(surveys))
    with pytest.raises(ValueError, match="the corpus changed while it was read"):
        prepare(corpus, EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)


def test_other_things_are_not_written_over(corpus, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for path in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ValueError, match="holds something else than prepared rows; wanted a new directory"):
            prepare(corpus, EXAMPLES, PIECES, path, num_processes=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_corpus_that_leaves_nothing_to_learn_is_refused(tmp_path):
    folder = corpora.write_corpus(tmp_path / "c", 6)
    (folder / "a.txt").write_text("\u200b\n\u200c\n\u200d\n")
    (folder / "b.txt").write_text("\u200e\n\u200f\n\u2060\n")
    with pytest.raises(ValueError, match=r"train: no rows of \d documents; wanted more text, or another corpus.held_"):
        prepare(CorpusConfig(paths=(str(folder),)), EXAMPLES, PIECES, tmp_path / "rows", num_processes=1)


def test_shards_have_some_megabytes_and_some_documents(corpus):
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


@pytest.mark.parametrize("mapped", [False, True])
def test_a_damaged_shard_costs_itself(prepared, tmp_path, caplog, mapped):
    out_dir = copy_of(prepared[0], tmp_path / "rows")
    listed = prepared[1]["splits"]["train"]["shards"]
    cut, changed = out_dir / listed[1]["name"], out_dir / listed[3]["name"]
    content = cut.read_bytes()
    cut.write_bytes(content[:-9])
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    map_to = tmp_path / "flat" if mapped else None
    rows, whole = load_rows(out_dir, map_to=map_to), load_rows(prepared[0])
    assert rows.lost == (cut.name, changed.name)
    sizes = f"{len(content) - 9:,} bytes of {len(content):,}"
    assert caplog.messages == [
        f"{cut.name}: damaged ({sizes}); its {listed[1]['num_rows']} rows are left out",
        f"{changed.name}: damaged (changed); its {listed[3]['num_rows']} rows are left out",
    ]
    assert len(rows) == listed[0]["num_rows"] + listed[2]["num_rows"]
    first, third = listed[0]["num_tokens"], listed[2]["num_tokens"]
    second = listed[1]["num_tokens"]
    expected = np.concatenate([whole.token_ids[:first], whole.token_ids[first + second : first + second + third]])
    assert np.array_equal(rows.token_ids, expected)
    assert rows.starts[-1] == expected.size and len(rows.starts) == len(rows) + 1
    cut.unlink()
    assert load_rows(out_dir).lost == (cut.name, changed.name)


def test_all_shards_damaged_is_an_error(prepared, tmp_path):
    out_dir = copy_of(prepared[0], tmp_path / "rows")
    for path in out_dir.glob("train-*"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="all 4 shards of train are damaged; prepare the corpus anew"):
        load_rows(out_dir)
    assert len(load_rows(out_dir, "held_out")) > 0


def test_rows_can_stay_on_disk(prepared, tmp_path):
    in_memory = load_rows(prepared[0])
    for _ in range(2):
        mapped = load_rows(prepared[0], map_to=tmp_path)
        assert isinstance(mapped.token_ids, np.memmap) and mapped.lost == ()
        for name in NAMES:
            there, here = getattr(mapped, name), getattr(in_memory, name)
            assert there.dtype == here.dtype and np.array_equal(there, here), name
    assert len(list(tmp_path.iterdir())) == 1


def test_another_vocabulary_is_refused(prepared):
    out_dir, index = prepared
    check_vocabulary(index, PIECES, out_dir)
    other = WordPieces([*PIECES.vocabulary, "zzz"], **PIECES.rules)
    with pytest.raises(ValueError) as caught:
        check_vocabulary(index, other, out_dir)
    size = len(PIECES.vocabulary)
    assert f"prepared with a vocabulary of {size} tokens ({PIECES.sha256[:8]}); the encoder's has {size + 1}" in str(
        caught.value
    )
    cased = WordPieces(PIECES.vocabulary, **PIECES.rules | {"lowercase": False})
    with pytest.raises(ValueError, match="prepared with lowercase=True; the encoder wants False"):
        check_vocabulary(index, cased, out_dir)


def test_a_directory_without_rows_is_refused(tmp_path, prepared):
    with pytest.raises(ValueError, match=r"no index.json; wanted a directory that `pretrain.py prepare` has finished"):
        load_rows(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 7}')
    with pytest.raises(ValueError, match="format is 7; wanted 1: prepare the corpus anew"):
        load_rows(tmp_path)


def test_rows_in_readable_form():
    words = ["[CLS]", "good", "way", "##x", "[SEP]", "bad", "a", "b", "[SEP]", "[CLS]", "the", "[SEP]"]
    ids = np.array([PIECES.vocabulary.index(word) for word in words], np.uint16)
    continues = np.array([word == "##x" or word == "b" for word in words])
    rows = Rows(ids, continues, np.array([0, 9, 12]), np.array([5, 3]), np.array([1, -1]))
    assert show(rows, PIECES.vocabulary, 5) == [
        "row 1, 9 tokens, not in order: [CLS] good wayx [SEP] bad ab [SEP]",
        "row 2, 3 tokens, one segment: [CLS] the [SEP]",
    ]

    def mask(given, index):
        seen = given.token_ids[given.starts[index] : given.starts[index + 1]].copy()
        seen[1], seen[3] = PIECES.mask, PIECES.vocabulary.index("##y")
        return seen

    expected = "row 1, 9 tokens, not in order: [CLS] [MASK]{good} way{x>y} [SEP] bad ab [SEP]"
    assert show(rows, PIECES.vocabulary, 1, mask) == [expected]
