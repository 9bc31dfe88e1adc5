"""Averages against numbers worked out by hand, and averages made after training against averages tracked in it."""

import numpy as np
import pytest
import torch
from torch import nn

from text2digit import DigitPipeline, cli
from text2digit.config import OptimConfig
from text2digit.training import prepare_run, reconstruct, train
from text2digit.training.durable import DamagedError
from text2digit.training.ema import EMA, exponential_decay, gamma_of, make_averages, power_decay
from text2digit.training.posthoc import combination, overlap, save_snapshot


def scalar_model(value=0.0):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def follow(ema, values):
    """Show an average a model whose one weight takes these values."""
    model = scalar_model()
    for value in values:
        nn.init.constant_(model.weight, value)
        ema.update(model)
    return ema.shadow["weight"].item()


def test_exponential_average_by_hand():
    """Weights 0, then 1, then 2 with decays 0.1 and 2 / 11; catches lerp weights the wrong way round."""
    average = 0.0
    for value, decay in ((1.0, 1 / 10), (2.0, 2 / 11)):
        average = decay * average + (1 - decay) * value
    ema = EMA(scalar_model(), exponential_decay(0.999))
    assert follow(ema, [1.0, 2.0]) == pytest.approx(average)
    assert ema.decay_at(10**6) == 0.999


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.25])
def test_power_average_is_the_integral_it_stands_for(sigma_rel):
    """Weights t / T: the profile (gamma + 1) t^gamma / T^(gamma + 1) has the mean (gamma + 1) / (gamma + 2) and the
    deviation sigma_rel around it. Catches a gamma of the wrong root, and a decay one step off."""
    steps, gamma = 4000, gamma_of(sigma_rel)
    values = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    mean = follow(EMA(scalar_model(-5.0), power_decay(sigma_rel)), values.tolist())  # the random start is forgotten
    square = follow(EMA(scalar_model(-5.0), power_decay(sigma_rel)), values.square().tolist())
    assert mean == pytest.approx((gamma + 1) / (gamma + 2), abs=5e-4)
    assert (square - mean**2) ** 0.5 == pytest.approx(sigma_rel, rel=0.02)


def test_gamma_by_the_paper():
    """2312.02696: sigma_rel 0.05 and 0.10 are gamma 16.97 and 6.94."""
    assert gamma_of(0.05) == pytest.approx(16.97, abs=0.005) and gamma_of(0.1) == pytest.approx(6.94, abs=0.005)
    with pytest.raises(ValueError, match="sigma_rel: got 0.3, expected more than 0 and less than 0.28"):
        gamma_of(0.3)


def test_overlap_is_the_integral():
    """Against a numerical integral; catches exponents that belong to the other of the two."""
    t = np.linspace(0, 10, 200_001)[1:]
    for t_a, gamma_a, t_b, gamma_b in ((10, 17, 4, 7), (4, 7, 10, 17), (10, 7, 10, 17), (3, 2.5, 8, 2.5)):
        profiles = [
            np.where(t <= end, (g + 1) * t**g / end ** (g + 1), 0) for end, g in ((t_a, gamma_a), (t_b, gamma_b))
        ]
        integral = (profiles[0] * profiles[1]).sum() * (t[1] - t[0])
        found = overlap(np.float64(t_a), np.float64(gamma_a), np.float64(t_b), np.float64(gamma_b))
        assert found == pytest.approx(integral, rel=1e-3)


def test_a_tracked_average_is_found_again_exactly():
    steps = [50, 50, 100, 100, 150, 150]
    gammas = [gamma_of(0.05), gamma_of(0.1)] * 3
    factors = combination(steps, gammas, 100, gamma_of(0.1))
    assert np.allclose(factors, [0, 0, 0, 1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("sigma_rel", [0.04, 0.07, 0.15, 0.2])
def test_any_length_after_training(tmp_path, sigma_rel):
    """64 weights on random walks of 800 steps: made from 16 snapshots of two averages, against one tracked all along.

    The error must be small beside how far the nearer of the two tracked averages lies from it.
    """
    torch.manual_seed(0)
    walks = torch.randn(800, 64, 1).cumsum(0)
    model = nn.Linear(1, 64, bias=False)
    averages = {width: EMA(model, power_decay(width)) for width in (0.05, 0.1)}
    direct = EMA(model, power_decay(sigma_rel))
    for step, weights in enumerate(walks, start=1):
        model.weight.data.copy_(weights)
        for ema in (*averages.values(), direct):
            ema.update(model)
        if step % 50 == 0:
            states = {f"ema-{width}": ema.state() for width, ema in averages.items()}
            save_snapshot(tmp_path, step, states, list(averages))
    wanted = direct.shadow["weight"]
    error = (reconstruct(tmp_path, sigma_rel)["weight"] - wanted).norm()
    nearest = min((ema.shadow["weight"] - wanted).norm() for ema in averages.values())
    assert error < 0.03 * nearest, error / nearest


def test_averages_by_name():
    model = scalar_model()
    assert list(make_averages(model, OptimConfig())) == ["ema"]
    assert list(make_averages(model, OptimConfig(ema="power"))) == ["ema-0.05", "ema-0.1"]
    with pytest.raises(ValueError, match="the saved average is of another model"):
        EMA(model, power_decay(0.1)).load({"bias": torch.zeros(1)}, 1)


def test_the_ema_command(tiny_config, tmp_path, capsys):
    """A run, an average of another length by the command, and digits drawn by it; then what may go wrong."""
    run = train(prepare_run(tiny_config("run", "optim.ema=power", "optim.ema_snapshot_steps=3")))
    assert cli.main(["ema", "--run", str(run), "--sigma-rel", "0.1", "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    weights = dict(DigitPipeline.from_pretrained(tmp_path / "out").denoiser.named_parameters())
    tracked = reconstruct(run, 0.1)
    assert all(torch.equal(weights[name], tracked[name]) for name in tracked)
    saved = dict(DigitPipeline.from_pretrained(run).denoiser.named_parameters())  # the run saves the first, 0.05
    assert all(torch.allclose(saved[name], value, atol=1e-5) for name, value in reconstruct(run, 0.05).items())

    for flags, message in (
        (["--sigma-rel", "0.1", "--out", str(tmp_path / "out")], "expected a folder that is empty"),
        (["--sigma-rel", "0.5", "--out", str(tmp_path / "b")], "--sigma-rel: got 0.5"),
        (
            ["--sigma-rel", "0.1", "--step", "2", "--out", str(tmp_path / "b")],
            "no snapshots; train with optim.ema=power",
        ),
    ):
        assert cli.main(["ema", "--run", str(run), *flags]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    next((run / "averages").glob("*/*.safetensors")).write_bytes(b"")
    with pytest.raises(DamagedError, match="has 0 bytes"):
        reconstruct(run, 0.1)
