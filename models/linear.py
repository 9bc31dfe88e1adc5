"""Calls torch's linear layers, on some CPUs as 1x1 convolutions, which are twice as fast there."""

import platform
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

# Multiplications from which it is worth it: below, what a convolution does before it begins costs more than it saves.
_WORTH_IT = 2**23
_PLAIN_TYPES = {torch.Tensor, nn.Parameter, type(None)}


@cache
def _convolves_faster() -> bool:
    """Whether this CPU multiplies matrices of float32 faster when it is told that they are a convolution.

    torch multiplies by MKL and convolves by oneDNN, and of the two only the latter uses AVX-512 on AMD's CPUs: on an
    EPYC 215 against 450 GFLOP/s for the layers of a DiT (CHANGELOG.md). Others were not measured.
    """
    cpuinfo = Path("/proc/cpuinfo")  # Linux; where Windows keeps it, `platform` knows
    cpu = cpuinfo.read_text() if cpuinfo.exists() else platform.processor()
    capable = torch.backends.mkl.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    return capable and "AuthenticAMD" in cpu


def _is_plain(layer: nn.Linear) -> bool:
    """Whether a call of the layer is `F.linear` of dense tensors and nothing more.

    Hooks, a `forward` of the instance's own, and weights of a tensor subclass are how other tools change a layer.
    """
    hooks = (layer._forward_pre_hooks, layer._forward_hooks, layer._backward_pre_hooks, layer._backward_hooks)
    if any(hooks) or nn.modules.module._has_any_global_hook() or "forward" in vars(layer):
        return False
    return {type(layer.weight), type(layer.bias)} <= _PLAIN_TYPES and layer.weight.layout == torch.strided


def apply_linear(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return `layer(x)`. Many tokens (B, L, D) in float32 go through oneDNN on an AMD CPU with AVX-512.

    There it computes the same sum of products as a 1x1 convolution, whose results differ in the last bits. A layer that
    another tool replaced or changed is called as it is, and compiled code has its own kernels.
    `torch.backends.mkldnn.flags(enabled=False)` is torch's own way to forbid it.
    """
    if torch.compiler.is_compiling() or type(layer) is not nn.Linear or type(x) is not torch.Tensor or x.ndim != 3:
        return layer(x)
    on_cpu = x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.enabled
    if not (on_cpu and x.numel() * layer.out_features >= _WORTH_IT and _convolves_faster() and _is_plain(layer)):
        return layer(x)
    # (B, L, 1, D) seen as the image (B, D, L, 1) lies in memory as oneDNN likes it, so nothing is copied.
    image = x.unsqueeze(2).permute(0, 3, 1, 2)
    return F.conv2d(image, layer.weight[:, :, None, None], layer.bias).permute(0, 2, 3, 1).squeeze(2)
