"""Checksums of encoder files are verified, once per process."""

import json
import os

import numpy as np
import pytest

from tfbert.encoder import checksums, presets
from tfbert.encoder.backbone import load_encoder, save_encoder


@pytest.fixture
def hashed(monkeypatch):
    """Return a list that collects the names of files as they are read to compute their checksums."""
    names, sha256_of = [], checksums.sha256_of
    monkeypatch.setattr(checksums, "sha256_of", lambda path: names.append(path.name) or sha256_of(path))
    return names


def flip(path, position=-1):
    """Flip a bit of the byte at a position without changing the size."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x40
    path.write_bytes(content)


@pytest.fixture
def download(tmp_path):
    """Return a directory that another library downloaded, and one for recorded checksums."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(200)))
    return folder, tmp_path / "records"


def test_a_download_is_recorded_when_it_is_first_seen_and_compared_later(download, hashed, caplog):
    folder, records_dir = download
    caplog.set_level("INFO")
    checksums.check_download(folder, records_dir)
    assert f"{folder}: recorded the SHA-256 of 2 files" in caplog.text
    checksums.check_download(folder, records_dir)
    assert sorted(hashed) == ["config.json", "model.safetensors"]
    flip(folder / "model.safetensors")
    with pytest.raises(ValueError) as error:
        checksums.check_download(folder, records_dir)
    path = folder / "model.safetensors"
    assert str(error.value) == (
        f"{path}: damaged: its SHA-256 differs from that of the download; remove {path} to download it again"
    )


def test_files_that_come_later_are_recorded_too(download):
    folder, records_dir = download
    checksums.check_download(folder, records_dir)
    (folder / "vocab.txt").write_text("[PAD]")
    checksums.check_download(folder, records_dir)
    flip(folder / "vocab.txt")
    with pytest.raises(ValueError, match=r"vocab\.txt: damaged"):
        checksums.check_download(folder, records_dir)


def test_a_cached_file_named_by_its_checksum_is_verified_at_once(download):
    folder, records_dir = download
    path = folder / "model.safetensors"
    blob = folder.parent / checksums.sha256_of(path)
    path.rename(blob)
    path.symlink_to(blob)
    flip(blob)
    with pytest.raises(ValueError, match=rf"model\.safetensors: damaged: .*remove {blob} to download it"):
        checksums.check_download(folder, records_dir)


def test_checksums_that_cannot_be_recorded_are_only_a_warning(download, caplog):
    folder, records_dir = download
    records_dir.write_text("a file")
    checksums.check_download(folder, records_dir)
    assert "cannot record checksums" in caplog.text


def test_a_saved_encoder_has_checksums(tmp_path):
    save_encoder(load_encoder("tiny"), tmp_path, {"cls.bias": np.arange(3, dtype=np.float32)})
    saved = json.loads((tmp_path / "encoder.json").read_text())["sha256"]
    assert saved == {name: checksums.sha256_of(tmp_path / name) for name in ("model.weights.h5", "heads.safetensors")}
    load_encoder(tmp_path)
    flip(tmp_path / "model.weights.h5", (tmp_path / "model.weights.h5").stat().st_size // 2)
    with pytest.raises(ValueError, match=r"model\.weights\.h5: damaged: .*restore it from a copy, or pretrain again"):
        load_encoder(tmp_path)


def test_an_encoder_of_an_older_version_without_checksums_is_loaded(tmp_path):
    save_encoder(load_encoder("tiny"), tmp_path)
    path = tmp_path / "encoder.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}))
    assert load_encoder(tmp_path).backbone.num_layers == 2


def test_a_preset_of_kerasnlp_is_compared_with_recorded_checksums(tmp_path, monkeypatch):
    encoder = load_encoder("tiny")
    save_encoder(encoder, tmp_path / "preset")
    (tmp_path / "preset" / "encoder.json").unlink()
    monkeypatch.setenv("TFBERT_CACHE", str(tmp_path / "cache"))
    # KerasNLP accepts a directory as a preset too, so this one substitutes for a download.
    monkeypatch.setattr(
        presets, "resolve", lambda name: presets.EncoderSource("p", "kerasnlp", preset=str(tmp_path / "preset"))
    )
    load_encoder("p")
    assert len(os.listdir(tmp_path / "cache" / "checksums")) == 1
    path = tmp_path / "preset" / "model.weights.h5"
    content = bytearray(path.read_bytes())
    kernel = bytes(memoryview(encoder.backbone.token_embedding.embeddings.numpy()).cast("B"))[:64]
    content[content.find(kernel) + 3] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.weights\.h5: damaged: .*to download it again"):
        load_encoder("p")
