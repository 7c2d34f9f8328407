"""Export of an encoder in Hugging Face's layout, for PyTorch transformers."""

import dataclasses
from pathlib import Path

from safetensors.numpy import load_file

from tfbert.encoder.backbone import HEADS, Encoder, load_encoder, save_huggingface
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import REPORT
from tfbert.models.saved_run import load_run


def export_huggingface(source: str, directory: Path) -> Encoder:
    """Write an encoder in Hugging Face's layout, including its pretraining heads if they are stored with it.

    Args:
        source: name or directory of an encoder, or the directory of a finished run: the encoder that pretraining
            produced, or the fine-tuned encoder without its head.
        directory: a new or empty directory, or an earlier export, which is replaced.

    Returns:
        The exported encoder.

    Raises:
        ValueError: the encoder does not exist, or the directory contains other files.
    """
    path = Path(source)
    if (path / "encoder" / "encoder.json").exists():
        path = path / "encoder"
        source = str(path)
    if (path / REPORT).exists():
        encoder, heads = _fine_tuned(path), {}
    else:
        encoder = load_encoder(source)
        heads = load_file(path / HEADS) if (path / HEADS).exists() else {}
    save_huggingface(encoder, directory, heads)
    return encoder


def _fine_tuned(run_dir: Path) -> Encoder:
    run = load_run(run_dir)
    model, tokenizer = run.predictor.model, run.predictor.tokenizer
    spec = EncoderSpec.from_json({name: value for name, value in run.report["encoder"].items() if name != "name"})
    # A randomly initialized pooler is worth exporting only if the head trained it.
    spec = dataclasses.replace(spec, has_pooler=spec.has_pooler or model.head.uses_pooler)
    return Encoder(model.backbone, list(tokenizer.vocabulary), *tokenizer.rules, str(run_dir), spec)
