"""A benchmark's figures agree with the meter and with each other; shapes and refusals are plain."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch

from t2engine import metering
from t2engine.costs.fitting import HalfWidths
from t2engine.costs.measurements import Measurements
from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import HardwareProfile, profile_to_dict
from t2engine.costs.step_fit import KINDS, RANGED, StepFit
from t2engine.costs.step_time import StepRates
from t2engine.costs.steps import DecodeStep, PrefillStep, tabulate
from t2engine.costs.throughput import (
    Peaks,
)
from t2engine.engine.memory import CHUNK_TOKENS
from t2engine.hardware import rounds
from t2engine.hardware.bench import bench_model, visit
from t2engine.hardware.bench_figures import metered
from t2engine.hardware.bench_plan import (
    BenchSettings,
    CallShape,
    Shapes,
    choose_shapes,
    copies_note,
    plan_store,
    store_tokens,
)
from t2engine.hardware.rounds import Task
from t2engine.ops import linear
from t2engine.schema import Cost, Precision
from tests.backends import require

PEAKS = Peaks({"float32": 1e9}, 1e8)


@pytest.fixture(scope="module")
def config(llm):
    return llm.config


@pytest.fixture(scope="module")
def profile():
    """Of some machine with two threads; its predictions are far off."""
    rates = StepRates(**{field.name: 1.0 for field in fields(StepRates)})
    widths = {kind: HalfWidths(0.1, 0.2) for kind in KINDS}
    ranges = dict.fromkeys(RANGED, (1.0, 1000000000000.0))
    fit = StepFit(rates, rates, True, widths, ranges, 0)
    machine = {"cpu": "another", "memory_available_bytes": 1 << 40}
    measured = Measurements(machine, {"threads": 2}, {}, (), CHUNK_TOKENS)
    return HardwareProfile(measured, {"float32/float32": fit}, None, ())


@pytest.fixture(scope="module")
def result(tiny_dir, profile, tmp_path_factory):
    require("cpp", linear.why_not("cpp"))
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("bench") / "profile.json"
    path.write_text(json.dumps(profile_to_dict(profile)))
    settings = BenchSettings(
        model=tiny_dir,
        num_samples=(4, 16),
        prompt_tokens=(8, 300),
        suffix_tokens=8,
        threads=1,
        rounds=2,
        peers=True,
        datasheet_flops=1e12,
        profile=path,
    )
    told = []
    return bench_model(settings, lambda share, what: told.append(share)), told


# ---- one run -------------------------------------------------------------------------------------


def test_every_shape_is_there_shared_and_not(result):
    found, told = result
    decode = [(s.num_samples, s.num_prompts, s.prompt_tokens) for s in found.decode]
    assert sorted(decode) == sorted(
        [(n, m, P) for P in (8, 300) for n in (1, 4, 16) for m in {1, n}]
    )
    assert [s.prompt_tokens for s in found.prefill] == [8, 300]
    assert all(len(s.rounds) >= 2 for s in (*found.prefill, *found.decode))
    assert {(g.num_samples, g.prompt_tokens) for g in found.gains} == {
        (n, P) for P in (8, 300) for n in (4, 16)
    }
    assert min(told) >= 0.0
    assert max(told) == 1.0


def test_shares_of_peaks_follow_from_what_was_counted(result):
    found, _ = result
    peak = found.peaks.product_flops["float32"]
    for step in (*found.prefill, *found.decode):
        assert step.seconds == pytest.approx(np.median(step.rounds))
        assert step.mfu == pytest.approx(step.flops / step.seconds / peak)
        assert step.mbu == pytest.approx(step.bytes / step.seconds / found.peaks.read_bytes)
        assert step.datasheet_mfu == pytest.approx(step.flops / step.seconds / 1e12)
        assert step.datasheet_mbu is None
        tokens = step.num_samples if step.suffix_tokens else step.prompt_tokens
        assert step.tokens_per_second == pytest.approx(tokens / step.seconds)


def test_not_sharing_costs_bytes_and_no_flops(result, config):
    found, _ = result
    steps = {(s.num_samples, s.num_prompts, s.prompt_tokens): s for s in found.decode}
    for (n, prompts, P), apart in steps.items():
        if prompts > 1:
            shared = steps[n, 1, P]
            assert apart.flops == shared.flops
            extra = metering.key_value_bytes(config, (n - 1) * P)
            assert apart.bytes - shared.bytes == extra > 0


def test_predictions_are_those_of_the_profile(result, profile, config):
    found, _ = result
    costs = MachineCosts(profile, "float32")
    for step in found.prefill:
        assert step.predicted_seconds == costs.prefill(config, step.prompt_tokens).seconds
    for step in found.decode:
        shape = step.num_samples, step.prompt_tokens, step.suffix_tokens, step.num_prompts
        assert step.predicted_seconds == costs.decode_step(config, *shape).seconds
        off = step.predicted_seconds / step.seconds - 1
        assert step.prediction_error == pytest.approx(off)
    assert "the profile was made on 2 threads, this ran on 1" in found.notes


def test_a_profile_of_another_precision_is_refused_before_anything_is_timed(
    tiny_dir, profile, tmp_path
):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile_to_dict(profile)))
    settings = BenchSettings(tiny_dir, dtype="int8", profile=path, threads=1)
    with pytest.raises(ValueError, match="not int8/float32; calibrate again"):
        bench_model(settings, lambda share, what: None)


def test_a_result_is_plain_data(result):
    found, _ = result
    text = json.dumps(asdict(found), allow_nan=False)
    assert json.loads(text)["format"] == "t2engine.bench"


def test_calls_are_held_against_their_steps_and_peers(result):
    found, _ = result
    steps = {(s.num_samples, s.prompt_tokens): s for s in found.decode if s.num_prompts == 1}
    ours = [call for call in found.calls if call.engine == "t2engine"]
    assert len(ours) == 3
    for call in ours:
        alone = steps[call.num_samples, call.prompt_tokens].seconds
        assert call.over_step == pytest.approx(call.step_seconds / alone)
        assert call.step_seconds * (call.new_tokens - 1) <= max(call.rounds)
    theirs = [call for call in found.calls if call.engine == "transformers"]
    assert [c.num_samples for c in theirs] == [c.num_samples for c in ours]
    for mine, peer in zip(ours, theirs, strict=True):
        ratio = mine.decode_tokens_per_second / peer.decode_tokens_per_second
        assert peer.ours_over == pytest.approx(ratio)
        assert peer.over_step is None


def test_steps_are_timed_in_every_round_and_long_calls_in_every_third(monkeypatch):
    monkeypatch.setattr(rounds, "SHORTEST_SECONDS", math.inf)
    tasks = [Task("step", lambda: 10.0, math.inf), Task("call", lambda: 10.0, 1.0)]
    told = []
    journal = visit(tasks, 6, lambda share, what: told.append(share))
    assert len(journal.of_task("step")) == 6
    assert len(journal.of_task("call")) == 2
    assert set(journal.loads.values()) == {None}, "a round too short for the load has none"
    assert told == sorted(told)


# ---- what is counted -----------------------------------------------------------------------------


@pytest.mark.parametrize("precision", [Precision(), Precision("int8", "int8")])
@pytest.mark.parametrize(
    "step", [DecodeStep(1, 1, 5, 3), DecodeStep(6, 1, 40, 7), DecodeStep(6, 6, 40, 7)]
)
def test_a_decode_step_is_metered_as_the_cost_model_counts_it(config, precision, step):
    table = tabulate([(config, precision)], [step], CHUNK_TOKENS)
    assert metered(config, precision, step) == Cost(int(table.flops[0]), int(table.bytes[0]))


def test_a_prefill_is_metered_in_closed_form(config):
    short, long = 100, 2 * CHUNK_TOKENS + 10
    found = metered(config, Precision(), PrefillStep(short))
    want = metering.prefill_flops(config, short), metering.prefill_bytes(config, short)
    assert (found.flops, found.bytes) == want
    assert metered(config, Precision(), PrefillStep(long)).flops == metering.prefill_flops(
        config, long
    )


# ---- shapes and memory ---------------------------------------------------------------------------


def test_defaults_are_made_to_fit_the_context():
    wide = choose_shapes(BenchSettings(), 8192)
    assert wide == Shapes((1, 8, 64, 256), (128, 1024), 64)
    narrow = choose_shapes(BenchSettings(), 64)
    assert (narrow.prompt_tokens, narrow.suffix_tokens) == ((32,), 32)
    assert "context is 64 tokens" in narrow.notes[0]
    assert "128 and 1,024" in narrow.notes[1]


def test_calls_are_few_and_short():
    calls = choose_shapes(BenchSettings(), 8192).calls()
    assert calls == [CallShape(64, 128, 64), CallShape(8, 1024, 64), CallShape(1, 1024, 64)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_samples": (0,)}, "num_samples must be numbers of at least 1"),
        ({"prompt_tokens": ()}, "prompt_tokens must be numbers of at least 1"),
        ({"suffix_tokens": 1}, "suffix_tokens must be at least 2, got 1"),
        ({"rounds": 1}, "rounds must be at least 2"),
        ({"datasheet_flops": -1.0}, "datasheet_flops must be a finite number above 0"),
        ({"datasheet_bytes": float("nan")}, "datasheet_bytes must be a finite number above 0"),
        ({"prompt_tokens": (60,)}, "prompt_tokens must be at most 32, the model's context of 64"),
        ({"suffix_tokens": 64}, "suffix_tokens must leave room for a prompt"),
    ],
)
def test_bad_settings_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        choose_shapes(BenchSettings(**fields), 64)


def test_what_does_not_fit_is_refused_with_its_numbers(config):
    shapes = Shapes((1, 64), (100,), 8)
    token = metering.key_value_bytes(config, 1)
    call = 100 + 64 * 8
    needed = store_tokens(shapes.step(64, 100, 1), 1) * token
    limit = needed + call * token
    size = plan_store(config, Precision(), shapes, lambda rows, logit_rows: 0, limit)
    assert size == needed, "no memory for copies, and none is needed"
    with pytest.raises(
        ValueError, match=r"64 samples of a prompt of 100 tokens need 1 MiB"
    ) as told:
        plan_store(config, Precision(), shapes, lambda rows, logit_rows: 0, limit - 1)
    assert "1 samples" not in str(told.value)
    note = copies_note(config, Precision(), shapes, size)
    assert "not shared at n = 64, P = 100" in note[0]
    roomy = plan_store(config, Precision(), shapes, lambda rows, logit_rows: 0, 1 << 32)
    assert copies_note(config, Precision(), shapes, roomy) == ()
