"""What is drawn, what is asked and how much an error counts, each against a number worked out by hand."""

import math

import diffusers
import pytest
import torch
from torch import nn

from text2digit import DigitPipeline
from text2digit.config import OPTIONS, ObjectiveConfig, load_config
from text2digit.data import ImageData
from text2digit.schedulers import DDIMScheduler
from text2digit.schedulers.noise import FlowPath
from text2digit.training import prepare_run, train
from text2digit.training.objective import NoisyBatch, denoising_loss, level_weights, noisy_batch
from text2digit.training.timesteps import sample_times
from text2digit.training.weighting import loss_weights

from .conftest import FIXED

UNIFORM = ObjectiveConfig()
CPU = torch.device("cpu")
PATH = DDIMScheduler().path
FLOW = {"beta_schedule": "flow", "prediction_type": "flow_prediction"}


def images(count=200):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageData(pixels, torch.arange(count) % 10, tuple("0123456789"))


class Says(nn.Module):
    """A model that gives the same answer whatever it is shown, and remembers what it was shown."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, sample, timestep, class_labels):
        self.shown = (sample, timestep, class_labels)
        return type("Output", (), {"sample": self.answer.expand_as(sample)})


# --- loss ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear", "flow"])
@pytest.mark.parametrize(
    "prediction_type, target",
    [
        ("epsilon", lambda x, n, a, s: n),
        ("sample", lambda x, n, a, s: x),
        ("v_prediction", lambda x, n, a, s: a * n - s * x),
        ("flow_prediction", lambda x, n, a, s: n - x),
    ],
)
def test_loss_is_the_squared_distance_from_the_target(prediction_type, target, schedule):
    """Against the formula written out, per image; catches a mean over the batch and a wrong level."""
    scheduler = DDIMScheduler(prediction_type=prediction_type, beta_schedule=schedule)
    x_0, noise = torch.randn(2, 3, 1, 4, 4)
    timesteps = torch.tensor([1, 400, 999])
    model = Says(torch.tensor(0.25))
    batch = NoisyBatch(torch.arange(3), x_0, noise, timesteps, torch.tensor([1, 2, 10]))
    loss = denoising_loss(model, scheduler, batch, CPU, UNIFORM)
    if schedule == "flow":
        sigma_t = (timesteps / 1000).reshape(3, 1, 1, 1)
        alpha_t = 1 - sigma_t
    else:
        alpha_t = scheduler.alphas_cumprod[timesteps].sqrt().reshape(3, 1, 1, 1)
        sigma_t = (1 - alpha_t**2).sqrt()
    expected = (0.25 - target(x_0, noise, alpha_t, sigma_t)).square().mean(dim=(1, 2, 3))
    assert torch.allclose(loss, expected, atol=1e-4)
    assert torch.allclose(model.shown[0], alpha_t * x_0 + sigma_t * noise, atol=1e-4)
    assert model.shown[2].tolist() == [1, 2, 10]
    weighted = denoising_loss(model, scheduler, batch, CPU, ObjectiveConfig(weighting="min_snr"))
    weights = level_weights(scheduler, timesteps, ObjectiveConfig(weighting="min_snr"))
    assert torch.allclose(weighted, expected * weights, rtol=1e-3)


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weighting, by_snr",
    [
        ("min_snr", lambda snr: min(snr, 5.0)),
        ("truncated_snr", lambda snr: max(snr, 1.0)),
        ("edm", lambda snr: snr + 4.0),
        ("sigmoid", lambda snr: snr / (1 + math.exp(math.log(snr) - 2))),
    ],
)
@pytest.mark.parametrize("snr", [0.04, 1.0, 4.0, 100.0])
def test_weights_have_the_papers_form_for_each_prediction_type(weighting, by_snr, snr):
    """With w on x_0: w / SNR on epsilon, w on x_0, w / (SNR + 1) on v; and on the velocity of a flow w sigma^2. Catches
    min-SNR's weight for epsilon used for v, as happens."""
    alpha_t, sigma_t = (
        torch.tensor(x, dtype=torch.float64) for x in ((snr / (1 + snr)) ** 0.5, (1 / (1 + snr)) ** 0.5)
    )
    forms = {"epsilon": by_snr(snr) / snr, "sample": by_snr(snr), "v_prediction": by_snr(snr) / (snr + 1)}
    for prediction_type, expected in forms.items():
        assert loss_weights(
            ObjectiveConfig(weighting=weighting), prediction_type, alpha_t, sigma_t
        ).item() == pytest.approx(expected)
    sigma_t = torch.tensor(1 / (1 + snr**0.5), dtype=torch.float64)
    weight = loss_weights(ObjectiveConfig(weighting=weighting), "flow_prediction", 1 - sigma_t, sigma_t).item()
    assert weight == pytest.approx(by_snr(snr) * sigma_t.item() ** 2)


def test_known_values():
    """min-SNR-5 at SNR 20: a quarter for epsilon (2303.09556). EDM at sigma_data = 1 is v-prediction with no weight."""
    alpha_t, sigma_t = (torch.tensor(x, dtype=torch.float64) for x in ((20 / 21) ** 0.5, (1 / 21) ** 0.5))
    assert loss_weights(ObjectiveConfig(weighting="min_snr"), "epsilon", alpha_t, sigma_t).item() == pytest.approx(0.25)
    assert loss_weights(
        ObjectiveConfig(weighting="edm", sigma_data=1.0), "v_prediction", alpha_t, sigma_t
    ).item() == pytest.approx(1.0)
    assert loss_weights(ObjectiveConfig(weighting="uniform"), "epsilon", alpha_t, sigma_t) == 1


@pytest.mark.parametrize("weighting", OPTIONS["objective.weighting"].choices)
@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction", "flow_prediction"])
def test_pure_noise_has_a_finite_weight(weighting, prediction_type):
    weights = loss_weights(
        ObjectiveConfig(weighting=weighting), prediction_type, torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.75**0.5])
    )
    assert weights.isfinite().all() and (weights >= 0).all()
    if weighting != "uniform":
        with pytest.raises(ValueError, match="epsilon at a level of pure noise"):
            loss_weights(ObjectiveConfig(weighting=weighting), "epsilon", torch.tensor([0.0]), torch.tensor([1.0]))


# --- times -----------------------------------------------------------------------------------------------------------


def times(kind, count=20_000, **options):
    return sample_times(ObjectiveConfig(timesteps=kind, **options), count, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "kind, options, below",
    [
        ("uniform", {}, lambda t: t),
        ("stratified", {}, lambda t: t),
        ("cosine", {}, lambda t: 2 / math.pi * math.atan(t / (1 - t))),
        ("logit_normal", {}, lambda t: 0.5 * (1 + math.erf(math.log(t / (1 - t)) / 2**0.5))),
        (
            "logit_normal",
            {"logit_mean": -0.5, "logit_std": 2.0},
            lambda t: 0.5 * (1 + math.erf((math.log(t / (1 - t)) + 0.5) / 2 / 2**0.5)),
        ),
        (
            "logit_normal",
            {"logit_mean": 1.0, "uniform_share": 0.2},
            lambda t: 0.2 * t + 0.8 * 0.5 * (1 + math.erf((math.log(t / (1 - t)) - 1) / 2**0.5)),
        ),
        ("cosine", {"uniform_share": 0.5}, lambda t: 0.5 * t + 0.5 * 2 / math.pi * math.atan(t / (1 - t))),
    ],
)
def test_times_follow_their_distribution(kind, options, below):
    """20,000 times against the distribution function, 4 standard errors.

    Catches a mean or a width that is not used, and uniform times that all lie below the share that chose them.
    """
    drawn = times(kind, **options)
    assert drawn.dtype == torch.float64 and drawn.min() >= 0 and drawn.max() < 1
    for t in (0.05, 0.3, 0.5, 0.8):
        expected = below(t)
        assert (drawn < t).double().mean().item() == pytest.approx(
            expected, abs=4 * (expected * (1 - expected) / 20_000) ** 0.5
        )


def test_stratified_times_have_one_in_each_part_in_no_order():
    drawn = times("stratified", 50)
    assert (drawn * 50).long().unique().tolist() == list(range(50))
    assert not torch.equal(drawn, drawn.sort().values)


def test_a_share_of_uniform_times_leaves_the_others_as_they_are():
    """Catches a share that shifts the random stream of runs that have none, and one of 1 that still mixes."""
    plain, mixed = times("logit_normal", logit_mean=1.0), times("logit_normal", logit_mean=1.0, uniform_share=0.3)
    kept = (plain == mixed).double().mean().item()
    assert kept == pytest.approx(0.7, abs=4 * (0.3 * 0.7 / 20_000) ** 0.5)
    drawn, alone = (torch.Generator().manual_seed(0) for _ in range(2))
    sample_times(ObjectiveConfig(timesteps="logit_normal", uniform_share=0.0), 100, drawn)
    torch.randn(100, generator=alone, dtype=torch.float64)
    assert torch.equal(drawn.get_state(), alone.get_state())  # labels are dropped by what comes next
    everything = times("logit_normal", logit_mean=5.0, uniform_share=1.0)
    assert everything.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 20_000) ** 0.5)


def test_unknown_choices_list_the_choices():
    with pytest.raises(ValueError, match="objective.timesteps: got 'even', expected one of uniform, stratified"):
        times("even")
    with pytest.raises(ValueError, match="objective.weighting: got 'even', expected one of uniform, min_snr"):
        loss_weights(ObjectiveConfig(weighting="even"), "epsilon", torch.tensor(0.6), torch.tensor(0.8))


# --- draws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS["objective.timesteps"].choices)
def test_draws_follow_from_seed_and_step_alone(name):
    objective = ObjectiveConfig(timesteps=name)
    arguments = {"batch_size": 16, "path": PATH, "label_dropout": 0.5, "objective": objective}
    first, again = (noisy_batch(images(), 7, seed=1, **arguments) for _ in range(2))
    assert all(
        torch.equal(getattr(first, n), getattr(again, n)) for n in NoisyBatch.__dataclass_fields__ if n != "text"
    )
    for other in (noisy_batch(images(), 8, seed=1, **arguments), noisy_batch(images(), 7, seed=2, **arguments)):
        assert not torch.equal(first.noise, other.noise) and not torch.equal(first.timesteps, other.timesteps)


def test_labels_are_dropped_one_by_one():
    """2,000 labels at 0.3: within 4 standard errors; catches a dropout of whole batches."""
    batch = noisy_batch(images(), 0, 4000, 0, PATH, 0.3, UNIFORM)
    dropped = (batch.class_labels == 10).float()
    assert dropped.mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 4000))
    kept = dropped == 0
    assert torch.equal(batch.class_labels[kept], images().labels[batch.indices][kept])
    assert noisy_batch(images(), 0, 50, 0, PATH, 0.0, UNIFORM).class_labels.max() < 10
    assert batch.timesteps.dtype == torch.int64 and batch.timesteps.min() < 3 and batch.timesteps.max() > 996
    flow = noisy_batch(images(), 0, 4000, 0, FlowPath(1000), 0.3, UNIFORM)
    assert flow.timesteps.dtype == torch.float32 and 0 < flow.timesteps.min() < 3 and 997 < flow.timesteps.max() < 1000


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["objective.weighting=even"], "objective.weighting: got 'even', expected one of uniform"),
        (["objective.timesteps=even"], "objective.timesteps: got 'even', expected one of uniform"),
        (["scheduler.prediction_type=epsilon"], "ends in pure noise.*rescale_betas_zero_snr=false"),
        (["scheduler.beta_schedule=flow", "scheduler.prediction_type=epsilon"], "flow_prediction on a flow"),
    ],
)
def test_an_objective_that_cannot_be_is_refused_before_anything_is_written(overrides, message, tmp_path):
    """Catches a run that dies at its first picture, or when it first draws the last of 1,000 levels."""
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=message):
        prepare_run(load_config("unet", [*FIXED, "data.dataset=digits", f"training.output_dir={folder}", *overrides]))
    assert not folder.exists()


@pytest.mark.parametrize(
    "overrides",
    [
        [
            "scheduler.beta_schedule=flow",
            "scheduler.prediction_type=flow_prediction",
            "objective.timesteps=logit_normal",
        ],
        ["objective.weighting=min_snr", "objective.timesteps=stratified"],
        ["scheduler.prediction_type=sample", "objective.weighting=sigmoid", "objective.timesteps=cosine"],
    ],
    ids=["flow", "min-SNR", "sigmoid"],
)
def test_a_run_trains_by_any_objective(overrides, tmp_path):
    """From the config to a falling loss on real 8x8 digits, and to images; those of a flow are FlowMatchEuler's too."""
    flags = [
        *FIXED,
        "data.dataset=digits",
        "training.max_train_steps=120",
        "optim.lr=2e-3",
        "training.batch_size=32",
        "optim.warmup_steps=5",
    ]
    flags += [
        "training.sampler=ddim",
        "model.block_out_channels=[16, 32]",
        "training.logging_steps=20",
        f"training.output_dir={tmp_path}",
    ]
    run = prepare_run(load_config("unet", [*flags, "model.attention_head_dim=16", *overrides]))
    train(run)
    losses = [line["loss"] for line in run.history.lines if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]

    pipeline = DigitPipeline.from_pretrained(tmp_path)
    drawn = pipeline([3, 7], generator=0, output_type="pt").images
    if run.config.scheduler.beta_schedule == "flow":
        pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        grid = DDIMScheduler.from_config(run.scheduler.config)
        grid.set_timesteps(10)
        theirs = pipeline([3, 7], generator=0, output_type="pt", timesteps=grid.timesteps.tolist()).images
        assert torch.allclose(drawn, theirs, atol=1e-4)
