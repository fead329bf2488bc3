from __future__ import annotations

import importlib.util

import huggingface_hub
import huggingface_hub.errors
import pytest

from t2engine.model import hub
from t2engine.model.hub import SHIPPED_MODEL, resolve_model


def test_a_directory_with_a_config(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == tmp_path
    assert resolve_model(tmp_path) == tmp_path


def test_the_shipped_model_by_name(tmp_path, monkeypatch):
    """Its name means the shipped model even where a directory is called so."""
    shipped = tmp_path / "package" / "study" / "data" / SHIPPED_MODEL
    for directory in (shipped, tmp_path / SHIPPED_MODEL):
        directory.mkdir(parents=True)
        (directory / "config.json").write_text("{}")
    monkeypatch.setattr(hub.importlib.resources, "files", lambda _: tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    assert resolve_model(SHIPPED_MODEL) == shipped
    assert str(resolve_model(f"./{SHIPPED_MODEL}")) == SHIPPED_MODEL


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/path", "../up/x", "a/b/c", ""])
def test_an_unknown_path_is_named(name):
    with pytest.raises(ValueError, match=rf"{name}.*must be a directory with a config\.json"):
        resolve_model(name)


def test_a_directory_without_a_config(tmp_path):
    with pytest.raises(ValueError, match=r"must be a directory with a config\.json, found none"):
        resolve_model(str(tmp_path))


def test_the_hub_is_asked_for_safe_files_only(tmp_path, monkeypatch):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve_model("org/some-model.1") == tmp_path
    safe = ["*.json", "*.safetensors", "*.jinja"]
    assert asked == {"name": "org/some-model.1", "allow_patterns": safe}


@pytest.mark.parametrize(
    "error",
    [
        huggingface_hub.errors.LocalEntryNotFoundError("offline\nand more"),
        huggingface_hub.errors.HFValidationError("offline"),
        ConnectionError("offline"),
    ],
    ids=repr,
)
def test_a_model_the_hub_does_not_give(monkeypatch, error):
    def snapshot_download(name, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(ValueError, match=r"'org/x': .* not found on the hub") as caught:
        resolve_model("org/x")
    assert str(caught.value).endswith("offline")


def test_without_the_hub_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"'org/x': no such directory.*t2engine\[hub\]"):
        resolve_model("org/x")
