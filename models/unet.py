"""`DigitUNet2DModel`: the convolutional denoiser.

The U-shaped network of DDPM (2006.11239, appendix B) with the adaptive group normalization of ADM (2105.05233, section
3), on 2x2 patches of pixels in place of pixels: on 28x28 digits the widest level then has 14x14 places, which costs a
quarter and loses nothing, because pixel_unshuffle only moves pixels into channels.

Dimension letters: B batch, C channels, H W height and width, L = H * W tokens, D width of the condition.
"""

from typing import Any, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import AttentionMixin
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401  diffusers looks for it in this module
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import nn
from torch.nn import functional as F

from .attention import DigitAttention, text_attention_mask
from .embeddings import ConditionEmbedding, check_sizes, class_images
from .saved import StoredModelMixin

# Constructor arguments that count something.
COUNTS = (
    *("sample_size", "in_channels", "out_channels", "num_classes", "class_channels", "cross_attention_dim"),
    *("patch_size", "layers_per_block", "attention_head_dim", "norm_num_groups"),
)


class ResnetBlock(nn.Module):
    """x + conv(dropout(silu(modulate(norm(conv(silu(norm(x)))), condition)))), the last convolution starting at zero.

    Args:
        in_channels, out_channels: channels of input and output.
        condition_dim: width of the condition, which gives the scale and shift of the second normalization.
        groups: groups of the normalizations.
        dropout: probability in [0, 1).
    """

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int, groups: int, dropout: float):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.modulation = nn.Linear(condition_dim, 2 * out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulation(F.silu(condition))[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        h = self.conv1(F.silu(self.norm1(x)))  # (B, C, H, W)
        h = self.norm2(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(self.dropout(F.silu(h)))  # (B, C, H, W)


class TransformerBlock(nn.Module):
    """Attention of every place to every place, then to the text; both are residual and start at zero."""

    def __init__(self, channels: int, heads: int, cross_attention_dim: int | None, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.attention = DigitAttention(channels, heads)
        self.cross_norm = None if cross_attention_dim is None else nn.LayerNorm(channels)
        self.cross_attention = (
            None if cross_attention_dim is None else DigitAttention(channels, heads, cross_attention_dim)
        )

    def forward(self, x: torch.Tensor, text: torch.Tensor | None, mask: torch.Tensor | None) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, L, C)
        tokens = tokens + self.attention(self.norm(x).flatten(2).transpose(1, 2))
        if self.cross_attention is not None and self.cross_norm is not None:
            tokens = tokens + self.cross_attention(self.cross_norm(tokens), text, mask)
        return tokens.transpose(1, 2).reshape(x.shape)  # (B, C, H, W)


class UNetBlock(nn.Module):
    """A `ResnetBlock`, followed by a `TransformerBlock` at the levels that have attention."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        condition_dim: int,
        groups: int,
        dropout: float,
        heads: int | None,
        cross_attention_dim: int | None,
    ):
        super().__init__()
        self.resnet = ResnetBlock(in_channels, out_channels, condition_dim, groups, dropout)
        self.transformer = None if heads is None else TransformerBlock(out_channels, heads, cross_attention_dim, groups)

    def forward(
        self, x: torch.Tensor, condition: torch.Tensor, text: torch.Tensor | None, mask: torch.Tensor | None
    ) -> torch.Tensor:
        x = self.resnet(x, condition)
        return x if self.transformer is None else self.transformer(x, text, mask)


class DigitUNet2DModel(StoredModelMixin, AttentionMixin, ConfigMixin):
    """Convolutional denoiser of small images, conditioned on a class, a text, both or neither.

    Args:
        sample_size: height and width of the images, in pixels; a multiple of `patch_size`. The forward takes other
            sizes too.
        in_channels, out_channels: channels of input and output; `out_channels = 2 * in_channels` adds a learned
            variance.
        num_classes: number of classes; id `num_classes` is the null class. None for a model without labels.
        class_channels: channels of a learned image per class beside the noisy one, `ClassImages`; None without them.
        cross_attention_dim: width of the text tokens; None for a model without text.
        patch_size: pixels per side that are gathered into channels before the first convolution.
        block_out_channels: channels of each level, the finest first; every level halves the size.
        layers_per_block: blocks per level on the way down; the way up has one more.
        attention_levels: per level, whether its blocks attend. The middle of the network always does.
        attention_head_dim: channels per head; must divide the channels of the levels that attend.
        norm_num_groups: groups of the group normalizations; must divide every entry of `block_out_channels`.
        dropout: probability in [0, 1), inside the residual blocks.
        pipeline_defaults: class names, steps and guidance that a pipeline of these weights uses; the model does not.

    Raises:
        ValueError: for sizes that do not fit together; the message names both numbers.
    """

    component_name = "unet"  # what diffusers calls a denoiser of this kind
    _supports_gradient_checkpointing = True
    _no_split_modules = ["UNetBlock"]
    _repeated_blocks = ["UNetBlock"]
    _skip_layerwise_casting_patterns = ["norm", "condition_embedding", "class_", "conv_in", "conv_out"]

    @register_to_config
    def __init__(
        self,
        sample_size: int = 28,
        in_channels: int = 1,
        out_channels: int = 1,
        num_classes: int | None = 10,
        class_channels: int | None = None,
        cross_attention_dim: int | None = None,
        patch_size: int = 2,
        block_out_channels: tuple[int, ...] = (48, 96),
        layers_per_block: int = 1,
        attention_levels: tuple[bool, ...] = (False, True),
        attention_head_dim: int = 32,
        norm_num_groups: int = 8,
        dropout: float = 0.0,
        pipeline_defaults: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._check_arguments()
        condition_dim = 4 * block_out_channels[0]
        self.condition_embedding = ConditionEmbedding(condition_dim, num_classes, cross_attention_dim)
        self.conv_in = nn.Conv2d(in_channels * patch_size**2, block_out_channels[0], 3, padding=1)
        self.class_images = class_images(num_classes, class_channels, sample_size)
        shown = (class_channels or 0) * patch_size**2
        self.class_in = nn.Conv2d(shown, block_out_channels[0], 3, padding=1, bias=False) if shown else None

        def block(channels_in: int, channels_out: int, attends: bool) -> UNetBlock:
            heads = channels_out // attention_head_dim if attends else None
            return UNetBlock(
                channels_in, channels_out, condition_dim, norm_num_groups, dropout, heads, cross_attention_dim
            )

        # The way down keeps every feature map for the way up: `skips` lists their channels in the order of making.
        skips = [channels := block_out_channels[0]]
        self.down_blocks, self.downsamplers = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(block_out_channels):
            blocks = nn.ModuleList()
            for _ in range(layers_per_block):
                blocks.append(block(channels, width, attention_levels[level]))
                skips.append(channels := width)
            self.down_blocks.append(blocks)
            if level < len(block_out_channels) - 1:
                self.downsamplers.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)

        self.mid_blocks = nn.ModuleList([block(channels, channels, True), block(channels, channels, False)])

        self.up_blocks, self.upsamplers = nn.ModuleList(), nn.ModuleList()
        for level, width in reversed(list(enumerate(block_out_channels))):
            blocks = nn.ModuleList()
            for _ in range(layers_per_block + 1):
                blocks.append(block(channels + skips.pop(), width, attention_levels[level]))
                channels = width
            self.up_blocks.append(blocks)
            if level > 0:
                self.upsamplers.append(nn.Conv2d(width, width, 3, padding=1))

        self.norm_out = nn.GroupNorm(norm_num_groups, channels)
        self.conv_out = nn.Conv2d(channels, out_channels * patch_size**2, 3, padding=1)
        self.gradient_checkpointing = False
        self.initialize_weights()

    def _check_arguments(self) -> None:
        c = self.config
        check_sizes(**{name: c[name] for name in COUNTS})
        check_sizes(**{f"block_out_channels[{level}]": width for level, width in enumerate(c.block_out_channels)})
        if c.sample_size % c.patch_size:
            raise ValueError(
                f"sample_size: got {c.sample_size}, which patches of {c.patch_size} pixels do not tile; use a multiple."
            )
        if len(c.attention_levels) != len(c.block_out_channels):
            raise ValueError(
                f"attention_levels: got {len(c.attention_levels)} entries for {len(c.block_out_channels)} levels of "
                "block_out_channels; give one per level."
            )
        attending = [w for w, attends in zip(c.block_out_channels, c.attention_levels, strict=True) if attends]
        for width in [*attending, c.block_out_channels[-1]]:
            if width % c.attention_head_dim:
                raise ValueError(
                    f"attention_head_dim: got {c.attention_head_dim}, which does not divide the {width} channels of a "
                    "level that attends."
                )
        for width in c.block_out_channels:
            if width % c.norm_num_groups:
                raise ValueError(f"norm_num_groups: got {c.norm_num_groups}, which does not divide {width} channels.")
        smallest = c.sample_size // c.patch_size / 2 ** (len(c.block_out_channels) - 1)
        if smallest <= 0.5:
            raise ValueError(
                f"block_out_channels: {len(c.block_out_channels)} levels halve {c.sample_size // c.patch_size} places "
                "to less than one; use fewer levels."
            )

    def initialize_weights(self) -> None:
        """Fresh residual branches add nothing and the fresh output is zero; the rest keeps PyTorch's initialization.

        So the first prediction is the mean of a standardized target, and no block has to unlearn another.
        """
        for module in self.modules():
            if isinstance(module, ResnetBlock):
                _zero(module.conv2)
                _zero(module.modulation)
            elif isinstance(module, DigitAttention):
                _zero(module.to_out)
        _zero(self.conv_out)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float,
        class_labels: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[torch.Tensor]:
        """Predict.

        Args:
            sample: (B, C, H, W) noisy images; H and W multiples of `patch_size`.
            timestep: a number, () or (B,), in [0, num_train_timesteps).
            class_labels: (B,) ids in [0, num_classes]; `num_classes` or None is the null class.
            encoder_hidden_states: (B, S, cross_attention_dim), for a model with text.
            encoder_attention_mask: (B, S), nonzero where a text token may be read; None reads all.
            return_dict: return a `UNet2DOutput`, else a tuple.

        Returns:
            `.sample` of shape (B, out_channels, H, W): what the scheduler's `prediction_type` says.

        Raises:
            ValueError: sizes that the patches do not tile, or conditions that this model does not take.
        """
        patch_size = cast(int, self.config.patch_size)
        height, width = sample.shape[-2:]
        if height % patch_size or width % patch_size:
            raise ValueError(f"sample: got {height}x{width} pixels, which patches of {patch_size} do not tile.")
        mask = text_attention_mask(self.config.cross_attention_dim, encoder_hidden_states, encoder_attention_mask)
        text = encoder_hidden_states
        condition = self.condition_embedding(
            timestep, class_labels, sample.shape[0], sample, encoder_hidden_states, encoder_attention_mask
        )  # (B, D)

        x = self.conv_in(F.pixel_unshuffle(sample, patch_size))
        if self.class_images is not None and self.class_in is not None:
            x = x + self.class_in(F.pixel_unshuffle(self.class_images(class_labels, sample), patch_size))
        skips = [x]
        for level, blocks in enumerate(self.down_blocks):
            for block in cast(nn.ModuleList, blocks):
                x = self._run(block, x, condition, text, mask)
                skips.append(x)
            if level < len(self.downsamplers):
                x = self.downsamplers[level](x)
                skips.append(x)

        for block in self.mid_blocks:
            x = self._run(block, x, condition, text, mask)

        for level, blocks in enumerate(self.up_blocks):
            for block in cast(nn.ModuleList, blocks):
                x = self._run(block, torch.cat([x, skips.pop()], dim=1), condition, text, mask)
            if level < len(self.upsamplers):
                # To the size of the next skip, not times two: an odd size such as 7 was halved to 4.
                x = self.upsamplers[level](F.interpolate(x, size=skips[-1].shape[-2:], mode="nearest"))

        x = self.conv_out(F.silu(self.norm_out(x)))
        x = F.pixel_shuffle(x, patch_size)  # (B, C, H, W)
        return UNet2DOutput(sample=x) if return_dict else (x,)

    def _run(self, block: nn.Module, *inputs: torch.Tensor | None) -> torch.Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)


def _zero(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
