"""Several processes, several parts of a batch, other precisions: the same training, as far as rounding goes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from text2digit import DigitPipeline, cli
from text2digit.runtime import join_shares, share_of
from text2digit.training import prepare_run, train
from text2digit.training.history import read_history

from ..conftest import ROOT
from .conftest import TINY_RUN, cut_at, finish, start

# Without dropout, whose masks belong to a part of a batch, not to the batch.
SAME = ["model.dropout=0.0", "optim.warmup_steps=2", "training.logging_steps=1"]
WORKER = Path(__file__).with_name("fsdp_on_cpu.py")


def losses(folder):
    return [line["loss"] for line in read_history(folder / "history.jsonl") if "loss" in line]


def norms(folder):
    return [line["grad_norm"] for line in read_history(folder / "history.jsonl") if "loss" in line]


def held_out(folder):
    return [line["validation_loss"] for line in read_history(folder / "history.jsonl") if "validation_loss" in line]


def assert_same_training(one, other):
    """The same loss and gradient at every step, to float32's rounding, and the same weights, moments and averages.

    A part of the batch seen twice, or one that is missing, moves the first loss by percents; a gradient that is summed
    where it should be averaged shows in the norm.
    """
    assert len(losses(one)) == 12
    assert losses(other) == pytest.approx(losses(one), rel=1e-4)
    assert norms(other) == pytest.approx(norms(one), rel=1e-3)
    assert held_out(other) == pytest.approx(held_out(one), rel=1e-4)
    for name in ("model", "ema"):
        a, b = (load_file(folder / "checkpoint-000012" / f"{name}.safetensors") for folder in (one, other))
        assert a.keys() == b.keys()
        distance = torch.stack([(a[key] - b[key]).norm() for key in a]).norm()
        moved = torch.stack([a[key].norm() for key in a]).norm()
        assert distance < 1e-3 * moved, (name, distance, moved)
    moments = [load_file(folder / "checkpoint-000012" / "optimizer.safetensors") for folder in (one, other)]
    assert moments[0].keys() == moments[1].keys()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of one process in one part."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    finish(start(folder, SAME))
    return folder


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_nothing(alone, tiny_config, parts):
    config = tiny_config("parts", *SAME, f"training.gradient_accumulation_steps={parts}")
    assert_same_training(alone, train(prepare_run(config)))


def test_two_processes_train_the_same(alone, tmp_path):
    """Global batch, loss curve, weights; and one of them speaks."""
    output = finish(start(tmp_path / "two", SAME, processes=2))
    assert_same_training(alone, tmp_path / "two")
    assert "processes: 2" in output and output.count("saved:") == 1 and output.count("step 12/12") == 1
    images = [
        DigitPipeline.from_pretrained(f)([3], generator=0, output_type="pt").images for f in (alone, tmp_path / "two")
    ]
    assert torch.allclose(*images, atol=1e-2)


def test_another_number_of_processes_goes_on(alone, tmp_path):
    """Begun by one process with all in one part, cut off at step 8, ended by two processes in two parts each."""
    folder = tmp_path / "run"
    shutil.copytree(alone, folder)
    shutil.rmtree(folder / "checkpoint-000012")
    output = finish(start(folder, [*SAME, "--gradient-accumulation-steps", "2"], processes=2))
    assert "step 8 of 12" in output
    assert_same_training(alone, folder)


def run_fsdp(folder, *overrides):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(WORKER)]
    command = [*launch, *TINY_RUN, "--output-dir", str(folder), *SAME, *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_a_model_in_parts_goes_on_the_same(alone, tmp_path):
    """FSDP, from the checkpoint of a run without. Catches averages of a part alone, moments under other names, and
    processes that restore in different orders, which hang or mix up weights."""
    folder = tmp_path / "run"
    shutil.copytree(alone, folder)
    shutil.rmtree(folder / "checkpoint-000012")
    assert "step 8 of 12" in run_fsdp(folder)
    assert_same_training(alone, folder)


def test_muon_sees_whole_matrices(tiny_config, tmp_path):
    """FSDP leaves each process some rows of a matrix. Catches those rows made orthogonal by themselves, which ended in
    numbers that are not finite."""
    whole = train(prepare_run(tiny_config("whole", *SAME, "optim.optimizer=muon")))
    run_fsdp(tmp_path / "parts", "optim.optimizer=muon")
    assert_same_training(whole, tmp_path / "parts")


def test_deepspeed_is_refused_with_another_way(tiny_config, monkeypatch):
    monkeypatch.setattr(Accelerator, "distributed_type", property(lambda _: DistributedType.DEEPSPEED))
    with pytest.raises(ValueError, match="got DeepSpeed, which steps before .* use FSDP"):
        prepare_run(tiny_config("run"))


def test_a_batch_that_does_not_divide_is_refused(tiny_config):
    with pytest.raises(ValueError, match="training.batch_size: got 16, expected a multiple of 3 .1 processes x 3"):
        prepare_run(tiny_config("run", "training.gradient_accumulation_steps=3"))


@pytest.mark.parametrize("count, processes", [(10, 1), (10, 2), (10, 3), (2, 3), (9, 3)])
def test_shares_are_joined_in_order(count, processes):
    """Catches a last item that is lost, or filled up in the wrong place."""
    shares = [share_of(count, process, processes) for process in range(processes)]
    assert len({len(share) for share in shares}) == 1
    assert join_shares(torch.cat(shares), count, processes).tolist() == list(range(count))


def test_two_processes_draw_the_same(tmp_path):
    """`accelerate launch sample_text2digit.py`: 5 images by two processes, the last share filled up."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    flags = ["--digits", "0-4", "--num", "1", "--steps", "3", "-o"]
    command = [*launch, str(ROOT / "sample_text2digit.py"), *flags, str(tmp_path / "two.npz")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr.count("5 images by unet-mnist") == 1
    assert cli.main(["sample", *flags, str(tmp_path / "one.npz")]) == 0
    one, two = (np.load(tmp_path / name)["images"].astype(int) for name in ("one.npz", "two.npz"))
    assert one.shape == (5, 28, 28) and abs(one - two).max() <= 1


# --- precision -------------------------------------------------------------------------------------------------------


def test_bfloat16_trains_nearly_the_same(alone, tiny_config):
    """Weights, moments and averages stay in float32; catches a model that was converted."""
    folder = train(prepare_run(tiny_config("bf16", *SAME, "training.mixed_precision=bf16")))
    assert losses(folder) == pytest.approx(losses(alone), rel=0.02) and losses(folder) != losses(alone)
    state = load_file(folder / "checkpoint-000012" / "model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert "mixed_precision: bf16" in (folder / "config.yaml").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a card that can")
def test_float16_without_a_card_is_refused(tiny_config, tmp_path):
    with pytest.raises(
        ValueError, match="training.mixed_precision: got 'fp16', which is not for cpu: .* use no or bf16"
    ):
        prepare_run(tiny_config("run", "training.mixed_precision=fp16"))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def scaled(monkeypatch):
    """Gives runs fp16's loss scaling, which is float32 arithmetic and so works on the CPU."""
    original = Accelerator.__init__

    def install(scale):
        def init(self, *args, **kwargs):
            original(self, *args, **kwargs)
            self.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            self.unscale_gradients = lambda: [self.scaler.unscale_(each.optimizer) for each in self._optimizers]

        monkeypatch.setattr(Accelerator, "__init__", init)

    return install


def test_an_overflow_of_float16_is_withheld_and_counted(tiny_config, scaled, spoil):
    """The gradients of two steps fit only without the scale. Catches an average that moves with a withheld step, a
    history with infinite norms, and a run that stops at what fp16 does every day."""
    scaled(2.0**16)
    spoil({0, 4}, value=1e37, gradient=True)
    run = prepare_run(tiny_config("run", *SAME))
    folder = train(run)
    assert (run.skipped_steps, run.average.num_updates) == (2, 10)
    assert run.accelerator.scaler.get_scale() == 2.0**14
    assert [step for step, norm in enumerate(norms(folder)) if norm is None] == [0, 4]
    moments = load_file(folder / "checkpoint-000012" / "optimizer.safetensors")
    assert all(value.isfinite().all() for value in moments.values())


def test_a_resumed_run_has_its_scale(tiny_config, scaled, spoil, monkeypatch):
    """Catches a scaler that starts anew, and would overflow anew."""
    scaled(2.0**16)
    ends = []
    for name in ("whole", "cut"):
        with monkeypatch.context() as patch:
            spoil({0}, value=1e37, gradient=True, patch=patch)
            run = prepare_run(tiny_config(name, *SAME))
            if name == "whole":
                ends.append(train(run))
            else:
                cut_at(6, patch)
                with pytest.raises(RuntimeError, match="cut off"):
                    train(run)
    resumed = prepare_run(tiny_config("cut", *SAME))
    assert resumed.step == 4 and resumed.accelerator.scaler.get_scale() == 2.0**15
    ends.append(train(resumed))
    a, b = (load_file(folder / "checkpoint-000012" / "model.safetensors") for folder in ends)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_muon_with_float16_is_refused(tiny_config, scaled):
    scaled(1.0)
    with pytest.raises(ValueError, match="optim.optimizer: got 'muon' with mixed precision fp16"):
        prepare_run(tiny_config("run", "optim.optimizer=muon"))
