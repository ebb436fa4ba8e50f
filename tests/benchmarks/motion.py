# SPDX-License-Identifier: GPL-3.0-or-later
"""How smooth, planted and true the motion of a clip is, measured on clips whose truth is known.

    python dev.py bench motion
    python dev.py bench motion -- --clips walk kick --seed 2 --no-standing

Recorded motion (../shared/data/mocap) on random bodies, with feet planted exactly, seen by a camera whose lens nobody
tells; landmarks and masks with a detector's mistakes go into the built-in backend's fit and all that follows. See
tests/synthetic: clips, sightings, clip_takes. The fits are kept in .cache/synthetic/clips (minutes at first).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np

from recover_body.engine import finish
from recover_body.tests.synthetic.clip_takes import MOVING, STANDING, Labelled, labelled
from recover_body.tests.synthetic.measure_motion import BODY, MotionScore, drift_m, joints_cam, motion_of, score_motion
from recover_body.wire.messages import MotionOptions
from recover_body.wire.motion import AS_SEEN


@dataclass(frozen=True)
class Row:
    """One clip."""

    name: str
    frames: int
    seen: MotionScore
    smooth: MotionScore
    after: MotionScore
    alone_mpjpe_mm: float
    """Of single frames, each recovered as a still; the next two in the same frames."""
    same_seen_mpjpe_mm: float
    same_after_mpjpe_mm: float
    focal_percent: float
    """Of the shot."""
    alone_focal_percent: float
    """Mean over single frames."""
    is_focal_told: bool
    """Whether the shot says that perspective told the focal length, rather than that it is assumed."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="*", default=list(MOVING), choices=list(MOVING), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-standing", action="store_true", help="leave out the minute of standing still")
    options = parser.parse_args(arguments)
    print(
        "| clip | frames | acceleration error, m/s²: seen → after "
        "| slide, mm per contact frame: seen → smoothed → after "
        "| MPJPE, mm: alone / seen → after | joints in the picture, px: seen → after | contacts F1 "
        "| focal error: alone → shot |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    rows = []
    for name in options.clips:
        rows.append(measure(name, labelled(name, options.seed)))
        print(_line(rows[-1]), flush=True)
    if rows:
        print("\n" + _summary(rows))
    if not options.no_standing:
        standing = labelled(STANDING, options.seed, alone=False)
        seen, after = (drift_m(finish.with_motion(standing.take, asked)) for asked in (AS_SEEN, MotionOptions()))
        seconds = standing.label.count / standing.label.fps
        print(
            f"\nStanding still for {seconds:.0f} s: drift {100 * seen:.1f} → {100 * after:.1f} cm (goal: 2 cm at most)"
        )
    return 0


def measure(name: str, clip: Labelled) -> Row:
    """As seen, smoothed only, and with everything."""
    options = (AS_SEEN, replace(AS_SEEN, smoothing_s=None), MotionOptions())
    takes = [finish.with_motion(clip.take, asked) for asked in options]
    seen, smooth, after = (score_motion(take, clip.label) for take in takes)
    true = clip.label.camera.see(clip.label.joints_world[clip.alone_frames][:, BODY])
    same_seen, same_after = (
        _mpjpe_mm(joints_cam(motion_of(take), take)[clip.alone_frames], true) for take in (takes[0], takes[2])
    )
    focal_px = clip.label.camera.focal_px
    return Row(
        name,
        clip.label.count,
        seen,
        smooth,
        after,
        _mpjpe_mm(clip.alone_joints, true),
        same_seen,
        same_after,
        100 * abs(float(clip.take.camera.fx_px[0]) / focal_px - 1),
        100 * float(np.abs(clip.alone_focal_px / focal_px - 1).mean()),
        clip.take.camera.source == "estimated",
    )


def _mpjpe_mm(joints: np.ndarray, true: np.ndarray) -> float:
    """Of (N, 22, 3), pelves together."""
    return float(1000 * np.linalg.norm((joints - joints[:, :1]) - (true - true[:, :1]), axis=-1).mean())


def _line(row: Row) -> str:
    told = "" if row.is_focal_told else " (assumed)"
    return (
        f"| {row.name} | {row.frames} | {row.seen.acceleration_m_s2:.1f} → {row.after.acceleration_m_s2:.1f} "
        f"| {row.seen.slide_mm:.1f} → {row.smooth.slide_mm:.1f} → {row.after.slide_mm:.1f} "
        f"| {row.alone_mpjpe_mm:.1f} / {row.same_seen_mpjpe_mm:.1f} → {row.same_after_mpjpe_mm:.1f} "
        f"| {row.seen.overlay_px:.1f} → {row.after.overlay_px:.1f} | {row.after.contact_f1:.2f} "
        f"| {row.alone_focal_percent:.0f} % → {row.focal_percent:.0f} %{told} |"
    )


def _summary(rows: list[Row]) -> str:
    mean = lambda values: float(np.mean(list(values)))  # noqa: E731
    acceleration, slide = (mean(getattr(r.after, n) for r in rows) for n in ("acceleration_m_s2", "slide_mm"))
    worse = mean(r.same_after_mpjpe_mm - r.alone_mpjpe_mm for r in rows)
    shot, alone = mean(r.focal_percent for r in rows), mean(r.alone_focal_percent for r in rows)
    told = [r for r in rows if r.is_focal_told] or rows
    shot_told, alone_told = mean(r.focal_percent for r in told), mean(r.alone_focal_percent for r in told)
    return "\n".join(
        (
            "| figure | goal | measured, mean over clips |",
            "|---|---:|---:|",
            f"| joint acceleration error | ≤ 5 m/s² | {acceleration:.1f} m/s² |",
            f"| foot slide per contact frame | ≤ 4 mm | {slide:.1f} mm |",
            f"| MPJPE against single frames | ≤ +1 mm | {worse:+.1f} mm |",
            f"| focal error of the shot, all clips | ≤ {alone / 2:.0f} % (half of alone) | {shot:.0f} % |",
            f"| the same where perspective told it | ≤ {alone_told / 2:.0f} % | {shot_told:.0f} % |",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
