# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a training begins: released or own weights, from a file or imported, and the shares of them that fit."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from ...models import safe_pickle, weights
from ...models.errors import UnknownFile
from ...models.safe_pickle import StoredTensor
from ...models.state import compare_shapes, shapes_of, with_prefix
from ..errors import BadInput

_NESTED = ("state_dict", "net", "model")
"""Under which of these names trainers keep the tensors."""
_WRAPPER = "module."


class UnusableStart(BadInput):
    """The weights to begin with do not fit."""

    remedy = "Give a checkpoint of the same network and size, or leave it out to begin with random weights."


def read_weights(name_or_path: str) -> dict[str, Tensor]:
    """Tensors by name: of an import (`recover-body models list`), a .safetensors file, or a PyTorch checkpoint.

    Checkpoints are read as data; nothing in them can run. Raises `UnusableStart`, `ModelsError`.
    """
    path = Path(name_or_path)
    if not path.exists():
        try:
            return weights.load_state(weights.find(name_or_path))
        except UnknownFile as error:
            raise UnusableStart(f"{name_or_path} is neither a file nor an import.") from error
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if not zipfile.is_zipfile(path):
        raise UnusableStart(f"{path} is no checkpoint that can be read.")
    with zipfile.ZipFile(path) as archive:
        content = safe_pickle.load_torch(archive)
        stored = _tensors(content)
        if not stored:
            raise UnusableStart(f"{path} holds no tensors.")
        # Copied, because what was read belongs to the archive and may not be written to.
        return {name.removeprefix(_WRAPPER): torch.from_numpy(each.read().copy()) for name, each in stored.items()}


def _tensors(content: object) -> dict[str, StoredTensor]:
    if not isinstance(content, dict):
        return {}
    found = {name: value for name, value in content.items() if isinstance(value, StoredTensor)}
    for name in _NESTED:
        if not found and name in content:
            found = _tensors(content[name])
    return found


def begin_with(module: nn.Module, state: dict[str, Tensor], prefix: str, network: str) -> None:
    """Fill a module from the tensors under `prefix`, all of them. Raises `IncompleteWeights`."""
    own = with_prefix(state, prefix)
    compare_shapes(shapes_of(module.state_dict()), shapes_of(own), network)
    module.load_state_dict(own)
