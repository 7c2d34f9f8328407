"""The versions on disk that a server's config selects."""

import os
from collections.abc import Iterable
from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import TENSORFLOW, ModelConfig, ModelServerConfig

from tfbert.serving.server.status import Code, ServingError

_PLATFORM = "tensorflow"
_LARGEST = 2**63 - 1


def config_of(name: str, base_path: Path | str) -> ModelServerConfig:
    """Return the config of a server with one model, of which the newest version is served.

    Args:
        name: of the model.
        base_path: absolute directory with its numbered versions.
    """
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=str(base_path), model_platform=_PLATFORM)
    return config


def check(config: ModelServerConfig) -> None:
    """Reject an invalid config.

    Args:
        config: with a list of models.

    Raises:
        ServingError: it has no list, names a model twice, or a model is not TensorFlow's or not at an absolute path.

    Source: TensorFlow Serving 2.20.0, `model_servers/server_core.cc`. Ours refuses URIs.
    """
    if config.WhichOneof("config") != "model_config_list":
        message = "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
        raise ServingError(Code.FAILED_PRECONDITION, f"{message}another.")
    names = set()
    for each in config.model_config_list.config:
        if each.name in names:
            raise _invalid(f"Illegal to list model {each.name} multiple times in config list")
        names.add(each.name)
        if "://" in each.base_path:
            raise _invalid(f"Expected model {each.name} to have an absolute path; got the URI {each.base_path}")
        if not os.path.isabs(each.base_path):
            message = f"Expected model {each.name} to have an absolute path or URI; got base_path()={each.base_path}"
            raise _invalid(message)
        platform = _PLATFORM if each.model_type == TENSORFLOW else each.model_platform
        if not platform:
            message = "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            raise _invalid(f"{message}ModelServerConfig::model_platform.")
        if platform != _PLATFORM:
            raise _invalid(f"Model {each.name} requests unsupported platform {platform}")


def wanted_versions(config: ModelConfig) -> tuple[dict[int, Path] | None, str]:
    """Return the versions on disk that the config selects.

    Args:
        config: of one model.

    Returns:
        Directories by version, `None` where the base path cannot be read, for which nothing should be unloaded; and
        what is wrong, or "".

    Source: TensorFlow Serving 2.20.0, `sources/storage_path/file_system_storage_path_source.cc`.
    """
    base = Path(config.base_path)
    try:
        children = os.listdir(base)
    except (OSError, ValueError) as error:
        # A ValueError is of a path that no system could have.
        reason = getattr(error, "strerror", None) or str(error)
        return None, f"Could not find base path {base} for servable {config.name} with error {reason}"
    found, complaint = _numbered(base, children)
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice") or "latest"
    if kind == "latest":
        kept = sorted(found, reverse=True)[: max(1, policy.latest.num_versions)]
    elif kind == "specific":
        asked = set(policy.specific.versions)
        kept = [number for number in found if number in asked]
        missing = sorted(asked - found.keys())
        if missing:
            listed = ", ".join(map(str, missing))
            complaint = f"Version {listed} of servable {config.name} was not found under {base}"
    else:
        kept = list(found)
    if not kept:
        complaint = f"No versions of servable {config.name} found under base path {base}. "
        complaint += "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    return {number: found[number] for number in kept}, complaint


def _numbered(base: Path, children: Iterable[str]) -> tuple[dict[int, Path], str]:
    found, complaint = {}, ""
    # Of two spellings of a number the last one counts, in TensorFlow Serving's order.
    for child in sorted(children):
        # A number of more digits would be none of 64 bits, and slow to read.
        digits = child.lstrip("0") or "0"
        if not (child.isascii() and child.isdigit()) or len(digits) > len(str(_LARGEST)) or int(digits) > _LARGEST:
            continue
        number = int(digits)
        if number in found:
            complaint = f"Version {number} will be loaded from {base / child}, {found[number]} will be ignored"
        found[number] = base / child
    return found, complaint


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
