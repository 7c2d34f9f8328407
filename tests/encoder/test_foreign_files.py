"""Files of an untrusted encoder cannot run code: neither by a lambda nor by a module that is imported."""

import json
import shutil
import sys

import pytest
from keras.src.utils import python_utils

from tfbert.encoder.backbone import load_encoder, save_encoder

LAMBDA = {"class_name": "__lambda__", "config": {"value": python_utils.func_dump(lambda *_: "float32")}}
FUNCTION = {"class_name": "function", "config": "f", "module": "planted", "registered_name": "f"}
CLASS = {"class_name": "BertBackbone", "config": {}, "module": "planted", "registered_name": None}
PLANTED = "class BertBackbone: pass\nclass BertTokenizer: pass\ndef f(*_, **__): return 'float32'\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "encoder"
    save_encoder(load_encoder("tiny"), folder)
    return folder


@pytest.fixture
def load_changed(saved, tmp_path, monkeypatch):
    """Return a function that changes one file in a copy of the encoder and loads the copy."""
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)

    def load(file, **changes):
        folder = shutil.copytree(saved, tmp_path / "encoder")
        (folder / "encoder.json").unlink()  # makes it an ordinary KerasNLP preset
        document = json.loads((folder / file).read_text())
        document["config"] |= changes.pop("config", {})
        (folder / file).write_text(json.dumps(document | changes))
        return load_encoder(folder)

    yield load
    assert "planted" not in sys.modules


@pytest.mark.parametrize("value", [LAMBDA, FUNCTION, CLASS], ids=["lambda", "function", "class"])
@pytest.mark.parametrize(("file", "field"), [("config.json", "num_layers"), ("tokenizer.json", "dtype")])
def test_an_object_in_place_of_a_value_is_refused(load_changed, file, field, value):
    with pytest.raises(ValueError, match="KerasNLP could not load it"):
        load_changed(file, config={field: value})


@pytest.mark.parametrize(("file", "name"), [("config.json", "BertBackbone"), ("tokenizer.json", "BertTokenizer")])
def test_a_class_of_another_module_is_refused(load_changed, file, name):
    with pytest.raises(ValueError, match=r"KerasNLP could not load it: (Attempting to load|Could not locate) class"):
        load_changed(file, module="planted", class_name=name, registered_name=f"planted>{name}")


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_the_module_is_not_imported_where_the_class_is_known(load_changed, file):
    assert load_changed(file, module="planted").spec.num_layers == 2
