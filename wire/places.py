# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this user's own things lie, for everybody who looks there: imported models, and the engine's environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """The folder of everything that was imported or installed; RECOVER_BODY_DATA names another place."""
    if chosen := os.environ.get("RECOVER_BODY_DATA"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "Recover Body"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Recover Body"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "recover-body"
