"""Averaging, optimizer and checkpoints, each against a number worked out by hand."""

import pytest
import torch
from torch import nn

from text2digit.config import OptimConfig
from text2digit.training.checkpoint import (
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    set_aside_later_checkpoints,
)
from text2digit.training.ema import EMA
from text2digit.training.history import History, read_history
from text2digit.training.optim import learning_rate, make_optimizer, parameter_groups

from ..conftest import TINY, randomize

# --- averaging -------------------------------------------------------------------------------------------------------


def test_average_by_hand():
    """Weights 0, then 1, then 2 with decays 0.1 and 2 / 11; catches lerp weights the wrong way round."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = EMA(model, decay=0.999)
    average = 0.0
    for value, decay in ((1.0, 1 / 10), (2.0, 2 / 11)):
        nn.init.constant_(model.weight, value)
        ema.update(model)
        average = decay * average + (1 - decay) * value
    assert ema.shadow["weight"].item() == pytest.approx(average)
    assert ema.decay_at(10**6) == 0.999


def test_swapping_is_undone_whatever_happens():
    model = nn.Linear(2, 2)
    ema = EMA(model, decay=0.9)
    own = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    with pytest.raises(RuntimeError), ema.swapped_into(model):
        assert torch.equal(model.weight, own)
        raise RuntimeError
    assert torch.equal(model.weight, own + 1)


# --- optimizer -------------------------------------------------------------------------------------------------------


def test_each_parameter_is_in_one_group_and_only_matrices_decay(model_type):
    model = TINY[model_type]()
    decaying, others = parameter_groups(model, 0.01)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert sorted(map(id, decaying["params"] + others["params"])) == sorted(map(id, model.parameters()))
    table = model.condition_embedding.class_table.weight
    assert any(p is table for p in others["params"])
    assert all(p.dim() > 1 for p in decaying["params"])
    assert all(p.dim() == 1 for p in others["params"] if p is not table)


def test_learning_rate_by_hand():
    config = OptimConfig(lr=1.0, warmup_steps=4, decay="cosine")
    rates = [learning_rate(step, 12, config) for step in range(12)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.5) and 0 < rates[11] < 0.05
    assert learning_rate(8, 12, OptimConfig(lr=1.0, warmup_steps=4, decay="linear")) == pytest.approx(0.5)
    assert learning_rate(11, 12, OptimConfig(lr=1.0, warmup_steps=0, decay="constant")) == 1.0
    with pytest.raises(ValueError, match="optim.decay: got 'step', expected one of cosine, linear, constant"):
        make_optimizer(nn.Linear(1, 1), OptimConfig(decay="step"))


# --- checkpoints and history -----------------------------------------------------------------------------------------


def trained_parts(seed):
    model = randomize(TINY["UNet"](), seed)
    optimizer, ema = make_optimizer(model, OptimConfig()), EMA(model, 0.9)
    model(torch.randn(2, 1, 28, 28), 5).sample.square().mean().backward()
    optimizer.step()
    ema.update(model)
    return model, ema, optimizer


def test_checkpoints_restore_everything_and_hold_no_pickle(tmp_path):
    parts, others = trained_parts(0), trained_parts(1)
    folder = save_checkpoint(tmp_path, 12, *parts)
    assert load_checkpoint(folder, *others) == 12
    for a, b in zip(parts[0].state_dict().values(), others[0].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(parts[1].shadow[name], others[1].shadow[name]) for name in parts[1].shadow)
    assert parts[1].num_updates == others[1].num_updates
    states = [optimizer.state_dict()["state"] for optimizer in (parts[2], others[2])]
    for i in states[0]:
        assert all(torch.equal(states[0][i][name], states[1][i][name]) for name in ("step", "exp_avg", "exp_avg_sq"))
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


def test_old_checkpoints_go_and_unfinished_ones_are_not_seen(tmp_path):
    parts = trained_parts(0)
    (tmp_path / ".checkpoint-000099.tmp").mkdir()
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, *parts)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-000010", "checkpoint-000100"]


def test_starting_over_keeps_what_was_there(tmp_path):
    """Catches a rotation that counts a former run's later checkpoints as the newest and deletes the new ones."""
    parts = trained_parts(0)
    for step in (50, 60):
        save_checkpoint(tmp_path, step, *parts)
    set_aside_later_checkpoints(tmp_path, 50)
    assert [path.name for path in (tmp_path / "replaced-1").iterdir()] == ["checkpoint-000060"]
    set_aside_later_checkpoints(tmp_path, 0)
    assert [path.name for path in (tmp_path / "replaced-2").iterdir()] == ["checkpoint-000050"]
    assert list_checkpoints(tmp_path) == []


def test_history_forgets_what_a_resumed_run_will_write_anew(tmp_path):
    path = tmp_path / "history.jsonl"
    history = History(path, step=0)
    for step in (10, 20, 30):
        history.append({"step": step, "loss": 1.0})
    assert [line["step"] for line in read_history(path)] == [10, 20, 30]
    assert [line["step"] for line in History(path, step=20).lines] == [10, 20]
    assert [line["step"] for line in read_history(path)] == [10, 20]
