"""Shared by all tests: few threads, no network, tiny real components."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before any library reads it

import pytest
import torch

from text2digit.config import TextConfig
from text2digit.data.datasets import default_data_dir
from text2digit.data.idx import MNIST_SHA256
from text2digit.data.images import DIGIT_NAMES
from text2digit.models import DigitDiT2DModel, DigitUNet2DModel
from text2digit.models.text import build_text_encoder
from text2digit.pipelines import ClassConditionedDigitPipeline, TextConditionedDigitPipeline
from text2digit.schedulers import DDIMScheduler
from text2digit.training.captions import make_tokenizer

ROOT = Path(__file__).resolve().parent.parent

# The models here are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)


def with_images(options: dict) -> dict:
    """Images of classes, where there are classes, as the DiT's recipe has them."""
    return {"class_channels": None if options.get("num_classes", 10) is None else 1, **options}


TINY = {
    "UNet": lambda **k: DigitUNet2DModel(
        **{"block_out_channels": (16, 32), "attention_head_dim": 16, **with_images(k)}
    ),
    "DiT": lambda **k: DigitDiT2DModel(
        **{"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "conv_kernel_size": 3, **with_images(k)}
    ),
}


def randomize(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every weight a value: a fresh model predicts zero, and zero agrees with everything."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (0.3 if p.dim() == 1 else p[0].numel() ** -0.5))
        for layer in model.modules():
            if isinstance(layer, torch.nn.Embedding) and layer.padding_idx is not None:
                layer.weight[layer.padding_idx] = 0
    return model.eval()


@pytest.fixture(params=list(TINY))
def model_type(request):
    return request.param


@pytest.fixture
def make_model(model_type):
    """A tiny model of either type, with random weights."""
    return lambda **options: randomize(TINY[model_type](**options))


@pytest.fixture
def pipeline():
    """A tiny pipeline with random weights."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    names = dict(enumerate(DIGIT_NAMES))
    pipe = ClassConditionedDigitPipeline(randomize(TINY["UNet"]()), scheduler, id2label=names)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def tokenizer():
    """The one that recipes train, a second's work."""
    return make_tokenizer(TextConfig())


def make_text_pipeline(tokenizer, **options):
    """A tiny pipeline of texts with random weights."""
    encoder = randomize(build_text_encoder(tokenizer, width=16, layers=1, heads=2))
    denoiser = randomize(TINY["UNet"](num_classes=None, cross_attention_dim=16, **options))
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=True)
    pipe = TextConditionedDigitPipeline(denoiser, scheduler, encoder, tokenizer)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def text_pipeline(tokenizer):
    """The same, of 28x28 pixels."""
    return make_text_pipeline(tokenizer)


def has_mnist() -> bool:
    """Whether the four files are at hand."""
    raw = default_data_dir() / "MNIST" / "raw"
    return all((raw / name).is_file() for name in MNIST_SHA256)


needs_mnist = pytest.mark.skipif(
    not has_mnist(), reason="needs real MNIST; point TEXT2DIGIT_DATA at a folder that holds MNIST/raw"
)
