# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR: a person crop becomes SMPL parameters, the pose spoken in 160 words of a learnt vocabulary.

Paper: Dwivedi, Sun, Patel, Feng, Black, "TokenHMR: Advancing Human Mesh Recovery with a Tokenized Pose Representation"
(CVPR 2024). Backbone and decoder are those of HMR2.0; new are the token classifier below and the pose tokenizer
(`pose_tokens.py`), whose weights live in a file of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pose_tokens import PoseTokenizer, TokenizerConfig
from .rotations_torch import sixd_rows_to_matrix
from .smpl_head import DecoderConfig, QueryDecoder, SmplPrediction
from .state import IncompleteWeights, Shape, assembled, count_numbered, need, shapes_without_memory, with_prefix
from .vit import ViT, ViTConfig

NETWORK = "TokenHMR"
PREFIXES = ("backbone.", "smpl_head.")  # the rest of a checkpoint (body model, discriminator) is not the network


@dataclass(frozen=True)
class ClassifierConfig:
    """Sizes of the token classifier; the defaults are the released ones."""

    tokens: int = 160
    codes: int = 2048
    channels: int = 64  # numbers per token while mixing
    token_mlp_width: int = 64
    channel_mlp_width: int = 256
    depth: int = 4  # mixer layers

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> ClassifierConfig:
        """Sizes read from the tensors of a checkpoint (names without `smpl_head.decpose.`)."""
        codes, channels = need(state, "class_pred_layer.weight", NETWORK).shape
        token_mlp_width, tokens = need(state, "mixer_head.0.MLP_token.ff.0.weight", NETWORK).shape
        return cls(
            tokens=tokens,
            codes=codes,
            channels=channels,
            token_mlp_width=token_mlp_width,
            channel_mlp_width=need(state, "mixer_head.0.MLP_channel.ff.0.weight", NETWORK).shape[0],
            depth=count_numbered(state, "mixer_head."),
        )


@dataclass(frozen=True)
class TokenHmrConfig:
    backbone: ViTConfig = field(default_factory=ViTConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        tokenizer: TokenizerConfig | None = None,
        *,
        vit_heads: int | None = None,
        decoder_heads: int | None = None,
    ) -> TokenHmrConfig:
        return cls(
            backbone=ViTConfig.from_state(with_prefix(state, "backbone."), NETWORK, vit_heads),
            decoder=DecoderConfig.from_state(with_prefix(state, "smpl_head.transformer."), NETWORK, decoder_heads),
            classifier=ClassifierConfig.from_state(with_prefix(state, "smpl_head.decpose.")),
            tokenizer=tokenizer or TokenizerConfig(),
        )

    @classmethod
    def from_states(
        cls, state: Mapping[str, Tensor], tokenizer_state: Mapping[str, Tensor], **heads: int
    ) -> TokenHmrConfig:
        """Sizes of both files, `heads` as above. Raises `IncompleteWeights` if the two do not belong together."""
        config = cls.from_state(state, TokenizerConfig.from_state(tokenizer_state), **heads)
        speaks = (config.classifier.tokens, config.classifier.codes)
        understands = (config.tokenizer.tokens, config.tokenizer.codes)
        if speaks != understands:
            raise IncompleteWeights(
                NETWORK,
                f"the model speaks {speaks[0]} tokens of {speaks[1]} words, "
                f"the tokenizer file understands {understands[0]} of {understands[1]}",
            )
        return config


def expected_shapes(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes of a complete model file of the sizes that `state` speaks of; the tokenizer has its own."""
    config = TokenHmrConfig.from_state(state)
    shapes = shapes_without_memory(lambda: TokenHmr(config))
    return {name: shape for name, shape in shapes.items() if name.startswith(PREFIXES)}


class LinearNormRelu(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.ff = nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.ff(x)


class MixerMlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        # The idle place is the dropout of the training; it keeps the numbering of the checkpoint.
        self.ff = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.ff(x)


class MixerLayer(nn.Module):
    """Tokens talk to each other, then every token thinks for itself."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.layernorm1 = nn.LayerNorm(config.channels)
        self.MLP_token = MixerMlp(config.tokens, config.token_mlp_width)
        self.layernorm2 = nn.LayerNorm(config.channels)
        self.MLP_channel = MixerMlp(config.channels, config.channel_mlp_width)

    def forward(self, x: Tensor) -> Tensor:  # (B, 160, 64)
        x = x + self.MLP_token(self.layernorm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.MLP_channel(self.layernorm2(x))


class TokenClassifier(nn.Module):
    """The query's answer (B, 1024) -> logits (B, 160, 2048): which word stands at each place of the pose."""

    def __init__(self, config: ClassifierConfig, width: int):
        super().__init__()
        self.config = config
        self.mixer_trans = LinearNormRelu(width, config.tokens * config.channels)
        self.mixer_head = nn.Sequential(*(MixerLayer(config) for _ in range(config.depth)))
        self.mixer_norm_layer = LinearNormRelu(config.channels, config.channels)
        self.class_pred_layer = nn.Linear(config.channels, config.codes)

    def forward(self, token: Tensor) -> Tensor:
        x = self.mixer_trans(token).view(-1, self.config.tokens, self.config.channels)  # (B, 160, 64)
        x = self.mixer_norm_layer(self.mixer_head(x))
        return self.class_pred_layer(x)


class TokenHmrHead(nn.Module):
    def __init__(self, config: TokenHmrConfig):
        super().__init__()
        width = config.decoder.width
        self.transformer = QueryDecoder(config.decoder)
        self.decpose = TokenClassifier(config.classifier, width)
        self.decpose_grot = nn.Linear(width, 6)
        self.decpose_hands = nn.Linear(width, 2 * 6)
        self.decshape = nn.Linear(width, 10)
        self.deccam = nn.Linear(width, 3)
        # Constant offsets that belong to the weights (see hmr2.py): never re-order or replace the "mean pose".
        self.register_buffer("init_body_pose", torch.zeros(1, 24 * 6))
        self.register_buffer("init_betas", torch.zeros(1, 10))
        self.register_buffer("init_cam", torch.zeros(1, 3))

    def forward(self, features: Tensor, tokenizer: PoseTokenizer) -> SmplPrediction:
        """features (B, 192, 1280) -> the body in each crop."""
        token = self.transformer(features)  # (B, 1024)
        words = F.softmax(self.decpose(token), dim=-1)  # (B, 160, 2048)
        body = tokenizer.decode_vectors(tokenizer.quantizer.mix(words))  # (B, 21, 6)
        pose = torch.cat([self.decpose_grot(token), body.flatten(1), self.decpose_hands(token)], dim=-1)  # (B, 144)
        # The mean pose is added to the decoded pose too; the paper does not say so, the weights were trained so.
        pose = pose.float() + self.init_body_pose.float()
        betas = self.decshape(token).float() + self.init_betas.float()
        camera = self.deccam(token).float() + self.init_cam.float()
        return SmplPrediction(sixd_rows_to_matrix(pose.view(-1, 24, 6)), betas, camera)


class TokenHmr(nn.Module):
    """Crops (B, 3, 256, 256), normalised RGB -> `SmplPrediction`."""

    def __init__(self, config: TokenHmrConfig):
        super().__init__()
        self.config = config
        self.backbone = ViT(config.backbone)
        self.smpl_head = TokenHmrHead(config)
        self.tokenizer = PoseTokenizer(config.tokenizer)

    @classmethod
    def from_states(cls, state: Mapping[str, Tensor], tokenizer_state: Mapping[str, Tensor], **options) -> TokenHmr:
        """The network of a checkpoint's `backbone.` and `smpl_head.` tensors and of `tokenizer.pth`'s `net`.

        `options` as `TokenHmrConfig.from_states`. Raises `IncompleteWeights` when a tensor is missing, surplus or of
        another shape.
        """
        config = TokenHmrConfig.from_states(state, tokenizer_state, **options)
        together = dict(state) | {f"tokenizer.{name}": tensor for name, tensor in tokenizer_state.items()}
        return assembled(lambda: cls(config), together, NETWORK)

    def forward(self, crops: Tensor) -> SmplPrediction:
        return self.smpl_head(self.backbone(crops), self.tokenizer)
