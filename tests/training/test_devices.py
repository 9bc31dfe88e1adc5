"""What a device may get, without having one; torch.compile; memory formats.

Tensors on torch's "meta" device have shapes and dtypes and no values. It stands in for mps here: whatever is sent to it
is watched, and what mps cannot do is an error.
"""

import os

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from text2digit import DigitPipeline
from text2digit.config import ObjectiveConfig, OptimConfig
from text2digit.data import ImageData
from text2digit.pipelines import ClassConditionedDigitPipeline
from text2digit.schedulers import DDIMScheduler, DDPMScheduler
from text2digit.training import prepare_run, train
from text2digit.training.ema import EMA, power_decay
from text2digit.training.objective import denoising_loss, noisy_batch
from text2digit.training.optim import make_optimizers
from text2digit.training.prepare import make_accelerator

from ..conftest import ROOT, TINY

META = torch.device("meta")
# mps holds neither; complex numbers of 64 bits it does hold.
FORBIDDEN_DTYPES = {torch.float64, torch.complex128}
# Operations that mps lacks or sends back to the CPU without being asked; see pytorch's issue 77764.
FORBIDDEN_OPERATIONS = (
    "svd",
    "eig",
    "linalg_qr",
    "linalg_lstsq",
    "_fft_",
    "histc",
    "_unique2",
    "_pin_memory",
    "lgamma",
)
COPIES = ("_to_copy", "copy_", "to")


class LikeMps(TorchDispatchMode):
    """Refuses what mps would refuse."""

    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        made = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        if any(x.device == META for x in [*given, *made]):
            self.operations += 1
            bad = {x.dtype for x in [*given, *made] if x.device == META} & FORBIDDEN_DTYPES
            assert not bad, f"{name} on {bad}"
            assert not any(word in name for word in FORBIDDEN_OPERATIONS), name
            elsewhere = [x for x in given if x.device != META and x.dim() > 0]
            assert not elsewhere or name in COPIES, f"{name} takes tensors of two devices"
        return result


def test_the_stand_in_refuses():
    x = torch.zeros(3, device=META)
    for mistake in (lambda: x.double(), lambda: torch.linalg.svd(x[:, None]), lambda: x * torch.ones(3)):
        with pytest.raises((AssertionError, RuntimeError)), LikeMps():
            mistake()
    with LikeMps() as watch:
        (x + 1).to("meta")
    assert watch.operations > 0


OBJECTIVES = [
    ("v_prediction", "squaredcos_cap_v2", ObjectiveConfig(weighting="min_snr", timesteps="stratified")),
    ("flow_prediction", "flow", ObjectiveConfig(weighting="sigmoid", timesteps="logit_normal")),
]


@pytest.mark.parametrize("prediction_type, schedule, objective", OBJECTIVES, ids=["v", "flow"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_training_step_stays_within_the_limits_of_mps(model_type, optimizer, prediction_type, schedule, objective):
    """Draws, loss, gradient, clipping, optimizer, average. Catches a table of levels, a weight or a timestep that
    arrives in float64, and a tensor that was left on the CPU."""
    scheduler = DDIMScheduler(prediction_type=prediction_type, beta_schedule=schedule)
    data = ImageData(torch.zeros(20, 1, 28, 28, dtype=torch.uint8), torch.arange(20) % 10, tuple("0123456789"))
    batch = noisy_batch(data, 0, 8, 0, scheduler.path, 0.5, objective)
    with LikeMps() as watch:
        model = TINY[model_type]().to(META)
        optimizers = make_optimizers(model, OptimConfig(optimizer=optimizer))
        average = EMA(model, power_decay(0.1))
        denoising_loss(model, scheduler, batch, META, objective).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in optimizers:
            each.step()
        average.update(model)
    assert watch.operations > 100


@pytest.mark.parametrize("scheduler_class", [DDIMScheduler, DDPMScheduler])
def test_sampling_stays_within_the_limits_of_mps(model_type, scheduler_class):
    """From noise that was drawn on the CPU to the last latents, with guidance."""
    model = TINY[model_type]().eval()
    scheduler = scheduler_class(prediction_type="v_prediction")
    # Timesteps stay here: `step` reads their values, and those of "meta" have none.
    scheduler.set_timesteps = lambda count, device: scheduler_class.set_timesteps(scheduler, count)
    pipeline = ClassConditionedDigitPipeline(model, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    with LikeMps() as watch:
        latents = pipeline.to("meta")([1, 2], num_inference_steps=3, generator=0, output_type="latent").images
    assert latents.device == META and latents.dtype == torch.float32 and watch.operations > 100


def test_nothing_pins_memory():
    """mps has no pinned memory; the data lie in memory whole, and no loader copies them."""
    for folder in ("data", "models", "schedulers", "pipelines", "training"):
        for path in (ROOT / folder).glob("*.py"):
            assert "pin_memory" not in path.read_text(encoding="utf-8"), path


# --- compile, memory format ------------------------------------------------------------------------------------------


def saved_weights(folder):
    names = ("checkpoint-000012/model", "checkpoint-000012/ema", "denoiser/diffusion_pytorch_model")
    return [load_file(folder / f"{name}.safetensors") for name in names]


def test_a_compiled_run_saves_the_same_names_and_numbers(tiny_config, monkeypatch):
    """torch.compile with the backend that runs the graph as it is; the other one takes a minute to build its code.

    Catches `_orig_mod` in a checkpoint, and a compiled run that cannot be continued without.
    """
    plain = train(prepare_run(tiny_config("plain")))
    calls = []
    compile_model = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: (calls.append(self), compile_model(self, backend="eager"))[1]
    )
    compiled = train(prepare_run(tiny_config("compiled", "training.compile=on")))
    assert len(calls) == 1
    for one, other in zip(saved_weights(plain), saved_weights(compiled), strict=True):
        assert one.keys() == other.keys() and not any("_orig_mod" in name for name in other)
        assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)
    moments = load_file(compiled / "checkpoint-000012" / "optimizer.safetensors")
    assert not any("_orig_mod" in name for name in moments)
    DigitPipeline.from_pretrained(compiled)
    (compiled / "checkpoint-000012").rename(compiled / "gone")
    resumed = prepare_run(tiny_config("compiled", "training.compile=off"))
    assert resumed.step == 8
    resumed.close()


def test_channels_last_changes_the_memory_and_not_the_run(tiny_config):
    # Dropout draws its masks in the order of memory. A norm whose groups are single channels takes away the bias before
    # it: the bias's gradient is rounding alone, of which AdamW makes steps of full length.
    comparable = ("model.dropout=0.0", "model.norm_num_groups=4")
    plain = train(prepare_run(tiny_config("plain", *comparable)))
    run = prepare_run(tiny_config("other", *comparable, "training.channels_last=true"))
    weight = run.bare_model.mid_blocks[0].resnet.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    for one, other in zip(saved_weights(plain), saved_weights(train(run)), strict=True):
        assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)
        assert all(value.is_contiguous() for value in other.values())


@pytest.mark.parametrize("allowed", [True, False])
def test_tensorfloat_32_is_for_matrices_and_convolutions_alike(allowed, tiny_config, monkeypatch):
    """Catches convolutions that keep what torch gives them, which is TensorFloat-32, though the config says no."""
    monkeypatch.setattr(Accelerator, "device", property(lambda _: torch.device("cuda")))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not allowed)
    before = torch.get_float32_matmul_precision()
    try:
        make_accelerator(tiny_config("run", f"training.allow_tf32={str(allowed).lower()}"))
        assert torch.backends.cudnn.allow_tf32 == allowed
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_run_on_a_card_continues_within_a_bound(tiny_config, monkeypatch):
    """Kernels on a card may add in another order each time, so the bound is not zero: 1e-3 of the weights' norm."""
    from .conftest import cut_at

    whole = train(prepare_run(tiny_config("whole")))
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="cut off"):
        cut_at(6, patch)
        train(prepare_run(tiny_config("cut")))
    resumed = train(prepare_run(tiny_config("cut")))
    for one, other in zip(saved_weights(whole), saved_weights(resumed), strict=True):
        for name in one:
            assert (one[name] - other[name]).norm() <= 1e-3 * one[name].norm() + 1e-6, (name, os.uname().machine)
