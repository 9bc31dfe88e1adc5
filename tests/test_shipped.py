"""The weights that ship: they load offline and draw digits, by every scheduler that the pipeline takes."""

import json
import os
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from text2digit import DDIMScheduler, DDPMScheduler, DigitPipeline
from text2digit.config import DataConfig, load_config
from text2digit.data import load_dataset
from text2digit.pipelines.images import image_grid, to_uint8
from text2digit.pipelines.loading import SHIPPED_FOLDER, shipped_names

from .conftest import needs_mnist

NAMES = shipped_names()
PER_CLASS = 4


@pytest.fixture(scope="module", autouse=True)
def all_cores():
    """These models are not tiny."""
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def judge():
    """Three nearest neighbours among 6,000 real digits; 94 % right on real ones that it has not seen."""
    data = load_dataset(DataConfig())
    return KNeighborsClassifier(3).fit(data.images[:6000].flatten(1).numpy(), data.labels[:6000])


def accuracy(judge, pipeline, **arguments):
    labels = [label for label in range(10) for _ in range(PER_CLASS)]
    images = pipeline(
        pipeline.conditioner.inputs_for_classes(labels), generator=0, output_type="pt", **arguments
    ).images
    return judge.score(to_uint8(images).reshape(len(labels), -1), labels)


@pytest.fixture(scope="module", params=NAMES)
def shipped(request):
    pipeline = DigitPipeline.from_pretrained(request.param)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def unet():
    pipeline = DigitPipeline.from_pretrained("unet-mnist")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_a_model_of_each_type_ships():
    assert NAMES == ["dit-mnist", "text-mnist", "unet-mnist"]


def test_the_card_has_its_files():
    for name in NAMES:
        folder = SHIPPED_FOLDER / name
        card = (folder / "README.md").read_text(encoding="utf-8")
        for file in ("config.yaml", "history.jsonl", "loss.png", "samples.png"):
            assert (folder / file).is_file() and file in card, file
        config = load_config(folder / "config.yaml")
        assert config.data.data_dir is None
        lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        last = [line for line in lines if "loss" in line][-1]  # others tell of the images held out
        assert f"{last['loss']:.4f}" in card and f"{last['step']:,}" in card
        weights = sum(path.stat().st_size for path in folder.glob("*/*.safetensors"))
        assert weights <= (10e6 if config.text.captions else 8e6)


def test_the_weights_draw_the_card_s_samples(shipped):
    """Needs no data: another sampler, other weights or another seed would draw other digits."""
    labels = [label for label in range(10) for _ in range(10)]
    images = shipped(shipped.conditioner.inputs_for_classes(labels), generator=0, output_type="pt").images
    drawn = np.asarray(image_grid(images, columns=10), dtype=float)
    kept = np.asarray(Image.open(Path(shipped.config._name_or_path) / "samples.png"), dtype=float)
    assert np.abs(drawn - kept).mean() < 2  # of 255; kernels differ between machines
    assert images.reshape(10, 10, -1).std(dim=1).mean() > 0.1  # within a class they differ


@needs_mnist
def test_the_default_call_draws_the_digits_that_it_is_asked_for(judge, shipped):
    assert accuracy(judge, shipped) > 0.9


def heun(config):
    """Heun as our command line sets it up."""
    return diffusers.HeunDiscreteScheduler.from_config(config, timestep_spacing="leading")


@needs_mnist
@pytest.mark.parametrize(
    "scheduler, steps",
    [
        (DDIMScheduler, 10),
        (DDIMScheduler, 40),  # catches a clipping of x_0 that the noise does not follow
        (DDPMScheduler, 25),
        (diffusers.DDIMScheduler, 20),
        (diffusers.DDPMScheduler, 25),
        (diffusers.DPMSolverMultistepScheduler, 10),
        (diffusers.UniPCMultistepScheduler, 10),
        (diffusers.EulerDiscreteScheduler, 20),
        (diffusers.EulerAncestralDiscreteScheduler, 20),
        (heun, 10),
        (diffusers.PNDMScheduler, 20),
        (diffusers.LMSDiscreteScheduler, 20),
    ],
)
def test_digits_are_still_digits_by_any_scheduler(judge, unet, scheduler, steps):
    own = unet.scheduler
    try:
        unet.scheduler = (scheduler if scheduler is heun else scheduler.from_config)(own.config)
        score = accuracy(judge, unet, num_inference_steps=steps)
    finally:
        unet.scheduler = own
    assert score > 0.85
