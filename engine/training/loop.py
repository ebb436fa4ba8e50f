# SPDX-License-Identifier: GPL-3.0-or-later
"""The training loop that all recipes share.

    draw a batch, let the model judge it, step, sometimes write the log, evaluate, save

Everything random in step n is a function of the seed and n: which samples, how they are varied, what is dropped. That
is what makes a resumed run equal to an uninterrupted one. Devices, several GPUs, mixed precision, gradient
accumulation and the checkpoint's contents are `accelerate`'s business.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import BadRequest, RecoverError
from .batch import Batch, Drawn, Place
from .data.bad_data import Tally
from .log import TrainingLog, as_json, read_settings, write_settings

LOSS = "loss"


class Diverged(RecoverError):
    """The loss is not a finite number any more."""

    remedy = "Resume from the last checkpoint with a smaller --rate, or with --precision no."


@dataclass(frozen=True)
class Settings:
    """How long, how large, how often. What is learnt is the recipe's business."""

    steps: int
    """Steps of the optimizer, from the very beginning."""
    batch: int
    """Samples per process and forward pass."""
    accumulate: int = 1
    """Forward passes per step."""
    precision: str = "no"
    """no (float32), bf16 or fp16."""
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    save_every: int = 500
    kept_checkpoints: int = 2
    device: str = "auto"
    """auto, or cpu although there is something faster."""
    minutes: float = math.inf
    """Stop after so long, with a checkpoint from which --resume goes on."""


class Recipe(Protocol):
    """What is trained, on what, and how it is judged."""

    name: str
    model: nn.Module
    """Called with a batch and the step; returns scalar terms by name, of which `loss` is minimised."""
    has_idle_parameters: bool
    """Some trainable parameters get no gradient in some steps, which several GPUs must be told."""

    def optimizer(self) -> torch.optim.Optimizer: ...

    def rate(self, step: int) -> float:
        """Factor of the learning rates in this step."""
        ...

    def batches(self, first: int, size: int, place: Place) -> Iterator[Drawn]:
        """The batches from number `first` on, without end; each process gets its own."""
        ...

    def begin_step(self, step: int) -> None:
        """Before every step: what changes with time."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out data; `score`, if among them, is better when smaller. Empty where there are none."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """What the training is for, under the names of the published checkpoints."""
        ...

    def description(self) -> dict:
        """All choices, for the record, and so that nobody resumes with others."""
        ...


@dataclass(frozen=True)
class Outcome:
    folder: Path
    step: int
    is_finished: bool
    figures: dict[str, float]
    """Of the last evaluation and the last line of the log."""
    is_main: bool
    """Whether this process speaks for all."""


class Clock:
    """What a checkpoint knows beside model and optimizer."""

    def __init__(self) -> None:
        self.step = 0
        self.best = math.inf

    def state_dict(self) -> dict[str, float]:
        return {"step": self.step, "best": self.best}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.step, self.best = int(state["step"]), float(state["best"])


def train(recipe: Recipe, settings: Settings, folder: Path, tally: Tally, *, resume: bool = False) -> Outcome:
    """Train into `folder`: run.json, log.csv, log.json, curves.png, checkpoints/, weights.safetensors.

    Raises `BadRequest` (there is a run already, or it had other choices), `BadSample`, `Diverged`.
    """
    AcceleratorState._reset_state()  # or a second training in this process would have the first one's precision
    accelerator = Accelerator(
        mixed_precision=settings.precision,
        gradient_accumulation_steps=settings.accumulate,
        cpu=settings.device == "cpu",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=recipe.has_idle_parameters)],
    )
    if settings.precision == "fp16" and accelerator.device.type == "cpu":  # which would silently compute in 32 bits
        raise BadRequest("Processors do not train in fp16.", "Choose --precision bf16 or no, or a machine with a card.")
    place = Place(accelerator.process_index, accelerator.num_processes)
    if place.count > 1 and accelerator.device.type == "cuda":
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(recipe.model)  # in place; statistics of all processes together
    # It warns of tensors with two names, which it saves once and loads twice.
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    set_seed(settings.seed)
    model, optimizer = accelerator.prepare(recipe.model, recipe.optimizer())
    clock, base_rates = Clock(), [group["lr"] for group in optimizer.param_groups]
    accelerator.register_for_checkpointing(clock)
    _begin_folder(folder, recipe, settings, place, resume)
    if resume:
        accelerator.load_state(str(latest_checkpoint(folder)))
    log = TrainingLog(folder, clock.step, settings.steps, shown=accelerator.is_main_process)
    batches = recipe.batches(clock.step * settings.accumulate, settings.batch, place)
    started, figures = time.monotonic(), {}

    def save() -> None:
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            log.write()
        _save_checkpoint(accelerator, folder, clock.step, settings.kept_checkpoints)

    saved = clock.step
    with log:
        while clock.step < settings.steps and time.monotonic() - started < 60 * settings.minutes:
            set_seed(_mixed(settings.seed, clock.step, place.rank))
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * recipe.rate(clock.step)
            model.train()
            recipe.begin_step(clock.step)
            for _ in range(settings.accumulate):
                drawn = next(batches)
                for sentence in drawn.skipped:
                    tally.add(sentence)
                with accelerator.accumulate(model):
                    terms = model(_on(drawn.batch, accelerator.device), clock.step)
                    accelerator.backward(terms[LOSS])
                    optimizer.step()
                    optimizer.zero_grad()
                log.add(terms)
            clock.step += 1
            if clock.step % settings.log_every == 0 or clock.step == settings.steps:
                figures |= log.line(clock.step, rate=optimizer.param_groups[0]["lr"])
                if not math.isfinite(figures[LOSS]):
                    raise Diverged(f"The loss of step {clock.step} is {figures[LOSS]}.")
            if clock.step % settings.evaluate_every == 0 or clock.step == settings.steps:
                figures |= _evaluate(accelerator, recipe, clock, folder, log)
            if clock.step % settings.save_every == 0:
                save()
                saved = clock.step
        if saved != clock.step or resume:
            save()
    if accelerator.is_main_process:
        save_file(_contiguous(recipe.weights()), folder / "weights.safetensors")
    accelerator.end_training()
    return Outcome(folder, clock.step, clock.step >= settings.steps, figures, place.rank == 0)


def _evaluate(
    accelerator: Accelerator, recipe: Recipe, clock: Clock, folder: Path, log: TrainingLog
) -> dict[str, float]:
    """On one process: held-out data are small."""
    if not accelerator.is_main_process:
        return {}
    recipe.model.eval()
    with torch.no_grad():
        figures = recipe.evaluate()
    if figures:
        log.evaluation(clock.step, figures)
    if "score" in figures and figures["score"] < clock.best:
        clock.best = figures["score"]
        save_file(_contiguous(recipe.weights()), folder / "best.safetensors")
    return figures


def latest_checkpoint(folder: Path) -> Path:
    """Raises `BadRequest` where there is none."""
    found = sorted((folder / "checkpoints").glob("step-????????"))
    if not found:
        raise BadRequest(f"{folder} has no checkpoint to resume from.", "Leave out --resume.")
    return found[-1]


def _save_checkpoint(accelerator: Accelerator, folder: Path, step: int, kept: int) -> None:
    """Whole or not at all: written beside, then renamed; older ones go afterwards."""
    final = folder / "checkpoints" / f"step-{step:08}"
    beside = final.with_suffix(".part")
    accelerator.save_state(str(beside))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if final.exists():
            shutil.rmtree(final)
        os.replace(beside, final)
        for old in sorted(final.parent.glob("step-????????"))[:-kept]:
            shutil.rmtree(old)


def _begin_folder(folder: Path, recipe: Recipe, settings: Settings, place: Place, resume: bool) -> None:
    # What may differ from run to run without changing what is computed.
    free = {"steps", "log_every", "evaluate_every", "save_every", "kept_checkpoints", "minutes", "device"}
    chosen = {name: value for name, value in asdict(settings).items() if name not in free}
    choices = {name: value for name, value in recipe.description().items() if name not in free}
    description = as_json({"recipe": recipe.name, "settings": chosen, "choices": choices, "processes": place.count})
    if resume:
        latest_checkpoint(folder)
        before = read_settings(folder)
        if before != description:
            raise BadRequest(
                f"{folder} was begun with other choices ({_difference(before, description)}).",
                "Resume with the same options, or begin anew in another --out.",
            )
    elif place.rank == 0:
        if (folder / "checkpoints").exists() or (folder / "log.csv").exists():
            raise BadRequest(f"{folder} holds a run already.", "Go on with --resume, or choose another --out.")
        write_settings(folder, description)


def _difference(before: dict, now: dict, at: str = "") -> str:
    for name in sorted(before.keys() | now.keys()):
        one, other = before.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            if one != other:
                return _difference(one, other, f"{at}{name}.")
        elif one != other:
            return f"{at}{name} was {one}, is {other}"
    return "order"


def _on(batch: Batch, device: torch.device) -> Batch:
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def _mixed(seed: int, step: int, rank: int) -> int:
    """A seed for this step; multiplied by a large odd number, so that neighbours have nothing in common."""
    return (seed * 1_000_003 + step * 97 + rank) * 2_654_435_761 % 2**32


def _contiguous(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
