"""Numbers that are not finite: the run stops, or skips and counts, and says where."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from text2digit.training import NonFiniteError, loop, prepare_run, train
from text2digit.training.objective import noisy_batch


def weights_at(folder, step):
    return load_file(folder / f"checkpoint-{step:06d}" / "model.safetensors")


@pytest.mark.parametrize("gradient", [False, True])
def test_a_bad_step_stops_with_its_place_and_saves_what_was_before(tiny_config, spoil, gradient):
    """Catches weights that the bad gradient has reached already, and a report of some other image."""
    good = train(
        prepare_run(tiny_config("good", "training.checkpointing_steps=1", "training.checkpoints_total_limit=99"))
    )
    spoil({6}, gradient=gradient)
    run = prepare_run(tiny_config("bad"))
    with pytest.raises(NonFiniteError) as stop:
        train(run)
    t = run.config.training
    batch = noisy_batch(run.data, 6, t.batch_size, t.seed, run.scheduler.path, t.label_dropout, run.config.objective)
    place = f"image {batch.indices[5].item()} at timestep {batch.timesteps[5].item()}"
    what = (
        "the gradient (norm nan) is not finite: " if gradient else f"the loss of 1 of 16 images is not finite: {place}."
    )
    assert str(stop.value).startswith(f"step 6: {what}") and "training.on_nonfinite=skip" in str(stop.value)
    before, saved = weights_at(good, 6), weights_at(run.folder, 6)
    assert all(torch.equal(saved[name], before[name]) for name in before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_skipping_counts_and_goes_on(tiny_config, spoil, capsys, value):
    """Catches an average that is updated, a moment that is spoiled, or a mean that is no number after such a step."""
    spoil({6, 8}, value=value)
    run = prepare_run(tiny_config("run", "training.on_nonfinite=skip"))
    folder = train(run)
    state = json.loads((folder / "checkpoint-000012" / "state.json").read_text())
    assert (state["step"], state["skipped_steps"], state["ema_updates"]) == (12, 2, 10)
    output = capsys.readouterr().err
    assert "skipped step 6: the loss of 1 of 16 images" in output and "skipped step 8" in output
    for name in ("model", "ema", "optimizer"):
        assert all(v.isfinite().all() for v in load_file(folder / "checkpoint-000012" / f"{name}.safetensors").values())
    lines = [json.loads(text) for text in (folder / "history.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    assert [line["skipped_steps"] for line in losses] == [0, 2, 2] and all(
        math.isfinite(line["loss"]) for line in losses
    )


def test_a_bad_first_step_can_be_continued(tiny_config, spoil, monkeypatch):
    """Nothing has been averaged, no moment exists. Catches a checkpoint that cannot be read again, and the step that
    torch takes in secret to have a state to save: the moments' bias correction would be one step ahead."""
    whole = train(prepare_run(tiny_config("whole")))
    with monkeypatch.context() as patch:
        spoil({0}, patch=patch)
        with pytest.raises(NonFiniteError, match="^step 0: "):
            train(prepare_run(tiny_config("bad")))
    resumed = prepare_run(tiny_config("bad"))
    assert resumed.step == 0
    train(resumed)
    for name in ("model", "ema", "optimizer"):
        files = [folder / "checkpoint-000012" / f"{name}.safetensors" for folder in (whole, resumed.folder)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_too_many_in_a_row_stop_even_so(tiny_config, spoil, monkeypatch):
    monkeypatch.setattr(loop, "MAX_SKIPPED_IN_A_ROW", 3)
    spoil({2, 4, 5, 6, 7})
    with pytest.raises(NonFiniteError, match="^step 7: "):
        train(prepare_run(tiny_config("run", "training.on_nonfinite=skip")))
