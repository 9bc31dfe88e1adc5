"""`apply_linear` gives what the layer gives, takes the convolution where it may, and leaves changed layers alone."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from text2digit.models import linear
from text2digit.models.linear import apply_linear

BATCH, TOKENS, IN, OUT = 3, 5, 8, 6


class Calls(nn.Module):
    """A model that calls its layer by `apply_linear`."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return apply_linear(self.layer, x)


def both(bias: bool = True) -> tuple[Calls, nn.Linear]:
    """A layer called by `apply_linear`, and one of the same weights that torch calls."""
    torch.manual_seed(0)
    layer, plain = nn.Linear(IN, OUT, bias), nn.Linear(IN, OUT, bias)
    plain.load_state_dict(layer.state_dict())
    return Calls(layer), plain


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
    assert linear._convolves_faster.__wrapped__() is faster


def test_importing_the_module_does_not_look_at_the_cpu(monkeypatch):
    """Catches a file that is read on import."""

    def refuse(*arguments):
        raise AssertionError("reads a file")

    for name in ("exists", "open", "read_text"):
        monkeypatch.setattr(Path, name, refuse)
    runpy.run_path(linear.__file__)


class Packed(torch.Tensor):
    """What quantizing tools put in the place of a weight: a tensor that can be multiplied, and not convolved."""


def replace_weight(layer, weight):
    layer.weight = nn.Parameter(weight, requires_grad=False)


def replace_forward(layer):
    """As the hooks of accelerate and diffusers do, which cast or move the weights around the call."""
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)


CHANGES = {
    "pre-hook": lambda layer: layer.register_forward_pre_hook(lambda layer, inputs: (2 * inputs[0],)),
    "hook": lambda layer: layer.register_forward_hook(lambda layer, inputs, output: 2 * output),
    "backward hook": lambda layer: layer.register_full_backward_hook(lambda layer, inputs, outputs: (2 * inputs[0],)),
    "backward pre-hook": lambda layer: layer.register_full_backward_pre_hook(lambda layer, outputs: (2 * outputs[0],)),
    "forward": replace_forward,
    "tensor subclass": lambda layer: replace_weight(layer, layer.weight.detach().as_subclass(Packed)),
    "sparse": lambda layer: replace_weight(layer, layer.weight.detach().to_sparse_csr()),
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "weight norm": parametrizations.weight_norm,
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer.eval()),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_that_a_tool_changed_is_called_as_it_is(convolves, change):
    """Catches a weight that is read past the tool: hooks that do not run, and tensors that cannot be convolved."""
    _, layer = both()
    CHANGES[change](layer)
    results = []
    for call in (layer, Calls(layer)):
        x = tokens()
        y = call(x)
        y.square().sum().backward()
        results.append((y, x.grad))
    assert not convolves and all(map(torch.equal, *results))


def test_hooks_for_every_module_see_the_layer(convolves):
    """Catches a profiler that misses layers: it watches by a global hook."""
    model, _ = both()
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda layer, *_: seen.append(layer))
    with handle:
        model(tokens())
    assert seen == [model.layer, model] and not convolves


def test_other_layers_and_tensors_are_called_as_they_are(convolves):
    """Catches what a tool put in the layer's place, and a tracer's stand-in for a tensor."""
    model, plain = both()
    wrapped = nn.Sequential(plain, nn.ReLU())
    assert torch.equal(apply_linear(wrapped, tokens()), wrapped(tokens()))
    assert torch.equal(torch.fx.symbolic_trace(model)(tokens()), plain(tokens()))
    assert not convolves


def test_an_ensemble_of_weights_goes_through(convolves):
    """`functional_call` puts tensors in the place of parameters, and vmap adds a dimension that nobody sees."""
    layers = [nn.Linear(IN, OUT) for _ in range(3)]
    weights, _ = torch.func.stack_module_state(layers)
    holder, x = Calls(layers[0]), tokens()
    weights = {f"layer.{name}": value for name, value in weights.items()}
    results = torch.func.vmap(lambda w: torch.func.functional_call(holder, w, (x,)))(weights)
    assert torch.allclose(results, torch.stack([layer(x) for layer in layers]), atol=1e-5) and convolves == [1]
