# SPDX-License-Identifier: GPL-3.0-or-later
"""What networks would run on, found out without importing torch, which takes seconds."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from pathlib import Path


def describe() -> str:
    """cpu, "cuda:0 (name of the card)" or mps."""
    if sys.platform == "darwin" and platform.machine() == "arm64" and importlib.util.find_spec("torch"):
        return "mps"
    cards = graphics_cards()
    return f"cuda:0 ({cards[0]})" if cards and torch_build().startswith("cuda") else "cpu"


def graphics_cards() -> tuple[str, ...]:
    """Names of the NVIDIA cards whose driver is loaded."""
    if sys.platform == "win32":
        return _cards_told_by_driver_tool()
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [re.search(r"Model:\s*(.+)", path.read_text(errors="replace")) for path in found]
    return tuple(name.group(1).strip() for name in names if name)


def torch_build() -> str:
    """What the installed torch was built for: "cuda 12.8", "cpu", or "" without torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return ""
    try:
        text = Path(spec.submodule_search_locations[0], "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    cuda = re.search(r"^cuda[^=]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return f"cuda {cuda.group(1)}" if cuda else "cpu"


def _cards_told_by_driver_tool() -> tuple[str, ...]:
    import shutil
    import subprocess

    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        told = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in told.stdout.splitlines() if line.strip()) if told.returncode == 0 else ()
