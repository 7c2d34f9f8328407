"""Encoders on the Hugging Face hub: `hf://owner/name[@revision]` in, a directory with the files of one commit out."""

import re
from pathlib import Path

PREFIX = "hf://"
# Enough for either layout, and no pickled weights.
FILES = ["*.json", "vocab.txt", "model.safetensors", "*.weights.h5", "assets/tokenizer/vocabulary.txt"]
_REPOSITORY = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")
# Names of branches and tags; Git has no `..` in them either, and the hub's client makes a file of this name.
_REVISION = re.compile(r"(?!.*(?:\.\.|//))\w[\w./+-]*(?<![/.])")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What names were found to be in this process: a branch may move while it runs, and all files are to be of one commit.
_commits: dict[str, str] = {}


def parse(name: str) -> tuple[str, str | None]:
    """Return repository and revision of a name; the revision is `None` where there is none.

    Args:
        name: `hf://owner/name`, or with `@` and a branch, a tag or the hash of a commit behind it.

    Raises:
        ValueError: the name has another form.
    """
    repository, at, revision = name.removeprefix(PREFIX).partition("@")
    if not _REPOSITORY.fullmatch(repository) or (at and not _REVISION.fullmatch(revision)):
        wish = "hf://owner/name, or hf://owner/name@revision with a branch, a tag or the hash of a commit"
        raise ValueError(f"encoder {name!r}: expected {wish}")
    return repository, revision or None


def download(name: str) -> tuple[Path, str | None]:
    """Fetch the needed files of a repository into huggingface_hub's own cache.

    All of them are of one commit, and so are those of a later call with the same name in this process. The cache has
    a directory for each commit, so revisions do not mix there.

    Args:
        name: as for `parse`; without a revision, that of the repository's main branch.

    Returns:
        The directory, and the hash of the commit; `None` where the directory's name does not tell it.

    Raises:
        ValueError: the name has another form, huggingface_hub is not installed, or the download failed.
    """
    repository, revision = parse(name)
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(f"encoder {name!r} needs the package huggingface_hub: pip install huggingface_hub") from error
    revision = _commits.get(name, revision)
    try:
        found = huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=FILES)
    except Exception as error:  # its errors share no base class: HTTP, validation, offline, gated
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise ValueError(
            f"encoder {name!r} could not be downloaded: {type(error).__name__}: {reason.rstrip('.')}. By hand: "
            "download the repository elsewhere and pass its directory with --encoder DIR"
        ) from error
    directory = Path(found)
    commit = directory.name if _COMMIT.fullmatch(directory.name) else None
    if commit:
        _commits[name] = commit
    return directory, commit
