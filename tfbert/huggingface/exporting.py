"""Export for PyTorch: a fine-tuned model with its head, or an encoder, in Hugging Face's layout."""

import contextlib
import dataclasses
import textwrap
from pathlib import Path

from safetensors.numpy import load_file

from tfbert.encoder import huggingface
from tfbert.encoder.backbone import HEADS, Encoder, load_encoder, write_huggingface
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import REPORT, replace_directory
from tfbert.heads.embedding import EmbeddingHead
from tfbert.huggingface import card, heads
from tfbert.huggingface.layout import RECORD, is_export, write_record
from tfbert.models.saved_run import SavedRun, load_run
from tfbert.tasks.base_huggingface import FittedConvertibleTask

_CARD = "README.md"
# Longer lines, such as the thresholds of many labels, are cut in a terminal.
_MAX_LINE = 500
FILES = huggingface.FILES | heads.EMBEDDING_FILES | {_CARD, RECORD, heads.CODE_FILE}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of an export.

    Args:
        spec: the spec of the encoder.
        architecture: the class of the model in transformers.
        usage: Python code that loads the directory; empty for an encoder.
        left_out: what the model computes in tfbert and does not compute in PyTorch; one phrase for each.
    """

    spec: EncoderSpec
    architecture: str
    usage: str = ""
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return class and size in a few words."""
        return f"{self.architecture}, {self.spec.num_layers} layers, hidden size {self.spec.hidden_dim}"

    def lines(self) -> list[str]:
        """Return how to load the directory and what it does not contain, for a terminal; empty for an encoder."""
        if not self.usage:
            return []
        missing = [
            textwrap.shorten(f"not included: {line}", _MAX_LINE, placeholder=f" ... (all in {_CARD})")
            for line in self.left_out
        ]
        return [f"load it with {self.usage.splitlines()[-1].removeprefix('model = ')}", *missing]


def export_huggingface(source: str, directory: Path) -> Exported:
    """Write a fine-tuned model or an encoder in Hugging Face's layout.

    Args:
        source: the directory of a finished run; or name or directory of an encoder, or of a run that pretrained one,
            which are written with their pretraining heads if they are stored with it.
        directory: a new or empty directory, or an earlier export with unchanged weights, which is replaced.

    Raises:
        ValueError: the encoder does not exist, the directory contains other files, or no class of transformers or
            sentence-transformers can hold the model.
    """
    path = Path(source)
    if (path / "encoder" / "encoder.json").exists():
        path = path / "encoder"
        source = str(path)
    if (path / REPORT).exists():
        return export_model(load_run(path), directory)
    encoder = load_encoder(source)
    head = huggingface.pretraining_head(load_file(path / HEADS) if (path / HEADS).exists() else {})
    with _replacing(directory) as temporary:
        write_huggingface(encoder, temporary, head)
        write_record(temporary)
    return Exported(spec=encoder.spec, architecture=head.architecture)


def export_encoder(run_dir: Path, directory: Path) -> None:
    """Write the encoder of a fine-tuning run without its head.

    Raises:
        ValueError: there is no finished run, or the directory contains other files.
    """
    run = load_run(run_dir)
    has_pooler = run.report["encoder"]["has_pooler"] or run.predictor.model.head.uses_pooler
    with _replacing(directory) as temporary:
        write_huggingface(_encoder(run, has_pooler), temporary, huggingface.ModelHead())
        write_record(temporary)


def export_model(run: SavedRun, directory: Path) -> Exported:
    """Write the model of a run for transformers, or for sentence-transformers if it computes embeddings.

    Args:
        run: the run.
        directory: a new or empty directory, or an earlier export with unchanged weights, which is replaced.

    Raises:
        ValueError: the directory contains other files, or no class of the two libraries can hold the model.
    """
    is_embedding = isinstance(run.predictor.model.head, EmbeddingHead)
    if is_embedding:
        converted = heads.convert_embedding_head(run)
    elif isinstance(run.task, FittedConvertibleTask):
        converted = heads.convert_head(run)
    else:
        raise ValueError(f"no class of transformers can hold a model of the task {run.task.name}")
    encoder = _encoder(run, converted.has_pooler)
    with _replacing(directory) as temporary:
        write_huggingface(encoder, temporary, converted.head)
        if is_embedding:
            heads.write_embedding_modules(temporary, run)
        write_record(temporary, None if is_embedding else run)
        if converted.has_code:
            (temporary / heads.CODE_FILE).write_bytes(Path(__file__).with_name(heads.CODE_FILE).read_bytes())
        (temporary / _CARD).write_text(card.model_card(run, converted), encoding="utf-8")
    return Exported(
        spec=encoder.spec,
        architecture=converted.head.architecture,
        usage=card.usage(converted, str(directory)),
        left_out=tuple(card.left_out(run)),
    )


def _replacing(directory: Path) -> contextlib.AbstractContextManager[Path]:
    """Return a context with a temporary directory that replaces `directory` if that is empty or an earlier export."""
    # A model from elsewhere has files of the same names, and so has an export that was trained further.
    names = FILES if is_export(directory) else set()
    return replace_directory(directory, names, "an earlier export with unchanged weights")


def _encoder(run: SavedRun, has_pooler: bool) -> Encoder:
    """Return the encoder of a run, with or without its pooler."""
    stored = dict(run.report["encoder"])
    source, tokenizer = stored.pop("name"), run.predictor.tokenizer
    spec = dataclasses.replace(EncoderSpec.from_json(stored), has_pooler=has_pooler)
    return Encoder(run.predictor.model.backbone, list(tokenizer.vocabulary), *tokenizer.rules, source, spec)
