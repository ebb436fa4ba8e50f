# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading a network from a dictionary of tensors: completely, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from .errors import WrongTensors

Shape = tuple[int, ...]


class IncompleteWeights(WrongTensors):
    """The tensors offered to a network are not exactly the ones it is made of."""

    def __init__(self, network: str, sentence: str):
        super().__init__(f"These {network} weights do not fit the network: {sentence}.")


def with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, the prefix removed."""
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def count_numbered(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers `prefix`0, `prefix`1, … the tensor names speak of."""
    numbers = {int(name[len(prefix) :].split(".")[0]) for name in state if name.startswith(prefix)}
    return max(numbers) + 1 if numbers else 0


def compare_shapes(wanted: Mapping[str, Shape], given: Mapping[str, Shape], network: str) -> None:
    """Raises `IncompleteWeights`, naming the first offenders, unless both have the same names and shapes."""
    missing = sorted(wanted.keys() - given.keys())
    surplus = sorted(given.keys() - wanted.keys())
    misfits = [name for name in wanted if name in given and tuple(wanted[name]) != tuple(given[name])]
    if missing:
        raise IncompleteWeights(network, f"{_few(missing)} missing")
    if surplus:
        raise IncompleteWeights(network, f"{_few(surplus)} unknown to it")
    if misfits:
        first = misfits[0]
        shapes = f"{list(given[first])} where {list(wanted[first])} is needed"
        raise IncompleteWeights(network, f"{_few(misfits)} of another shape, {shapes}")


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], network: str) -> None:
    """Give every tensor of `module` its value from `state`, without copying.

    The module may have been built on the meta device: a network of 630 million numbers would otherwise first be
    filled with random values that nobody wants. Raises `IncompleteWeights`.
    """
    compare_shapes(shapes_of(module.state_dict()), shapes_of(state), network)
    module.load_state_dict(dict(state), strict=True, assign=True)


def shapes_without_memory(build: Callable[[], nn.Module]) -> dict[str, Shape]:
    """Names and shapes of the tensors that the module made by `build` would have."""
    with torch.device("meta"):
        return shapes_of(build().state_dict())


def assembled(build: Callable[[], nn.Module], state: Mapping[str, Tensor], network: str) -> nn.Module:
    """`build()` made without memory of its own, then filled from `state`; ready for inference."""
    with torch.device("meta"):
        module = build()
    load_strictly(module, state, network)
    return module.requires_grad_(False).eval()


def need(state: Mapping[str, Tensor], name: str, network: str) -> Tensor:
    """A tensor from which sizes are read; `IncompleteWeights` when it is not there."""
    if name not in state:
        raise IncompleteWeights(network, f"1 tensor is missing ({name})")
    return state[name]


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} tensor{'s are' if len(names) > 1 else ' is'} ({shown})"
