from __future__ import annotations

import json

import pytest

from t2engine.model.generation import GenerationDefaults, read_generation_config


def write(directory, config, generation=None):
    (directory / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (directory / "generation_config.json").write_text(json.dumps(generation))


def test_generation_config_goes_before_config(tmp_path):
    write(
        tmp_path,
        {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0},
        {"eos_token_id": [7, 9], "bos_token_id": 5, "temperature": 0.6, "top_p": 0.9, "top_k": 20}
        | {"do_sample": True, "some_future_key": {}},
    )
    assert read_generation_config(tmp_path) == GenerationDefaults((7, 9), 5, 0, 0.6, 0.9, 20)


def test_config_alone(tmp_path):
    write(tmp_path, {"eos_token_id": 2, "pad_token_id": -1, "temperature": 0.5})
    silent = GenerationDefaults((2,), None, None, temperature=None, top_p=None, top_k=None)
    assert read_generation_config(tmp_path) == silent


def test_nothing_known(tmp_path):
    write(tmp_path, {"eos_token_id": None}, {"eos_token_id": None})
    assert read_generation_config(tmp_path).eos_token_ids == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"eos_token_id": "</s>"}, 'eos_token_id must be a token id.*"</s>"'),
        ({"eos_token_id": [1, None]}, "eos_token_id must be a token id"),
        ({"bos_token_id": True}, "bos_token_id must be a token id"),
        ({"temperature": -1}, "temperature must be .* from 0.*-1"),
        ({"top_p": 1.5}, r"top_p must be .* from 0 to 1, got 1\.5"),
        ({"top_k": -3}, "top_k must be an integer from 0.*-3"),
    ],
)
def test_refused_by_name(tmp_path, values, message):
    write(tmp_path, {}, values)
    with pytest.raises(ValueError, match=rf"generation_config\.json: {message}"):
        read_generation_config(tmp_path)
