"""`DigitLinear`: torch's linear layer, which on some CPUs computes twice as fast as a 1x1 convolution."""

import platform
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


def _convolves_faster() -> bool:
    """Whether this CPU multiplies matrices of float32 faster when it is told that they are a convolution.

    torch multiplies by MKL and convolves by oneDNN, and of the two only the latter uses AVX-512 on AMD's CPUs: on an
    EPYC 215 against 450 GFLOP/s for the layers of a DiT (CHANGELOG.md). Others were not measured.
    """
    cpuinfo = Path("/proc/cpuinfo")  # Linux; where Windows keeps it, `platform` knows
    cpu = cpuinfo.read_text() if cpuinfo.exists() else platform.processor()
    capable = torch.backends.mkl.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    return capable and "AuthenticAMD" in cpu


_CONVOLVES_FASTER = _convolves_faster()
# Multiplications from which it is worth it: below, what a convolution does before it begins costs more than it saves.
_WORTH_IT = 2**23


class DigitLinear(nn.Linear):
    """`nn.Linear`, weights and all; many tokens (B, L, D) in float32 on an AMD CPU with AVX-512 go by oneDNN.

    There it computes the same sum of products as a 1x1 convolution, whose results differ in the last bits.
    `torch.backends.mkldnn.flags(enabled=False)` is torch's own way to forbid it, and compiled code has its own kernels.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., in_features); returns (..., out_features)."""
        if torch.compiler.is_compiling() or not (_CONVOLVES_FASTER and torch.backends.mkldnn.enabled):
            return super().forward(x)
        on_cpu = x.device.type == "cpu" and x.dtype == torch.float32
        if not on_cpu or x.ndim != 3 or x.numel() * self.out_features < _WORTH_IT:
            return super().forward(x)
        # (B, L, 1, D) seen as the image (B, D, L, 1) lies in memory as oneDNN likes it, so nothing is copied.
        image = x.unsqueeze(2).permute(0, 3, 1, 2)
        return F.conv2d(image, self.weight[:, :, None, None], self.bias).permute(0, 2, 3, 1).squeeze(2)
