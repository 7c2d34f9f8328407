"""Rendering a deployment: all files or none, for one model, with new secrets."""

import functools
import json
import os
import re
import shutil
import stat
from dataclasses import replace

import pytest
import yaml

from tfbert.serving import deployment
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.tasks.base_outputs import CLASSIFICATION
from tfbert.tasks.classification import FittedClassification

TEMPLATES = deployment.TEMPLATES_DIR


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Load the model only once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "SavedPredictor", functools.cache(SavedPredictor))
        yield


@pytest.fixture(scope="module")
def rendered(version_dir, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("deploy") / "out"
    return out_dir, deployment.render(version_dir, out_dir)


def test_every_template_becomes_a_file(rendered):
    out_dir, written = rendered
    templates = {path.relative_to(TEMPLATES) for path in TEMPLATES.rglob("*") if path.is_file()}
    files = {path.relative_to(out_dir) for path in out_dir.rglob("*") if path.is_file()}
    assert files - templates == {path.relative_to(out_dir) for path in written} - templates
    assert {path.name for path in (files - templates)} == {"request.json", "expected.json"}
    assert templates <= files
    assert sorted(written) == sorted(out_dir / name for name in files)


def test_no_template_syntax_remains(rendered):
    for path in rendered[1]:
        assert not re.search("<<|<%|<#|%>|#>", path.read_text(encoding="utf-8")), path


def test_examples_have_the_outputs_of_the_model(rendered, version_dir):
    examples = rendered[0] / "examples"
    questions = json.loads((examples / "request.json").read_text(encoding="utf-8"))["instances"]
    expected = json.loads((examples / "expected.json").read_text(encoding="utf-8"))["predictions"]
    items = ({"text": text} for text in questions)
    assert expected == [prediction for _, prediction in SavedPredictor(version_dir).predict(items)]


def test_labels_are_counted_in_the_output_that_is_declared(version_dir, tmp_path, monkeypatch):
    (tmp_path / "templates").mkdir()
    monkeypatch.setattr(deployment, "TEMPLATES_DIR", tmp_path / "templates")
    shutil.copy(TEMPLATES / "config" / "answers.lua", tmp_path / "templates")
    lines = {}
    for name in ("label", "topic"):
        outputs = [replace(output, name=name) if output.is_label else output for output in CLASSIFICATION]
        monkeypatch.setattr(FittedClassification, "all_outputs", tuple(outputs))
        deployment.render(version_dir, tmp_path / name)
        script = (tmp_path / name / "answers.lua").read_text(encoding="utf-8")
        (lines[name],) = [line.strip() for line in script.splitlines() if line.lstrip().startswith("for label in")]
    assert lines["label"] == """for label in string.gmatch(body, '"label":%s*"([^"\\\\]*)"') do"""
    assert lines["topic"] == lines["label"].replace('"label"', '"topic"')


def test_programs_are_executable(rendered):
    assert (rendered[0] / "examples" / "ask.sh").stat().st_mode & 0o111


def test_keys_are_new_every_time(rendered, version_dir, tmp_path):
    deployment.render(version_dir, tmp_path / "again")
    keys = set()
    for folder in (rendered[0], tmp_path / "again"):
        routes = yaml.safe_load((folder / "clients" / "routes.yaml").read_text(encoding="utf-8"))
        [host] = routes["resources"][0]["virtual_hosts"]
        [filter_config] = host["typed_per_filter_config"].values()
        keys.add(filter_config["credentials"][0]["key"])
    assert len(keys) == 2


def secrets_of(out_dir):
    """Return the key and the password of a deployment."""
    key = re.search(r'key: "([^"]+)"', (out_dir / "clients" / "routes.yaml").read_text(encoding="utf-8"))[1]
    return key, re.search(r"GRAFANA_PASSWORD=(\S+)", (out_dir / "compose" / ".env").read_text(encoding="utf-8"))[1]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_with_secrets_are_never_readable_by_other_users(version_dir, tmp_path, monkeypatch, umask):
    created, opened, changed = {}, os.open, []

    def record(path, flags, mode=0o777, **options):
        if str(path).startswith(str(tmp_path)):
            descriptor = opened(path, flags, mode, **options)
            created[str(path)] = (stat.S_IMODE(os.fstat(descriptor).st_mode), bool(flags & os.O_EXCL))
            return descriptor
        return opened(path, flags, mode, **options)

    monkeypatch.setattr(os, "open", record)
    monkeypatch.setattr(deployment.Path, "chmod", lambda path, mode: changed.append(path))
    before = os.umask(umask)
    try:
        deployment.render(version_dir, tmp_path / "out")
    finally:
        os.umask(before)
    secret = [str(tmp_path / "out" / name) for name in ("clients/routes.yaml", "compose/.env")]
    assert created == dict.fromkeys(secret, (0o600, True))
    assert len(changed) > 20 and not {str(path) for path in changed} & set(secret)


def test_no_other_file_contains_a_key_or_a_password(rendered):
    out_dir, written = rendered
    key, password = secrets_of(out_dir)
    with_secrets = {path.relative_to(out_dir).as_posix(): path for path in written if _holds(path, key, password)}
    assert with_secrets.keys() == {"clients/routes.yaml", "compose/.env"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in with_secrets.values()} == {0o600}
    assert (out_dir / "config" / "envoy.yaml").stat().st_mode & 0o044


def _holds(path, *secrets):
    return any(secret in path.read_text(encoding="utf-8") for secret in secrets)


@pytest.mark.parametrize(
    ("uid", "gid", "expected"), [(1234, 1235, ("1234", "1235")), (0, 0, ("101", "101")), (7, 0, ("7", "101"))]
)
def test_the_proxy_runs_as_the_rendering_user_but_not_as_root(version_dir, tmp_path, monkeypatch, uid, gid, expected):
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(os, "getgid", lambda: gid)
    deployment.render(version_dir, tmp_path / "out")
    lines = (tmp_path / "out" / "compose" / ".env").read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert (values["PROXY_UID"], values["PROXY_GID"]) == expected
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert ("chown 101:101 tls/tls.key clients/routes.yaml" in readme) == (uid == 0)


def test_every_image_has_an_exact_tag_or_a_digest_and_the_readme_names_it(rendered):
    out_dir, written = rendered
    readme = (out_dir / "README.md").read_text(encoding="utf-8")
    images = set()
    for path in written:
        if path.suffix in (".yaml", "") and path.name != "request.json":
            images |= set(
                re.findall(r"^\s*(?:image: |ARG SERVING=)(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            )
    public_images = {image for image in images if not image.partition(":")[0].endswith("model")}
    assert {image.partition(":")[0] for image in public_images} == {
        "tensorflow/serving", "envoyproxy/envoy", "prom/prometheus", "grafana/grafana", "python"
    }  # fmt: skip
    for image in public_images:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-slim)?(@sha256:[0-9a-f]{64})?", image), image
        assert f"`{image}`" in readme
    assert "sha256:..." in readme and not re.search("sha256:[0-9a-f]{64}", readme)


def test_a_directory_that_is_not_empty_is_not_changed(version_dir, tmp_path):
    (tmp_path / "mine").write_text("keep", encoding="utf-8")
    with pytest.raises(ValueError, match="is not empty; expected a new directory"):
        deployment.render(version_dir, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["银行", "a b", "x" * 41, "-a", "a:b"])
def test_an_invalid_name_is_rejected(version_dir, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "1").symlink_to(version_dir)
    with pytest.raises(ValueError, match="model name .*expected at most 40 of"):
        deployment.check(name, tmp_path / "out", deployment.Deployment())


def test_no_cores_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="--cores 0: expected 1 or more"):
        deployment.check("bank", tmp_path / "out", deployment.Deployment(cores=0))


def test_a_directory_that_is_not_a_version_is_rejected(version_dir, tmp_path):
    shutil.copytree(version_dir, tmp_path / "bank" / "latest")
    with pytest.raises(ValueError, match="latest: is not a version; expected saved_models/NAME/VERSION"):
        deployment.render(tmp_path / "bank" / "latest", tmp_path / "out")


def test_compiled_files_of_an_installed_package_are_not_templates(version_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(deployment, "TEMPLATES_DIR", tmp_path / "templates")
    (tmp_path / "templates" / "__pycache__").mkdir(parents=True)
    (tmp_path / "templates" / "__pycache__" / "ask.pyc").write_bytes(b"\xff")
    (tmp_path / "templates" / "ask.py").write_text("<< name >>", encoding="utf-8")
    written = deployment.render(version_dir, tmp_path / "out")
    assert "ask.py" in {path.name for path in written} and "ask.pyc" not in {path.name for path in written}


def test_a_failing_template_leaves_no_files(version_dir, tmp_path, monkeypatch):
    templates = tmp_path / "templates"
    templates.mkdir()
    monkeypatch.setattr(deployment, "TEMPLATES_DIR", templates)
    (templates / "a.txt").write_text("<< name >>", encoding="utf-8")
    (templates / "b.txt").write_text("<< nmae >>", encoding="utf-8")
    with pytest.raises(Exception, match="'nmae' is undefined"):
        deployment.render(version_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()
