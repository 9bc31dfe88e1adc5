"""Multi-head attention over tokens, to themselves or to a text, on whichever kernel diffusers is told to use.

Dimension letters: B batch, L tokens, S tokens of the text, N heads, D width.
"""

from typing import cast

import torch
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn

from .linear import apply_linear


class DigitAttnProcessor:
    """Runs the attention of one layer by `scaled_dot_product_attention`, or by the backend that was set on the model
    (`model.set_attention_backend`) or around the call (`diffusers.attention_backend`)."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: "DigitAttention",
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        source = cast(torch.Tensor, encoder_hidden_states if attn.is_cross_attention else hidden_states)
        if attn.fused_projections and not attn.is_cross_attention:
            query, key, value = apply_linear(attn.to_qkv, hidden_states).chunk(3, dim=-1)
        elif attn.fused_projections:
            query = apply_linear(attn.to_q, hidden_states)
            key, value = apply_linear(attn.to_kv, source).chunk(2, dim=-1)
        else:
            query = apply_linear(attn.to_q, hidden_states)
            key, value = apply_linear(attn.to_k, source), apply_linear(attn.to_v, source)

        query, key, value = (x.unflatten(-1, (attn.heads, -1)) for x in (query, key, value))  # (B, L or S, N, D/N)
        attended = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return apply_linear(attn.to_out, attended.flatten(2).to(query.dtype))  # (B, L, D)


class DigitAttention(nn.Module, AttentionModuleMixin):
    """Multi-head attention: self-attention, or cross-attention to `cross_attention_dim` wide tokens.

    Args:
        dim: width of the tokens, a multiple of `heads`.
        heads: number of heads.
        cross_attention_dim: width of the tokens attended to; None for self-attention.
    """

    _default_processor_cls = DigitAttnProcessor
    _available_processors = [DigitAttnProcessor]

    processor: DigitAttnProcessor
    to_qkv: nn.Linear  # these two exist while the projections are fused
    to_kv: nn.Linear

    def __init__(self, dim: int, heads: int, cross_attention_dim: int | None = None):
        super().__init__()
        if dim % heads:
            raise ValueError(f"attention: a width of {dim} cannot be split over {heads} heads; make it a multiple.")
        self.heads = heads
        self.use_bias = True  # read by AttentionModuleMixin when it fuses the projections
        self.is_cross_attention = cross_attention_dim is not None
        source_dim = cross_attention_dim or dim
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(source_dim, dim)
        self.to_v = nn.Linear(source_dim, dim)
        self.to_out = nn.Linear(dim, dim)
        self.processor = DigitAttnProcessor()

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend.

        Args:
            hidden_states: (B, L, D).
            encoder_hidden_states: (B, S, cross_attention_dim), for cross-attention only.
            attention_mask: (B, 1, 1, S) bool, True where a token may be read; None reads all.

        Returns:
            (B, L, D).
        """
        return self.processor(self, hidden_states, encoder_hidden_states, attention_mask)


def text_attention_mask(
    cross_attention_dim: int | None,
    encoder_hidden_states: torch.Tensor | None,
    encoder_attention_mask: torch.Tensor | None,
) -> torch.Tensor | None:
    """Check the text inputs of a model's forward and bring the mask into the shape that attention takes.

    Returns:
        (B, 1, 1, S) bool mask, or None.

    Raises:
        ValueError: text for a model without cross-attention, or none for a model with it.
    """
    if cross_attention_dim is None:
        if encoder_hidden_states is not None:
            raise ValueError(
                "encoder_hidden_states: got a text, but this model was built with cross_attention_dim=None; pass None."
            )
        return None
    if encoder_hidden_states is None:
        raise ValueError(
            f"encoder_hidden_states: got None, expected (B, S, {cross_attention_dim}), as this model needs a text."
        )
    if encoder_hidden_states.shape[-1] != cross_attention_dim:
        raise ValueError(
            f"encoder_hidden_states: got width {encoder_hidden_states.shape[-1]}, expected {cross_attention_dim}."
        )
    return None if encoder_attention_mask is None else encoder_attention_mask[:, None, None, :].bool()
