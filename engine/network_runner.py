# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a crop network on whatever this machine has: number format, device, and how the work is handed to it.

    runner = TorchRunner(TokenHmr.from_states(...), Settings.from_environment())
    rotations, betas, crop_camera = runner(crops)        # (B, 3, 256, 256) -> numpy

RECOVER_BODY_DTYPE     fp32, bf16 or fp16; the default is fp16 on CUDA, else fp32
RECOVER_BODY_RUNTIME   torch (the default); graphs: replayed CUDA graphs; compile: torch.compile; onnx, onnx-int8: the
                       exported network through onnxruntime (`onnx_runner.py`)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from ..models.inference import for_inference
from . import device
from .errors import BadRequest, RecoverError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
RUNTIMES = ("torch", "graphs", "compile", "onnx", "onnx-int8")
BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes that graphs and compiled code are made for; a batch is filled up to the next of them."""

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(B, 24, 3, 3) rotations, (B, 10) betas, (B, 3) crop camera, float32; see `models.smpl_head.SmplPrediction`."""


class NumbersOverflowed(RecoverError):
    """Numbers inside the network grew beyond the largest of their format."""

    remedy = "Set RECOVER_BODY_DTYPE to bf16 or fp32 in the engine's environment, and try again."


@dataclass(frozen=True)
class Settings:
    """How networks are run."""

    device: torch.device
    dtype: str = "fp32"
    runtime: str = "torch"

    @property
    def is_onnx(self) -> bool:
        """Whether the exported network runs, in place of torch's."""
        return self.runtime.startswith("onnx")

    @classmethod
    def from_environment(cls) -> Settings:
        """What the user asked for, and else what suits the device. Raises BadRequest for a word that means nothing."""
        where = torch_device()
        usual = "fp16" if where.type == "cuda" else "fp32"
        return cls(
            where, _choice("RECOVER_BODY_DTYPE", usual, DTYPES), _choice("RECOVER_BODY_RUNTIME", "torch", RUNTIMES)
        )


def _choice(variable: str, usual: str, possible) -> str:
    chosen = os.environ.get(variable) or usual
    if chosen not in possible:
        raise BadRequest(f"{variable} is {chosen!r}; it can be {', '.join(possible)}.")
    return chosen


class TorchRunner:
    """The network in torch. What a mode needs and this machine lacks is told in `note`; then it runs without."""

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        self.settings = settings
        self.note = ""
        self.network = for_inference(network, DTYPES[settings.dtype]).to(settings.device)
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._mode = settings.runtime
        if self._mode == "graphs" and settings.device.type != "cuda":
            self._fall_back("CUDA graphs need an NVIDIA card")

    @property
    def name(self) -> str:
        """How it runs, in words."""
        return f"torch {torch.__version__}, {self.settings.dtype}" + (
            f", {self._mode}" if self._mode != "torch" else ""
        )

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray | Tensor) -> Answer:
        """(B, 3, 256, 256) float32 prepared crops, on any device. Raises NumbersOverflowed."""
        inputs = torch.as_tensor(crops).to(self.settings.device, non_blocking=True)
        answer = self._run(inputs)[: len(inputs)].cpu().numpy()
        if self.settings.dtype == "fp16" and not np.isfinite(answer).all():
            raise NumbersOverflowed(f"The network's answer is no number ({self.name}).")
        return answer[:, :216].reshape(-1, 24, 3, 3), answer[:, 216:226], answer[:, 226:]

    def _run(self, inputs: Tensor) -> Tensor:
        """(B, …) -> (B or more, 229)."""
        if self._mode == "torch" or len(inputs) > BUCKETS[-1]:
            return self._flat(inputs)
        filled = _filled_up(inputs)
        try:
            return self._replayed(filled) if self._mode == "graphs" else self._through_compiler(filled)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers and drivers raise anything; torch itself always works
            self._fall_back(f"{self._mode} failed: {type(error).__name__}")
            return self._flat(inputs)

    def _flat(self, inputs: Tensor) -> Tensor:
        """All answers in one tensor (B, 229), so that one copy brings them back from the device."""
        answer = self.network(inputs)
        return torch.cat([answer.rotations.flatten(1), answer.betas, answer.crop_camera], 1)

    def _through_compiler(self, inputs: Tensor) -> Tensor:
        if self._compiled is None:
            self._compiled = torch.compile(self._flat, dynamic=False)
        return self._compiled(inputs)

    def _replayed(self, inputs: Tensor) -> Tensor:
        """Thousands of small starts on the card recorded once per batch size and replayed as one."""
        if len(inputs) not in self._graphs:
            kept, side = inputs.clone(), torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries choose their ways and take their memory before recording
                for _ in range(3):
                    self._flat(kept)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # The thread that prepares the next crops goes on meanwhile, and may.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                answer = self._flat(kept)
            self._graphs[len(inputs)] = graph, kept, answer
        graph, kept, answer = self._graphs[len(inputs)]
        kept.copy_(inputs)
        graph.replay()
        return answer

    def _fall_back(self, reason: str) -> None:
        self._mode, self.note = "torch", f"The network ran as usual: {reason}."


def _filled_up(inputs: Tensor) -> Tensor:
    """The batch with its last crop repeated until it has the size of a bucket."""
    size = next(bucket for bucket in BUCKETS if bucket >= len(inputs))
    return torch.cat([inputs, inputs[-1:].expand(size - len(inputs), -1, -1, -1)]) if size > len(inputs) else inputs


@lru_cache(maxsize=1)
def torch_device() -> torch.device:
    """Where networks run: what `device` finds, if this torch agrees."""
    kind = device.describe().split(":")[0].split(" ")[0]
    works = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}.get(kind)
    return torch.device(kind if works and works() else "cpu")


def device_in_words() -> str:
    """The same, with the card's name."""
    return "cpu" if torch_device().type == "cpu" else device.describe()
