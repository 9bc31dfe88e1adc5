"""`DigitDiT2DModel`: the transformer denoiser, DiT with adaLN-Zero (2212.09748, section 3.2 and figure 3).

Dimension letters: B batch, C channels, H W height and width, L tokens (patches), D width.
"""

import math
from typing import Any, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import AttentionMixin
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401  diffusers looks for it in this module
from torch import nn
from torch.nn import functional as F

from .attention import DigitAttention, text_attention_mask
from .embeddings import ConditionEmbedding, check_sizes, class_images, sincos_position_embedding
from .linear import apply_linear
from .saved import StoredModelMixin


def modulate(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Adaptive layer norm's second half: x (B, L, D) scaled and shifted per image; shift, scale (B, 1, D)."""
    return x * (1 + scale) + shift


def add_neighbours(conv: nn.Conv2d | None, x: torch.Tensor) -> torch.Tensor:
    """Return the tokens plus what a depthwise convolution makes of the patches around each; `None` adds nothing.

    This is the positional encoding of CPVT (2102.10882, section 3.3), which also tells a block what lies next to what.

    Args:
        conv: keeps the width and the height of its images.
        x: (B, L, D) tokens, the rows of a square of patches one after another.

    Returns:
        (B, L, D).
    """
    if conv is None:
        return x
    grid = x.transpose(1, 2).unflatten(2, (math.isqrt(x.shape[1]), -1))  # (B, D, H / P, W / P)
    return x + conv(grid).flatten(2).transpose(1, 2)


class MLP(nn.Sequential):
    """`nn.Sequential` that calls its linear layers by `apply_linear`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self:
            x = apply_linear(layer, x)
        return x


class DiTBlock(nn.Module):
    """Self-attention and MLP, each modulated before and gated after by the condition; the gates start at zero.

    With text, cross-attention stands between the two and its output projection starts at zero (PixArt-alpha,
    2310.00426, section 2.3). With a kernel size, `add_neighbours` comes before self-attention and before the MLP.

    Args:
        dim: width of the tokens.
        heads: attention heads.
        mlp_ratio: width of the MLP over `dim`.
        cross_attention_dim: width of the text tokens; None without text.
        conv_kernel_size: side of the convolutions of `add_neighbours`, odd; None without them.
        dropout: probability in [0, 1), inside the MLP.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float,
        cross_attention_dim: int | None,
        conv_kernel_size: int | None,
        dropout: float,
    ):
        super().__init__()
        size = conv_kernel_size
        self.conv1, self.conv2 = (
            None if size is None else nn.Conv2d(dim, dim, size, padding=size // 2, groups=dim) for _ in range(2)
        )
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.attention = DigitAttention(dim, heads)
        self.cross_attention = None if cross_attention_dim is None else DigitAttention(dim, heads, cross_attention_dim)
        self.norm2 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        hidden = int(dim * mlp_ratio)
        # The exact GELU: on CPUs it is faster than the tanh of DiT's reference, whose values differ by under 5e-4.
        self.mlp = MLP(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))
        self.modulation = nn.Linear(dim, 6 * dim)

    def forward(
        self,
        x: torch.Tensor,
        condition: torch.Tensor,
        text: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(condition))[:, None].chunk(6, dim=-1)
        x = add_neighbours(self.conv1, x)
        x = x + gate1 * self.attention(modulate(self.norm1(x), shift1, scale1))  # (B, L, D)
        if self.cross_attention is not None:
            x = x + self.cross_attention(x, text, mask)
        x = add_neighbours(self.conv2, x)
        return x + gate2 * self.mlp(modulate(self.norm2(x), shift2, scale2))  # (B, L, D)


class DigitDiT2DModel(StoredModelMixin, AttentionMixin, ConfigMixin):
    """Transformer denoiser of small images, conditioned on a class, a text, both or neither.

    Args:
        sample_size: height and width of the images, in pixels; a multiple of `patch_size`.
        in_channels, out_channels: channels of input and output; `out_channels = 2 * in_channels` adds a learned
            variance.
        num_classes: number of classes; id `num_classes` is the null class. None for a model without labels.
        class_channels: channels of a learned image per class beside the noisy one, `ClassImages`; None without them.
        cross_attention_dim: width of the text tokens; None for a model without text.
        patch_size: pixels per side of the square that becomes one token.
        num_layers: number of blocks.
        num_attention_heads, attention_head_dim: their product is the width, a multiple of 4.
        mlp_ratio: width of the MLPs over the width of the tokens.
        conv_kernel_size: side, in patches and odd, of two convolutions in every block, without which a small
            transformer is slow to learn what lies next to what (CHANGELOG.md); None is DiT as published.
        dropout: probability in [0, 1), inside the MLPs.
        pipeline_defaults: class names, steps and guidance that a pipeline of these weights uses; the model does not.

    Raises:
        ValueError: for sizes that do not fit together; the message names both numbers.
    """

    component_name = "transformer"  # what diffusers calls a denoiser of this kind
    _supports_gradient_checkpointing = True
    _no_split_modules = ["DiTBlock"]
    _repeated_blocks = ["DiTBlock"]
    _skip_layerwise_casting_patterns = ["norm", "condition_embedding", "class_", "patch_in", "patch_out"]

    @register_to_config
    def __init__(
        self,
        sample_size: int = 28,
        in_channels: int = 1,
        out_channels: int = 1,
        num_classes: int | None = 10,
        class_channels: int | None = None,
        cross_attention_dim: int | None = None,
        patch_size: int = 4,
        num_layers: int = 6,
        num_attention_heads: int = 4,
        attention_head_dim: int = 32,
        mlp_ratio: float = 4.0,
        conv_kernel_size: int | None = None,
        dropout: float = 0.0,
        pipeline_defaults: dict[str, Any] | None = None,
    ):
        super().__init__()
        counts = (
            *("sample_size", "in_channels", "out_channels", "num_classes", "class_channels", "cross_attention_dim"),
            *("patch_size", "num_layers", "num_attention_heads", "attention_head_dim", "conv_kernel_size"),
        )
        check_sizes(**{name: self.config[name] for name in counts})
        if sample_size % patch_size:
            raise ValueError(
                f"sample_size: got {sample_size}, which patches of {patch_size} pixels do not tile; use a multiple."
            )
        dim = num_attention_heads * attention_head_dim
        if dim % 4:
            raise ValueError(
                f"num_attention_heads * attention_head_dim: got {num_attention_heads} * {attention_head_dim} = {dim}, "
                "expected a multiple of 4: a quarter each for sine and cosine of row and column."
            )
        if conv_kernel_size is not None and conv_kernel_size % 2 == 0:
            raise ValueError(f"conv_kernel_size: got {conv_kernel_size}, expected an odd number, which has a middle.")
        grid = sample_size // patch_size
        self.patch_in = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.class_images = class_images(num_classes, class_channels, sample_size)
        self.class_in = nn.Conv2d(class_channels, dim, patch_size, patch_size, bias=False) if class_channels else None
        self.condition_embedding = ConditionEmbedding(dim, num_classes, cross_attention_dim)
        # Computed from the config, so not part of the weights.
        self.register_buffer("position", sincos_position_embedding(grid, grid, dim), persistent=False)
        self.blocks = nn.ModuleList(
            DiTBlock(dim, num_attention_heads, mlp_ratio, cross_attention_dim, conv_kernel_size, dropout)
            for _ in range(num_layers)
        )
        self.norm_out = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.modulation_out = nn.Linear(dim, 2 * dim)
        self.patch_out = nn.Linear(dim, out_channels * patch_size**2)
        self.gradient_checkpointing = False
        self.initialize_weights()

    def initialize_weights(self) -> None:
        """Initialize as DiT's reference does, so that a fresh block is the identity and the fresh output is zero.

        The class table alone differs: see `ConditionEmbedding`.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                # The convolution's stride is its size, so it is a linear layer on patches: initialize it as one.
                nn.init.xavier_uniform_(module.weight.flatten(1))
                nn.init.zeros_(module.bias)
        if self.class_in is not None:
            nn.init.xavier_uniform_(self.class_in.weight.flatten(1))
        nn.init.normal_(self.condition_embedding.time_in.weight, std=0.02)
        nn.init.normal_(self.condition_embedding.time_out.weight, std=0.02)
        zeros = ("conv1", "conv2", "modulation", "cross_attention.to_out", "modulation_out", "patch_out")
        for name, parameter in self.named_parameters():
            if name.endswith(tuple(f"{layer}.weight" for layer in zeros)):
                nn.init.zeros_(parameter)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float,
        class_labels: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """Predict.

        Args:
            sample: (B, C, sample_size, sample_size) noisy images.
            timestep: a number, () or (B,), in [0, num_train_timesteps).
            class_labels: (B,) ids in [0, num_classes]; `num_classes` or None is the null class.
            encoder_hidden_states: (B, S, cross_attention_dim), for a model with text.
            encoder_attention_mask: (B, S), nonzero where a text token may be read; None reads all.
            return_dict: return a `Transformer2DModelOutput`, else a tuple.

        Returns:
            `.sample` of shape (B, out_channels, H, W): what the scheduler's `prediction_type` says.

        Raises:
            ValueError: another size than `sample_size`, or conditions that this model does not take.
        """
        size, patch_size = cast(int, self.config.sample_size), cast(int, self.config.patch_size)
        if sample.shape[-2:] != (size, size):
            raise ValueError(
                f"sample: got {sample.shape[-2]}x{sample.shape[-1]} pixels, expected {size}x{size}: the places of the "
                "patches are fixed by sample_size."
            )
        mask = text_attention_mask(self.config.cross_attention_dim, encoder_hidden_states, encoder_attention_mask)
        condition = self.condition_embedding(
            timestep, class_labels, sample.shape[0], sample, encoder_hidden_states, encoder_attention_mask
        )  # (B, D)

        x = self.patch_in(sample)  # (B, D, H / P, W / P)
        if self.class_images is not None and self.class_in is not None:
            x = x + self.class_in(self.class_images(class_labels, sample))
        x = x.flatten(2).transpose(1, 2)  # (B, L, D)
        x = x + self.position.to(x.dtype)
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, x, condition, encoder_hidden_states, mask)
            else:
                x = block(x, condition, encoder_hidden_states, mask)

        shift, scale = self.modulation_out(F.silu(condition))[:, None].chunk(2, dim=-1)  # (B, 1, D) each
        x = self.patch_out(modulate(self.norm_out(x), shift, scale))  # (B, L, C * P * P)
        grid = size // patch_size
        x = x.transpose(1, 2).unflatten(2, (grid, grid))  # (B, C * P * P, H / P, W / P)
        x = F.pixel_shuffle(x, patch_size)  # (B, C, H, W)
        return Transformer2DModelOutput(sample=x) if return_dict else (x,)
