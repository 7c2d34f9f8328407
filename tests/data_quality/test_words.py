"""Vectors of words: positions in awkward texts, and mean vectors over word pieces and windows."""

import json

import numpy as np
from support import small

from tfbert.config import override
from tfbert.data_quality.words import mean_vectors, word_vectors
from tfbert.models.data import record_sequences
from tfbert.training.problem import prepare

TEXTS = ["👩‍💻 Ada met Jose\u0301 in 𝒩ew York", "the " * 40 + "Ada", "京都 is Ada"]


def test_words_have_exact_positions_and_one_vector_each(tmp_path):
    starts = [text.index("Ada") for text in TEXTS]
    lines = [
        json.dumps({"text": text, "entities": [[start, start + 3, "x"]]}) + "\n"
        for text, start in zip(TEXTS, starts, strict=True)
    ]
    (tmp_path / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    config = override(
        small.config(tmp_path, task="entities"),
        {"encoder.sequence_length": 16, "data.validation_fraction": 0.0, "data.test_fraction": 0.0},
    )
    problem = prepare(config)
    chosen = np.arange(3)
    records = problem.splits["train"].records_at([0, 1, 2])
    tokens = list(record_sequences(records, problem.task, problem.tokenizer, config))
    assert len(tokens[1]) > 1
    train = problem.tokenized["train"]
    words = word_vectors(problem.encoder, train, 16, chosen, tokens, problem.task.explained.continues)
    found = [
        [TEXTS[i][a:b] for a, b in zip(words.starts[f:e], words.ends[f:e], strict=True)]
        for i, (f, e) in enumerate(zip(words.first[:-1], words.first[1:], strict=True))
    ]
    assert found[0][-6:] == ["Ada", "met", "Jose\u0301", "in", "𝒩ew", "York"] and found[1] == ["the"] * 40 + ["Ada"]
    assert found[2] == ["京都", "is", "Ada"]
    np.testing.assert_allclose(np.linalg.norm(words.vectors, axis=1), 1, atol=1e-5)
    # The vectors do not depend on which records are in a batch.
    alone = word_vectors(problem.encoder, train, 16, chosen[2:], tokens[2:], problem.task.explained.continues)
    np.testing.assert_allclose(alone.vectors, words.vectors[words.first[2] :], atol=0.03)


def test_mean_vectors_have_length_1():
    vectors = np.float32([[1, 0], [0, 1], [1, 0]])
    np.testing.assert_allclose(mean_vectors(vectors, [(0, 2), (2, 3)]), [[0.5**0.5, 0.5**0.5], [1, 0]], atol=1e-6)
    assert mean_vectors(vectors, []).shape == (0, 2)
