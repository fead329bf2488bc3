"""`t2 eval`: tasks of lm-evaluation-harness, answered by t2engine."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t2engine.model.hub import SHIPPED_MODEL

if TYPE_CHECKING:
    from t2engine.engine.llm import LLM
    from t2engine.integrations.sample_logs import EvaluatedModel
    from t2engine.laws.lm_eval import LogChoice


def evaluate(
    tasks: Annotated[
        str, typer.Option(help="Names of tasks, groups or patterns, or yaml files; a,b,c.")
    ],
    model: Annotated[
        str, typer.Option(help="Model directory, hub id, or the shipped model's name.")
    ] = SHIPPED_MODEL,
    include_path: Annotated[
        Path | None, typer.Option(help="A directory with tasks of your own.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="Questions per task, at most; below 1, a share of them.")
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, help="Examples before each question.")
    ] = None,
    gen_kwargs: Annotated[
        str | None,
        typer.Option(help="Instead of the tasks' own: do_sample=true,temperature=0.8,..."),
    ] = None,
    apply_chat_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Ask in the model's chat format.")
    ] = False,
    confirm_run_unsafe_code: Annotated[
        bool,
        typer.Option("--confirm-run-unsafe-code", help="Run code that the model writes."),
    ] = False,
    device: Annotated[
        str, typer.Option(help="cpu, cuda (an NVIDIA GPU), or auto, a GPU where there is one.")
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Of the weights: auto, float32, bfloat16, float16 or int8.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same samples.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Directory to write results into.")] = None,
    log_samples: Annotated[
        bool, typer.Option("--log-samples", help="Write every question and answer there too.")
    ] = False,
    observations: Annotated[
        Path | None,
        typer.Option(help="Write how often each question was answered right, for `t2 fit`."),
    ] = None,
    trained_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tokens the model was trained on; models of `t2 study` say it themselves."
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Which says what is right: exact_match, acc or pass@1.")
    ] = None,
    filter_name: Annotated[
        str | None, typer.Option("--filter", help="Of the answers, where a task has several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run tasks of lm-evaluation-harness; k answers to a question share its prompt.

    A task asks for k answers with `repeats: k` and `do_sample: true`. To count them all, it needs a
    filter that keeps them all (take_first_k).

    Example: t2 eval --model path/to/model --tasks gsm8k --limit 100
    """
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    check_arguments(names, include_path, out, log_samples, observations)
    from t2engine.engine.llm import LLM
    from t2engine.integrations.evaluation import EvaluationOptions, evaluate_tasks, result_tables
    from t2engine.integrations.lm_eval import T2LM
    from t2engine.integrations.sample_logs import ResultFiles, printed
    from t2engine.integrations.sample_logs import as_json as to_json
    from t2engine.laws.lm_eval import LogChoice

    llm = LLM(model, device=device, dtype=dtype, threads=threads)
    evaluated = describe(model, llm, trained_tokens)
    options = EvaluationOptions(
        tasks=names,
        include_path=include_path,
        limit=limit,
        num_fewshot=num_fewshot,
        gen_kwargs=gen_kwargs,
        apply_chat_template=apply_chat_template,
        confirm_run_unsafe_code=confirm_run_unsafe_code,
        log_samples=log_samples or observations is not None,
    )
    asked = T2LM(llm, seed=seed, progress=False if as_json else None)
    results = evaluate_tasks(asked, options)
    samples = results.pop("samples", {})
    written: list[Path] = []
    logs: list[Path] = []
    if out is not None:
        files = ResultFiles(out, evaluated.name, datetime.now())
        logs = files.write_samples(samples) if log_samples else []
        written = [files.write_results(results), *logs]
    if observations is not None:
        choice = LogChoice(metric, filter_name)
        write_counts(observations, evaluated, choice, logs, samples)
        written.append(observations)
    if as_json:
        print(to_json({**printed(results), "files": [str(path) for path in written]}))
        return
    print(result_tables(results))
    print(cost_line(results["config"]))
    for path in written:
        print(f"wrote {path}")
    if observations is not None:
        sizes = "" if evaluated.D else " --models models.csv, a table of model,N,D"
        print(f"next: t2 fit {observations}{sizes}")


def check_arguments(
    tasks: list[str],
    include_path: Path | None,
    out: Path | None,
    log_samples: bool,
    observations: Path | None,
) -> None:
    """All that can be refused before a model is loaded."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ValueError(
            "tasks come from lm-evaluation-harness, which is not installed: "
            "pip install 't2engine[eval]'"
        )
    if not tasks:
        raise ValueError("--tasks must name at least one task, got none")
    if include_path is not None and not include_path.is_dir():
        raise ValueError(f"--include-path must be a directory, got {include_path}")
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a directory, got the file {out}")
    if log_samples and out is None:
        raise ValueError("--log-samples must have a directory to write to; name it with --out")
    if observations is not None and (observations.is_dir() or not observations.parent.is_dir()):
        raise ValueError(
            f"--observations must be a file in a directory that exists, got {observations}"
        )


def describe(model: str, llm: LLM, trained_tokens: int | None) -> EvaluatedModel:
    """A directory is called by its last name."""
    from t2engine.integrations.sample_logs import EvaluatedModel
    from t2engine.metering import parameter_count
    from t2engine.study.runs import RECORD, read_record

    name = Path(model).resolve().name if Path(model, "config.json").is_file() else model
    D = trained_tokens
    if D is None and (llm.model_dir / RECORD).is_file():
        D = int(read_record(llm.model_dir)["D"])
    return EvaluatedModel(name, parameter_count(llm.config), D)


def write_counts(
    path: Path,
    model: EvaluatedModel,
    choice: LogChoice,
    logs: list[Path],
    samples: dict[str, Any],
) -> None:
    """logs: where samples were written; none: they are, for a moment. Where they cannot be counted
    they stay, for they may have taken hours."""
    from t2engine.integrations.sample_logs import ResultFiles, count_samples, write_observations

    place = None
    if not logs:
        place = Path(tempfile.mkdtemp(prefix=f"{path.stem}-samples-", dir=path.parent))
        logs = ResultFiles(place, model.name, datetime.now()).write_samples(samples)
    try:
        counted = count_samples(logs, model, choice)
    except ValueError as error:
        raise ValueError(
            f"{error}; the samples are kept in {logs[0].parent}: `t2 fit` reads them, with "
            "--models, --metric and --filter"
        ) from error
    write_observations(path, counted, with_D=model.D is not None)
    if place is not None:
        shutil.rmtree(place)


def cost_line(config: dict[str, Any]) -> str:
    from t2engine.reports.units import show_rate

    if not config["num_samples"]:
        return "nothing was sampled: every answer was scored"
    prefill, decode = config["prefill_flops"], config["decode_flops"]
    return (
        f"{config['num_prompts']:,} prompts, each computed once: {show_rate(prefill, 'FLOP')}; "
        f"{config['num_samples']:,} samples: {show_rate(decode, 'FLOP')}"
    )
