"""`t2 fit`: scaling laws fitted to observations, held against each other on unseen checkpoints.

Exit codes: 0 fitted; 1 fitted, but the law chosen did not converge or lies on a bound; 2 bad input,
a ValueError, which `t2` prints on one line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def fit(
    observations: Annotated[
        str | None,
        typer.Argument(
            help="CSV or .jsonl with model, N, D, question and num_samples, num_correct (and "
            "gold_nll), or correct, a row a sample; or lm-eval's sample logs, a file or a "
            "directory of them (default: those of the shipped ladder)."
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(help="CSV with model, N, D, where the observations do not say N and D."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Of lm-eval's logs: which is right (exact_match, acc or pass@1)."),
    ] = None,
    filter_name: Annotated[
        str | None, typer.Option("--filter", help="Of lm-eval's logs, where there are several.")
    ] = None,
    law: Annotated[
        str,
        typer.Option(help="approach1, approach2, counts, or best: all three, compared."),
    ] = "best",
    out: Annotated[
        Path | None, typer.Option(help="Write the law here as JSON, for `t2 plan --law-file`.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random starts and resamples.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Fit scaling laws to counts of right answers and compare them by held-out pass@k.

    Exit code 0: fitted; 1: fitted, but the chosen law did not converge or lies on a bound; 2: bad
    input.
    """
    from t2engine.engine.progress import progress_bar
    from t2engine.files import write_text
    from t2engine.laws.comparison import compare_laws, num_steps
    from t2engine.laws.law_file import LawFile, law_file_to_dict
    from t2engine.laws.lm_eval import LogChoice
    from t2engine.laws.observations import read_observations, read_shipped_observations
    from t2engine.laws.selection import LAW_NAMES
    from t2engine.laws.splits import LAWS, counts_ladder
    from t2engine.reports.fit_table import fit_document, fit_tables

    if law not in LAW_NAMES:
        raise ValueError(f"--law must be one of {', '.join(LAW_NAMES)}, got {law!r}")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise ValueError(f"--out must be a file in a directory that exists, got {out}")
    log = LogChoice(metric, filter_name)
    if observations is None:
        if models is not None or log != LogChoice():
            raise ValueError("--models, --metric and --filter go with observations of your own")
        rows = read_shipped_observations()
    else:
        rows = read_observations(observations, models, log)
    names = LAWS if law == "best" else (law,)
    with progress_bar("fitting", num_steps(names), False if as_json else None) as advance:
        comparison = compare_laws(counts_ladder(rows), names, seed=seed, on_step=advance)
    chosen = comparison.best.law
    assert chosen is not None
    if out is not None:
        fitted = (x.law for x in comparison.contenders if x is not comparison.best)
        others = tuple(x for x in fitted if x is not None)
        file = LawFile(chosen, comparison.best.resamples, others)
        write_text(out, json.dumps(law_file_to_dict(file), indent=1) + "\n")
    if as_json:
        print(json.dumps(fit_document(comparison, rows)))
    else:
        from rich.console import Console

        Console().print(fit_tables(comparison, rows))
        if out is not None:
            print(f"wrote {out}; next: t2 plan --law-file {out} --budget 1e15")
    if not comparison.sound:
        raise typer.Exit(1)
