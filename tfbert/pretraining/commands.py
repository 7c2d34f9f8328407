"""The commands of `tools/pretrain.py`; each returns the lines that the tool prints."""

import shlex
from pathlib import Path

from tfbert.config import override
from tfbert.pretraining import preparation, run
from tfbert.pretraining import rows as rows_of
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.problem import load_start, word_pieces_of
from tfbert.pretraining.problem import prepare as prepare_problem
from tfbert.pretraining.vocabulary import train_vocabulary
from tfbert.training.distribution import join

# The epoch whose masks are shown.
_SHOWN_DRAW = 1


def vocabulary(config: PretrainConfig, path: Path | None) -> str:
    """Train a vocabulary and return a line that says where it is.

    Raises:
        ValueError: there is no path, or the corpus cannot be read or is too small.
    """
    path = _given(path, "the file to write, such as vocabulary.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = config.encoder
    tokens = train_vocabulary(config.corpus, encoder.vocabulary_size, path, lowercase=encoder.lowercase)
    return f"{path}  ({len(tokens):,} tokens)"


def prepare(config: PretrainConfig, out_dir: Path | None, beam_options: str | None, num_shown: int) -> str:
    """Prepare the rows of a corpus and return lines that describe them.

    Args:
        config: config of the pretraining that will use them.
        out_dir: where the shards are written.
        beam_options: options of Apache Beam and its runner, as on a command line; `None` works without Beam.
        num_shown: number of rows to show with their masks.

    Raises:
        ValueError: there is no directory; corpus, vocabulary or encoder cannot be used; Apache Beam is not installed.
    """
    out_dir = _given(out_dir, "the directory to write rows to")
    word_pieces = word_pieces_of(load_start(config, out_dir.with_name(f"{out_dir.name}-vocabulary")))
    if beam_options is None:
        index = preparation.prepare(config.corpus, config.examples, word_pieces, out_dir)
    else:
        try:
            from tfbert.pretraining import beam
        except ImportError as error:
            raise ValueError("--beam needs Apache Beam: pip install '.[beam]' in the checkout") from error
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
    """Return rows with their masks in readable form, one per line.

    Raises:
        ValueError: corpus, vocabulary or encoder cannot be used.
    """
    problem = prepare_problem(config, work_dir)
    batcher = problem.train
    lines = rows_of.show(batcher.rows, problem.encoder.vocabulary, count, lambda _, row: batcher.seen(row, _SHOWN_DRAW))
    return "\n".join(lines)


def train(config: PretrainConfig, run_dir: Path, command: str) -> str:
    """Pretrain and return lines about the result and where it is.

    Args:
        config: of the run.
        run_dir: created if missing.
        command: repeats the run.

    Raises:
        ValueError: corpus, vocabulary, encoder or directory cannot be used; training diverged.
        ConnectionError: another process of the training is gone.
    """
    replicas = join(config.train.distribution)
    if not replicas.is_chief:
        run.assist(config)
        return f"worker {replicas.worker} of {replicas.num_workers}: done; worker 0 has the report"
    report = run.pretrain(config, run_dir, command)
    before, after = report["before"], report["after"]
    lines = [
        f"held-out masked words: loss {before['masked_word_loss']:.3f} -> {after['masked_word_loss']:.3f}, accuracy "
        f"{before['masked_word_accuracy']:.3f} -> {after['masked_word_accuracy']:.3f}, perplexity "
        f"{before['perplexity']:,.1f} -> {after['perplexity']:,.1f}"
    ]
    if "pair_accuracy" in after:
        lines.append(f"held-out pairs: accuracy {before['pair_accuracy']:.3f} -> {after['pair_accuracy']:.3f}")
    if report["tokens_per_second"]:
        lines.append(
            f"learned from {report['history'][-1]['num_tokens']:,} tokens, {report['tokens_per_second']:,.0f} a second"
        )
    lines.append(f"report   {run_dir / 'report.html'}")
    lines.append(f"encoder  {run_dir / run.ENCODER}  (python tools/train.py --encoder {run_dir / run.ENCODER})")
    return "\n".join(lines)


def _given(path: Path | None, expected: str) -> Path:
    if path is None:
        raise ValueError(f"--out is missing; wanted {expected}")
    return path
