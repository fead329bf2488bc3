"""Decode steps and prefills of one model on a device, by the engine's own loop.

Where steps are recorded and enqueued in bursts, a step alone says little: what is timed is a call's
whole decoding, once its prompts are computed and its first tokens drawn, the device idle at both
ends. A sample that draws 2 s tokens attends to 1, 2, ..., 2 s - 1 keys of its own in the steps
that draw all but the first: s on average, which is the step's suffix_len.

    seconds of a step = seconds of the loop / (2 suffix_len - 1)

Recorded steps live with the stores they look at. One set of stores serves all steps of a model, as
it does the engine's calls; where it must grow, what was recorded is lost. A composition of samples
and prompts that a set of stores has not run yet is run unmeasured before, and a call in which a
step was recorded all the same is made again.

Units:  seconds.
Raises: ValueError for a step that does not fit.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import torch

from t2engine.costs.steps import DecodeStep, PrefillStep, Step
from t2engine.engine.device import DeviceRuntime
from t2engine.engine.device_run import DeviceRun
from t2engine.engine.device_stage import DeviceStage
from t2engine.engine.forward import prefill
from t2engine.engine.llm import wishes
from t2engine.engine.memory import CHUNK_TOKENS, MemoryPlan, plan_memory
from t2engine.engine.opening import open_run
from t2engine.engine.prefix_tree import PrefixTree
from t2engine.engine.requests import Group, Request
from t2engine.engine.torch_threads import one_torch_thread
from t2engine.hardware.native_steps import Window
from t2engine.metering import key_value_bytes
from t2engine.model.device_model import DeviceModel
from t2engine.model.random_weights import RandomWeights
from t2engine.model.tokenizer import Tokenizer
from t2engine.schema import ModelConfig, SamplingParams

WARM_TOKENS = 4  # one drawn from the prompt, one step as it is, one recorded, one played
NO_TEXT = Tokenizer(Path(), None, frozenset(), frozenset(), False)


def random_device_model(config: ModelConfig, device: torch.device, dtype: str) -> DeviceRuntime:
    return DeviceRuntime(DeviceModel(config, RandomWeights(config), device, dtype))


class DeviceSteps:
    """A model on which steps are timed.

    store_bytes: for keys and values, at most.
    """

    def __init__(self, runtime: DeviceRuntime, most_samples: int, store_bytes: int) -> None:
        self.runtime, self.most_samples, self.store_bytes = runtime, most_samples, store_bytes
        self.config, self.precision = runtime.model.config, runtime.model.precision
        self.warm_stage: DeviceStage | None = None
        self.warm: set[Step] = set()  # on that stage; of decode steps, suffixes aside

    def seconds(self, step: Step) -> float:
        """Of one such step, by the engine's own code."""
        with one_torch_thread(), torch.inference_mode():
            self.warm_up(step)
            if isinstance(step, PrefillStep):
                return self.prefill(step)
            return self.decode(step)

    def repeat(self, step: Step, seconds: float, window: Window) -> int:
        """Such steps for about so long at least, and nothing else, in the window; how many.

        Samples of one prompt take each other's place, so that the prompt is computed once.
        """
        if isinstance(step, DecodeStep) and step.num_prompts > 1:
            raise ValueError(f"a decode step that is repeated must have one prompt, got {step}")
        expected = self.seconds(step)
        with one_torch_thread(), torch.inference_mode():
            if isinstance(step, DecodeStep):
                turns = math.ceil(seconds / (expected * num_steps(step)))
                run = self.start(step, turns=turns)
                with window:
                    self.drain(run)
                return run.now
            count, began = 0, time.perf_counter()
            with window:
                while time.perf_counter() - began < seconds:
                    self.prefill(step)
                    count += 1
            return count

    def decode(self, step: DecodeStep) -> float:
        while True:
            before = self.recorded()
            run = self.start(step)
            seconds = self.drain(run)
            if self.recorded() == before:
                return seconds / run.now

    def recorded(self) -> list[object]:
        """The steps recorded on the stores there are, as they are one and the same."""
        stage = self.runtime.idle
        return [] if stage is None else list(stage.graphs.graphs.values())

    def warm_up(self, step: Step) -> None:
        """Run what has not run yet on these stores: kernels compile, steps are recorded."""
        requests = requests_of(step, self.config)
        if isinstance(step, DecodeStep):  # with room for the unmeasured run too
            new_tokens = max(WARM_TOKENS, num_steps(step) + 1)
            requests = requests_of(step, self.config, new_tokens)
        self.make_room(self.plan(requests), requests)
        if self.runtime.idle is not self.warm_stage:
            self.warm_stage = self.runtime.idle
            self.warm.clear()
        composition = replace(step, suffix_len=1) if isinstance(step, DecodeStep) else step
        if composition in self.warm:
            return
        if isinstance(step, DecodeStep):
            self.drain(self.start(step, new_tokens=WARM_TOKENS))
        else:
            self.prefill(step)
        self.warm.add(composition)

    def start(self, step: DecodeStep, new_tokens: int = 0, turns: int = 1) -> DeviceRun:
        """A call whose prompts are computed and whose first tokens are drawn; the device is idle.

        new_tokens: of a sample; 0 takes what the step asks for. turns: of samples, one after
        another.
        """
        requests = requests_of(step, self.config, new_tokens, turns)
        plan = self.plan(requests, int(step.num_samples))
        self.make_room(plan, requests)
        run = open_run(self.runtime, NO_TEXT, requests, plan)
        assert isinstance(run, DeviceRun)
        run.start_rows()
        self.synchronise()
        return run

    def drain(self, run: DeviceRun) -> float:
        """Seconds until every sample has ended."""
        began = time.perf_counter()
        for _ in run.finished():
            pass
        return time.perf_counter() - began

    def prefill(self, step: PrefillStep) -> float:
        """The logits after the prompt included."""
        stage = self.runtime.idle
        assert stage is not None
        [request] = requests_of(step, self.config)
        group = Group(request.token_ids, 0)
        group.leaf = PrefixTree(step.prompt_len).insert(group.token_ids)
        self.synchronise()
        began = time.perf_counter()
        prefill(stage.executor, [group], self.runtime.chunk_tokens)
        self.synchronise()
        return time.perf_counter() - began

    def synchronise(self) -> None:
        if self.runtime.model.device.type == "cuda":
            torch.cuda.synchronize(self.runtime.model.device)

    # ---- memory ------------------------------------------------------------------------------

    def plan(self, requests: list[Request], slots: int | None = None) -> MemoryPlan:
        """slots: samples side by side; None takes all."""
        slots = slots or sum(request.params.n for request in requests)
        if slots > self.most_samples:
            raise ValueError(f"a step must have at most {self.most_samples} samples, got {slots}")
        plan = plan_memory(
            *(self.config, self.precision, self.runtime.workspace_bytes, wishes(requests)),
            *(slots, self.runtime.available_bytes()),
            chunk_tokens=self.runtime.chunk_tokens or CHUNK_TOKENS,
            room_of_steps=self.runtime.room_of_steps,
        )
        size = plan.prefix_bytes + plan.suffix_bytes
        if plan.slots < slots or size > self.store_bytes:
            raise ValueError(
                f"a step's keys and values must fit {self.store_bytes / 2**20:,.1f} MiB, got "
                f"{plan.slots} of {slots} samples in {size / 2**20:,.1f} MiB; take fewer samples, "
                "or a shorter prefix or suffix"
            )
        return plan

    def make_room(self, plan: MemoryPlan, requests: list[Request]) -> None:
        """Have a stage that the plan fits: the one there is; one for both, if it may be; its own.

        The one there is goes first, as the engine's does.
        """
        self.runtime.reserve(max(len(r.token_ids) + r.max_new_tokens for r in requests))
        stage = self.runtime.idle
        if stage is not None and stage.fits(plan, self.runtime):
            return
        if stage is not None:
            larger = self.both(plan, stage.plan)
            size = larger.prefix_bytes + larger.suffix_bytes
            plan = larger if size <= self.store_bytes else plan
        self.runtime.idle = self.warm_stage = None
        del stage
        if self.runtime.model.device.type == "cuda":
            torch.cuda.empty_cache()
        self.runtime.idle = DeviceStage(self.runtime, plan)

    def both(self, a: MemoryPlan, b: MemoryPlan) -> MemoryPlan:
        """Room for either."""
        slots = max(a.slots, b.slots)
        columns = max(a.suffix_capacity, b.suffix_capacity)
        prefix = max(a.prefix_capacity, b.prefix_capacity)
        return MemoryPlan(
            slots=slots,
            rows=max(a.rows, b.rows),
            logit_rows=max(a.logit_rows, b.logit_rows),
            prefix_capacity=prefix,
            suffix_capacity=columns,
            prefix_bytes=key_value_bytes(self.config, prefix, self.precision),
            suffix_bytes=key_value_bytes(self.config, slots * columns, self.precision),
            workspace_bytes=max(a.workspace_bytes, b.workspace_bytes),
        )


def num_steps(step: DecodeStep) -> int:
    """Of a call whose samples attend to suffix_len keys of their own on average."""
    return 2 * int(step.suffix_len) - 1


def requests_of(
    step: Step, config: ModelConfig, new_tokens: int = 0, turns: int = 1
) -> list[Request]:
    """A request for each prompt of the step, with its samples; those of `turns` such steps.

    Prompts are random and differ in their first tokens, so that they share nothing.
    """
    if isinstance(step, PrefillStep):
        n, prompts, length, wanted = 1, 1, step.prompt_len, 1
    else:
        n, prompts, length = int(step.num_samples), int(step.num_prompts), int(step.prefix_len)
        wanted = new_tokens or num_steps(step) + 1
    V = config.vocab_size
    digits = next(d for d in range(1, 64) if V**d >= prompts)  # to number the prompts by
    if digits > length:
        raise ValueError(
            f"{prompts} prompts of {length} tokens cannot all differ with a vocabulary of {V}"
        )
    generator = torch.Generator().manual_seed(0)
    requests = []
    for i in range(prompts):
        samples = turns * ((i + 1) * n // prompts - i * n // prompts)
        token_ids = torch.randint(V, (length,), generator=generator).tolist()
        token_ids[:digits] = [i // V**place % V for place in range(digits)]
        params = SamplingParams(n=samples, max_tokens=wanted, seed=0, ignore_eos=True)
        handle = turns * (i * n // prompts)
        requests.append(Request(None, tuple(token_ids), params, 0, frozenset(), wanted, handle))
    return requests
