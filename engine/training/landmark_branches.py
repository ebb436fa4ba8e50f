# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights of the branches of MediaPipe's landmark networks that go from their features to landmarks (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..landmark_networks import FEATURES, LARGE, MEDIUM


def branch_weights(large: Path) -> dict[str, list[dict[str, np.ndarray]]]:
    """For each network the blocks up to the last map, as `lifter.Block` takes them."""
    import mediapipe

    medium = Path(mediapipe.__file__).parent / "modules" / "pose_landmark" / "pose_landmark_full.tflite"
    return {MEDIUM: _blocks(medium, FEATURES[MEDIUM]), LARGE: _blocks(large, FEATURES[LARGE])}


def _blocks(path: Path, begin: int) -> list[dict[str, np.ndarray]]:
    """From tensor `begin` on; a block is a depthwise convolution, a 1 x 1 one, and a sum."""
    from mediapipe.tasks.metadata import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    graph = model.subgraphs[0]
    kind = schema.BuiltinOperator

    def code(op) -> int:
        named = model.operatorCodes[op.opcodeIndex]
        return max(named.builtinCode, named.deprecatedBuiltinCode)

    made_by = {output: op for op in graph.operators for output in op.outputs}

    def array(tensor: int) -> np.ndarray:
        while tensor in made_by:  # through what makes float32 of float16
            tensor = made_by[tensor].inputs[0]
        stored = graph.tensors[tensor]
        dtype = np.float16 if stored.type == schema.TensorType.FLOAT16 else np.float32
        return model.buffers[stored.buffer].data.view(dtype).reshape(stored.shape).astype(np.float32)

    blocks, now = [], begin
    while True:
        following = [op for op in graph.operators if now in list(op.inputs)]
        filters = next((op for op in following if code(op) == kind.DEPTHWISE_CONV_2D), None)
        if filters is None:
            return blocks
        (mix,) = (op for op in graph.operators if filters.outputs[0] in list(op.inputs))
        (added,) = (op for op in graph.operators if mix.outputs[0] in list(op.inputs))
        (weight, bias), (mix_weight, mix_bias) = ((array(op.inputs[1]), array(op.inputs[2])) for op in (filters, mix))
        blocks.append(
            {
                "halves": np.array(filters.builtinOptions.strideW == 2),
                "filters.weight": np.ascontiguousarray(weight.transpose(3, 0, 1, 2)),
                "filters.bias": bias,
                "mix.weight": mix_weight[:, 0, 0],
                "mix.bias": mix_bias,
            }
        )
        now = added.outputs[0]
