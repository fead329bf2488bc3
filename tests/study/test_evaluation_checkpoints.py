from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from t2engine.model.llama import count_parameters
from t2engine.study import evaluate as study
from t2engine.study.checkpoint import load_model
from t2engine.study.evaluation.checkpoints import (
    Checkpoint,
    digest_of,
    parameters_of,
    read_ladder,
    read_models,
)

SHIPPED = Path(study.__file__).parent / "data" / "arithmetic"
FULL = """
[[model]]
name = "org/big"
path = "big"
N = 1_000
D = 20_000
dtype = "bfloat16"
chat = true
stop = ["\\n", "END"]

[[model]]
name = "small"
path = "/models/small"
D = 300
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "models.toml"
    path.write_text(text)
    return path


def test_a_list_of_models_is_read(tmp_path: Path):
    assert read_models(write(tmp_path, FULL)) == [
        Checkpoint("org/big", tmp_path / "big", 20_000, 1_000, "bfloat16", True, ("\n", "END")),
        Checkpoint("small", Path("/models/small"), 300),
    ]


def test_the_example_in_the_documentation_is_read(tmp_path: Path):
    from t2engine.study.evaluation import checkpoints

    lines = checkpoints.__doc__.splitlines()
    first = lines.index("    [[model]]")
    text = "\n".join(line[4:] for line in lines[first : lines.index("", first)])
    [model] = read_models(write(tmp_path, text))
    assert (model.name, model.stop, model.dtype) == ("pythia-70m", ("\n",), "float32")
    assert model.D == 299_892_736_000


GOOD = 'name = "m"\npath = "p"\nD = 1\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected [[model]] tables alone"),
        ("[model]\n" + GOOD, "expected [[model]] tables alone"),
        (f"[[model]]\n{GOOD}[other]\n", "got other"),
        ("[[model]\n", "must be a TOML file"),
        (f"[[model]]\n{GOOD}[[model]]\n{GOOD}", "name 'm' expected once"),
        ('[[model]]\npath = "p"\nD = 1', "model 1: name must be a text that is not empty"),
        ('[[model]]\nname = "m"\nD = 1', "path must be a model directory, got nothing"),
        ('[[model]]\nname = "m"\npath = "p"', "D must be the number of training tokens"),
        (f"[[model]]\n{GOOD}n = 3", "model 1: n must be one of name, path, N, D"),
        (f"[[model]]\n{GOOD}N = 0", "N must be a number of parameters"),
        (f"[[model]]\n{GOOD}N = 1e6", "N must be a number of parameters"),
        (f"[[model]]\n{GOOD}N = true", "N must be a number of parameters"),
        (f'[[model]]\n{GOOD}chat = "yes"', "chat must be true or false, got 'yes'"),
        (f"[[model]]\n{GOOD}dtype = 16", "dtype must be a text"),
        (f'[[model]]\n{GOOD}stop = "x"', "stop must be a list"),
        (f'[[model]]\n{GOOD}stop = [""]', "stop must be a list"),
        (f"[[model]]\n{GOOD}stop = [1]", "stop must be a list"),
        ("model = [1]", "expected a [[model]] table, got 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=r"models\.toml") as caught:
        read_models(path)
    assert words in str(caught.value)


def test_a_missing_list_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="No such file"):
        read_models(tmp_path / "models.toml")


def test_parameters_are_counted_unless_said():
    assert parameters_of(Checkpoint("m", SHIPPED, 1)) == count_parameters(load_model(SHIPPED))
    assert parameters_of(Checkpoint("m", Path("nowhere"), 1, N=5)) == 5


def test_runs_are_read_by_size_and_broken_ones_apart(tmp_path: Path):
    for name, N, D in (("c", 200, 10), ("a", 100, 20), ("b", 100, 10)):
        (tmp_path / name).mkdir()
        record = {"run": {"name": name}, "N": N, "D": D}
        (tmp_path / name / "training.json").write_text(json.dumps(record))
    for name, text in (
        ("x", "{"),
        ("y", '{"run": {}, "N": 1, "D": 1}'),
        ("z", '{"run": [], "N": 1, "D": 1}'),
        ("w", '{"run": {"name": "w"}, "N": "1", "D": 1}'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(text)
    runs, broken = read_ladder(tmp_path)
    assert [(run.name, run.stop) for run in runs] == [("b", ()), ("a", ()), ("c", ())]
    assert [failure.name for failure in broken] == ["w", "x", "y", "z"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_digest_changes_with_what_answers_depend_on(tmp_path: Path, name: str):
    model = tmp_path / "model"
    shutil.copytree(SHIPPED, model)
    assert digest_of(model) == digest_of(SHIPPED)
    (model / "training.json").unlink()
    assert digest_of(model) == digest_of(SHIPPED)
    content = bytearray((model / name).read_bytes())
    content[-1] ^= 1
    (model / name).write_bytes(content)
    assert digest_of(model) != digest_of(SHIPPED)


PYTHIA = {  # layers, hidden size, heads; a vocabulary of 50,304 (arXiv:2304.01373, table 1)
    "70m": (6, 512, 8),
    "160m": (12, 768, 12),
    "410m": (24, 1024, 16),
    "1b": (16, 2048, 8),
    "1.4b": (24, 2048, 16),
    "2.8b": (32, 2560, 32),
}


def test_the_pythia_example_counts_as_its_models_do(tmp_path: Path):
    models = read_models(SHIPPED.parent / "pythia.toml")
    assert [model.path.parent for model in models] == [SHIPPED.parent] * 7
    for model in models:
        layers, hidden, heads = PYTHIA[model.name.split("-")[1]]
        config = {
            "architectures": ["GPTNeoXForCausalLM"],
            "vocab_size": 50_304,
            "hidden_size": hidden,
            "intermediate_size": 4 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "max_position_embeddings": 2048,
            "rotary_pct": 0.25,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert parameters_of(Checkpoint("counted", tmp_path, D=1)) == model.N
        steps = int(model.name.split("step")[1]) if "step" in model.name else 143_000
        assert steps * 2_097_152 == model.D
