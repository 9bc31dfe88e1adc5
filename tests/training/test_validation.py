"""What is looked at while a run trains: always the same noise, and images that training never sees."""

import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from text2digit import DigitPipeline
from text2digit.training import prepare_run, train, validation
from text2digit.training.history import read_history
from text2digit.training.objective import denoising_loss
from text2digit.training.validation import averaged_model, keep_if_best, validate, validation_batch


@pytest.fixture
def run(tiny_config):
    run = prepare_run(tiny_config("run"))
    yield run
    run.close()


def test_held_out_images_are_not_trained_on(run):
    """Every 20th image of each class; catches two parts that overlap, or that lose images."""
    parts = [{image.numpy().tobytes() for image in data.images} for data in (run.data, run.validation)]
    assert not parts[0] & parts[1]
    assert len(run.data) + len(run.validation) == 1501  # scikit-learn's digits without their test split
    assert run.validation.labels.unique().tolist() == list(range(10))


def test_the_noise_never_changes(run, tiny_config):
    """Whatever step and seed; catches a curve that shows the luck of the draw."""
    first = validation_batch(run)
    run.step = 7
    other = prepare_run(tiny_config("other", "training.seed=5"))
    for again in (validation_batch(run), validation_batch(other)):
        assert torch.equal(first.noise, again.noise) and torch.equal(first.timesteps, again.timesteps)
    other.close()
    counts = torch.histc(first.timesteps.float(), bins=10, min=0, max=1000)
    assert counts.max() - counts.min() <= 1  # evenly over the time axis


def test_the_held_out_loss_is_the_objective_on_them(run, monkeypatch):
    """In batches that do not divide, as in one; catches a mean of means."""
    model = averaged_model(run)
    monkeypatch.setattr(validation, "VALIDATION_BATCH", 7)
    line = validate(run, model)
    with torch.no_grad():
        errors = denoising_loss(model, run.scheduler, validation_batch(run), torch.device("cpu"), run.config.objective)
    assert line["validation_loss"] == pytest.approx(errors.mean().item(), rel=1e-5)
    assert len(line["validation_loss_by_time"]) == 10 and all(map(math.isfinite, line["validation_loss_by_time"]))


def test_it_measures_the_average_and_not_the_last_weights(run):
    with torch.no_grad():
        for value in run.average.shadow.values():
            value.fill_(0.01)
    model = averaged_model(run)
    assert not model.training and all((p == 0.01).all() for p in model.parameters())
    assert not all((p == 0.01).all() for p in run.bare_model.parameters())


def test_the_best_is_kept_and_only_the_best(run):
    """Losses nan, 3, 2, 4, nan, 1: catches one that keeps the last, and a nan that wins or that nothing beats."""
    model = averaged_model(run)
    keep_if_best(run, model, {"validation_loss": float("nan")})
    assert run.best is None
    for step, loss in enumerate([3.0, 2.0, 4.0, float("nan"), 1.0], start=1):
        run.step = step
        with torch.no_grad():
            next(model.parameters()).fill_(loss)
        keep_if_best(run, model, {"validation_loss": loss})
        best = [path.name for path in run.folder.glob("best-*")]
        assert best == [f"best-{ {1: 1, 2: 2, 3: 2, 4: 2, 5: 5}[step]:06d}"]
    assert run.best == {"step": 5, "validation_loss": 1.0}
    pipeline = DigitPipeline.from_pretrained(run.folder / "best-000005")
    assert (next(pipeline.denoiser.parameters()) == 1.0).all()


def test_quality_is_measured_where_a_classifier_is(tiny_config, tmp_path, monkeypatch):
    """By the classifier that ships, here on 8x8 digits: what is the best, and that a resumed run says the same.

    Catches figures of the last weights, of another noise at each step, and a best by the loss where there is better.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(validation, "JUDGED", "digits")
    flags = ["training.quality_images=40", "training.validation_steps=3", "training.checkpoints_total_limit=9"]
    folder = train(prepare_run(tiny_config("run", *flags, "optim.lr=0.01", "optim.ema_decay=0.5")))
    lines = [line for line in read_history(folder / "history.jsonl") if "frechet_distance" in line]
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    assert all(line["quality_images"] == 40 and 0 <= line["accuracy"] <= 1 for line in lines)
    best = min(lines, key=lambda line: line["frechet_distance"])
    assert [path.name for path in folder.glob("best-*")] == [f"best-{best['step']:06d}"]
    history = (folder / "history.jsonl").read_bytes()
    shutil.rmtree(folder / "checkpoint-000012")
    train(prepare_run(tiny_config("run", *flags, "optim.lr=0.01", "optim.ema_decay=0.5")))
    assert (folder / "history.jsonl").read_bytes() == history


def test_the_grid_sharpens_from_one_noise(tiny_config):
    """Grids of two steps differ, since the weights do; the same weights give the same grid, whatever the step."""
    run = prepare_run(tiny_config("run", "training.preview_steps=6", "optim.lr=0.01", "optim.ema_decay=0.5"))
    folder = train(run)
    grids = {path.name: np.asarray(Image.open(path)).astype(int) for path in (folder / "samples").glob("*.png")}
    assert sorted(grids) == ["step-000006.png", "step-000012.png"]
    assert abs(grids["step-000006.png"] - grids["step-000012.png"]).max() > 0
    run.step = 99
    validation.save_preview(run, averaged_model(run))
    again = np.asarray(Image.open(folder / "samples" / "step-000099.png"))
    assert np.array_equal(again, grids["step-000012.png"])


def test_history_and_tensorboard_say_the_same(tiny_config):
    """Loss, its tenths, gradient, lr, images/s, memory; catches a tracker that is not told, or told of other steps."""
    folder = train(prepare_run(tiny_config("run", "training.report_to=tensorboard")))
    (events,) = {path.parent for path in folder.rglob("*tfevents*")}
    reader = EventAccumulator(str(events))
    reader.Reload()
    lines = read_history(folder / "history.jsonl")
    for key in ("loss", "grad_norm", "lr", "validation_loss"):
        told = {event.step: event.value for event in reader.Scalars(key)}
        assert told == pytest.approx({line["step"]: line[key] for line in lines if key in line}, rel=1e-6)
    for tenth in range(10):
        told = {event.step: event.value for event in reader.Scalars(f"loss_by_time/{tenth}")}
        expected = {line["step"]: line["loss_by_time"][tenth] for line in lines if "loss_by_time" in line}
        assert told == pytest.approx({step: value for step, value in expected.items() if value is not None}, rel=1e-6)
    for key in ("images_per_second", "memory_gib"):
        assert all(event.value > 0 for event in reader.Scalars(key))


def test_an_unknown_tracker_lists_those_that_are_installed(tiny_config):
    with pytest.raises(ValueError, match="training.report_to: got 'tensorbord', expected .*none.*tensorboard"):
        prepare_run(tiny_config("run", "training.report_to=tensorbord"))
