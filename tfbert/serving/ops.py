"""The ops of a SavedModel's graph, and the TensorFlow Serving releases that can run them."""

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

# Ops outside TensorFlow's core that stock TensorFlow Serving links, with the oldest release whose sources pin a version
# of tensorflow-text that has them. Source: `workspace.bzl` of the releases, and tensorflow-text's `ops_lib` at the
# pinned versions. Older releases were not checked.
OLDEST_RELEASE = {
    "CaseFoldUTF8": "2.12.1",
    "NormalizeUTF8": "2.12.1",
    "RegexSplitWithOffsets": "2.12.1",
    "FastWordpieceTokenizeWithOffsets": "2.12.1",
    "WordpieceTokenizeWithOffsets": "2.12.1",
    "FastBertNormalize": "2.12.1",
    "TFText>RoundRobinTrim": "2.20.0",
}
# Core ops that servers have; the file names its source. pip's TensorFlow registers more: ops of its Python part, of
# tests, and of TPUs and other hardware, which no stock server can run on a CPU.
_STOCK_OPS = Path(__file__).with_name("stock_ops.txt")
# Name patterns of ops that servers lack, with the reason.
_REASONS = (
    (r"(Eager)?PyFunc|PyFuncStateless|NumpyFunction", "calls back into the Python process that made the graph"),
    (r"_.*", "is an internal op, which TensorFlow itself adds to a graph that it runs"),
    (r"Xla.*", "is compiled by XLA, which a stock server does not support on demand"),
    (r"(Nccl|Collective).*", "communicates with other devices or workers"),
    (r"DTensor.*|CopyToMesh.*|Relayout.*", "is part of DTensor"),
    (r".*T(PU|pu).*", "needs a TPU"),
    (r"Risc.*", "is one of the experimental RISC ops, which have no kernel"),
)


@functools.cache
def stock_ops() -> frozenset[str]:
    """Return the names of the core ops that stock TensorFlow Serving runs on a CPU."""
    lines = _STOCK_OPS.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def why_unknown(name: str) -> str:
    """Return why a stock server cannot run an op that is in neither list."""
    reasons = (reason for pattern, reason in _REASONS if re.fullmatch(pattern, name))
    return next(reasons, "is neither among the core ops with a CPU kernel nor among those of tensorflow-text it links")


@dataclass(frozen=True)
class OpList:
    """The ops of one SavedModel.

    Args:
        core: names of TensorFlow's core ops.
        custom: names of linked ops from tensorflow-text, with the oldest TensorFlow Serving release that has them.
        unknown: names of all other ops; a server rejects a model with one. They include the inference ops of TensorFlow
            Decision Forests, which TensorFlow Serving links but no model of tfbert uses.
        jit_compiled: functions marked for XLA; a server rejects them unless started with XLA enabled.
    """

    core: tuple[str, ...]
    custom: dict[str, str]
    unknown: tuple[str, ...]
    jit_compiled: tuple[str, ...]

    @property
    def oldest_release(self) -> str:
        """The oldest TensorFlow Serving release that has all ops of the graph, judging by their names."""
        return max(self.custom.values(), default="2.12.1", key=lambda release: [int(n) for n in release.split(".")])


@functools.cache
def load_text_ops() -> None:
    """Register the ops of tensorflow-text, which tokenize in exports, without its Python part, which imports Keras.

    Raises:
        FileNotFoundError: tensorflow-text is not installed.
    """
    spec = importlib.util.find_spec("tensorflow_text")
    if spec is None:
        raise FileNotFoundError("tensorflow-text is not installed; its op libraries are needed to load the model")
    for library in sorted(Path(spec.origin).parent.glob("python/ops/*.so")):
        tf.load_op_library(str(library))


def list_ops(version_dir: Path) -> OpList:
    """Return the ops in a SavedModel's `saved_model.pb`."""
    saved = saved_model_pb2.SavedModel.FromString((version_dir / "saved_model.pb").read_bytes())
    names: set[str] = set()
    jit_compiled = []
    for meta_graph in saved.meta_graphs:
        graph = meta_graph.graph_def
        names |= {node.op for node in graph.node}
        own = {function.signature.name for function in graph.library.function}
        for function in graph.library.function:
            names |= {node.op for node in function.node_def}
            if function.attr["_XlaMustCompile"].b:
                jit_compiled.append(function.signature.name)
        names -= own
    custom = {name: OLDEST_RELEASE[name] for name in sorted(names) if name in OLDEST_RELEASE}
    rest = sorted(names - custom.keys())
    core = [name for name in rest if name in stock_ops()]
    unknown = [name for name in rest if name not in stock_ops()]
    return OpList(tuple(core), custom, tuple(unknown), tuple(sorted(jit_compiled)))
