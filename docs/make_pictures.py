# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the README's picture: the demo's photograph, and the character that Blender draws over it.

python dev.py demo
.venv/bin/python docs/make_pictures.py
"""

import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "out" / "demo" / "astronaut.png"
GAP_PX = 12


def main() -> None:
    """Recover, render through the recovered camera, and lay both side by side."""
    out = ROOT / "out" / "pictures"
    batch = ROOT / "blender_scripts" / "recover_batch.py"
    subprocess.run([sys.executable, str(batch), str(PHOTO), "--out", str(out), "--render"], check=True)
    photo = Image.open(PHOTO).convert("RGB")
    render = Image.open(out / "astronaut.render.png").convert("RGB").resize(photo.size)
    pair = Image.new("RGB", (2 * photo.width + GAP_PX, photo.height), "white")
    pair.paste(photo, (0, 0))
    pair.paste(render, (photo.width + GAP_PX, 0))
    pair.save(ROOT / "docs" / "images" / "pair.jpg", quality=88)


if __name__ == "__main__":
    main()
