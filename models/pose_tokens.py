# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose tokenizer of TokenHMR: 21 joint rotations <-> 160 words out of a vocabulary of 2048.

Paper: Dwivedi, Sun, Patel, Feng, Black, "TokenHMR: Advancing Human Mesh Recovery with a Tokenized Pose Representation"
(CVPR 2024). Convolutions run along the joints (later: tokens), as if the body were a short melody. Rotations are 6-D,
two ROWS of the matrix; joints are SMPL's 1..21 (no root, no hands). Tensor names are those of `tokenizer.pth`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .state import Shape, assembled, count_numbered, need, shapes_without_memory, with_prefix

NETWORK = "TokenHMR tokenizer"
BODY_JOINTS = 21


@dataclass(frozen=True)
class TokenizerConfig:
    """Sizes of the tokenizer; the defaults are the released ones."""

    width: int = 512  # channels of the convolutions
    codes: int = 2048  # words in the vocabulary
    code_width: int = 256  # numbers per word
    doublings: int = 4  # the encoder stretches 21 joints to 20 * 2**doublings places …
    halvings: int = 1  # … and halves them so often
    shrinkings: int = 4  # steps in which the decoder comes back from the tokens to 21 joints
    residuals: int = 2  # residual units per stack

    @property
    def tokens(self) -> int:
        return 20 * 2**self.doublings // 2**self.halvings

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> TokenizerConfig:
        """Sizes read from the tensors alone: the file's own NUM_TOKENS is known to lie."""
        encoder, decoder = with_prefix(state, "encoder.encoder."), with_prefix(state, "decoder.decoder.")
        codes, code_width = need(state, "quantizer.codebook", NETWORK).shape
        # After the resampling steps comes the first block, or, in a tokenizer without, the last convolution.
        first_block, first_decoded = (
            min(_block_places(part), default=_last_place(part)) for part in (encoder, decoder)
        )
        halvings = len(_block_places(encoder))
        return cls(
            width=need(decoder, "0.weight", NETWORK).shape[0],
            codes=codes,
            code_width=code_width,
            doublings=(first_block - 2) // 3,
            halvings=halvings,
            shrinkings=(first_decoded - 2) // 3,
            residuals=count_numbered(encoder, f"{first_block}.1.model."),
        )


def expected_shapes(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes of a complete tokenizer file of the sizes that `state` speaks of."""
    config = TokenizerConfig.from_state(state)
    return shapes_without_memory(lambda: PoseTokenizer(config))


class Resample(nn.Module):
    """Nearest neighbour along the last axis, in whole numbers so that no rounding can pick the wrong one."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        source = torch.arange(self.size, device=x.device) * x.shape[-1] // self.size
        # Not x[..., source], whose backward pass is five times slower.
        return x.gather(-1, source.expand(*x.shape[:-1], self.size))


class ResidualUnit(nn.Module):
    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class ResidualStack(nn.Module):
    def __init__(self, config: TokenizerConfig):
        super().__init__()
        dilations = [3**step for step in reversed(range(config.residuals))]  # 3, then 1
        self.model = nn.Sequential(*(ResidualUnit(config.width, dilation) for dilation in dilations))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def _conv3(inputs: int, outputs: int) -> nn.Conv1d:
    return nn.Conv1d(inputs, outputs, 3, padding=1)


class Encoder(nn.Module):
    """6-D rotations (B, 6, 21) -> one latent per token (B, 256, 160)."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        width, stages = config.width, [_conv3(6, config.width), nn.ReLU()]
        for doubling in range(config.doublings):
            # 21 joints first become 40 places; every further step doubles them.
            stages += [Resample(40 * 2**doubling), _conv3(width, width), nn.ReLU()]
        for _ in range(config.halvings):
            stages.append(nn.Sequential(nn.Conv1d(width, width, 4, stride=2, padding=1), ResidualStack(config)))
        self.encoder = nn.Sequential(*stages, _conv3(width, config.code_width))

    def forward(self, sixd: Tensor) -> Tensor:
        return self.encoder(sixd)


class Decoder(nn.Module):
    """Vocabulary vectors (B, 256, 160) -> 6-D rotations (B, 6, 21)."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        width, stages = config.width, [_conv3(config.code_width, config.width), nn.ReLU()]
        surplus = config.tokens - BODY_JOINTS
        for step in reversed(range(config.shrinkings)):
            size = BODY_JOINTS + step * surplus // config.shrinkings  # 125, 90, 55, 21
            stages += [Resample(size), _conv3(width, width), nn.ReLU()]
        for _ in range(config.halvings):
            stages.append(nn.Sequential(ResidualStack(config), _conv3(width, width)))
        self.decoder = nn.Sequential(*stages, _conv3(width, 6))

    def forward(self, vectors: Tensor) -> Tensor:
        return self.decoder(vectors)


class Quantizer(nn.Module):
    """The vocabulary. It is learnt by moving averages, not by gradients, and therefore a buffer."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.register_buffer("codebook", torch.zeros(config.codes, config.code_width))

    def nearest(self, latents: Tensor) -> Tensor:
        """latents (B, 256, T) -> codes (B, T): the nearest word of each, the first one if two are equally near."""
        rows = latents.transpose(1, 2)  # (B, T, 256)
        distances = rows.square().sum(-1, keepdim=True) - 2 * rows @ self.codebook.T + self.codebook.square().sum(-1)
        return distances.argmin(dim=-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """codes (B, T) -> vocabulary vectors (B, 256, T)."""
        return self.codebook[codes].transpose(1, 2)

    def mix(self, probabilities: Tensor) -> Tensor:
        """(B, T, 2048) -> (B, 256, T): every word by its probability. Dense, as the network was trained."""
        return (probabilities @ self.codebook).transpose(1, 2)


class PoseTokenizer(nn.Module):
    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantizer = Quantizer(config)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> PoseTokenizer:
        """The tokenizer of `tokenizer.pth`'s `net`. Raises `IncompleteWeights`."""
        config = TokenizerConfig.from_state(state)
        return assembled(lambda: cls(config), state, NETWORK)

    def encode(self, sixd: Tensor) -> Tensor:
        """sixd (B, 21, 6), two rows per joint -> codes (B, 160)."""
        return self.quantizer.nearest(self.encoder(sixd.transpose(1, 2)))

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, 160) -> sixd (B, 21, 6), not orthonormalised."""
        return self.decode_vectors(self.quantizer.vectors(codes))

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """vectors (B, 256, 160), words or mixtures of words -> sixd (B, 21, 6), not orthonormalised."""
        return self.decoder(vectors).transpose(1, 2)


def commitment(latents: Tensor, vectors: Tensor) -> Tensor:
    """Mean squared distance of latents (B, 256, T) from their words, the words held still; a scalar."""
    return (latents - vectors.detach()).square().mean()


def perplexity(codes: Tensor, vocabulary: int) -> Tensor:
    """How many words are in use, evenly counted: exp of the entropy of the batch's code histogram; a scalar."""
    share = torch.bincount(codes.flatten(), minlength=vocabulary) / codes.numel()
    return torch.exp(-(share * torch.log(share + 1e-7)).sum())


def _last_place(state: Mapping[str, Tensor]) -> int:
    return max(int(name.split(".")[0]) for name in state)


def _block_places(state: Mapping[str, Tensor]) -> set[int]:
    """Positions in a Sequential that hold a block of their own (`14.0.…`) rather than a convolution (`12.weight`)."""
    return {int(found[1]) for name in state if (found := re.match(r"(\d+)\.\d+\.", name))}
