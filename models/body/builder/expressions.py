# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten expressions, each a symmetric mixture of MakeHuman's 52 face units (named as ARKit's blend shapes).

Opening the jaw and turning the eyes are joint rotations, not expressions.
"""

import numpy as np

from .population import average_person
from .source import MakeHumanSource
from .tpose import bone_heads, skin, tpose_rotations

EXPRESSIONS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmile": 1, "cheekSquint": 0.5},
    "frown": {"mouthFrown": 1, "mouthShrugLower": 0.5},
    "pucker": {"mouthPucker": 1},
    "funnel": {"mouthFunnel": 1},
    "brows_up": {"browInnerUp": 1, "browOuterUp": 1},
    "brows_down": {"browDown": 1},
    "blink": {"eyeBlink": 1},
    "stretch": {"mouthStretch": 1, "mouthLowerDown": 0.6},
    "sneer": {"mouthUpperUp": 1, "noseSneer": 0.7},
    "cheek_puff": {"cheekPuff": 1},
}
_WITHOUT_SIDES = ("mouthShrugLower", "mouthPucker", "mouthFunnel", "browInnerUp", "cheekPuff")


def expression_offsets(source: MakeHumanSource, gender: str) -> np.ndarray:
    """(V, 3, 10) metres per unit of expression, in T-pose."""
    person = average_person(gender)
    neutral = source.bodies(person)
    # The bones of the neutral face carry every expression: a face unit must not move the skeleton.
    rotations = tpose_rotations(source, neutral)
    heads = bone_heads(source, neutral, rotations)

    def posed(face_units: dict[str, np.ndarray]) -> np.ndarray:
        face = source.bodies(person, facial_actions=face_units)
        carried = type(neutral)(face.vertices, neutral.heads, neutral.tails)
        return skin(source, carried, rotations, heads)[0]

    offsets = [posed(_both_sides(units)) - posed({}) for units in EXPRESSIONS.values()]
    return np.stack(offsets, -1)


def _both_sides(units: dict[str, float]) -> dict[str, np.ndarray]:
    sides = {name: [name] if name in _WITHOUT_SIDES else [f"{name}Left", f"{name}Right"] for name in units}
    return {full: np.array([float(amount)]) for name, amount in units.items() for full in sides[name]}
