# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated stand-ins for the files that users download: same layout, same names, no trained number."""

from __future__ import annotations

import gzip
import json
import pickle
import sys
import types
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.sparse
import torch

from recover_body.tests import fill_weights
from recover_body.tests.parity.report import COMMITTED
from recover_body.tests.parity.standins import network_state


def save_with_foreign_settings(content: dict, path: Path) -> Path:
    """`torch.save`, with `content["cfg"]` of a class from a module that only exists while saving."""
    module = types.ModuleType("yacs.config")
    foreign = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module.CfgNode = foreign
    sys.modules |= {"yacs": types.ModuleType("yacs"), "yacs.config": module}
    try:
        torch.save(content | {"cfg": foreign(IMAGE_SIZE=256)}, path)
    finally:
        del sys.modules["yacs"], sys.modules["yacs.config"]
    return path


@lru_cache(maxsize=3)
def small_state(network: str) -> dict[str, torch.Tensor]:
    """Small networks' tensors, body model and all: `tokenhmr`, `tokenizer` or `hmr2`."""
    folder = "hmr2" if network == "hmr2" else "tokenhmr"
    keys = json.loads(gzip.decompress((COMMITTED / folder / "keys_small.json.gz").read_bytes()))
    if folder == "tokenhmr":
        keys = keys["tokenizer" if network == "tokenizer" else "model"]
    without_body = [entry for entry in keys if not entry["name"].startswith("smpl.")]
    state = network_state(without_body, 7)
    if network != "tokenizer":
        state |= {"initialized": torch.tensor(True), "smpl.parents": torch.arange(24)}
    return state


def checkpoint(path: Path, network: str = "tokenhmr", **changes: torch.Tensor | None) -> Path:
    """A checkpoint file; `changes` replace tensors by name (dots written as __), None leaves one out."""
    state = dict(small_state(network))
    for name, tensor in changes.items():
        name = name.replace("__", ".")
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    content = {"net": state} if network == "tokenizer" else {"epoch": 35, "state_dict": state}
    return save_with_foreign_settings(content, path)


def smpl_pickle(path: Path) -> Path:
    """SMPL's original layout: chumpy arrays and a sparse regressor in a pickle of protocol 2."""
    body = fill_weights.standin_body(3, "smpl", n_verts=500)
    module = types.ModuleType("chumpy.ch")
    chumpy_array = type("Ch", (), {"__module__": "chumpy.ch"})
    module.Ch = chumpy_array

    def wrapped(values: np.ndarray) -> object:
        made = chumpy_array()
        made.x = values
        return made

    body |= {"shapedirs": wrapped(body["shapedirs"]), "v_template": wrapped(body["v_template"])}
    body["J_regressor"] = scipy.sparse.csc_matrix(body["J_regressor"])
    sys.modules |= {"chumpy": types.ModuleType("chumpy"), "chumpy.ch": module}
    try:
        path.write_bytes(pickle.dumps(body, protocol=2))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    return path


class Payload:
    """Pickled, it asks whoever opens it carelessly to run a command."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)
