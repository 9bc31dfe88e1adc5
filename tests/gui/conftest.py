"""Tiny models in folders, as a visitor of the app would name them."""

import pytest

from text2digit.gui.studio import Studio

from ..conftest import make_text_pipeline


@pytest.fixture
def folder(pipeline, tmp_path):
    """A saved pipeline of classes with random weights, whose defaults are like no other's."""
    pipeline.register_to_config(default_num_inference_steps=4, default_guidance_scale=1.5)
    pipeline.save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


@pytest.fixture
def text_folder(tokenizer, tmp_path):
    """The same of texts."""
    make_text_pipeline(tokenizer).save_pretrained(tmp_path / "tiny-text")
    return str(tmp_path / "tiny-text")


@pytest.fixture
def studio(folder):
    return Studio(folder, others=())


@pytest.fixture
def text_studio(text_folder):
    return Studio(text_folder, others=())
