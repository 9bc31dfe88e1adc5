"""`DigitLinear` by its convolution is `nn.Linear`: values, gradients, and where it is not taken at all."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from text2digit.models import linear
from text2digit.models.linear import DigitLinear

BATCH, TOKENS, IN, OUT = 3, 5, 8, 6


@pytest.fixture
def convolves(monkeypatch):
    """Any CPU convolves, however few the tokens, and says how often it did."""
    monkeypatch.setattr(linear, "_CONVOLVES_FASTER", True)
    monkeypatch.setattr(linear, "_WORTH_IT", 0)
    calls, conv2d = [], F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda *arguments: calls.append(1) or conv2d(*arguments))
    return calls


def both(bias: bool = True) -> tuple[DigitLinear, nn.Linear]:
    """Ours and torch's, of the same weights."""
    torch.manual_seed(0)
    layer, plain = DigitLinear(IN, OUT, bias), nn.Linear(IN, OUT, bias)
    plain.load_state_dict(layer.state_dict())
    return layer, plain


def tokens() -> torch.Tensor:
    return torch.randn(BATCH, TOKENS, IN, generator=torch.Generator().manual_seed(1), requires_grad=True)


@pytest.mark.parametrize("bias", [True, False])
def test_the_convolution_is_the_linear_layer(convolves, bias):
    """Catches tokens and features that change places, which a square layer would hide, and a gradient that is lost."""
    results = []
    for layer in both(bias):
        x = tokens()
        y = layer(x)
        y.square().sum().backward()
        results.append([y, x.grad, *(p.grad for p in layer.parameters())])
    assert convolves == [1]
    for ours, torchs in zip(*results, strict=True):
        assert ours.shape == torchs.shape and ours.is_contiguous()
        assert torch.allclose(ours, torchs, atol=1e-5)


def test_tokens_that_lie_apart_in_memory_are_as_good(convolves):
    """Catches a view that takes the memory's order for the tensor's."""
    layer, plain = both()
    x = torch.randn(IN, TOKENS, BATCH).permute(2, 1, 0)
    assert torch.allclose(layer(x), plain(x), atol=1e-6) and convolves == [1]


def test_second_derivatives_and_forward_mode_go_through(convolves):
    """Catches an autograd function of one's own that torch.func cannot see through; losses of research need it."""
    layer, plain = both()
    results = []
    for each in (layer, plain):
        x = tokens()
        (gradient,) = torch.autograd.grad(each(x).pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), x)
        forward = torch.func.jvp(each, (x.detach(),), (torch.ones_like(x),))[1]
        results.append([second, forward])
    assert len(convolves) == 2
    for ours, torchs in zip(*results, strict=True):
        assert torch.allclose(ours, torchs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "x", [torch.randn(BATCH, IN), torch.randn(2, BATCH, TOKENS, IN), torch.randn(BATCH, TOKENS, IN).double()]
)
def test_other_tensors_are_left_to_torch(convolves, x):
    """Catches a convolution of what is no (B, L, D), or of numbers for which it was not measured."""
    layer, plain = both()
    layer, plain = layer.to(x.dtype), plain.to(x.dtype)
    assert torch.equal(layer(x), plain(x)) and not convolves


def test_it_can_be_forbidden_and_few_tokens_are_not_worth_it(convolves, monkeypatch):
    """Catches torch's slow fallback for a convolution without oneDNN, and a digit at a time that becomes slower."""
    layer, plain = both()
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(layer(tokens()), plain(tokens()))
    monkeypatch.setattr(linear, "_WORTH_IT", BATCH * TOKENS * IN * OUT + 1)
    assert torch.equal(layer(tokens()), plain(tokens()))
    assert not convolves
    monkeypatch.setattr(linear, "_WORTH_IT", BATCH * TOKENS * IN * OUT)
    layer(tokens())
    assert convolves


@pytest.mark.parametrize(
    ("vendor", "capability", "faster"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
def test_it_is_for_the_cpus_where_it_was_measured(monkeypatch, vendor, capability, faster):
    """Catches a detour on Intel's CPUs, whose AVX-512 MKL uses, and on those that have none."""
    monkeypatch.setattr(Path, "exists", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self: f"vendor_id\t: {vendor}\n")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert linear._convolves_faster() is faster
