"""Valid and invalid configs, and the version directories that they select."""

import pytest
from support.version_fakes import config_for, publish, refused
from tensorflow_serving.config.model_server_config_pb2 import TENSORFLOW, ModelServerConfig

from tfbert.serving.server.status import Code
from tfbert.serving.server.versions import check, config_of, wanted_versions


def one(base, **policy):
    """Return the config of one model with a version policy."""
    fields = {"base_path": str(base), "model_version_policy": policy}
    return config_for(m=fields).model_config_list.config[0]


def test_a_config_of_one_model_serves_its_newest_version(tmp_path):
    config = config_of("m", publish(tmp_path / "m", 3, 11))
    check(config)
    assert wanted_versions(config.model_config_list.config[0]) == ({11: tmp_path / "m" / "11"}, "")


def test_only_numbers_of_64_bits_are_versions(tmp_path):
    names = ["1", "002", "x", ".3", "-7", "1.5", "٤", str(2**63 - 1), str(2**63), "9" * 200]
    base = publish(tmp_path / "m", *names)
    found, complaint = wanted_versions(one(base, all={}))
    assert found == {1: base / "1", 2: base / "002", 2**63 - 1: base / str(2**63 - 1)} and complaint == ""


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, {11}),
        ({"latest": {}}, {11}),
        ({"latest": {"num_versions": 2}}, {11, 5}),
        ({"all": {}}, {3, 5, 11}),
        ({"specific": {"versions": [3, 5]}}, {3, 5}),
    ],
)
def test_a_policy_chooses_versions(tmp_path, policy, expected):
    base = publish(tmp_path / "m", 3, 5, 11)
    assert wanted_versions(one(base, **policy)) == ({number: base / str(number) for number in expected}, "")


def test_what_is_odd_on_disk_is_said(tmp_path):
    base = publish(tmp_path / "m", "007", "7", "8")
    found, complaint = wanted_versions(one(base, all={}))
    assert found[7] == base / "7"
    assert complaint == f"Version 7 will be loaded from {base / '7'}, {base / '007'} will be ignored"
    assert wanted_versions(one(base, specific={"versions": [8, 9, 12]})) == (
        {8: base / "8"},
        f"Version 9, 12 of servable m was not found under {base}",
    )


def test_a_directory_without_versions_is_not_one_that_cannot_be_read(tmp_path):
    found, complaint = wanted_versions(one(publish(tmp_path / "m", "latest")))
    assert found == {} and complaint.startswith(f"No versions of servable m found under base path {tmp_path / 'm'}. ")
    found, complaint = wanted_versions(one(tmp_path / "none"))
    assert found is None and complaint.endswith("none for servable m with error No such file or directory")
    found, complaint = wanted_versions(one("/m\0"))
    assert found is None and complaint.endswith("for servable m with error embedded null byte")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_path": "models/m"}, "to have an absolute path or URI; got base_path()=models/m"),
        ({"base_path": "gs://bucket/m"}, "to have an absolute path; got the URI gs://bucket/m"),
        ({"base_path": "/a", "model_platform": ""}, "Illegal setting neither ModelServerConfig::model_type"),
        ({"base_path": "/a", "model_platform": "jax"}, "Model m requests unsupported platform jax"),
    ],
)
def test_models_that_cannot_be_served_are_refused(fields, message):
    code, said = refused(check, config_for(m=fields))
    assert code is Code.INVALID_ARGUMENT and message in said


def test_a_model_is_listed_once():
    config = config_for(m="/a")
    config.model_config_list.config.add().CopyFrom(config.model_config_list.config[0])
    assert refused(check, config) == (
        Code.INVALID_ARGUMENT,
        "Illegal to list model m multiple times in config list",
    )


def test_other_configs_are_refused_too():
    check(config_for(m={"base_path": "/a", "model_platform": "", "model_type": TENSORFLOW}))
    custom = ModelServerConfig()
    custom.custom_model_config.SetInParent()
    for config in (custom, ModelServerConfig()):
        assert refused(check, config)[0] is Code.FAILED_PRECONDITION
