"""Download of encoders from the Hugging Face hub by `hf://owner/name[@revision]`."""

import re
from pathlib import Path

from tfbert.extras import import_library

PREFIX = "hf://"
# Enough for the layouts of Hugging Face and KerasNLP, without pickled weights.
FILES = ["*.json", "vocab.txt", "model.safetensors", "*.weights.h5", "assets/tokenizer/vocabulary.txt"]
_REPOSITORY = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")
# Names of branches and tags. Git does not allow `..` in them either, and the hub's client uses the name as a file path.
_REVISION = re.compile(r"(?!.*(?:\.\.|//))\w[\w./+-]*(?<![/.])")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# The commit of each name resolved in this process. A branch may move meanwhile, but all files must be from one commit.
resolved_commits: dict[str, str] = {}


def parse(name: str) -> tuple[str, str | None]:
    """Return the repository and the revision of a name; the revision is `None` if the name has none.

    Args:
        name: `hf://owner/name`, optionally followed by `@` and a branch, a tag or a commit hash.

    Raises:
        ValueError: the name has another form.
    """
    repository, at, revision = name.removeprefix(PREFIX).partition("@")
    if not _REPOSITORY.fullmatch(repository) or (at and not _REVISION.fullmatch(revision)):
        expected = "hf://owner/name, or hf://owner/name@revision with a branch, a tag or a commit hash"
        raise ValueError(f"encoder {name!r}: expected {expected}")
    return repository, revision or None


def download(name: str) -> tuple[Path, str | None]:
    """Download the required files of a repository into huggingface_hub's own cache.

    All files are from one commit, which later calls with the same name in this process use too. The cache has a
    directory per commit, so revisions do not mix there.

    Args:
        name: as for `parse`; without a revision, the repository's main branch is used.

    Returns:
        The directory and the commit hash, which is `None` if the directory's name does not contain it.

    Raises:
        ValueError: the name has another form, huggingface_hub is not installed, or the download failed.
    """
    repository, revision = parse(name)
    huggingface_hub = import_library("huggingface_hub", f"encoder {name!r}")
    revision = resolved_commits.get(name, revision)
    try:
        snapshot_dir = huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=FILES)
    except Exception as error:  # errors for HTTP, validation, offline mode and gated models share no base class
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise ValueError(
            f"encoder {name!r} could not be downloaded: {type(error).__name__}: {reason.rstrip('.')}. Alternatively, "
            "copy the repository to a directory and pass that with --encoder DIR"
        ) from error
    directory = Path(snapshot_dir)
    commit = directory.name if _COMMIT.fullmatch(directory.name) else None
    if commit:
        resolved_commits[name] = commit
    return directory, commit
