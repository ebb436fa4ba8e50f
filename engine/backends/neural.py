# SPDX-License-Identifier: GPL-3.0-or-later
"""What TokenHMR and HMR2.0 share: everybody's crop through one network, then the free body in the network's pose.

The network tells pose, a shape of SMPL's and a rough place. Hands and faces come from close-ups where they were seen;
place, camera and (without SMPL's file) shape are refined until the body lies on the picture.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ...models import weights
from ...models.body_model import BodyModel, load_body
from ...models.errors import ModelsError
from ...models.rotations import rotation_between
from ...models.smpl_to_smplx import SMPL_PELVIS_M, smpl_to_smplx_pose, smpl_to_smplx_shape
from ...wire.messages import RecoverRequest
from .. import camera_depth, detect
from ..camera_refine import Believed, Refined
from ..cameras import Pinhole
from ..chosen import pick_people
from ..crop import Crop, imagined_focal_px, network_input
from ..detect import Detection
from ..errors import UnreadableClip
from ..fit.close_ups import CloseUps, fit_close_ups
from ..fit.key_fit import camera_notes
from ..fit.kinematics import BODY_JOINTS
from ..fit.observations import Masks, observations
from ..fit.points import LANDMARK_NAMES
from ..frames import Footage
from .base import Bodies, BodyTrack, Report
from .clip_path import recover_clip
from .landmarks_common import hidden_limbs, still_track, with_close_ups

if TYPE_CHECKING:
    import torch

    from ..network_runner import TorchRunner
    from ..onnx_runner import OnnxRunner

    Inputs: TypeAlias = np.ndarray | torch.Tensor

NETWORK_CONFIDENCE, GUESS_CONFIDENCE = 0.8, 0.3
"""Of joints whose limb was seen, and of those where the network continues what it saw."""
SEEN = 0.3
"""Visibility of the landmark that a joint moves, from which on the joint counts as seen."""
BATCH = {"cuda": 64, "mps": 8, "cpu": 4}
"""Crops that go through the network together; on a processor more only take more memory."""
STATURES_M = (0.3, 4.0)
"""A crop camera by which the person would be smaller or larger makes no sense."""
USUAL_STATURE_M = 1.6
SMPL_BODY = "smpl-neutral"
# Joint -> the landmark that shows how it is turned.
_SHOWN_BY = {
    "hip": "knee", "knee": "ankle", "ankle": "foot_index", "foot": "foot_index",
    "collar": "shoulder", "shoulder": "elbow", "elbow": "wrist", "wrist": "index",
}  # fmt: skip

_kept: dict[tuple, TorchRunner | OnnxRunner] = {}
"""How it runs and checksums of the weights -> the network that was loaded last."""


@dataclass(frozen=True)
class Prediction:
    """The network's words on B crops."""

    rotations: np.ndarray
    """(B, 24, 3, 3) SMPL's joints, local."""
    betas: np.ndarray
    """(B, 10) of SMPL's neutral body."""
    crop_camera: np.ndarray
    """(B, 3) scale, tx, ty; see `Crop.full_image_translation`."""

    @classmethod
    def joined(cls, parts: list[Prediction]) -> Prediction:
        """All rows, one after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def rows(self, rows: slice) -> Prediction:
        """Some of the rows."""
        return Prediction(*(getattr(self, field.name)[rows] for field in fields(self)))


class CropNetworkBackend:
    """A network that sees one person at a time."""

    name: str
    title: str
    entries: tuple[str, ...]
    """The weights it needs, by their names in `weights.toml`."""
    gives: tuple[str, ...] = ("hands", "face", "camera")

    def build(self) -> torch.nn.Module:
        """The network with the imported weights, on the processor. Raises ModelsError."""
        raise NotImplementedError

    @property
    def licence(self) -> str:
        """The weights' terms, as `weights.toml` has them."""
        entry = weights.find(self.entries[0])
        use = "commercial use allowed" if entry.commercial else "no commercial use"
        return f"weights: {entry.licence} ({use})"

    def missing(self) -> tuple[str, ...]:
        """What this machine lacks, a sentence each. Only manifests are read."""
        packages = [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]
        lacking = [f"The Python package {name} is missing: run `python dev.py setup`." for name in packages]
        for entry in self.entries:
            try:
                weights.require(weights.find(entry))
            except ModelsError as error:
                lacking.append(f"{error.sentence} {error.remedy}")
        return (*lacking, *detect.missing())

    def recover(self, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
        """Detect, look at everybody's crop, carry the answers over to the free body, refine."""
        if len(footage.images) > 1:
            from .neural_clip import CropWay

            return recover_clip(CropWay(self, request), footage, camera, request, report)
        report("detect", 0.0, "looking for people")
        (image,) = footage.images
        if image is None:
            raise UnreadableClip(f"That frame of {footage.name} cannot be decoded.", "Choose another frame.")
        found = detect.find_people(image, only_largest=request.people == "largest" and not request.chosen)
        people = pick_people(found, int(footage.frame_numbers[0]), request)
        if not people:
            return Bodies((), camera)
        crops = [Crop.around(person.box_px.tolist()) for person in people]
        report("network", 0.3, f"{self.title} looks at {len(people)} {'person' if len(people) == 1 else 'people'}")
        predicted = self.predict(image, crops, report)

        report("fit", 0.8, "fitting the bodies into the picture")
        body, smpl = load_body(request.body), smpl_body()
        boxes_px = np.array([person.box_px for person in people])
        heights_m = np.full(len(people), np.nan)
        heights_m[0] = np.nan if request.height_m is None else request.height_m  # the largest person's
        seen = observations(people, camera, heights_m)
        refined = camera_depth.placed(
            request,
            image,
            seen,
            lambda candidate: believed_before(candidate, predicted, crops, boxes_px, smpl, body),
            Masks(people),
            boxes_px,
            camera,
        )
        close_ups = fit_close_ups(seen.details, refined.posed, request.body)
        report("fit", 1.0, "")
        tracks = tuple(
            _track(
                person,
                refined,
                close_ups,
                row,
                request.body,
                self.own_camera(predicted.crop_camera[row], crops[row], camera),
            )
            for row, person in enumerate(people)
        )
        return self.bodies(tracks, refined.camera, smpl is not None, refined.notes)

    def bodies(
        self, tracks: tuple[BodyTrack, ...], camera: Pinhole, has_smpl: bool, notes: tuple[str, ...] = ()
    ) -> Bodies:
        """Everybody, with what was made how."""
        from ..network_runner import device_in_words

        runs = (note for note in (self.runner().note,) if note)
        notes = (*self._notes(has_smpl), *camera_notes(camera), *notes, *runs)
        return Bodies(tracks, camera, notes, device_in_words(), self._versions())

    def predict(self, image: np.ndarray, crops: list[Crop], report: Report = lambda *_: None) -> Prediction:
        """The network's answers on crops of an (H, W, 3) uint8 RGB picture."""
        inputs = self.prepared(image, crops)
        size, answers = self.batch_size, []
        for first in range(0, len(crops), size):
            report("network", 0.3 + 0.5 * first / len(crops), f"person {first + 1} of {len(crops)}")
            answers.append(self.answer(inputs[first : first + size]))
        return Prediction.joined(answers)

    def prepared(self, image: np.ndarray, crops: list[Crop]) -> Inputs:
        """(B, 3, 256, 256) float32 inputs of an (H, W, 3) uint8 RGB picture, on the graphics card if there is one."""
        from .. import crop_torch
        from ..network_runner import Settings

        settings = Settings.from_environment()
        if settings.device.type == "cuda" and not settings.is_onnx:
            return crop_torch.network_input(image, crops, settings.device)
        return network_input(np.ascontiguousarray(image[..., ::-1]), crops)

    @property
    def batch_size(self) -> int:
        """How many crops go through the network together."""
        from ..network_runner import torch_device

        return BATCH[torch_device().type]

    def answer(self, inputs: Inputs) -> Prediction:
        """The network's answers on (B, 3, 256, 256) prepared crops."""
        return Prediction(*(part.astype(np.float64) for part in self.runner()(inputs)))

    def runner(self) -> TorchRunner | OnnxRunner:
        """The loaded network; the last one is kept between requests, until its files are replaced."""
        from ..network_runner import Settings, TorchRunner

        settings = Settings.from_environment()
        key = (settings, *self.checksums().values())
        if key not in _kept:
            _kept.clear()  # first, so that two of them never lie in memory together
            if settings.is_onnx:
                from ..onnx_runner import OnnxRunner, usual_path

                path = usual_path(self.name, settings.runtime == "onnx-int8")
                _kept[key] = OnnxRunner(path, self.checksums())
            else:
                _kept[key] = TorchRunner(self.build(), settings)
        return _kept[key]

    def checksums(self) -> dict[str, str]:
        """sha256 of the imported weights by entry. Raises NotImported."""
        return {entry: weights.require(weights.find(entry)).sha256 for entry in self.entries}

    def _versions(self) -> dict[str, str]:
        files = {f"{entry} (sha256)": digest[:12] for entry, digest in self.checksums().items()}
        return {"network": self.runner().name} | files

    def _notes(self, has_smpl: bool) -> tuple[str, ...]:
        shape = (
            "the shape was carried over from SMPL by bones, stature, volume and surface"
            if has_smpl
            else f"no SMPL body is imported, so the shape was estimated from the picture ({SMPL_BODY} would tell more)"
        )
        notes = [f"The pose is {self.title}'s, joint by joint; {shape}."]
        if not weights.find(self.entries[0]).commercial:
            notes.append(f"Made with {self.title}'s weights, whose terms allow no commercial use.")
        return tuple(notes)

    def own_camera(self, crop_camera: np.ndarray, crop: Crop, camera: Pinhole) -> str:
        """What the network itself said of the camera, for whoever compares with its published program."""
        size = (camera.width, camera.height)
        place = crop.full_image_translation(crop_camera, size)
        scale, right, down = crop_camera
        return (
            f"{self.title}'s own camera: scale {scale:.4f}, shift ({right:.4f}, {down:.4f}) in the crop; translation "
            f"({place[0]:.3f}, {place[1]:.3f}, {place[2]:.2f}) m through its lens of {imagined_focal_px(size):.0f} px."
        )


def joined_inputs(planes: list[Inputs]) -> Inputs:
    """Inputs (3, 256, 256) from several pictures -> (B, 3, 256, 256), where they lie."""
    if isinstance(planes[0], np.ndarray):
        return np.stack(planes)
    import torch

    return torch.stack(planes)


def believed_before(
    camera: Pinhole,
    predicted: Prediction,
    crops: list[Crop],
    boxes_px: np.ndarray,
    smpl: BodyModel | None,
    body: BodyModel | None,
) -> Believed:
    """The network's words about SMPL in its crops, as words about `body` before the full image's camera in each row.

    Without `smpl` or `body`, shapes are left out.
    """
    pelvis_rest = SMPL_PELVIS_M if smpl is None else smpl.rest_joints(predicted.betas)[:, 0]
    pelvis = pelvis_rest + np.array(
        [
            translation_before(camera.rows(slice(number, number + 1)), *row)
            for number, row in enumerate(zip(predicted.crop_camera, crops, boxes_px, strict=True))
        ]
    )
    rotations = smpl_to_smplx_pose(predicted.rotations)
    # The network looked straight at the person; the full image's camera sees the person along a ray.
    rotations[:, 0] = rotation_between(np.array([0, 0, 1.0]), pelvis) @ rotations[:, 0]
    betas = None if smpl is None or body is None else smpl_to_smplx_shape(smpl, predicted.betas, body).betas
    return Believed(rotations, pelvis, betas)


def translation_before(camera: Pinhole, crop_camera: np.ndarray, crop: Crop, box_px: np.ndarray) -> np.ndarray:
    """(3,) metres that bring SMPL before the full image's camera, so that it appears where the crop's camera saw it.

    crop_camera (3,) scale, tx, ty; where it makes no sense, SMPL is brought into the person's box (4,) instead.
    """
    # The formula knows a principal point in the middle only, and counts from the middle of the first pixel.
    size_px = (2 * camera.cx_px - 1, 2 * camera.cy_px - 1)
    extent_px = float(np.linalg.norm(box_px[2:] - box_px[:2]))
    stature_m = 2 * extent_px / (crop_camera[0] * crop.side_px + 1e-9)
    pelvis_off = np.abs(crop_camera[1:] + SMPL_PELVIS_M[:2]) * crop_camera[0] / 2  # in sides of the crop
    if not (STATURES_M[0] < stature_m < STATURES_M[1] and (pelvis_off < 1).all()):  # nor if they are no numbers
        usual = 2 * extent_px / (USUAL_STATURE_M * crop.side_px)
        crop_camera = np.array([usual, *-SMPL_PELVIS_M[:2]])  # the pelvis in the middle of the box
    return crop.full_image_translation(crop_camera, size_px, camera.fx_px)


def smpl_body() -> BodyModel | None:
    """SMPL's neutral body, which the networks speak of, if the user has imported it."""
    found = weights.installed(weights.find(SMPL_BODY))
    return None if found is None else load_body(found.path)


def _track(
    person: Detection, refined: Refined, close_ups: CloseUps, row: int, body_name: str, own_camera: str
) -> BodyTrack:
    """One person as a track of one frame."""
    is_shown = shown(person.visibility, load_body(body_name).joint_names)
    confidence = with_close_ups(np.where(is_shown, NETWORK_CONFIDENCE, GUESS_CONFIDENCE), close_ups, row)
    inferred = confidence <= GUESS_CONFIDENCE
    notes = (*hidden_limbs(person.visibility), own_camera)
    return still_track(person, refined.fit, close_ups, row, body_name, confidence, inferred, notes)


def shown(visibility: np.ndarray, joint_names: tuple[str, ...]) -> np.ndarray:
    """(..., 22) bool: whether the picture shows how each body joint is turned. visibility (..., 33)."""
    is_shown = np.ones((*visibility.shape[:-1], BODY_JOINTS), bool)
    for joint, name in enumerate(joint_names[:BODY_JOINTS]):
        side, _, part = name.partition("_")
        if part in _SHOWN_BY:
            is_shown[..., joint] = visibility[..., LANDMARK_NAMES.index(f"{side}_{_SHOWN_BY[part]}")] > SEEN
    return is_shown


def with_network_confidence(track: BodyTrack, body_name: str) -> BodyTrack:
    """A clip's track whose body joints are the network's, not the landmarks'."""
    is_shown = shown(track.keypoints_px[..., 2], load_body(body_name).joint_names)
    confidence, inferred = track.joint_confidence.copy(), track.joint_inferred.copy()
    confidence[:, :BODY_JOINTS] = np.where(is_shown, NETWORK_CONFIDENCE, GUESS_CONFIDENCE)
    inferred[:, :BODY_JOINTS] = ~is_shown
    return replace(track, joint_confidence=confidence, joint_inferred=inferred)
