# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be installed, for which hardware, and from where."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = PACKAGE_ROOT / "requirements"
"""The pinned lists; they travel with the add-on, so that an add-on knows the engine it was tested with."""


class Accelerator(StrEnum):
    """What the networks run on."""

    AUTO = "auto"
    CUDA = "cuda"
    MPS = "mps"
    CPU = "cpu"
    NONE = "none"
    """No torch: the built-in backend alone, which needs none."""


@dataclass(frozen=True)
class Layer:
    """Packages that are installed together: a list in `requirements/`."""

    name: str
    title: str
    imports: tuple[str, ...]
    """Modules that must import once it is installed."""
    resolves: bool = False
    """Whether pip may add what the list does not name: what torch drags in depends on the machine."""


TORCH = Layer("torch", "Torch, for the neural backends", ("torch", "safetensors"), resolves=True)
BASE = Layer("base", "Engine", ("numpy", "cv2", "PIL", "av", "mediapipe", "threadpoolctl"))

# MB to download and MB on disk, measured on Linux; CUDA's libraries change from torch to torch, so theirs is rounded.
_SIZES_MB = {"base": (170, 500), "cpu": (200, 860), "mps": (110, 500), "cuda": (3000, 6500)}
_PYTHON_MB = 70
"""The virtual environment itself, and a Python where none is there."""


@dataclass(frozen=True)
class SetupOptions:
    """Everything a person may say about an installation; empty means the usual."""

    accelerator: Accelerator = Accelerator.AUTO
    python: str = ""
    """A Python 3.11 to build on; empty looks for one."""
    index_url: str = ""
    """Package index instead of pip's own."""
    extra_index_url: str = ""
    """Package index beside it, e.g. the one with torch for a certain CUDA."""
    find_links: str = ""
    """Folder, or page, with wheels."""
    proxy: str = ""
    bundle: str = ""
    """Offline bundle to install from; nothing is downloaded then."""
    offline: bool = False
    """Never use the network."""
    requirements: Path = REQUIREMENTS
    """Folder with the pinned lists."""


def detect_accelerator() -> Accelerator:
    """What is there: an NVIDIA card whose driver answers, Apple's own chip, or the processor."""
    if sys.platform == "darwin":
        return Accelerator.MPS if platform.machine() == "arm64" else Accelerator.CPU
    return Accelerator.CUDA if nvidia_card() else Accelerator.CPU


def guess_accelerator() -> Accelerator:
    """The same, but at once: a driver's tool that lies there is taken for a card."""
    if sys.platform != "darwin" and shutil.which("nvidia-smi"):
        return Accelerator.CUDA
    return Accelerator.MPS if sys.platform == "darwin" and platform.machine() == "arm64" else Accelerator.CPU


def nvidia_card() -> str:
    """Name of the first NVIDIA card, or ""."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, creationflags=flags)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter(told.stdout.strip().splitlines()), "") if told.returncode == 0 else ""


def layers_for(accelerator: Accelerator) -> tuple[Layer, ...]:
    """In the order of installation: torch first, before anything could ask for another one."""
    return (BASE,) if accelerator is Accelerator.NONE else (TORCH, BASE)


def layer_mb(layer: Layer, accelerator: Accelerator) -> tuple[int, int]:
    """About how many MB are downloaded, and how many lie on disk then."""
    return _SIZES_MB[accelerator.value if layer is TORCH else "base"]


def total_mb(accelerator: Accelerator) -> tuple[int, int]:
    """The same for a whole installation."""
    sizes = [layer_mb(layer, accelerator) for layer in layers_for(accelerator)]
    return sum(size[0] for size in sizes), sum(size[1] for size in sizes) + _PYTHON_MB


def torch_pin(requirements: Path) -> str:
    """torch==X.Y.Z, the first line of its list."""
    return (requirements / "torch.txt").read_text(encoding="utf-8").split()[0]


def digest(requirements: Path, accelerator: Accelerator) -> str:
    """Changes whenever the pinned lists for this accelerator do."""
    told = hashlib.sha256(accelerator.value.encode())
    for layer in layers_for(accelerator):
        # Line ends differ between checkouts, and mean nothing.
        told.update((requirements / f"{layer.name}.txt").read_text(encoding="utf-8").encode())
    return told.hexdigest()
