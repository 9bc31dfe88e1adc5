"""Tiny models in folders, as a visitor of the app would name them."""

from importlib.util import find_spec

import pytest

from text2digit.gui.studio import Studio

from ..conftest import make_text_pipeline
from .visitor import PATIENCE_S


@pytest.fixture(scope="session", autouse=True)
def patient_launch():
    """Before `launch` returns, Gradio asks for the page, and gives up after 3 seconds; here it asks for longer."""
    with pytest.MonkeyPatch.context() as patched:
        if find_spec("gradio"):
            import httpx

            def url_ok(url):
                return httpx.head(url, timeout=PATIENCE_S, verify=False).status_code < 400

            patched.setattr("gradio.networking.url_ok", url_ok)
        yield


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
