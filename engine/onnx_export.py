# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body models export`: a crop network as ONNX, for onnxruntime here (`onnx_runner.py`) and elsewhere.

Input `crops` (B, 3, 256, 256), any B; outputs `rotations`, `betas`, `crop_camera` as `models.smpl_head.SmplPrediction`.
The weights lie beside the graph in NAME.onnx.data. What lies in the file is licensed as the weights are.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..models.errors import NoRoom
from ..models.inference import for_inference
from .backends.neural import CropNetworkBackend
from .errors import MissingPackage
from .onnx_runner import MADE_OF, OUTPUTS, usual_path
from .streams import hushed_libraries

OPSET = 18
QUANTISED = "network.backbone.blocks."
"""Products that are done in 8 bits begin so: the backbone is 98 % of the work, and the head is what must be exact."""

Progress = Callable[[str], None]


def export(backend: CropNetworkBackend, path: Path, int8: bool, progress: Progress = lambda what: None) -> None:
    """Write the network with the imported weights to `path`. Raises NotImported, MissingPackage, NoRoom."""
    for package in ("onnx", "onnxscript", *(("onnxruntime",) if int8 else ())):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(
                f"The Python package {package} is not installed; exporting needs it.",
                "Install onnx, onnxscript and onnxruntime into the engine's environment, "
                "as `pip install recover-body[onnx]` does.",
            )
    made_of = {"network": backend.name, "weights": backend.checksums()}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".exporting-", dir=path.parent) as staging,
            hushed_libraries(),
            warnings.catch_warnings(action="ignore"),
        ):
            made, done = Path(staging, path.name), usual_path(backend.name, int8=False)
            if not int8:
                _translate(backend, made, progress)
            elif done.exists() and _signature(done) == made_of:
                _quantise(done, made, progress)
            else:
                _translate(backend, Path(staging, "float.onnx"), progress)
                _quantise(Path(staging, "float.onnx"), made, progress)
            _sign(made, made_of)
            for each in (made.with_name(f"{path.name}.data"), made):  # the graph last: it makes the export complete
                os.replace(each, path.with_name(each.name))
    except OSError as error:
        raise NoRoom(f"{path} could not be written: {error.strerror or error}.") from error


def _translate(backend: CropNetworkBackend, path: Path, progress: Progress) -> None:
    """The network with the imported weights in float32."""
    progress("reading the weights")
    network = _Exported(for_inference(backend.build())).eval()
    progress("translating the network")
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 256, 256),),
        path,
        dynamo=True,
        input_names=["crops"],
        output_names=list(OUTPUTS),
        dynamic_shapes={"crops": {0: torch.export.Dim("batch", min=1, max=1024)}},
        opset_version=OPSET,
        external_data=True,
        verbose=False,
    )


def _quantise(source: Path, target: Path, progress: Progress) -> None:
    """The same network, the backbone's products in 8 bits: weights at once, what comes in each time anew."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    progress("rounding the weights to 8 bits")
    graph = onnx.load(source, load_external_data=False).graph
    chosen = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1].startswith(QUANTISED)]
    quantize_dynamic(
        source,
        target,
        per_channel=True,
        weight_type=QuantType.QUInt8,  # signed ones overflow in processors without VNNI
        nodes_to_quantize=chosen,
        use_external_data_format=True,
    )


def _sign(path: Path, made_of: dict) -> None:
    """Write into the file what it was made of."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    entry = model.metadata_props.add()
    entry.key, entry.value = MADE_OF, json.dumps(made_of)
    onnx.save(model, path)


def _signature(path: Path) -> dict:
    import onnx

    known = {each.key: each.value for each in onnx.load(path, load_external_data=False).metadata_props}
    return json.loads(known.get(MADE_OF, "{}"))


class _Exported(nn.Module):
    """Three tensors instead of a dataclass, and products in the order that onnxruntime quantises."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        for block in network.backbone.blocks:
            for part in (block.attn, block.mlp):
                for name, layer in list(part.named_children()):
                    setattr(part, name, _Product(layer))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        answer = self.network(crops)
        return answer.rotations, answer.betas, answer.crop_camera


class _Product(nn.Module):
    """A linear layer whose weights lie turned: turned in the graph, they would not be taken for constants."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight = nn.Parameter(layer.weight.T.contiguous(), requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias
