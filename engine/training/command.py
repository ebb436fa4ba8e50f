# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of `recover-body train` to a recipe, its data and a run."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...models.blade import DEPTH_PREFIXES, DepthNet
from ...models.body_model import load_body
from ...models.pose_tokens import PoseTokenizer
from ..errors import BadRequest
from . import blade_depth, blade_pose, hmr, tokenhmr, tokenizer
from .bodies import open_body
from .crops import CropPreparation
from .data.bad_data import Tally
from .data.motions import held_out, read_sets
from .data.people_data import PeopleData
from .data.plausible import Plausible
from .data.sources import Mix, Reading, open_mix
from .initial import read_weights
from .loop import Outcome, Recipe, Settings
from .loop import train as run_training
from .squares import DepthPreparation, PosePreparation


@dataclass(frozen=True)
class Report:
    """What a run is summed up in."""

    outcome: Outcome
    tally: Tally

    @property
    def is_main(self) -> bool:
        return self.outcome.is_main

    def as_dict(self) -> dict:
        figures = {name: value if math.isfinite(value) else None for name, value in self.outcome.figures.items()}
        return {
            "folder": str(self.outcome.folder),
            "step": self.outcome.step,
            "finished": self.outcome.is_finished,
            "figures": figures,
            "skipped": self.tally.sentences,
        }

    def in_words(self) -> str:
        done = "Done" if self.outcome.is_finished else "Stopped; --resume goes on"
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.outcome.figures.items())
        words = [f"{done} at step {self.outcome.step}: {figures}", f"  {self.outcome.folder / 'weights.safetensors'}"]
        if self.tally.sentences:
            words.append(f"{len(self.tally)} bad samples were passed over:")
            words += [f"  {sentence} ({count} times)" for sentence, count in self.tally.sentences.items()]
        return "\n".join(words)


def train(options: argparse.Namespace) -> Report:
    """Raises the failures of `data`, `loop` and `initial`, all of them expected ones."""
    tally = Tally()
    choices = _choices(options)
    settings = Settings(
        steps=choices.steps,
        batch=choices.batch,
        accumulate=options.accumulate,
        precision=options.precision,
        seed=options.seed,
        log_every=options.log_every,
        evaluate_every=options.evaluate_every,
        save_every=options.save_every,
        device=options.device,
        minutes=options.minutes,
    )
    recipe = _RECIPES[options.recipe](options, choices, tally)
    return Report(run_training(recipe, settings, options.out, tally, resume=options.resume), tally)


Choices = (
    tokenizer.TokenizerTraining
    | tokenhmr.TokenHmrTraining
    | hmr.HmrTraining
    | blade_depth.DepthTraining
    | blade_pose.PoseTraining
)
PRESETS: dict[str, Mapping[str, Choices]] = {
    "tokenizer": tokenizer.PRESETS,
    "tokenhmr": tokenhmr.PRESETS,
    "hmr": hmr.PRESETS,
    "blade-depth": blade_depth.PRESETS,
    "blade-pose": blade_pose.PRESETS,
}


def _choices(options: argparse.Namespace) -> Choices:
    """The preset, with what the command line says otherwise."""
    choices = PRESETS[options.recipe][options.preset]
    said = {name: getattr(options, name) for name in ("steps", "batch") if getattr(options, name) is not None}
    if options.rate is not None:
        rates = [name for name in asdict(choices) if name.endswith("rate") and name != "judge_rate"]
        said |= dict.fromkeys(rates, options.rate)
    return replace(choices, **said)


def _tokenizer(options: argparse.Namespace, choices: tokenizer.TokenizerTraining, tally: Tally) -> Recipe:
    if options.no_augment:
        choices = replace(choices, noise=(), mirror=False)
    training, validation = _motions(Path(options.data), options.bad_data, tally), []
    if options.val:
        validation = _motions(Path(options.val), options.bad_data, tally)
    else:
        training, validation = held_out(training)
    return tokenizer.TokenizerRecipe(
        choices, training, validation, load_body(options.body), options.seed, choices.steps
    )


def _tokenhmr(options: argparse.Namespace, choices: tokenhmr.TokenHmrTraining, tally: Tally) -> Recipe:
    words = PoseTokenizer.from_state(read_weights(options.tokenizer))
    start = read_weights(options.init) if options.init else None
    body = open_body(options.body, options.regressor)
    return tokenhmr.TokenHmrRecipe(choices, words, body, _crops(options, tally), start)


def _hmr(options: argparse.Namespace, choices: hmr.HmrTraining, tally: Tally) -> Recipe:
    poses = _motions(options.motions, options.bad_data, tally)
    return hmr.HmrRecipe(choices, open_body(options.body, options.regressor), _crops(options, tally), poses)


def _blade_depth(options: argparse.Namespace, choices: blade_depth.DepthTraining, tally: Tally) -> Recipe:
    mirror = choices.mirror and not options.no_augment
    preparations = (DepthPreparation(choices.side_px, mirrored) for mirrored in (mirror, False))
    data = _people(options, tally, *preparations)
    return blade_depth.DepthRecipe(choices, data, read_weights(options.init) if options.init else None)


def _blade_pose(options: argparse.Namespace, choices: blade_pose.PoseTraining, tally: Tally) -> Recipe:
    depth_network, depth_side_px = None, 0
    if options.depth:
        state = {n: t for n, t in read_weights(options.depth).items() if n.startswith(DEPTH_PREFIXES)}
        depth_network = DepthNet.from_state(state)
        config = depth_network.depth_backbone.config
        depth_side_px = config.trained_grid * config.patch_px
    preparations = (
        PosePreparation(choices.side_px, depth_side_px, varied) for varied in (not options.no_augment, False)
    )
    data = _people(options, tally, *preparations)
    start = read_weights(options.init) if options.init else None
    return blade_pose.PoseRecipe(choices, load_body(options.body), data, start, depth_network)


_RECIPES: dict[str, Callable[..., Recipe]] = {
    "tokenizer": _tokenizer,
    "tokenhmr": _tokenhmr,
    "hmr": _hmr,
    "blade-depth": _blade_depth,
    "blade-pose": _blade_pose,
}


def _motions(path: Path, bad_data: str, tally: Tally):
    if not path.exists():
        raise BadRequest(f"There is no {path}.", "Name a folder or an .npz of motions; docs/training.md lists layouts.")
    return read_sets(path, bad_data, tally)


def _mixes(options: argparse.Namespace, tally: Tally) -> tuple[Mix, Mix | None]:
    reading = Reading(options.pictures, options.body, options.regressor, options.bad_data)
    likely = reading
    if options.plausible:
        likely = replace(reading, plausible=Plausible.of(_motions(options.plausible, options.bad_data, tally)))
    return open_mix(options.data, likely, tally), open_mix(options.val, reading, tally) if options.val else None


def _crops(options: argparse.Namespace, tally: Tally) -> PeopleData:
    varied, plain = CropPreparation(augment=not options.no_augment), CropPreparation(augment=False)
    return _people(options, tally, varied, plain)


def _people(options: argparse.Namespace, tally: Tally, varied, plain) -> PeopleData:
    mixes, skip_bad = _mixes(options, tally), options.bad_data == "skip"
    return PeopleData(*mixes, options.seed, options.workers, skip_bad, varied, plain, tally)
