# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `samples` importable: with pytest's importlib mode, a test's folder is not on the path."""

import importlib.util
import sys
from pathlib import Path

if "samples" not in sys.modules:
    spec = importlib.util.spec_from_file_location("samples", Path(__file__).with_name("samples.py"))
    sys.modules["samples"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["samples"])
