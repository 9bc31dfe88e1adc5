"""Images that a user gives to start from: kinds, sizes, ranges, masks."""

import numpy as np
import pytest
import torch
from PIL import Image

from text2digit import DigitImg2ImgPipeline, DigitInpaintPipeline


def redraw_of(pipeline, image, **arguments):
    pipe = DigitImg2ImgPipeline.from_pipe(pipeline)
    pipe.set_progress_bar_config(disable=True)
    call = {"class_labels": 3, "strength": 0.0, "output_type": "pt", **arguments}
    return pipe(image=image, **call).images


def test_bytes_are_scaled_and_booleans_are_black_and_white(pipeline, tmp_path):
    """Catches bytes that are taken for numbers from 0 to 1, which is a white mess, and 2-D arrays that are refused."""
    pixels = np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8)
    wanted = torch.from_numpy(pixels)[None, None] / 255
    np.savez(tmp_path / "x.npz", images=pixels[None])
    loaded = np.load(tmp_path / "x.npz")["images"]
    tensor = torch.from_numpy(pixels)
    for image in (pixels, pixels[..., None], loaded, loaded[0], tensor, tensor[None], tensor[None, None], [pixels]):
        assert torch.allclose(redraw_of(pipeline, image), wanted, atol=1e-6)
    for black_and_white in (pixels > 100, tensor > 100):
        assert torch.equal(redraw_of(pipeline, black_and_white), (tensor > 100).float()[None, None])


@pytest.mark.parametrize("image", [np.full((28, 28), 1.5, np.float32), -torch.ones(1, 1, 28, 28)])
def test_floats_outside_0_to_1_are_refused(pipeline, image):
    with pytest.raises(ValueError, match=r"image: got values from .* expected floats in \[0, 1\]"):
        redraw_of(pipeline, image)
    with pytest.raises(ValueError, match="image: got int64, expected uint8"):
        redraw_of(pipeline, np.ones((28, 28), np.int64))


WRONG_IMAGES = {
    "none": [],
    "none in an array": np.zeros((0, 28, 28, 1)),
    "complex": np.zeros((28, 28), complex),
    "objects": np.full((28, 28), None),
    "texts": np.full((28, 28), "a"),
    "sizes": [np.zeros((28, 28)), np.zeros((14, 14))],
    "kinds": [Image.new("L", (28, 28)), np.zeros((28, 28))],
    "two channels": np.ones((28, 28, 2)),
    "four channels": np.full((28, 28, 4), 255, np.uint8),
    "no pixels": Image.new("L", (0, 0)),
    "floats in PIL": Image.new("F", (28, 28), 0.5),
    "sparse": torch.ones(1, 28, 28).to_sparse(),
    "meta": torch.ones(1, 28, 28, device="meta"),
    "path": "three.png",
    "number": 5,
}


@pytest.mark.parametrize("kind", WRONG_IMAGES)
def test_what_is_no_image_is_named(pipeline, kind):
    """Catches four channels that are read as 28 images, and floats of PIL that turn black."""
    with pytest.raises(ValueError, match="^image: got "):
        redraw_of(pipeline, WRONG_IMAGES[kind])


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_a_boolean_mask_is_a_mask(pipeline, kind):
    """Catches booleans that the image processor cannot compare, and bytes of a mask that are all white."""
    pipe = DigitInpaintPipeline.from_pipe(pipeline)
    pipe.set_progress_bar_config(disable=True)
    image, mask = np.full((28, 28), 0.5, np.float32), np.zeros((28, 28), bool)
    mask[:, 14:] = True
    call = {"image": image, "class_labels": 3, "num_inference_steps": 3, "generator": 0, "output_type": "pt"}
    by_boolean = pipe(mask_image=kind(mask), **call).images
    assert torch.allclose(by_boolean[..., :14], torch.tensor(0.5)) and by_boolean[..., 14:].std() > 0
    assert torch.equal(pipe(mask_image=mask.astype(np.uint8) * 255, **call).images, by_boolean)
