"""The private attributes of KerasNLP and Keras that tfbert reads exist in the installed versions."""

import ast
import configparser
import importlib.metadata
import re
from pathlib import Path

import keras
import keras_hub
import pytest
import tensorflow as tf
from packaging.specifiers import SpecifierSet

from tfbert.encoder import kerasnlp

ROOT = Path(__file__).parents[2]
PRIVATE = {
    "TransformerEncoder": [
        "_self_attention_layer",
        "_self_attention_dropout",
        "_self_attention_layer_norm",
        "_feedforward_intermediate_dense",
        "_feedforward_output_dense",
        "_feedforward_dropout",
        "_feedforward_layer_norm",
    ],
    "MultiHeadAttention": ["_dropout_layer", "_compute_attention"],
    "MaskedLMHead": ["_intermediate_dense", "_intermediate_layer_norm", "_bias"],
}

# Documented in spite of the underscore: members of named tuples, and a function of `os`.
PUBLIC = {"_asdict", "_exit", "_fields", "_replace"}
# Private attributes of other libraries. Keras Tuner has no public way to save the order of its grid search,
# and `Session.run` of TensorFlow compares what is fed with static shapes, which a server must not.
OTHERS = {
    "tfbert/hyperparameters/oracles.py": {"_memory", "_next_index"},
    "tfbert/serving/server/servable.py": {"_do_run"},
}


def built():
    """Return a built object of each class whose private attributes are read."""
    layer = keras_hub.layers.TransformerEncoder(6, 2, dropout=0.1)
    layer.build((None, None, 4))
    head = keras_hub.layers.MaskedLMHead(vocabulary_size=5)
    head.build((None, None, 4))
    return {
        "TransformerEncoder": layer,
        "MultiHeadAttention": getattr(layer, "_self_attention_layer", None),
        "MaskedLMHead": head,
    }


@pytest.mark.parametrize("package", kerasnlp.SUPPORTED_VERSIONS)
def test_the_installed_version_is_supported_and_allowed_by_setup(package):
    first, unsupported = kerasnlp.SUPPORTED_VERSIONS[package]
    assert importlib.metadata.version(package) in SpecifierSet(f">={first},<{unsupported}")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert f"{package} >={first},<{unsupported}" in setup["options"]["install_requires"].splitlines()


@pytest.mark.parametrize(
    ("class_name", "attribute"), [(class_name, name) for class_name, names in PRIVATE.items() for name in names]
)
def test_a_private_attribute_exists(class_name, attribute):
    versions = f"keras {keras.__version__}, keras-hub {keras_hub.__version__}"
    assert hasattr(built()[class_name], attribute), (
        f"{class_name} has no {attribute} in {versions}; adapt tfbert/encoder/kerasnlp.py"
    )


def test_the_components_have_the_classes_of_their_names():
    layer, head = (built()[class_name] for class_name in ("TransformerEncoder", "MaskedLMHead"))
    components = kerasnlp.encoder_layer_components(layer)
    classes = kerasnlp.EncoderLayerComponents.__annotations__
    assert all(isinstance(component, classes[name]) for name, component in components._asdict().items())
    assert components.feedforward_in.units == 6 and components.feedforward_out.units == 4
    assert isinstance(kerasnlp.attention_weight_dropout(components.attention), keras.layers.Dropout)
    assert {component.name for component in components} == {
        "self_attention_layer",
        "self_attention_dropout",
        "self_attention_layer_norm",
        "feedforward_intermediate_dense",
        "feedforward_output_dense",
        "feedforward_dropout",
        "feedforward_layer_norm",
    }
    dense, norm, bias = kerasnlp.masked_word_components(head)
    assert dense.kernel.shape == (4, 4) and norm.gamma.shape == (4,) and bias.shape == (5,)
    query = tf.ones([1, 3, 2, 2])
    options = {"mask": tf.ones([1, 1, 3], tf.bool), "training": False, "return_scores": True}
    attended, scores = kerasnlp.attend(components.attention, query, query, query, **options)
    assert attended.shape == (1, 3, 2, 2) and scores.shape == (1, 2, 3, 3)


def private_attributes(path):
    """Return the private attributes that a file reads of objects other than `self` and `cls`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and re.fullmatch("_[a-z].*", node.attr)
    ]
    return {node.attr for node in attributes if ast.unparse(node.value) not in ("self", "cls")} - PUBLIC


def test_no_other_file_reads_private_attributes_or_imports_internals_of_the_libraries():
    paths = [path for folder in ("tfbert", "tools") for path in (ROOT / folder).rglob("*.py")]
    by_file = {str(path.relative_to(ROOT)): private_attributes(path) for path in paths}
    assert {path: names for path, names in by_file.items() if names} == OTHERS | {
        "tfbert/encoder/kerasnlp.py": {name for names in PRIVATE.values() for name in names}
    }
    internals = {path for path in paths if re.search(r"(keras_hub|keras)\.src", path.read_text(encoding="utf-8"))}
    assert {str(path.relative_to(ROOT)) for path in internals} == {"tfbert/encoder/kerasnlp.py"}
