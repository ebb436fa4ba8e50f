# SPDX-License-Identifier: GPL-3.0-or-later
"""Everybody on SMPL's neutral body, with Human3.6M's joints: how BLADE's tables were made.

An answer on SMPL-X, or on a free body, is fitted by SMPL: its surface is carried to SMPL's vertices, which SMPL then
meets with pose, shape and place. Seconds for every person. Place, outline and body parts are SMPL's from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...models.body_model import BodyModel, load_body
from ...models.surface_fit import Conversion
from ...models.surface_transfer import nearest_transfer, read_transfer
from ..backends.neural import SMPL_BODY
from ..errors import Missing
from .people import Human36Joints, Person

JOINTS = 17
SMPLX_VERTICES = 10475


class NoRegressor(Missing):
    """Human3.6M's joint regressor is not there, or is another one."""

    remedy = "J_regressor_h36m.npy, 17 x 6890, comes with SPIN's, mmhuman3d's and Zolly's data."


@dataclass(frozen=True, eq=False)
class OnSmpl:
    smpl: BodyModel
    regressor: np.ndarray
    """(17, V) Human3.6M's joints out of SMPL's vertices."""
    transfer: Path | None
    """SMPL-X's own way to SMPL; without it the nearest places are taken for the same."""

    @classmethod
    def opened(cls, regressor: Path, transfer: Path | None) -> OnSmpl:
        """Raises `NoRegressor`, `NotImported` where SMPL is not."""
        if not regressor.is_file():
            raise NoRegressor(f"There is no file {regressor}.")
        if transfer is not None and not transfer.is_file():
            raise Missing(f"There is no file {transfer}.", "It comes with SMPL-X's transfer models.")
        smpl = load_body(SMPL_BODY)
        try:
            values = np.load(regressor, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise NoRegressor(f"{regressor} cannot be read ({error}).") from error
        if values.shape != (JOINTS, len(smpl.v_template)):
            raise NoRegressor(f"{regressor} has the shape {values.shape}.")
        return cls(smpl, values.astype(np.float64), transfer)

    def __call__(self, person: Person) -> Person:
        """Raises `BodyFileError` for a transfer file that is none."""
        if person.body.joint_count == self.smpl.joint_count:
            return replace(person, h36m=Human36Joints(self.regressor @ person.vertices, is_exact=True))
        assert person.parameters is not None
        is_exact = self.transfer is not None and len(person.body.v_template) == SMPLX_VERTICES
        fitted = self._conversion(person.body, is_exact)(person.parameters, person.vertices)
        out = self.smpl.forward(fitted.pose[None], fitted.betas[None], translation=fitted.translation[None])
        vertices, joints = out.vertices[0].astype(np.float64), out.joints[0].astype(np.float64)
        found = Human36Joints(self.regressor @ vertices, is_exact)
        return replace(person, body=self.smpl, vertices=vertices, joints=joints, parameters=fitted, h36m=found)

    def _conversion(self, source: BodyModel, is_exact: bool) -> Conversion:
        if not is_exact:
            return Conversion(source, self.smpl, nearest_transfer(source, self.smpl))
        assert self.transfer is not None
        return Conversion(source, self.smpl, read_transfer(self.transfer, source, self.smpl))
