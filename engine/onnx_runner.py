# SPDX-License-Identifier: GPL-3.0-or-later
"""An exported crop network through onnxruntime: on an NVIDIA card where `onnxruntime-gpu` is installed, else on the
processor. Chosen by RECOVER_BODY_RUNTIME=onnx or onnx-int8; see `network_runner.py` and `onnx_export.py`.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..models import weights
from ..models.errors import NotImported
from .errors import MissingPackage

if TYPE_CHECKING:
    from torch import Tensor

    from .network_runner import Answer

PROVIDERS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")
"""Best first. TensorRT is left out: it spends minutes before the first answer."""

OUTPUTS = ("rotations", "betas", "crop_camera")
MADE_OF = "recover_body"
"""Name of the file's own metadata: a JSON object with the network's name and its weights' checksums."""


def usual_path(network: str, int8: bool) -> Path:
    """Where the engine looks for an exported network."""
    return weights.models_folder() / "exported" / f"{network}{'-int8' if int8 else ''}.onnx"


class OnnxRunner:
    """An exported network, ready to answer."""

    note = ""

    def __init__(self, path: Path, checksums: dict[str, str]) -> None:
        """Open the export at `path`; `checksums` are those of the weights it has to be made of.

        Raises MissingPackage without onnxruntime, NotImported if there is no such export, or one of other weights.
        """
        if importlib.util.find_spec("onnxruntime") is None:
            raise MissingPackage(
                "The Python package onnxruntime is not installed; RECOVER_BODY_RUNTIME asks for it.",
                "Install onnxruntime or onnxruntime-gpu into the engine's environment, or unset RECOVER_BODY_RUNTIME.",
            )
        import onnxruntime

        if not path.exists():
            raise NotImported(f"There is no exported network {path}.", _export_it(path))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        there = onnxruntime.get_available_providers()
        self._session = onnxruntime.InferenceSession(path, options, [each for each in PROVIDERS if each in there])
        made_of = json.loads(self._session.get_modelmeta().custom_metadata_map.get(MADE_OF, "{}"))
        if made_of.get("weights") != checksums:
            raise NotImported(f"{path} was exported from other weights than those imported now.", _export_it(path))
        provider = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.name = f"onnxruntime {onnxruntime.__version__}, {path.stem}, {provider}"

    def __call__(self, crops: np.ndarray | Tensor) -> Answer:
        """(B, 3, 256, 256) float32 prepared crops."""
        inputs = crops if isinstance(crops, np.ndarray) else crops.cpu().numpy()
        rotations, betas, crop_camera = self._session.run(OUTPUTS, {"crops": inputs})
        return rotations, betas, crop_camera


def _export_it(path: Path) -> str:
    network, _, int8 = path.stem.partition("-")
    return f"Run `recover-body models export {network} --onnx{' --int8' if int8 else ''}`."
