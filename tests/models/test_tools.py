"""Tools of others that quantize, compile, adapt or trace a model find layers that keep the contract of their class."""

from importlib.util import find_spec

import pytest
import torch
from diffusers import QuantoConfig, TorchAoConfig
from torch import nn

from text2digit.models.attention import DigitAttention

BATCH = 3
needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao: pip install torchao")
needs_quanto = pytest.mark.skipif(
    find_spec("optimum") is None or find_spec("optimum.quanto") is None,
    reason="needs quanto: pip install optimum-quanto",
)
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs PEFT: pip install peft")


@pytest.fixture
def inputs():
    sample = torch.randn(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    return sample, torch.tensor([0, 500, 999]), torch.tensor([0, 9, 10])


def torchao_weights(model):
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(model, Int8WeightOnlyConfig())
    return model


def torchao_weights_and_activations(model):
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return model


def quanto(model):
    from optimum.quanto import freeze, qint8, quantize

    quantize(model, weights=qint8)
    freeze(model)
    return model


def dynamic(model):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


QUANTIZERS = [
    pytest.param(torchao_weights, marks=needs_torchao),
    pytest.param(torchao_weights_and_activations, marks=needs_torchao),
    pytest.param(quanto, marks=needs_quanto),
    dynamic,
]


def float_layers(model):
    """Linear layers whose weight is a tensor of floats still."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear) and type(layer.weight) is nn.Parameter]


def deviation(output, expected):
    return ((output - expected).abs().mean() / expected.abs().mean()).item()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("quantize", QUANTIZERS)
def test_eight_bits_reach_every_linear_layer_and_keep_the_prediction(make_model, inputs, convolves, quantize):
    """Catches a class of our own that the tool does not know, and one whose forward takes other shapes than torch's."""
    model = make_model()
    assert float_layers(model)
    with torch.no_grad():
        expected = model(*inputs).sample
        quantized = quantize(model)
        assert not float_layers(quantized)
        assert 0 < deviation(quantized(*inputs).sample, expected) < 0.05


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "library", [pytest.param("torchao", marks=needs_torchao), pytest.param("quanto", marks=needs_quanto)]
)
def test_diffusers_loads_weights_in_eight_bits(make_model, inputs, convolves, tmp_path, library):
    """By `quantization_config`, which is how users of diffusers ask for it."""
    if library == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        config = TorchAoConfig(Int8WeightOnlyConfig())
    else:
        config = QuantoConfig(weights_dtype="int8")
    model = make_model()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, quantization_config=config, torch_dtype=torch.float32)
    assert not float_layers(loaded)
    with torch.no_grad():
        assert 0 < deviation(loaded(*inputs).sample, model(*inputs).sample) < 0.05


def test_layers_of_torch_are_of_its_very_classes(make_model):
    """Tools find layers by class, exact or derived: one with another forward or another name is lost on them."""
    known = (nn.Linear, nn.Conv2d, nn.Embedding, nn.LayerNorm, nn.GroupNorm)
    layers = [layer for layer in make_model(cross_attention_dim=12).modules() if isinstance(layer, known)]
    assert len(layers) > 20 and {type(layer) for layer in layers} <= set(known)


def test_every_repeated_block_compiles(make_model):
    """Catches a model that does not name its blocks. That they compile in one graph is tested with the whole model."""
    model = make_model()
    model.compile_repeated_blocks(backend="eager", fullgraph=True)
    compiled = [module for module in model.modules() if module._compiled_call_impl is not None]
    assert len(compiled) > 1 and {type(block).__name__ for block in compiled} == set(model._no_split_modules)


@needs_peft
def test_adapters_start_as_the_model_and_learn_alone(make_model, inputs, convolves):
    """Catches an adapter around a layer that is called past it."""
    from peft import LoraConfig, inject_adapter_in_model

    model = make_model()
    expected = model(*inputs).sample
    adapted = inject_adapter_in_model(LoraConfig(target_modules=["to_q", "to_v", "mlp.0", "mlp.3"]), model)
    output = adapted(*inputs).sample
    assert torch.allclose(output, expected, atol=1e-5)
    output.square().mean().backward()
    learns = {name for name, p in adapted.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert learns and all("lora_B" in name for name in learns)  # A learns once B is no longer zero


def test_attention_and_mlp_can_be_traced_and_exported(make_model, convolves):
    """torch.fx stands in for tensors. Catches a choice by their values, and a layer that is no leaf of the graph."""
    model, x = make_model(), torch.randn(BATCH, 5, 32)
    attention = next(module for module in model.modules() if isinstance(module, DigitAttention))
    absent = {"encoder_hidden_states": None, "attention_mask": None}
    parts = [(attention, absent), *((block.mlp, None) for block in getattr(model, "blocks", [])[:1])]
    for part, arguments in parts:
        traced = torch.fx.symbolic_trace(part, concrete_args=arguments)
        called = [node for node in traced.graph.nodes if node.op == "call_module"]
        assert len(called) == sum(1 for module in part.modules() if not list(module.children()))
        for other in (traced, torch.export.export(part, (x,)).module()):
            assert torch.allclose(other(x), part(x), atol=1e-5)
