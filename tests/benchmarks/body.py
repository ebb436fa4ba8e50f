# SPDX-License-Identifier: GPL-3.0-or-later
"""Milliseconds of the body model: `python -m tests.benchmarks.body`, or `python dev.py bench body`."""

import time

import numpy as np

from recover_body.models.body_model import load_body


def main() -> None:
    started = time.perf_counter()
    body = load_body("neutral")
    body.forward(np.zeros((1, body.joint_count, 3)), np.zeros((1, 10)))
    print(f"load and first pose: {1000 * (time.perf_counter() - started):.0f} ms")
    rng = np.random.default_rng(0)
    for batch in (1, 10, 100):
        pose, betas = rng.normal(0, 0.3, (batch, body.joint_count, 3)), rng.normal(0, 1, (1, 10))
        times = []
        for _ in range(15 if batch < 100 else 5):
            started = time.perf_counter()
            body.forward(pose, betas, betas, np.zeros((batch, 3)))
            times.append(time.perf_counter() - started)
        median, best = 1000 * np.median(times) / batch, 1000 * min(times) / batch
        print(f"forward, batch {batch}: median {median:.2f} ms a body, best {best:.2f}")


if __name__ == "__main__":
    main()
