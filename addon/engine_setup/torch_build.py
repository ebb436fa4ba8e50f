# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of the pinned torch fits the machine.

pip's default is right beside an NVIDIA card on Linux, on macOS, and for the processor on Windows. On a Linux machine
without a card the default carries gigabytes of CUDA, so the build for the processor is asked for first; whether there
is one depends on the package sources.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable

from .errors import NotInSources
from .options import TORCH, Accelerator, Layer, SetupOptions, torch_pin
from .report import Report


def with_torch_build(
    layer: Layer,
    accelerator: Accelerator,
    options: SetupOptions,
    report: Report,
    run: Callable[[list[str]], None],
) -> None:
    """Call `run` with what pip is asked for besides the layer's list; a second time where the first is not had."""
    asks_first = layer is TORCH and accelerator is Accelerator.CPU and _default_brings_cuda() and not options.bundle
    if not asks_first:
        run([])
        return
    pin = torch_pin(options.requirements)
    try:
        run([f"{pin}+cpu"])
    except NotInSources:
        report.note(
            f"The package sources have no {pin} for the processor alone, so the larger one for NVIDIA cards was taken. "
            "An index that has it can be named under Package Sources; PyTorch's installation page lists them."
        )
        run([])


def _default_brings_cuda() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"
