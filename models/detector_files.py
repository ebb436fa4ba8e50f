# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognises exported person detectors (.onnx) by what goes in and comes out."""

from __future__ import annotations

from pathlib import Path

from .errors import DamagedFile, UnusableFile

WHOLE_BODY_POINTS = 133


def recognised(path: Path, name: str) -> str | None:
    """`rtmdet`, `rtmpose-wholebody` or None. Raises a `ModelsError`; `name` is what the user knows the file as."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UnusableFile(
            f"{name} needs the Python package onnxruntime.", "Run `python dev.py setup onnx`, then import it again."
        ) from None
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own classes, and others
        raise DamagedFile(f"{name} cannot be opened as an ONNX network ({str(error)[:200]}).") from None
    outputs = {output.name: output.shape for output in session.get_outputs()}
    if {"dets", "labels"} <= outputs.keys() and outputs["dets"][-1] == 5:
        return "rtmdet"
    if {"simcc_x", "simcc_y"} <= outputs.keys() and outputs["simcc_x"][1] == WHOLE_BODY_POINTS:
        return "rtmpose-wholebody"
    return None
