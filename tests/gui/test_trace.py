"""What is shown of the inside is what the model was shown and said."""

import pytest
import torch

from text2digit.gui.pictures import Film, thin
from text2digit.gui.studio import Settings
from text2digit.gui.trace import Moment, confidences, glimpse, look, panels
from text2digit.pipelines.images import to_uint8


def record(studio, settings):
    """Moments of a call, and the latents after each of its steps."""
    kept, moments = [], []

    def watch(pipe, i, t, tensors):
        moments.append(look(pipe, studio.path(settings.model), t, tensors))
        kept.append(tensors["latents"][0])

    list(studio.draw(settings, [3], watch))
    return moments, kept


def test_what_is_shown_is_what_the_model_was_shown(studio, folder):
    """Would catch a sample taken before it is scaled, or after the step, and two conditions swapped."""
    seen = []
    hook = lambda _, shown, said: seen.append((shown[0], shown[1], said.sample))  # noqa: E731
    studio.pipeline(folder).denoiser.register_forward_hook(hook)
    for scheduler, scale in (("euler", 1.5), ("heun", 0.5), ("ddim", 1), ("ddpm", 0)):
        seen.clear()
        moments, _ = record(studio, Settings(folder, 4, scale, scheduler))
        for moment, (shown, timestep, said) in zip(moments, seen, strict=True):
            assert torch.equal(moment.x_t, shown[0]) and moment.level.timestep == timestep
            assert (moment.direction is None) == (len(said) == 1) == (scale in (0, 1))


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm", "dpm++", "unipc", "euler", "heun"])
def test_x_t_is_made_of_the_x_0_and_the_noise(studio, folder, scheduler):
    """Would catch the scheduler's own sample taken for x_t (Euler's is 157 times larger), or another step's level."""
    moments, _ = record(studio, Settings(folder, 4, 1.5, scheduler))
    for moment in moments:
        again = moment.level.alpha * moment.x_0 + moment.level.sigma * moment.noise
        torch.testing.assert_close(again, moment.x_t, atol=1e-4, rtol=1e-4)
        assert moment.x_t.std() < 2


def test_x_t_is_what_the_last_step_left(studio, folder):
    """Would catch pictures that are one step late."""
    moments, kept = record(studio, Settings(folder, 4, 1.5, "ddim"))
    for moment, left in zip(moments[1:], kept, strict=False):
        assert torch.equal(moment.x_t, left)
    assert [moment.level.timestep for moment in moments] == [999, 749, 499, 249]


def test_the_direction_is_with_minus_without(studio, folder):
    """Would catch the two swapped: x_0 moves along it by the guidance scale, from where no condition has it."""
    first = {scale: record(studio, Settings(folder, 4, scale))[0][0] for scale in (0, 1.5, 3)}
    assert first[0].direction is None
    for scale in (1.5, 3):
        moved = first[0].x_0 + scale * first[scale].direction
        torch.testing.assert_close(moved, first[scale].x_0, atol=1e-4, rtol=1e-4)


def test_panels_are_pictures(studio, folder):
    """Would catch a direction of zero, where guidance is off, turned into noise by its own scaling."""
    (moment, *_), _ = record(studio, Settings(folder, 4, 1))
    shown = panels(moment)
    assert shown.shape == (4, 1, 28, 28) and shown.min() >= 0 and shown.max() <= 1
    assert torch.equal(shown[3], torch.full((1, 28, 28), 0.5))


def test_what_is_kept_is_small_and_draws_the_same_pixels(studio, folder):
    """Would catch a trace of floats (184 MB for 600 steps), and an export that is another than the picture."""
    moments, _ = record(studio, Settings(folder, 4, 1.5))
    for moment in moments:
        kept = glimpse(moment)
        tensors = [value for value in vars(kept).values() if isinstance(value, torch.Tensor)]
        assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) == 4 * 28 * 28
        assert (to_uint8(kept.panels) == to_uint8(panels(moment))).all() and kept.guided


@pytest.mark.parametrize("total", [1, 2, 47, 48, 49, 96, 97, 500, 1000])
def test_a_film_keeps_the_frames_of_its_gif(total):
    """Would catch a frame for each of a thousand steps in memory, and a GIF that shows others than it did."""
    film, frames = Film(), [torch.rand(2, 1, 3, 3) for _ in range(total)]
    for i, frame in enumerate(frames):
        film.add(frame, i, total)
    assert torch.equal(film.last, frames[-1])
    for kept, frame in zip(film.frames(), thin(frames), strict=True):
        assert (to_uint8(kept) == to_uint8(frame)).all()


def test_confidence_is_of_x_0(studio, folder):
    """Would catch probabilities that are none, or of another image than x_0."""
    moments, _ = record(studio, Settings(folder, 4, 1.5))
    found = confidences(studio.classifier(folder), list(map(glimpse, moments)))
    assert found.shape == (4, 10)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(4))
    white = [Moment(m.level, m.x_t, -torch.ones(1, 28, 28), m.noise, None) for m in moments]
    assert not torch.allclose(found, confidences(studio.classifier(folder), list(map(glimpse, white))))


def test_latents_are_no_pictures(studio, folder):
    pipeline = studio.prepare(studio.settings(folder))
    pipeline.vae = object()
    with pytest.raises(ValueError, match="it works on latents"):
        look(pipeline, studio.path(folder), torch.tensor(0), {})
