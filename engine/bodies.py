# SPDX-License-Identifier: GPL-3.0-or-later
"""Which body is recovered: one that comes with Recover Body, an imported SMPL-X, or an SMPL-X file."""

from __future__ import annotations

from pathlib import Path

from ..models import weights
from ..models.body_files import BodyFileError
from ..models.body_model import SHIPPED_BODIES, BodyModel, load_body
from ..models.errors import ModelsError
from ..wire.take import JOINT_COUNT
from .errors import BadInput

IMPORTABLE = tuple(entry.id for entry in weights.all_entries() if entry.kind == "body" and entry.joints == JOINT_COUNT)
"""Names of bodies that a user may import and recover."""


class UnusableBody(BadInput):
    """The body that was asked for cannot be recovered."""

    remedy = f"Choose {', '.join(SHIPPED_BODIES)}, {', '.join(IMPORTABLE)}, or an SMPL-X file as downloaded."


def ready() -> tuple[str, ...]:
    """Names of the bodies that could be recovered now: those that come with us, then what was imported. Quick."""
    return (*SHIPPED_BODIES, *filter(_is_imported, IMPORTABLE))


def _is_imported(name: str) -> bool:
    try:
        weights.require(weights.find(name))
    except ModelsError:
        return False
    return True


def name_of(text: str) -> str:
    """What a user typed -> what a request says: a name, or the absolute path of a file. Raises UnusableBody."""
    if text in SHIPPED_BODIES or text in IMPORTABLE:
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        raise UnusableBody(f"There is no body {text!r}, and no such file.")
    return str(path.resolve())


def open_body(name: str) -> BodyModel:
    """The body a request asks for. Raises UnusableBody, and NotImported for one that could be imported."""
    try:
        body = load_body(name)
    except BodyFileError as error:
        raise UnusableBody(str(error), error.remedy) from error
    if body.joint_count != JOINT_COUNT:
        raise UnusableBody(f"{body.name} has {body.joint_count} joints; a body to recover has SMPL-X's {JOINT_COUNT}.")
    return body


def licence_note(body: BodyModel) -> tuple[str, ...]:
    """A sentence on what else a take holds when a body is licensed to its user; none for those that come with us."""
    if body.gender in SHIPPED_BODIES and body == load_body(body.gender):
        return ()
    return (f"The body is {body.name}. {body.licence[0].upper()}{body.licence[1:]}.",)
