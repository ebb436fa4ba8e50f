# SPDX-License-Identifier: GPL-3.0-or-later
"""Small package sources on disk: wheels made here, and an installed package packed into a wheel again."""

import base64
import hashlib
import importlib.metadata
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


def pack_installed(folder: Path, name: str) -> Path:
    """The wheel of a package that this Python has."""
    folder.mkdir(parents=True, exist_ok=True)
    found = importlib.metadata.distribution(name)
    tag = next(line.split(": ")[1] for line in found.read_text("WHEEL").splitlines() if line.startswith("Tag"))
    inside = [path for path in found.files if ".." not in path.parts and "tests" not in path.parts]
    kept = [path for path in inside if path.suffix != ".pyc" and path.name not in ("RECORD", "INSTALLER", "REQUESTED")]
    files = {path.as_posix(): Path(found.locate_file(path)).read_bytes() for path in kept}
    record = next(path for path in found.files if path.name == "RECORD").as_posix()
    return _write(folder / f"{found.name}-{found.version}-{tag}.whl", files, record)


def _write(path: Path, files: dict[str, bytes], record: str) -> Path:
    lines = [f"{record},,"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}")
            archive.writestr(name, content)
        archive.writestr(record, "\n".join(lines) + "\n")
    return path
