# SPDX-License-Identifier: GPL-3.0-or-later
"""The body: parameters in, vertices and joints out (linear blend skinning), in numpy.

    body = load_body("neutral")
    out = body.forward(pose, betas, translation=translation)      # out.vertices, out.joints

Frames: metres; rest is a T-pose, x to the body's left, y up, z to its front. `pose` holds one rotation vector per
joint, relative to the parent joint. The root turns about its own rest position, and `translation` is added after
posing, so the pelvis lies at `translation` + its rest position. The formulas are those of SMPL (Loper et al. 2015);
SMPL, SMPL-X and the bodies shipped in `models/body` all load into `BodyModel`. `body_model_torch` is the
differentiable twin.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from .rotations import rotvec_to_matrix, twist_angle_rad

SHIPPED_BODIES = ("neutral", "female", "male")


@dataclass(frozen=True)
class Corrective:
    """Vertex offsets that follow one joint's bending, simple enough to become a shape key with a driver.

    weight = clamp(twist angle about `axis` / `full_angle_rad`, 0, 1)
    """

    name: str
    joint: int
    axis: np.ndarray
    """(3,) unit, in the joint's rest frame, which is the model's."""
    full_angle_rad: float
    offsets: np.ndarray
    """(V, 3) metres, added to the rest shape at weight 1."""


@dataclass(frozen=True)
class BodyOutput:
    vertices: np.ndarray
    """(B, V, 3) metres."""
    joints: np.ndarray
    """(B, J, 3) metres."""
    rotations: np.ndarray
    """(B, J, 3, 3) each joint's rotation from the rest frame to the model frame."""


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A skinned body; V vertices, F triangles, J joints (55 for SMPL-X and the shipped bodies, 24 for SMPL)."""

    name: str
    gender: str
    licence: str
    v_template: np.ndarray
    """(V, 3) metres, the mean body in T-pose."""
    faces: np.ndarray
    """(F, 3) vertex indices, counter-clockwise seen from outside."""
    shapedirs: np.ndarray
    """(V, 3, S) metres per unit of beta (one standard deviation)."""
    exprdirs: np.ndarray
    """(V, 3, E) metres per unit of expression; E = 0 where the body has none."""
    J_regressor: np.ndarray
    """(J, V) rest joints as weighted sums of rest vertices."""
    weights: np.ndarray
    """(V, J) skinning weights, each row sums to 1."""
    parents: np.ndarray
    """(J,) parent of each joint, -1 at the root; parents come before their children."""
    joint_names: tuple[str, ...]
    posedirs: np.ndarray | None = None
    """(V, 3, 9 (J - 1)) metres per element of (rotation - identity) of joints 1.., or None where there are none."""
    correctives: tuple[Corrective, ...] = ()
    hands_mean_left: np.ndarray = field(default_factory=lambda: np.zeros((15, 3), np.float32))
    """(15, 3) rotation vectors of a relaxed hand: index, middle, pinky, ring, thumb, three joints each."""
    hands_mean_right: np.ndarray = field(default_factory=lambda: np.zeros((15, 3), np.float32))
    uv: np.ndarray | None = None
    """(T, 2) texture coordinates, v up."""
    face_uvs: np.ndarray | None = None
    """(F, 3) indices into `uv`."""
    face_materials: np.ndarray | None = None
    """(F,) indices into `material_names`."""
    material_names: tuple[str, ...] = ("skin",)
    landmark_vertices: dict[str, int] = field(default_factory=dict)
    """nose, left_eye, left_ear, left_heel, left_big_toe, left_small_toe, left_index_tip, … -> vertex."""
    mediapipe_face_faces: np.ndarray | None = None
    """(478,) triangle in which each point of MediaPipe's face mesh lies."""
    mediapipe_face_bary: np.ndarray | None = None
    """(478, 3) its barycentric coordinates there."""

    # ---- sizes, and what follows from the fields ----

    @property
    def joint_count(self) -> int:
        return len(self.parents)

    @property
    def beta_count(self) -> int:
        return self.shapedirs.shape[2]

    @property
    def expression_count(self) -> int:
        return self.exprdirs.shape[2]

    @cached_property
    def joints_template(self) -> np.ndarray:
        """(J, 3) metres, rest joints of the mean body."""
        return self.J_regressor @ self.v_template

    @cached_property
    def joint_shapedirs(self) -> np.ndarray:
        """(J, 3, S + E) metres the rest joints move per unit of beta, then of expression."""
        return np.stack([self.J_regressor @ offsets for offsets in self.blend_offsets], -1)

    @cached_property
    def blend_offsets(self) -> np.ndarray:
        """(S + E, V, 3) metres: shape, then expression offsets, component first so that each one is contiguous."""
        return np.ascontiguousarray(np.moveaxis(np.concatenate([self.shapedirs, self.exprdirs], 2), 2, 0))

    @cached_property
    def _corrective_offsets(self) -> np.ndarray:
        """(number of correctives, V, 3) metres."""
        return np.array([c.offsets for c in self.correctives], np.float32).reshape(-1, *self.v_template.shape)

    @cached_property
    def _weights_by_joint(self) -> np.ndarray:
        return np.ascontiguousarray(self.weights.T)

    def with_vertices(self, kept: np.ndarray, faces: np.ndarray) -> BodyModel:
        """The body with only the vertices `kept` (K,) and triangles (F, 3) of them; joints are where they were."""
        some = replace(
            self,
            v_template=self.v_template[kept],
            faces=faces,
            shapedirs=self.shapedirs[kept],
            exprdirs=self.exprdirs[kept],
            J_regressor=self.J_regressor[:, kept],
            weights=self.weights[kept],
            posedirs=None if self.posedirs is None else self.posedirs[kept],
            correctives=tuple(replace(c, offsets=c.offsets[kept]) for c in self.correctives),
            uv=None,
            face_uvs=None,
            face_materials=None,
            landmark_vertices={},
            mediapipe_face_faces=None,
            mediapipe_face_bary=None,
        )
        # Joints are sums over vertices of which some are gone.
        vars(some).update(joints_template=self.joints_template, joint_shapedirs=self.joint_shapedirs)
        return some

    # ---- the model ----

    def rest_joints(self, betas: np.ndarray, expression: np.ndarray | None = None) -> np.ndarray:
        """Joints in T-pose of betas (B, n <= S) and expression (B, n <= E): (B, J, 3) metres."""
        return self.joints_template + np.tensordot(self._blend(betas, expression), self.joint_shapedirs, ([1], [2]))

    def rest_vertices(self, betas: np.ndarray, expression: np.ndarray | None = None) -> np.ndarray:
        """Vertices in T-pose of betas (B, n <= S) and expression (B, n <= E): (B, V, 3) metres."""
        return self._shaped(self._blend(betas, expression), slice(None))

    def forward(
        self,
        pose: np.ndarray,
        betas: np.ndarray,
        expression: np.ndarray | None = None,
        translation: np.ndarray | None = None,
        vertex_ids: np.ndarray | None = None,
    ) -> BodyOutput:
        """Pose the body.

        pose (B, J, 3) rotation vectors, radians; betas and expression (B or 1, n), missing trailing components are
        zero; translation (B, 3) metres. With `vertex_ids` (N,) only those vertices are computed, in that order.
        """
        local = rotvec_to_matrix(np.asarray(pose, np.float32))
        blend = self._blend(betas, expression)
        ids = slice(None) if vertex_ids is None else vertex_ids
        rest_joints = self.joints_template + np.tensordot(blend, self.joint_shapedirs, ([1], [2]))
        rest_vertices = self._shaped(blend, ids) + self._pose_offsets(local, ids)
        joints, rotations = self._chain(local, rest_joints)
        # A vertex follows joint j as x -> R_j x + (joint_j - R_j rest_joint_j).
        shifts = joints - np.einsum("bjmn,bjn->bjm", rotations, np.broadcast_to(rest_joints, joints.shape))
        vertices = self._skin(rotations, shifts, rest_vertices, ids)
        if translation is not None:
            offset = np.asarray(translation, np.float32)[:, None]
            vertices, joints = vertices + offset, joints + offset
        return BodyOutput(vertices, joints, rotations)

    def face_embedding(self) -> tuple[np.ndarray, np.ndarray]:
        """Where MediaPipe's 478 face points lie: (478, 3) vertices, (478, 3) their shares. ValueError if unknown."""
        if self.mediapipe_face_faces is None or self.mediapipe_face_bary is None:
            raise ValueError(f"The body {self.name} does not say where its face points are.")
        return self.faces[self.mediapipe_face_faces], self.mediapipe_face_bary

    def corrective_weights(self, local_rotations: np.ndarray) -> np.ndarray:
        """(B, J, 3, 3) rotations relative to the parents -> (B, number of correctives), each 0 to 1."""
        if not self.correctives:
            return np.zeros((len(local_rotations), 0), np.float32)
        turning = local_rotations[:, [corrective.joint for corrective in self.correctives]]
        full_rad = np.array([corrective.full_angle_rad for corrective in self.correctives], np.float32)
        angles_rad = twist_angle_rad(turning, np.array([corrective.axis for corrective in self.correctives]))
        return np.clip(angles_rad / full_rad, 0, 1)

    # ---- steps of forward ----

    def _blend(self, betas: np.ndarray, expression: np.ndarray | None) -> np.ndarray:
        """(B, S + E) coefficients, padded with zeros."""
        betas = np.atleast_2d(np.asarray(betas, np.float32))
        expression = np.zeros((1, 0), np.float32) if expression is None else np.atleast_2d(expression)
        blend = np.zeros((max(len(betas), len(expression)), self.beta_count + self.expression_count), np.float32)
        blend[:, : betas.shape[1]] = betas
        blend[:, self.beta_count : self.beta_count + expression.shape[1]] = expression
        return blend

    def _shaped(self, blend: np.ndarray, ids: np.ndarray | slice) -> np.ndarray:
        """(B, S + E) -> (B, V, 3), skipping components that nobody uses."""
        used = np.flatnonzero(blend.any(0))
        return self.v_template[ids] + np.tensordot(blend[:, used], self.blend_offsets[:, ids][used], 1)

    def _pose_offsets(self, local: np.ndarray, ids: np.ndarray | slice) -> np.ndarray | float:
        """(B, J, 3, 3) -> (B, V, 3) metres that pose blend shapes and correctives add to the rest shape."""
        offsets = 0.0
        if self.posedirs is not None:
            features = (local[:, 1:] - np.eye(3, dtype=np.float32)).reshape(len(local), -1)
            offsets = offsets + np.tensordot(features, self.posedirs[ids], ([1], [2]))
        weights = self.corrective_weights(local)
        used = np.flatnonzero(weights.any(0))
        return offsets + np.tensordot(weights[:, used], self._corrective_offsets[:, ids][used], 1)

    def _chain(self, local: np.ndarray, rest_joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Walk the tree: local rotations (B, J, 3, 3), rest joints (B or 1, J, 3) -> posed joints, their rotations."""
        rotations, joints = np.empty_like(local), np.empty(local.shape[:3], local.dtype)
        rotations[:, 0], joints[:, 0] = local[:, 0], rest_joints[:, 0]
        for j, p in enumerate(self.parents[1:], start=1):
            rotations[:, j] = rotations[:, p] @ local[:, j]
            bone = (rest_joints[:, j] - rest_joints[:, p])[..., None]
            joints[:, j] = joints[:, p] + (rotations[:, p] @ bone)[..., 0]
        return joints, rotations

    def _skin(self, rotations: np.ndarray, shifts: np.ndarray, rest: np.ndarray, ids: np.ndarray | slice) -> np.ndarray:
        """Blend the joints' motions (B, J, …) per vertex and apply them to rest (B or 1, V, 3): (B, V, 3)."""
        motions = np.concatenate([rotations, shifts[..., None]], -1)  # (B, J, 3, 4)
        weights = self._weights_by_joint[:, ids]
        out = np.empty((len(motions), weights.shape[1], 3), motions.dtype)
        rest = np.broadcast_to(rest, out.shape)
        for vertices, motion, body_rest in zip(out, motions, rest, strict=True):
            # One body at a time, coordinate by coordinate: everything stays in the cache.
            blended = (motion.reshape(-1, 12).T @ weights).reshape(3, 4, -1)
            x, y, z = body_rest.T
            for axis, (to_x, to_y, to_z, shift) in enumerate(blended):
                vertices[:, axis] = to_x * x + to_y * y + to_z * z + shift
        return out


def load_body(name_or_path: str | Path = "neutral") -> BodyModel:
    """A shipped body by name ("neutral", "female", "male"), or a licensed SMPL-X / SMPL file by its path or by the name
    under which it was imported ("smplx-neutral").

    Cached: the arrays are shared, do not write into them. Raises `BodyFileError` for a file that is no body and
    `NotImported`, each with a remedy.
    """
    if str(name_or_path) in SHIPPED_BODIES:
        return _shipped(str(name_or_path))
    return _from_file(_file_of(name_or_path))


def _file_of(name_or_path: str | Path) -> Path:
    from . import weights

    names = {entry.id for entry in weights.all_entries() if entry.kind == "body"}
    if str(name_or_path) in names:
        return weights.require(weights.find(str(name_or_path))).path
    return Path(name_or_path)


@lru_cache(maxsize=3)
def _shipped(name: str) -> BodyModel:
    from .body.shipped import read_shipped_body

    return read_shipped_body(name)


@lru_cache(maxsize=8)
def _from_file(path: Path) -> BodyModel:
    from .body_files import read_body_file
    from .body_surfaces import with_landmarks

    body = read_body_file(path)
    neutral = _shipped("neutral")
    return with_landmarks(body, neutral) if body.joint_names == neutral.joint_names else body
