"""lm-evaluation-harness on the engine: its tasks, beside its own transformers model and by hand."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from t2engine import LLM, SamplingParams
from t2engine.cli.main import run
from t2engine.laws.observations import read_observations
from t2engine.metering import prefill_flops
from t2engine.model.hub import shipped_directory
from t2engine.study.tasks.arithmetic import ARITHMETIC
from tests.model.tiny import write_tiny_model

NUM_QUESTIONS, NUM_SAMPLES, SEED = 10, 64, 3
QUESTIONS = ARITHMETIC.held_out_questions(NUM_QUESTIONS, 0)
TOLERANCE = 1e-3  # of a log-likelihood
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("lm_eval") is None,
        reason="lm-evaluation-harness is not installed (pip install 't2engine[eval]')",
    ),
    pytest.mark.filterwarnings("default"),  # the harness and what it brings in have theirs
]

COMMON = """
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
doc_to_text: "{{{{question}}}}"
target_delimiter: ""
"""
TASKS = {
    "sums": """
output_type: generate_until
doc_to_target: "{{{{completion}}}}"
repeats: 64
generation_kwargs: {{until: ["<eos>"], do_sample: true, temperature: 1.0, max_gen_toks: 16}}
filter_list:
  - {{name: all, filter: [{{function: take_first_k, k: 64}}]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
""",
    "first_sums": """
output_type: generate_until
doc_to_target: "{{{{completion}}}}"
repeats: 64
generation_kwargs: {{until: [" "], do_sample: true, temperature: 1.0, max_gen_toks: 16}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
""",
    "greedy_sums": """
output_type: generate_until
doc_to_target: "{{{{completion}}}}"
repeats: 3
generation_kwargs: {{until: ["\\n"], do_sample: false, max_gen_toks: 16}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
""",
    "chosen_sums": """
output_type: multiple_choice
doc_to_target: 0
doc_to_choice: choices
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
""",
    "long_sums": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{long}}}}"
metric_list:
  - {{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}}
""",
}


@pytest.fixture(scope="module")
def task_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tasks on a file of questions; nothing is looked up anywhere."""
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "questions.jsonl"
    documents = [
        {
            "question": q.prompt,
            "completion": q.completion,
            "choices": [q.completion, q.answer, "1", "7 7"],
            "long": (q.prompt + q.completion) * 8,  # longer than the model's context
        }
        for q in QUESTIONS
    ]
    data.write_text("".join(json.dumps(document) + "\n" for document in documents))
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}" + (COMMON + text).format(data=data))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            patch.setenv(name, "1")
        patch.setenv("HF_HOME", str(folder / "cache"))
        import datasets

        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture
def only_these_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the harness's own as well, in 15 seconds."""
    from lm_eval.tasks import TaskManager

    from t2engine.integrations import evaluation

    monkeypatch.setattr(evaluation, "TaskManager", partial(TaskManager, include_defaults=False))


def evaluate(task_dir: Path, model: Any, *tasks: str, **options: Any) -> dict[str, Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(task_dir), include_defaults=False)
    return lm_eval.simple_evaluate(
        model=model, tasks=list(tasks), task_manager=manager, bootstrap_iters=0, **options
    )


def our_model() -> Any:
    from t2engine.integrations.lm_eval import T2LM

    return T2LM(LLM(), seed=SEED, progress=False)


@pytest.fixture(scope="module")
def both(task_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Samples of the same tasks from our model and from the harness's own."""
    from lm_eval.models.huggingface import HFLM

    tasks = ("greedy_sums", "chosen_sums", "long_sums")
    theirs = HFLM(pretrained=str(shipped_directory()), dtype="float32", device="cpu")
    return tuple(evaluate(task_dir, model, *tasks) for model in (our_model(), theirs))


def test_repeats_are_one_fan_out(task_dir: Path) -> None:
    """One prefill a question, to the FLOP; samples of their own; the score is that of the samples.

    The samples are those of a plain call, in its order.
    """
    model = our_model()
    results = evaluate(task_dir, model, "sums")
    documents = results["samples"]["sums"]
    lengths = [len(model.llm.tokenizer.encode(q.prompt)) for q in QUESTIONS]
    assert model.cost.prefill_flops == sum(prefill_flops(model.llm.config, n) for n in lengths)
    assert (model.num_prompts, model.num_samples) == (NUM_QUESTIONS, NUM_QUESTIONS * NUM_SAMPLES)
    assert results["config"]["prefill_flops"] == model.cost.prefill_flops
    plain = model.llm.generate(
        [q.prompt for q in QUESTIONS],
        SamplingParams(n=NUM_SAMPLES, seed=SEED, max_tokens=16),
        progress=False,
    )
    assert [d["resps"][0] for d in documents] == [[s.text for s in o.outputs] for o in plain]
    shares = [
        sum(text == q.completion for text in d["resps"][0]) / NUM_SAMPLES
        for d, q in zip(documents, QUESTIONS, strict=True)
    ]
    assert [d["exact_match"] for d in documents] == pytest.approx(shares)
    score = results["results"]["sums"]["exact_match,all"]
    assert score == pytest.approx(sum(shares) / NUM_QUESTIONS)
    assert 0.1 < score < 0.9


def test_the_first_of_many_is_the_first_sample(task_dir: Path) -> None:
    documents = evaluate(task_dir, our_model(), "first_sums")["samples"]["first_sums"]
    assert all(d["filtered_resps"] == [d["resps"][0][0]] for d in documents)
    assert all(len(d["resps"][0]) == NUM_SAMPLES for d in documents)
    assert not any(" " in text for d in documents for text in d["resps"][0])
    assert max(len(set(d["resps"][0])) for d in documents) > 5


def test_greedy_answers_are_those_of_transformers(both: tuple[dict[str, Any], ...]) -> None:
    ours, theirs = both
    texts = [[d["resps"] for d in r["samples"]["greedy_sums"]] for r in both]
    assert texts[0] == texts[1]
    assert len({resps[0][0] for resps in texts[0]}) > NUM_QUESTIONS / 2
    name = "exact_match,none"
    assert ours["results"]["greedy_sums"][name] == theirs["results"]["greedy_sums"][name] > 0
    assert ours["config"]["num_samples"] == NUM_QUESTIONS  # of three clones, one was drawn


def test_log_likelihoods_are_those_of_transformers(both: tuple[dict[str, Any], ...]) -> None:
    pairs = zip(*(r["samples"]["chosen_sums"] for r in both), strict=True)
    for mine, other in pairs:
        for [(got, is_best)], [(want, is_their_best)] in zip(
            mine["resps"], other["resps"], strict=True
        ):
            assert got == pytest.approx(want, abs=TOLERANCE)
            assert is_best == is_their_best
    assert any(d["resps"][0][0][1] for d in both[0]["samples"]["chosen_sums"])
    accuracies = [r["results"]["chosen_sums"]["acc,none"] for r in both]
    assert accuracies[0] == accuracies[1] > 0.5


def test_long_texts_are_scored_in_the_same_windows(both: tuple[dict[str, Any], ...]) -> None:
    longest = max(len(q.prompt + q.completion) for q in QUESTIONS) * 8
    assert longest > 2 * LLM().config.max_context_len
    pairs = zip(*(r["samples"]["long_sums"] for r in both), strict=True)
    for mine, other in pairs:
        assert mine["resps"][0][0] == pytest.approx(other["resps"][0][0], abs=TOLERANCE)


def test_the_harness_opens_it_by_name(task_dir: Path) -> None:
    import t2engine.integrations.lm_eval  # noqa: F401 - registers it

    arguments = "pretrained=arithmetic,dtype=float32,progress=False"
    results = evaluate(
        task_dir, "t2engine", "chosen_sums", model_args=arguments, batch_size=1, limit=2
    )
    assert results["config"]["model_num_parameters"] == 99600


def test_chats_and_examples_are_those_of_transformers(task_dir: Path, tmp_path: Path) -> None:
    """A model with a template, asked after two examples as a conversation."""
    from lm_eval.models.huggingface import HFLM

    from t2engine.integrations.lm_eval import T2LM

    write_tiny_model(tmp_path, "llama")
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = HFLM(pretrained=str(tmp_path), dtype="float32", device="cpu")
    models = (T2LM(str(tmp_path), progress=False), theirs)
    options = {"apply_chat_template": True, "num_fewshot": 2, "limit": 4}
    tasks = ("greedy_sums", "chosen_sums")
    ours, theirs = (evaluate(task_dir, model, *tasks, **options)["samples"] for model in models)
    for mine, other in zip(ours["greedy_sums"], theirs["greedy_sums"], strict=True):
        assert mine["arguments"] == other["arguments"]
        assert mine["arguments"][0][0].count("[assistant]") == 3
        assert mine["resps"] == other["resps"]
    for mine, other in zip(ours["chosen_sums"], theirs["chosen_sums"], strict=True):
        got, want = ([one for [(one, _)] in d["resps"]] for d in (mine, other))
        assert got == pytest.approx(want, abs=TOLERANCE)


@pytest.mark.usefixtures("only_these_tasks")
def test_command_prints_writes_and_counts(
    task_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, counts = tmp_path / "out", tmp_path / "counts.csv"
    arguments = ["eval", "--tasks", "sums", "--include-path", str(task_dir), "--limit", "4"]
    arguments += ["--seed", str(SEED), "--observations", str(counts), "--trained-tokens", "5"]
    assert run([*arguments, "--out", str(out), "--log-samples", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert sorted(document["files"]) == sorted(map(str, [*out.glob("*/*"), counts]))
    rows = list(read_observations(counts))
    assert [(x.model, x.N, x.D, x.num_samples) for x in rows] == [("arithmetic", 99600, 5, 64)] * 4
    right = sum(x.num_correct for x in rows) / (4 * NUM_SAMPLES)
    assert document["results"]["sums"]["exact_match,all"] == pytest.approx(right)
    before = counts.read_text()
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "4 prompts, each computed once" in shown
    assert "256 samples" in shown
    assert counts.read_text() == before
    assert sorted(tmp_path.iterdir()) == [counts, out]


@pytest.mark.usefixtures("only_these_tasks")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks", "nosuch"], "--tasks must be tasks of lm-evaluation-harness"),
        (["--tasks", ","], "--tasks must name at least one task"),
        (["--tasks", "sums", "--apply-chat-template"], "has no chat template"),
        (["--tasks", "sums", "--gen-kwargs", "foo=1"], "got foo"),
        (["--tasks", "sums", "--gen-kwargs", "max_gen_toks=64"], "must be below the model's"),
        (["--tasks", "sums", "--log-samples"], "name it with --out"),
        (["--tasks", "sums", "--include-path", "nowhere"], "--include-path must be a directory"),
        (["--tasks", "sums", "--observations", "nowhere/a.csv"], "--observations must be a file"),
        (["--tasks", "long_sums", "--observations", "{tmp}/a.csv"], "the samples are kept in"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_is_one_line(
    arguments: list[str],
    words: str,
    task_dir: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = [word.format(tmp=tmp_path) for word in arguments]
    assert run(["eval", "--include-path", str(task_dir), *given]) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("t2 eval: ")
    assert words in last
