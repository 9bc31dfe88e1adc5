"""Both denoisers against one contract."""

import pytest
import torch
from diffusers import attention_backend

from text2digit.models import DigitDiT2DModel, DigitUNet2DModel, build_model
from text2digit.models.dit import add_neighbours
from text2digit.models.embeddings import ClassImages, sincos_position_embedding, timestep_embedding
from text2digit.models.unet import UNetBlock

from ..conftest import TINY, randomize

BATCH = 3


def inputs(size=28, channels=1, num_classes=10):
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(BATCH, channels, size, size, generator=generator)
    return sample, torch.tensor([0, 500, 999]), torch.tensor([0, num_classes - 1, num_classes])


def test_output_has_the_shape_of_the_sample_and_tuple_equals_object(make_model):
    model, (sample, timestep, labels) = make_model(), inputs()
    output = model(sample, timestep, labels).sample
    assert output.shape == sample.shape and output.dtype == torch.float32
    assert torch.equal(output, model(sample, timestep, labels, return_dict=False)[0])


@pytest.mark.parametrize(
    "size, patch, channels, classes", [(32, 2, 3, 100), (8, 2, 1, 10), (28, 4, 1, 2), (28, 1, 1, 10)]
)
def test_other_sizes_patches_channels_and_classes_work(make_model, size, patch, channels, classes):
    """Catches a literal 28, 10 or 1."""
    model = make_model(
        sample_size=size, patch_size=patch, in_channels=channels, out_channels=2 * channels, num_classes=classes
    )
    sample, timestep, labels = inputs(size, channels, classes)
    assert model(sample, timestep, labels).sample.shape == (BATCH, 2 * channels, size, size)


def test_unet_takes_odd_sizes_and_four_levels():
    """28 pixels in patches of 1 are halved to 14, 7 and 4; catches an upsampling to 8 that no skip fits."""
    model = DigitUNet2DModel(
        patch_size=1, block_out_channels=(16,) * 4, attention_levels=(False,) * 4, attention_head_dim=16
    )
    assert model(torch.randn(1, 1, 28, 28), 5).sample.shape == (1, 1, 28, 28)
    assert model(torch.randn(1, 1, 20, 28), 5).sample.shape == (1, 1, 20, 28)


def test_a_fresh_model_predicts_zero(model_type):
    """Catches an output layer that was left out of the one init method."""
    model, (sample, timestep, labels) = build_model(model_type, {}), inputs()
    assert model(sample, timestep, labels).sample.abs().max() == 0


@pytest.mark.parametrize("text_dim", [None, 12])
def test_a_fresh_block_is_the_identity(text_dim):
    """adaLN-Zero's promise (2212.09748, section 3.2), also with text; catches a gate or projection that is not zero."""
    x, condition = torch.randn(2, 49, 64), torch.randn(2, 64)
    text = None if text_dim is None else torch.randn(2, 5, text_dim)
    sizes = {"num_layers": 1, "num_attention_heads": 4, "attention_head_dim": 16, "cross_attention_dim": text_dim}
    assert torch.equal(DigitDiT2DModel(**sizes).blocks[0](x, condition, text), x)
    assert torch.equal(DigitDiT2DModel(**sizes, conv_kernel_size=3).blocks[0](x, condition, text), x)

    model = DigitUNet2DModel(block_out_channels=(64, 64), cross_attention_dim=text_dim)
    block = model.mid_blocks[0]
    assert isinstance(block, UNetBlock) and block.transformer is not None
    image = torch.randn(2, 64, 7, 7)
    assert torch.equal(block(image, torch.randn(2, 256), text, None), image)


def test_neighbours_are_those_of_the_image():
    """A filter that reads the patch below adds that one; catches rows taken for columns, and tokens for channels."""
    conv = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
    torch.nn.init.zeros_(conv.weight)
    torch.nn.init.zeros_(conv.bias)
    conv.weight.data[:, 0, 2, 1] = 1
    x = torch.randn(2, 49, 8)
    below = torch.cat([x[:, 7:], torch.zeros(2, 7, 8)], dim=1)
    assert torch.allclose(add_neighbours(conv, x), x + below)


def test_every_weight_learns(make_model):
    """Catches a layer that forward does not use."""
    model = make_model(cross_attention_dim=12)
    sample, timestep, labels = inputs()
    model(sample, timestep, labels, torch.randn(BATCH, 5, 12)).sample.square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []


def test_no_label_is_the_null_class(make_model):
    model, (sample, timestep, labels) = make_model(), inputs()
    null = torch.full((BATCH,), model.config.num_classes)
    assert torch.equal(model(sample, timestep).sample, model(sample, timestep, null).sample)
    assert not torch.allclose(model(sample, timestep).sample, model(sample, timestep, labels.clamp(max=9)).sample)


def test_the_image_of_a_class_reaches_that_class_alone_at_its_place(make_model):
    """Catches the image of another class, rows taken for columns, and a null class that has learned one."""
    model = make_model(class_channels=2)
    sample, timestep, _ = inputs()
    labels, null = torch.tensor([3, 4, 10]), model.config.num_classes
    before = model(sample, timestep, labels).sample
    seen = []
    model.class_in.register_forward_hook(lambda layer, arguments, output: seen.append(output))
    table = model.class_images.table.weight.detach().unflatten(1, (2, 28, 28))  # a view: writing to it is seen
    table.zero_()
    table[3, 1, 24:, :4] = 1.0  # below, on the left
    after = model(sample, timestep, labels).sample
    assert not torch.allclose(after[0], before[0], atol=1e-3)
    places = seen[0][0].abs().sum(dim=0)
    assert places[-1, 0] > 0 and places[: places.shape[0] // 2].sum() == 0 == places[:, places.shape[1] // 2 :].sum()
    assert seen[0][1:].abs().sum() == 0

    model(sample, timestep, torch.tensor([3, 3, null])).sample.square().mean().backward()
    learns = model.class_images.table.weight.grad.abs().sum(dim=1) > 0
    assert learns.nonzero().flatten().tolist() == [3]


def test_images_of_classes_take_the_size_of_the_sample():
    """Catches a literal size, which other sizes of a UNet would fail by."""
    model = randomize(TINY["UNet"]())
    assert model(torch.randn(2, 1, 32, 40), 5, torch.tensor([1, 2])).sample.shape == (2, 1, 32, 40)


def test_timestep_may_be_a_number_or_a_tensor_of_any_kind(make_model):
    model, (sample, _, labels) = make_model(), inputs()
    expected = model(sample, torch.full((BATCH,), 7), labels).sample
    for timestep in (7, 7.0, torch.tensor(7), torch.tensor([7]), torch.tensor(7.0, dtype=torch.float64)):
        assert torch.equal(model(sample, timestep, labels).sample, expected)
    assert not torch.allclose(model(sample, 7.5, labels).sample, expected)  # continuous times are not rounded


def test_masked_text_tokens_are_not_read(make_model):
    """Catches a mask of the wrong sign or shape."""
    model = make_model(cross_attention_dim=12)
    sample, timestep, labels = inputs()
    text, mask = torch.randn(BATCH, 5, 12), torch.tensor([[1, 1, 1, 0, 0]] * BATCH)
    other = text.clone()
    other[:, 3:] = 100.0
    expected = model(sample, timestep, labels, text, mask).sample
    assert torch.allclose(model(sample, timestep, labels, other, mask).sample, expected, atol=1e-6)
    assert torch.allclose(model(sample, timestep, labels, text[:, :3]).sample, expected, atol=1e-5)
    assert not torch.allclose(model(sample, timestep, labels, other).sample, expected, atol=1e-3)


def test_unconditional_models_take_no_labels(make_model):
    model, (sample, timestep, labels) = make_model(num_classes=None), inputs()
    assert model(sample, timestep).sample.shape == sample.shape
    with pytest.raises(ValueError, match="num_classes=None"):
        model(sample, timestep, labels)


def test_gradient_checkpointing_changes_nothing_but_memory(make_model):
    sample, timestep, labels = inputs()
    gradients = []
    for enable in (False, True):
        model = make_model()
        if enable:
            model.enable_gradient_checkpointing()
        model(sample, timestep, labels).sample.square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(*gradients, atol=1e-6)


def test_compiles_without_graph_breaks(make_model):
    model, (sample, timestep, labels) = make_model(), inputs()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(sample, timestep, labels).sample, model(sample, timestep, labels).sample, atol=1e-6)


def test_attention_runs_on_the_backend_that_is_set(make_model):
    """Catches an attention that goes past diffusers' dispatcher."""
    model, (sample, timestep, labels) = make_model(), inputs()
    expected = model(sample, timestep, labels).sample
    with attention_backend("_native_math"):
        assert torch.allclose(model(sample, timestep, labels).sample, expected, atol=1e-5)
    model.set_attention_backend("_native_math")
    processors = list(model.attn_processors.values())
    assert processors and all(p._attention_backend.value == "_native_math" for p in processors)
    assert torch.allclose(model(sample, timestep, labels).sample, expected, atol=1e-5)
    model.reset_attention_backend()


def test_fused_projections_give_the_same(make_model):
    model = make_model(cross_attention_dim=12)
    sample, timestep, labels = inputs()
    arguments = (sample, timestep, labels, torch.randn(BATCH, 5, 12))
    expected = model(*arguments).sample
    model.fuse_qkv_projections()
    assert torch.allclose(model(*arguments).sample, expected, atol=1e-5)
    model.unfuse_qkv_projections()
    assert torch.equal(model(*arguments).sample, expected)


def test_layerwise_casting_stores_small_and_computes_in_float32(make_model):
    model, (sample, timestep, labels) = make_model(), inputs()
    expected = model(sample, timestep, labels).sample
    model.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    assert any(p.dtype == torch.bfloat16 for p in model.parameters())
    output = model(sample, timestep, labels).sample
    assert output.dtype == torch.float32
    assert (output - expected).abs().mean() < 0.05 * expected.abs().mean()


@pytest.mark.parametrize("offload_type", ["leaf_level", "block_level"])
def test_group_offload_gives_the_same(make_model, offload_type):
    model, (sample, timestep, labels) = make_model(), inputs()
    expected = model(sample, timestep, labels).sample
    model.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_type=offload_type,
        num_blocks_per_group=1 if offload_type == "block_level" else None,
    )
    assert torch.allclose(model(sample, timestep, labels).sample, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("variant", [None, "small"])
def test_save_and_load_round_trip_bit_for_bit(make_model, tmp_path, dtype, variant):
    model, (sample, timestep, labels) = make_model().to(dtype), inputs()
    model.save_pretrained(tmp_path, variant=variant)
    names = [path.name for path in tmp_path.iterdir()]
    assert any(name.endswith(f"{variant}.safetensors" if variant else ".safetensors") for name in names), names
    loaded = type(model).from_pretrained(tmp_path, variant=variant, torch_dtype=dtype)
    state, loaded_state = model.state_dict(), loaded.state_dict()
    assert state.keys() == loaded_state.keys()
    assert all(loaded_state[name].dtype == dtype and torch.equal(loaded_state[name], state[name]) for name in state)
    sample = sample.to(dtype)
    assert torch.equal(loaded(sample, timestep, labels).sample, model(sample, timestep, labels).sample)
    assert model(sample, timestep, labels).sample.dtype == dtype


def test_sharded_weights_load(make_model, tmp_path):
    model, (sample, timestep, labels) = make_model(), inputs()
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*-of-*.safetensors"))) > 1
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(loaded(sample, timestep, labels).sample, model(sample, timestep, labels).sample)


@pytest.mark.parametrize(
    "model_type, options, message",
    [
        ("UNet", {"sample_size": 27}, "27.*patches of 2"),
        ("UNet", {"attention_levels": (True,)}, "1 entries for 2 levels"),
        ("UNet", {"attention_head_dim": 36}, "36.*does not divide the 96"),
        ("UNet", {"norm_num_groups": 7}, "7.*does not divide 48"),
        ("UNet", {"block_out_channels": (32,) * 6, "attention_levels": (False,) * 6}, "fewer levels"),
        ("DiT", {"sample_size": 30, "patch_size": 4}, "30.*patches of 4"),
        ("DiT", {"num_attention_heads": 3, "attention_head_dim": 3}, "3 \\* 3 = 9.*multiple of 4"),
        ("UNet", {"layers_per_block": 0}, "layers_per_block: got 0, expected a whole number from 1 up"),
        ("UNet", {"block_out_channels": (48, 96.0)}, r"block_out_channels\[1\]: got 96.0"),
        ("DiT", {"num_classes": -1}, "num_classes: got -1"),
        ("DiT", {"patch_size": True}, "patch_size: got True"),
        ("DiT", {"conv_kernel_size": 2}, "conv_kernel_size: got 2, expected an odd number"),
        ("DiT", {"conv_kernel_size": 0}, "conv_kernel_size: got 0, expected a whole number"),
        ("UNet", {"class_channels": 1, "num_classes": None}, "class_channels: got 1 for a model with num_classes=None"),
        ("DiT", {"class_channels": 0}, "class_channels: got 0, expected a whole number"),
        ("UNet", {"layer_per_block": 2}, "Did you mean 'layers_per_block'"),
        ("Unet", {}, "expected one of UNet, DiT"),
    ],
)
def test_what_does_not_fit_says_why(model_type, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(model_type, options)


def test_inputs_that_do_not_fit_say_why(make_model, model_type):
    model, (sample, timestep, labels) = make_model(), inputs()
    with pytest.raises(ValueError, match="27x27"):
        model(sample[..., 1:, 1:], timestep)
    with pytest.raises(ValueError, match="2 values for a batch of 3"):
        model(sample, timestep[:2])
    with pytest.raises(ValueError, match=r"got shape \(2,\), expected \(3,\)"):
        model(sample, timestep, labels[:2])
    with pytest.raises(ValueError, match="cross_attention_dim=None"):
        model(sample, timestep, labels, torch.randn(BATCH, 5, 12))
    with pytest.raises(ValueError, match=r"got None, expected \(B, S, 12\)"):
        make_model(cross_attention_dim=12)(sample, timestep, labels)
    if model_type == "DiT":
        with pytest.raises(ValueError, match="56x56 pixels, expected 28x28"):
            model(sample.repeat(1, 1, 2, 2), timestep)


def test_timestep_embedding_by_hand():
    """cos and sin of t * 10000^(-2i/d): at t = 2, d = 4 the frequencies are 1 and 0.01."""
    expected = torch.tensor([[2.0, 0.02]]).double()
    expected = torch.cat([expected.cos(), expected.sin()], dim=-1).float()
    assert torch.allclose(timestep_embedding(torch.tensor([2]), 4), expected, atol=1e-6)


def test_places_of_patches_are_distinct():
    """Catches rows and columns that share one code."""
    positions = sincos_position_embedding(7, 5, 16)
    assert positions.shape == (35, 16)
    assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.05
    assert torch.equal(positions[0, :8], positions[1, :8]) and not torch.equal(positions[0, 8:], positions[1, 8:])


def test_position_survives_loading(tmp_path):
    """It is computed, not saved; catches a buffer that loading leaves empty."""
    model = DigitDiT2DModel(num_layers=1)
    model.save_pretrained(tmp_path)
    assert torch.equal(DigitDiT2DModel.from_pretrained(tmp_path).position, model.position)


def test_an_image_of_a_class_is_stretched_over_the_sample():
    """A ramp stays a ramp, from the centre of its first pixel to that of its last. Catches an image that is repeated,
    cut, or stretched by its nearest pixels."""
    images = ClassImages(num_classes=2, channels=1, size=4)
    ramp = torch.arange(4.0).expand(4, 4)
    images.table.weight.data[1] = ramp.flatten()
    wide = images(torch.tensor([1]), torch.zeros(1, 1, 4, 8))[0, 0]
    wanted = ((torch.arange(8) + 0.5) / 2 - 0.5).clamp(0, 3).expand(4, 8)
    assert torch.allclose(wide, wanted, atol=1e-6)
    assert torch.equal(images(torch.tensor([1]), torch.zeros(1, 1, 4, 4))[0, 0], ramp)
