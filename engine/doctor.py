# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body doctor`: what is installed, what each backend lacks, and which Blender would be used."""

from __future__ import annotations

import argparse
import os
import platform

from .. import __version__
from . import blenders, bodies, device, report
from .errors import BlenderNotFound

_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "pillow",
    "threadpoolctl",
    "mediapipe",
    "torch",
    "safetensors",
    "pillow-heif",
    "bpy",
)
_NONE_READY = 3
_NETWORKS = {
    "medium": "MediaPipe's medium network (`recover-body models get pose-heavy` brings a surer one)",
    "larger": "MediaPipe's larger network",
}


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "doctor",
        help="tell what is installed and what is missing",
        description="Tell what is installed and what is missing. Exits with 3 when no backend is ready.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the examination; 0 when at least one real backend is ready, else 3."""
    found = examine()
    print(report.to_json(found, indent=None) if options.json else _in_words(found))
    return 0 if found["ready"] else _NONE_READY


def examine() -> dict:
    """Everything that is told, as plain values."""
    from .backends import registry
    from .detect import larger_network

    backends = registry.status()
    try:
        blender, blender_lacks = blenders.find().title, None
    except BlenderNotFound as error:
        blender, blender_lacks = None, f"{error.sentence} {error.remedy}"
    return {
        "ready": any(backend.ready for backend in backends if backend.name not in registry.ONLY_BY_NAME),
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "cpu_cores": os.cpu_count(),
        "device": device.describe(),
        "graphics_cards": list(device.graphics_cards()),
        "torch_build": device.torch_build() or None,
        "packages": {name: _version(name) for name in _PACKAGES},
        "backends": [
            {
                "name": backend.name,
                "title": backend.title,
                "ready": backend.ready,
                "missing": list(backend.missing),
                "needs": list(registry.needs(backend.name)),
                "gives": list(backend.gives),
                "licence": backend.licence,
            }
            for backend in backends
        ],
        "bodies": list(bodies.ready()),
        "landmark_network": "medium" if larger_network() is None else "larger",
        "blender": blender,
        "blender_missing": blender_lacks,
    }


def _version(package: str) -> str | None:
    from importlib import metadata  # here, because it is slow to import and `serve` passes this module

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _in_words(found: dict) -> str:
    lines = [
        f"recover-body {found['version']}, Python {found['python']}, {found['system']}, {found['cpu_cores']} cores",
        f"networks run on: {found['device']}",
        *(f"graphics card: {card} (torch: {found['torch_build'] or 'none'})" for card in found["graphics_cards"]),
        "",
        "packages",
        *(f"  {name:24}{version or 'not installed'}" for name, version in found["packages"].items()),
        "",
        "Blender for .blend files",
        f"  {found['blender'] or found['blender_missing']}",
        "",
        "backends, best first",
    ]
    for backend in found["backends"]:
        lines.append(f"  {backend['name']:24}{'ready' if backend['ready'] else 'not ready'}   {backend['title']}")
        lines.append(f"  {'':24}{backend['licence']}")
        lines += [f"  {'':24}{sentence}" for sentence in backend["missing"]]
    lines += [
        "",
        f"bodies: {', '.join(found['bodies'])}",
        f"landmarks in stills: {_NETWORKS[found['landmark_network']]}",
    ]
    lines += ["", "All is well." if found["ready"] else "No backend is ready; see above what each lacks."]
    return "\n".join(lines)
