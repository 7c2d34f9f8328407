"""Rendering a deployment: all of it or nothing, for this model, with secrets of its own."""

import json
import re
import shutil

import pytest
import small
import yaml

from tfbert.serving import deployment
from tfbert.serving.predictor import Predictor

TEMPLATES = small.ROOT / "deploy"


@pytest.fixture(scope="module")
def rendered(version_dir, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("deploy") / "out"
    return out_dir, deployment.render(version_dir, TEMPLATES, out_dir)


def test_every_template_becomes_a_file(rendered):
    out_dir, written = rendered
    templates = {path.relative_to(TEMPLATES) for path in TEMPLATES.rglob("*") if path.is_file()}
    found = {path.relative_to(out_dir) for path in out_dir.rglob("*") if path.is_file()}
    assert found - templates == {path.relative_to(out_dir) for path in written} - templates
    assert {path.name for path in (found - templates)} == {"request.json", "expected.json"}
    assert templates <= found
    assert sorted(written) == sorted(out_dir / name for name in found)


def test_nothing_is_left_to_fill_in(rendered):
    for path in rendered[1]:
        assert not re.search("<<|<%|<#|%>|#>", path.read_text(encoding="utf-8")), path


def test_examples_are_the_models_own_answers(rendered, version_dir):
    examples = rendered[0] / "examples"
    questions = json.loads((examples / "request.json").read_text(encoding="utf-8"))["instances"]
    expected = json.loads((examples / "expected.json").read_text(encoding="utf-8"))["predictions"]
    answers = [answer for _, answer in Predictor(version_dir).answers({"text": text} for text in questions)]
    assert expected == answers


def test_programs_can_be_run(rendered):
    assert (rendered[0] / "examples" / "ask.sh").stat().st_mode & 0o111


def test_keys_are_new_every_time(rendered, version_dir, tmp_path):
    deployment.render(version_dir, TEMPLATES, tmp_path / "again")
    keys = set()
    for folder in (rendered[0], tmp_path / "again"):
        said = yaml.safe_load((folder / "clients" / "routes.yaml").read_text(encoding="utf-8"))
        [host] = said["resources"][0]["virtual_hosts"]
        [filter_config] = host["typed_per_filter_config"].values()
        keys.add(filter_config["credentials"][0]["key"])
    assert len(keys) == 2


def test_a_directory_that_holds_something_is_left_alone(version_dir, tmp_path):
    (tmp_path / "mine").write_text("keep", encoding="utf-8")
    with pytest.raises(ValueError, match="is not empty; wanted a new directory"):
        deployment.render(version_dir, TEMPLATES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["银行", "a b", "x" * 41, "-a", "a:b"])
def test_a_name_that_not_every_file_takes_is_refused(version_dir, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "1").symlink_to(version_dir)
    with pytest.raises(ValueError, match="model name .*wanted at most 40 of"):
        deployment.check(name, tmp_path / "out", deployment.Deployment())


def test_no_core_is_too_few(tmp_path):
    with pytest.raises(ValueError, match="--cores 0: wanted 1 or more"):
        deployment.check("bank", tmp_path / "out", deployment.Deployment(cores=0))


def test_a_directory_that_is_no_version_is_refused(version_dir, tmp_path):
    shutil.copytree(version_dir, tmp_path / "bank" / "latest")
    with pytest.raises(ValueError, match="latest: is no version; wanted saved_models/NAME/VERSION"):
        deployment.render(tmp_path / "bank" / "latest", TEMPLATES, tmp_path / "out")


def test_a_template_that_fails_leaves_nothing_behind(version_dir, tmp_path):
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "a.txt").write_text("<< name >>", encoding="utf-8")
    (templates / "b.txt").write_text("<< nmae >>", encoding="utf-8")
    with pytest.raises(Exception, match="'nmae' is undefined"):
        deployment.render(version_dir, templates, tmp_path / "out")
    assert not (tmp_path / "out").exists()
