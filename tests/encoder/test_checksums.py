"""Files of encoders are compared with their checksums, once in a process."""

import json
import os

import pytest

from tfbert.encoder import checksums, presets
from tfbert.encoder.backbone import load_encoder, save_encoder


@pytest.fixture
def hashed(monkeypatch):
    """Return the names of the files whose bytes are read."""
    names, sha256_of = [], checksums.sha256_of
    monkeypatch.setattr(checksums, "sha256_of", lambda path: names.append(path.name) or sha256_of(path))
    return names


def flip(path, place=-1):
    """Flip a bit and leave size and time of the last change as they were before the process looked."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)


@pytest.fixture
def download(tmp_path):
    """Return a directory as another library leaves it, and one for records."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(200)))
    return folder, tmp_path / "records"


def test_a_download_is_recorded_when_it_is_first_seen_and_compared_later(download, hashed, caplog):
    folder, records = download
    caplog.set_level("INFO")
    checksums.check_download(folder, records)
    assert f"{folder}: recorded the SHA-256 of 2 files" in caplog.text
    checksums.check_download(folder, records)
    assert sorted(hashed) == ["config.json", "model.safetensors"]
    flip(folder / "model.safetensors")
    with pytest.raises(ValueError) as error:
        checksums.check_download(folder, records)
    path = folder / "model.safetensors"
    assert str(error.value) == (
        f"{path}: damaged: its SHA-256 is not that of the download; remove {path} to have it downloaded again"
    )


def test_files_that_come_later_are_recorded_too(download):
    folder, records = download
    checksums.check_download(folder, records)
    (folder / "vocab.txt").write_text("[PAD]")
    checksums.check_download(folder, records)
    flip(folder / "vocab.txt")
    with pytest.raises(ValueError, match=r"vocab\.txt: damaged"):
        checksums.check_download(folder, records)


def test_where_the_cache_names_a_file_by_its_checksum_damage_is_seen_at_once(download):
    folder, records = download
    path = folder / "model.safetensors"
    blob = folder.parent / checksums.sha256_of(path)
    path.rename(blob)
    path.symlink_to(blob)
    flip(blob)
    with pytest.raises(ValueError, match=rf"model\.safetensors: damaged: .*remove {blob} to have it"):
        checksums.check_download(folder, records)


def test_records_that_cannot_be_written_do_not_stop_anything(download, caplog):
    folder, records = download
    records.write_text("a file")
    checksums.check_download(folder, records)
    assert "cannot record checksums" in caplog.text


def test_a_saved_encoder_has_checksums(tmp_path):
    save_encoder(load_encoder("tiny"), tmp_path, {"cls.bias": checksums_array()})
    said = json.loads((tmp_path / "encoder.json").read_text())["sha256"]
    assert said == {name: checksums.sha256_of(tmp_path / name) for name in ("model.weights.h5", "heads.safetensors")}
    load_encoder(tmp_path)
    flip(tmp_path / "model.weights.h5", (tmp_path / "model.weights.h5").stat().st_size // 2)
    with pytest.raises(ValueError, match=r"model\.weights\.h5: damaged: .*restore it from a copy, or pretrain again"):
        load_encoder(tmp_path)


def test_an_encoder_of_an_older_version_has_none_and_is_loaded(tmp_path):
    save_encoder(load_encoder("tiny"), tmp_path)
    path = tmp_path / "encoder.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}))
    assert load_encoder(tmp_path).backbone.num_layers == 2


def test_a_preset_of_kerasnlp_is_compared_with_what_was_downloaded(tmp_path, monkeypatch):
    encoder = load_encoder("tiny")
    save_encoder(encoder, tmp_path / "preset")
    (tmp_path / "preset" / "encoder.json").unlink()
    monkeypatch.setenv("TFBERT_CACHE", str(tmp_path / "cache"))
    # What KerasNLP would download lies in a directory, which it takes for a preset too.
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
    with pytest.raises(ValueError, match=r"model\.weights\.h5: damaged: .*to have it downloaded again"):
        load_encoder("p")


def checksums_array():
    import numpy as np

    return np.arange(3, dtype=np.float32)
