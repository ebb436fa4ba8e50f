# SPDX-License-Identifier: GPL-3.0-or-later
"""Random people to learn the shape components from: mostly adults of all builds."""

import numpy as np

# Standard deviations of length and girth changes on top of the phenotypes, so that limbs vary on their own.
_LOCAL_CHANGES = {
    "measure-upperarm-length-incr": 0.2,
    "measure-lowerarm-length-incr": 0.2,
    "measure-upperleg-height-incr": 0.2,
    "measure-lowerleg-height-incr": 0.2,
    "measure-napetowaist-dist-incr": 0.15,
    "measure-shoulder-dist-incr": 0.25,
    "measure-waist-circ-incr": 0.2,
    "measure-hips-circ-incr": 0.2,
    "measure-thigh-circ-incr": 0.2,
    "stomach-tone-incr": 0.2,
    "torso-vshape-incr": 0.2,
    "torso-scale-depth-incr": 0.15,
}


def sample_people(gender: str, count: int, rng: np.random.Generator) -> tuple[dict, dict]:
    """`count` people: phenotypes and local changes, each name -> (count,).

    Neutral people lie anywhere between male and female builds and have flat chests: a plain mannequin. Three in a
    hundred are older children, which carries stature well below 1.5 m.
    """

    def bell(mean: float, deviation: float) -> np.ndarray:
        return np.clip(rng.normal(mean, deviation, count), 0, 1)

    age = 2 / 3 + rng.beta(1.0, 2.2, count) / 3  # 2/3 is a young adult, 1 is old
    child = rng.random(count) < 0.03
    age[child] = rng.uniform(0.45, 2 / 3, child.sum())
    ancestry = rng.dirichlet([0.8] * 3, count)
    # Builds gather near the two ends, with every mixture in between.
    mixed = np.where(rng.random(count) < 0.85, rng.beta(0.35, 0.35, count), rng.random(count))
    phenotypes = dict(
        gender={"neutral": mixed, "female": np.ones(count), "male": np.zeros(count)}[gender],
        age=age,
        muscle=bell(0.5, 0.19),
        weight=bell(0.5, 0.22),
        height=bell(0.40, 0.08),
        proportions=bell(0.55, 0.2),
        cupsize=bell(0.35, 0.15) if gender == "female" else np.zeros(count),
        firmness=bell(0.6, 0.15),
        african=ancestry[:, 0],
        asian=ancestry[:, 1],
        caucasian=ancestry[:, 2],
    )
    local_changes = {name: np.clip(rng.normal(0, sd, count), -1, 1) for name, sd in _LOCAL_CHANGES.items()}
    return phenotypes, local_changes


def average_person(gender: str) -> dict[str, np.ndarray]:
    """One adult of middling build, whose face is used for the expressions."""
    middle = {"neutral": 0.5, "female": 1.0, "male": 0.0}[gender]
    chest = 0.35 if gender == "female" else 0.0
    values = dict(gender=middle, age=0.75, height=0.4, cupsize=chest, firmness=0.6)
    return {name: np.array([value]) for name, value in values.items()}
