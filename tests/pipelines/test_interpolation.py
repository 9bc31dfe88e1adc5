"""From one digit to another."""

import pytest
import torch

from text2digit.pipelines import interpolate, slerp


def test_noise_in_between_is_as_long_as_noise():
    """Catches a straight line, which is 0.71 as long half way."""
    first, second = torch.randn(2, 1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for fraction in (0.25, 0.5, 0.9):
        assert slerp(first, second, fraction).std() == pytest.approx(1, abs=0.06)
    assert torch.equal(slerp(first, second, 0), first) and torch.equal(slerp(first, second, 1), second)
    assert torch.allclose(slerp(first, first, 0.3), first, atol=1e-5)
    quarter = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
    assert torch.allclose(quarter, torch.tensor([0.5**0.5] * 2))


@pytest.mark.parametrize("ends", [(3, 8), ("thick 3", "8")])
def test_the_ends_are_what_the_pipeline_draws(pipeline, text_pipeline, ends):
    """Catches ends that are exchanged, and a mixture that is one of noises alone."""
    pipe = text_pipeline if isinstance(ends[0], str) else pipeline
    images = interpolate(pipe, *ends, count=3, seeds=(5, 9), num_inference_steps=3, output_type="pt")
    for image, end, seed in ((images[0], ends[0], 5), (images[2], ends[1], 9)):
        drawn = pipe(end, generator=seed, guidance_scale=1, num_inference_steps=3, output_type="pt").images[0]
        assert torch.allclose(image, drawn, atol=1e-5)
    assert not torch.allclose(images[1], images[0], atol=1e-2) and not torch.allclose(images[1], images[2], atol=1e-2)
    still = interpolate(pipe, *ends, count=2, seeds=(5, 5), num_inference_steps=3, output_type="pt")
    assert not torch.allclose(still[0], still[1], atol=1e-4)


def test_wrong_arguments_say_what_was_expected(pipeline, text_pipeline):
    with pytest.raises(ValueError, match="count: got 1, expected 2 or more"):
        interpolate(pipeline, 3, 8, count=1)
    with pytest.raises(ValueError, match="prompt: got a number of 2 digits"):
        interpolate(text_pipeline, "12", "8")
    with pytest.raises(ValueError, match="class_labels: got 12"):
        interpolate(pipeline, 12, 8)
