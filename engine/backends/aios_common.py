# SPDX-License-Identifier: GPL-3.0-or-later
"""What AiOS and BLADE share: people are found, looked at, brought before the full image's camera and refined there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...models import weights
from ...models.body_model import BodyModel, load_body
from ...wire.messages import RecoverRequest
from .. import camera_depth, detect, rtm
from ..cameras import Pinhole
from ..chosen import pick_people
from ..detect import Detection
from ..errors import UnreadableClip
from ..fit.close_ups import fit_close_ups
from ..fit.key_fit import camera_notes
from ..fit.observations import Masks, observations
from ..follow import Sighting
from ..frames import Footage
from .aios_answer import SMPLX_BODY, Answer, believed, is_own_body, smplx_body, with_own_hands_and_jaw
from .base import Bodies, BodyTrack, Report
from .clip_path import recover_clip
from .imported import lacking
from .landmarks_common import hidden_limbs, still_track, with_close_ups
from .neural import GUESS_CONFIDENCE, NETWORK_CONFIDENCE, shown

ALONE_IS_LARGE = 1 / 3
"""Share of the picture's longer side from which on somebody is large."""


class WholeBodyBackend:
    """A network that answers with body, hands and face as SMPL-X's parameters."""

    name: str
    title: str
    entries: tuple[str, ...]
    """The weights it needs, by their names in `weights.toml`."""
    gives: tuple[str, ...] = ("hands", "face", "camera")

    def prepare(self, image: np.ndarray, people: Sequence[Detection | Sighting], in_whole: bool | None = None) -> Any:
        """What the network is to see of the people in an (H, W, 3) uint8 RGB picture; for `ask`.

        `in_whole` (`is_alone_and_large`) is decided once for all frames of a clip, and here for a still.
        """
        raise NotImplementedError

    def ask(self, prepared: list) -> list[Answer]:
        """The network's answers on several prepared pictures, a row for each of the people."""
        raise NotImplementedError

    @property
    def licence(self) -> str:
        """The weights' terms, as `weights.toml` has them."""
        entry = weights.find(self.entries[0])
        use = "commercial use allowed" if entry.commercial else "no commercial use"
        return f"weights: {entry.licence} ({use})"

    def missing(self) -> tuple[str, ...]:
        """What this machine lacks, a sentence each. Only manifests are read."""
        return (*lacking(*self.entries), *detect.missing())

    def recover(self, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
        """Find everybody, look, place through the camera that depth or perspective tell, refine."""
        if len(footage.images) > 1:
            from .aios_clip import WholeBodyWay

            return recover_clip(WholeBodyWay(self, request), footage, camera, request, report)
        report("detect", 0.0, "looking for people")
        (image,) = footage.images
        if image is None:
            raise UnreadableClip(f"That frame of {footage.name} cannot be decoded.", "Choose another frame.")
        found = rtm.find_people(image, only_largest=request.people == "largest" and not request.chosen)
        people = pick_people(found, int(footage.frame_numbers[0]), request)
        if not people:
            return Bodies((), camera)
        report("network", 0.2, f"{self.title} looks at {len(people)} {'person' if len(people) == 1 else 'people'}")
        (answer,) = self.ask([self.prepare(image, people)])
        report("camera", 0.7, "fitting camera and bodies to the picture")
        heights_m = np.full(len(people), np.nan)
        heights_m[0] = np.nan if request.height_m is None else request.height_m  # the largest person's
        seen, smplx, body = observations(people, camera, heights_m), smplx_body(), request.body
        refined = camera_depth.placed(
            request,
            image,
            seen,
            lambda candidate: believed(answer, seen, candidate, body, smplx),
            Masks(people),
            np.array([person.box_px for person in people]),
            camera,
            None if np.isnan(answer.depth_m).any() else answer.depth_m,
        )
        close_ups = with_own_hands_and_jaw(fit_close_ups(seen.details, refined.posed, body), answer, body, smplx)
        report("fit", 1.0, "")
        tracks = []
        for row, person in enumerate(people):
            is_shown = shown(person.visibility, load_body(body).joint_names)
            confidence = with_close_ups(np.where(is_shown, NETWORK_CONFIDENCE, GUESS_CONFIDENCE), close_ups, row)
            notes = (*hidden_limbs(person.visibility), self.own_words(answer, row))
            inferred = confidence <= GUESS_CONFIDENCE
            tracks.append(still_track(person, refined.fit, close_ups, row, body, confidence, inferred, notes))
        return self.bodies(tuple(tracks), refined.camera, smplx, body, refined.notes)

    def bodies(
        self,
        tracks: tuple[BodyTrack, ...],
        camera: Pinhole,
        smplx: BodyModel | None,
        body_name: str,
        notes: tuple[str, ...] = (),
    ) -> Bodies:
        """Everybody, with what was made how."""
        from ..network_runner import device_in_words
        from .blade_networks import checksums

        notes = (*self._notes(smplx, body_name), *camera_notes(camera), *notes)
        return Bodies(
            tracks, camera, notes, device_in_words(), detect.versions() | checksums(*self.entries, *rtm.in_use())
        )

    def own_words(self, answer: Answer, row: int) -> str:
        """What the network said of SMPL-X's own shape and expression, for whoever has that body."""
        numbers = (
            f"{what} {' '.join(f'{value:.3f}' for value in values[row])}"
            for what, values in (("betas", answer.betas), ("expression", answer.expression))
        )
        depth = "" if np.isnan(answer.depth_m[row]) else f"; pelvis at {answer.depth_m[row]:.2f} m"
        return f"{self.title}'s SMPL-X: {'; '.join(numbers)}{depth}."

    def _notes(self, smplx: BodyModel | None, body_name: str) -> tuple[str, ...]:
        shape = (
            "the shape was carried over from SMPL-X by bone lengths, stature and volume"
            if smplx is not None
            else f"no SMPL-X body is imported, so the shape was estimated from the picture and the free body's relaxed "
            f"hand stands in for SMPL-X's ({SMPLX_BODY} would tell more)"
        )
        notes = [f"Pose, hands and jaw are {self.title}'s, carried by the body {body_name}; {shape}."]
        if is_own_body(body_name, smplx):
            notes = [f"Pose, shape, hands, jaw and expression are {self.title}'s, carried by SMPL-X itself."]
        if not weights.find(self.entries[0]).commercial:
            notes.append(f"Made with {self.title}'s weights, whose terms allow no commercial use.")
        return tuple(notes)


def is_alone_and_large(people: Sequence[Sequence[Detection | Sighting]], width: int, height: int) -> bool:
    """Whether there is one person, seen once or in many frames, and large: then the whole picture is looked at.

    That is the published way. Several people, and small ones, are better seen in squares of their own.
    """
    if len(people) != 1 or len(people[0]) == 0:
        return False
    sizes_px = [float((seen.box_px[2:] - seen.box_px[:2]).max()) for seen in people[0]]
    return float(np.median(sizes_px)) >= ALONE_IS_LARGE * max(width, height)


def best_match(scores: np.ndarray, boxes: np.ndarray, box: np.ndarray, taken: Sequence[int] = ()) -> tuple[int, float]:
    """The group that is the person in `box` (4,): corners, as `boxes` (G, 4) centre and size. And how well it fits.

    Likely to be a person (`scores` (G,)) and overlapping; `taken` are others'.
    """
    overlap = overlaps(boxes, box)
    fit = scores * overlap
    fit[list(taken)] = -1
    best = int(fit.argmax())
    return (best, float(overlap[best])) if fit[best] > 0 else (int(scores.argmax()), 0.0)


def overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(G,) intersection over union of boxes (G, 4), centre and size, with one box (4,), corners."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    both = np.prod(np.clip(np.minimum(high, box[2:]) - np.maximum(low, box[:2]), 0, None), 1)
    either = np.prod(boxes[:, 2:], 1) + np.prod(box[2:] - box[:2]) - both
    return both / np.maximum(either, 1e-9)
