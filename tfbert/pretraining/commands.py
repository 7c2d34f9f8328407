"""Commands of `tfbert pretrain`, as functions that return the lines to print, and a description of its result."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfbert.config import override
from tfbert.extras import import_library
from tfbert.files import ENCODER
from tfbert.pretraining import preparation
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.initial_encoder import load_initial_encoder, make_word_pieces
from tfbert.pretraining.problem import prepare_problem
from tfbert.pretraining.sequences import describe_sequences
from tfbert.pretraining.vocabulary import train_vocabulary

# The epoch whose masks are shown.
_SHOWN_DRAW = 1


def vocabulary(config: PretrainConfig, path: Path | None) -> str:
    """Train a vocabulary and return a line with its path and size.

    Raises:
        ValueError: the path is missing, or the corpus cannot be read or is too small.
    """
    path = _require_out(path, "the file to write, such as vocabulary.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = config.encoder
    tokens = train_vocabulary(config.corpus, encoder.vocabulary_size, path, lowercase=encoder.lowercase)
    return f"{path}  ({len(tokens):,} tokens)"


def prepare(config: PretrainConfig, out_dir: Path | None, beam_options: str | None, num_shown: int) -> str:
    """Prepare the sequences of a corpus and return lines that describe them.

    Args:
        config: config of the pretraining that will use them.
        out_dir: directory to write the shards to.
        beam_options: options of Apache Beam and its runner, as on a command line; `None` works without Beam.
        num_shown: number of sequences to show with their masks.

    Raises:
        ValueError: the directory is missing; corpus, vocabulary or encoder cannot be used; Apache Beam is not
            installed.
    """
    out_dir = _require_out(out_dir, "the directory to write sequences to")
    word_pieces = make_word_pieces(load_initial_encoder(config, out_dir.with_name(f"{out_dir.name}-vocabulary")))
    if beam_options is None:
        index = preparation.prepare(config.corpus, config.examples, word_pieces, out_dir)
    else:
        beam = import_library("tfbert.pretraining.beam", "--beam", "beam")
        options = shlex.split(beam_options)
        index = beam.prepare(config.corpus, config.examples, word_pieces, str(out_dir), options)
    lines = [
        f"{name:9}{split['num_documents']:12,} documents{split['num_rows']:12,} rows{split['num_tokens']:15,} tokens"
        for name, split in index["splits"].items()
    ]
    if num_shown:
        lines.append(show(override(config, {"prepared": str(out_dir)}), out_dir, num_shown))
    return "\n".join([str(out_dir), *lines])


def show(config: PretrainConfig, work_dir: Path, count: int) -> str:
    """Return sequences with their masks in readable form, one per line.

    Raises:
        ValueError: corpus, vocabulary or encoder cannot be used.
    """
    problem = prepare_problem(config, work_dir)
    batcher = problem.train
    return "\n".join(
        describe_sequences(
            batcher.sequences,
            problem.encoder.vocabulary,
            count,
            lambda index: batcher.masked_token_ids(index, _SHOWN_DRAW),
        )
    )


def describe_result(report: Mapping[str, Any], run_dir: Path) -> str:
    """Return lines with the result of a pretraining and the paths of report and encoder.

    Args:
        report: the content of `report.json`.
        run_dir: the directory of the run.
    """
    before, after = report["before"], report["after"]
    lines = [
        f"held-out masked words: loss {before['masked_word_loss']:.3f} -> {after['masked_word_loss']:.3f}, accuracy "
        f"{before['masked_word_accuracy']:.3f} -> {after['masked_word_accuracy']:.3f}, perplexity "
        f"{before['perplexity']:,.1f} -> {after['perplexity']:,.1f}"
    ]
    if "pair_accuracy" in after:
        lines.append(f"held-out pairs: accuracy {before['pair_accuracy']:.3f} -> {after['pair_accuracy']:.3f}")
    if report["tokens_per_second"]:
        num_tokens = report["history"][-1]["num_tokens"]
        lines.append(f"trained on {num_tokens:,} tokens, {report['tokens_per_second']:,.0f} per second")
    lines.append(f"report   {run_dir / 'report.html'}")
    lines.append(f"encoder  {run_dir / ENCODER}")
    return "\n".join(lines)


def _require_out(path: Path | None, expected: str) -> Path:
    if path is None:
        raise ValueError(f"--out is missing; expected {expected}")
    return path
