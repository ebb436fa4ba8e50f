# SPDX-License-Identifier: GPL-3.0-or-later
"""Small package sources on disk: wheels made here."""

import base64
import hashlib
import zipfile
from pathlib import Path


def make_wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    """A pure wheel with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return _write(folder / f"{name}-{version}-py3-none-any.whl", files, f"{info}/RECORD")


def lend_packages(folder: Path, name: str, version: str) -> Path:
    """A wheel that lends an environment all packages of this Python, by a line in a .pth file: nothing to unpack."""
    import numpy

    return make_wheel(folder, name, version, {f"{name}.pth": str(Path(numpy.__file__).parent.parent).encode()})


def _write(path: Path, files: dict[str, bytes], record: str) -> Path:
    lines = [f"{record},,"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}")
            archive.writestr(name, content)
        archive.writestr(record, "\n".join(lines) + "\n")
    return path
