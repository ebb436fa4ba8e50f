# SPDX-License-Identifier: GPL-3.0-or-later
"""Which body poses are likely: a mixture of Gaussians over the 21 body joints' rotation vectors.

    python -m recover_body.models.pose_prior --mocap clips.npz more_clips.npz     # builds body/pose_prior.npz again

The shipped statistics come from the CMU Graphics Lab Motion Capture Database and Mesh2Motion (see NOTICE.md).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

PRIOR_FILE = Path(__file__).parent / "body" / "pose_prior.npz"
BODY_JOINTS = 21
# Joint i of the body (1..21) has its mirror image at MIRROR[i - 1] + 1.
MIRROR = np.array([2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20]) - 1
_WRISTS = (19, 20)


@dataclass(frozen=True)
class PosePrior:
    """M Gaussians over the 63 numbers of a body pose, radians."""

    means: np.ndarray
    """(M, 63)."""
    roots: np.ndarray
    """(M, 63, 63) A with precision = A^T A, so that |A (pose - mean)|^2 is the squared Mahalanobis distance."""
    log_weights: np.ndarray
    """(M,) logarithm of each Gaussian's weight times its normalising constant, up to a constant."""

    @cached_property
    def precisions(self) -> np.ndarray:
        """(M, 63, 63) inverse covariances."""
        return self.roots.swapaxes(1, 2) @ self.roots

    def nearest(self, poses: np.ndarray) -> np.ndarray:
        """(B,) the Gaussian that explains each pose (B, 63) best."""
        offsets = poses[:, None] - self.means
        turned = self.roots @ offsets.transpose(1, 2, 0)  # (M, 63, B)
        distance = np.square(turned).sum(1).T
        return (0.5 * distance - self.log_weights).argmin(1)


@lru_cache(maxsize=1)
def load_pose_prior() -> PosePrior:
    """The prior that ships."""
    with np.load(PRIOR_FILE) as data:
        covariances = data["covariances"].astype(np.float64)
        return _from_covariances(data["means"].astype(np.float64), covariances, data["weights"].astype(np.float64))


def _from_covariances(means: np.ndarray, covariances: np.ndarray, weights: np.ndarray) -> PosePrior:
    # inv(C) = A^T A with A = inv(L), C = L L^T.
    roots = np.linalg.inv(np.linalg.cholesky(covariances))
    log_weights = np.log(weights) - 0.5 * np.linalg.slogdet(covariances)[1]
    return PosePrior(means, roots, log_weights)


def fit_pose_prior(clips: list[np.ndarray], components: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Clips (frames, 21, 3) -> means (M, 63), covariances (M, 63, 63), weights (M,). Needs scikit-learn.

    Clips count equally however long they are, since most frames are walking; every pose counts mirrored too.
    """
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(seed)
    per_clip = 400
    drawn = np.concatenate([clip[rng.integers(0, len(clip), per_clip)] for clip in clips]).astype(np.float64)
    poses = np.concatenate([drawn, drawn[:, MIRROR] * np.array([1, -1, -1])]).reshape(-1, BODY_JOINTS * 3)
    mixture = GaussianMixture(components, covariance_type="full", reg_covar=0.02, random_state=seed).fit(poses)
    # The clips are few: people bend in more ways than these. A floor of 0.2 rad keeps the prior from insisting.
    floor = np.full((BODY_JOINTS, 3), 0.2)
    # The wrists of these clips are unreliable, so they get a width of their own instead of what was measured.
    floor[list(_WRISTS)] = 0.4
    covariances = mixture.covariances_ + np.diag(floor.ravel() ** 2)
    means = mixture.means_.reshape(-1, BODY_JOINTS, 3)
    means[:, _WRISTS] = 0
    return {
        "means": means.reshape(components, -1).astype(np.float32),
        "covariances": covariances.astype(np.float32),
        "weights": mixture.weights_.astype(np.float32),
    }


def read_clips(path: Path) -> list[np.ndarray]:
    """The clips of one motion file, each (frames, 21, 3) rotation vectors."""
    with np.load(path) as data:
        starts, poses = data["clip_start"], data["poses"][:, 1 : 1 + BODY_JOINTS].astype(np.float32)
    return [poses[start:end] for start, end in pairwise(starts)]


def main() -> None:
    """Rebuild the shipped prior."""
    parser = argparse.ArgumentParser(description="Build the pose prior from motion files (npz: poses, clip_start).")
    parser.add_argument("--mocap", type=Path, nargs="+", required=True)
    parser.add_argument("--components", type=int, default=4)
    parser.add_argument("--out", type=Path, default=PRIOR_FILE)
    options = parser.parse_args()
    clips = [clip for path in options.mocap for clip in read_clips(path)]
    np.savez_compressed(options.out, **fit_pose_prior(clips, options.components))
    print(f"{options.out}: {options.components} components from {len(clips)} clips, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
