# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes and AMASS motion to .blend files without a window: the engine makes rigs of them, no network runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..wire.amass import BACKEND as AMASS
from ..wire.messages import Failure, RerunRequest
from ..wire.take import write_take
from .client import EngineClient
from .draw_file import Extras, write_blend
from .errors import AddonError, SourceError
from .rerunning import read_motion
from .sources import source_from_file


class EngineSaidNo(AddonError):
    """The engine answered with a failure, whose words these are."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence, failure.remedy)
        self.exit_code = failure.exit_code


def draw_motion(client: EngineClient, path: str, out: Path, extras: Extras) -> None:
    """Write NAME.blend, NAME.take.npz and the extras for one file. Raises AddonError."""
    take, name = read_motion(path), Path(path).name.removesuffix(".npz").removesuffix(".take")
    print(f"{path}: drawing", flush=True)
    client.submit(RerunRequest(path, take))
    answer = client.wait(path)
    if isinstance(answer, Failure):
        raise EngineSaidNo(answer)
    picture = source_from_file(take.source) if take.backend != AMASS and Path(take.source).is_file() else None
    try:
        write_take(out / f"{name}.take.npz", answer.take)
    except OSError as error:
        raise SourceError(f"{out} cannot be written ({error.strerror}).", "Choose another --out.") from None
    render = out / f"{name}.render.png" if extras.render else None
    write_blend(answer, picture, out / f"{name}.blend", f"{name}.take.npz", replace(extras, render=render))
