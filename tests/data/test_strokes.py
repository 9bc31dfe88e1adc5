"""Measured strokes against strokes whose measures are known, because they were drawn so."""

import numpy as np
import pytest
import torch

from text2digit.data import strokes
from text2digit.data.strokes import PROPERTIES, measure_strokes, measured_once

SIDE, FINE = 28, 8


def rendered(inside):
    """(1, 28, 28) grey image of a shape, given as a function of x and y in pixels; each pixel is an average of 64."""
    axis = (np.arange(SIDE * FINE) + 0.5) / FINE
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return inside(x, y).reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))[None].astype(np.float32)


def bar(thickness=3.0, slant=0.0, height=20.0, x=14.0, y=14.0):
    """A stroke downwards: `slant` degrees to the right, `thickness` pixels across."""
    tangent, half = np.tan(np.radians(slant)), thickness / 2 / np.cos(np.radians(slant))
    return rendered(lambda u, v: (np.abs(u - x + tangent * (v - y)) < half) & (np.abs(v - y) < height / 2))


def ring(inner, outer, x=14.0, y=14.0):
    """A loop."""
    return rendered(lambda u, v: (np.hypot(u - x, v - y) < outer) & (np.hypot(u - x, v - y) > inner))


def measure(image, name):
    return float(measure_strokes(image)[name][0])


@pytest.mark.parametrize("thickness", [1.5, 2.0, 3.0, 4.0, 6.0])
def test_thickness_is_that_of_the_bar(thickness):
    """Catches a radius in place of a diameter, and a threshold that eats the edge."""
    assert measure(bar(thickness), "thickness") == pytest.approx(thickness, abs=0.4)
    assert measure(bar(thickness, slant=20), "thickness") == pytest.approx(thickness, abs=0.6)
    assert measure(ring(8 - thickness, 8), "thickness") == pytest.approx(thickness, abs=0.6)


def test_thickness_ranks_what_pixels_alone_could_not_tell_apart():
    values = [measure(bar(t), "thickness") for t in np.arange(1.5, 5, 0.25)]
    assert all(a <= b + 0.05 for a, b in zip(values, values[1:], strict=False)) and values[-1] > 2.5 * values[0]


@pytest.mark.parametrize("slant", [-30, -10, 0, 15, 35])
def test_slant_is_that_of_the_bar_and_positive_to_the_right(slant):
    """Catches y counted upwards: left and right would be exchanged."""
    assert measure(bar(slant=slant), "slant") == pytest.approx(slant, abs=2)


@pytest.mark.parametrize("slant", [-25, 0, 25])
def test_a_slanted_bar_is_as_wide_as_an_upright_one(slant):
    """Catches a box that is measured before the slant is taken out; the bar would be 12 pixels wide."""
    assert measure(bar(thickness=3, slant=slant), "width") == pytest.approx(3, abs=2)
    assert measure(bar(height=18, slant=slant), "height") == pytest.approx(18, abs=1)


def test_width_height_and_size_of_a_ring():
    image = ring(6, 9)
    assert measure(image, "width") == pytest.approx(17, abs=1)
    assert measure(image, "height") == pytest.approx(17, abs=1)
    assert measure(image, "size") == pytest.approx(17, abs=1)


def test_ink_is_the_grey_of_the_stroke_and_changes_nothing_else():
    """Catches a threshold that is a fixed grey: faint strokes would be thin."""
    full, faint = bar(4), 0.4 * bar(4)
    assert measure(full, "ink") == pytest.approx(0.97, abs=0.04)
    assert measure(faint, "ink") == pytest.approx(0.4, abs=0.02)
    for name in ("thickness", "slant", "width", "height"):
        assert measure(full, name) == pytest.approx(measure(faint, name), abs=1e-4)


def test_loops_and_gaps_are_counted():
    """Catches pieces that join over the border between two images of one call, and diagonals counted as holes."""
    eight = np.maximum(ring(2, 5, y=9), ring(2, 5, y=19))
    broken = np.maximum(bar(height=6, y=6), bar(height=6, y=20))
    images = np.concatenate([bar(), ring(4, 7), eight, broken, np.zeros_like(eight)])
    measured = measure_strokes(images)
    assert measured["loops"].tolist() == [0, 1, 2, 0, 0] and measured["gaps"].tolist() == [0, 0, 0, 1, 0]
    staircase = np.eye(SIDE, dtype=np.float32)[None]
    assert measure(staircase, "loops") == 0 and measure(staircase, "gaps") == 0


def test_many_images_at_once_measure_as_each_alone(monkeypatch):
    """Catches strokes that reach over to the next image's distances, and parts put together in another order."""
    images = np.concatenate([bar(t, s, x=3) for t in (2, 5) for s in (-20, 0, 20)] + [ring(0, 13.9)])
    alone = [measure_strokes(image[None]) for image in images]
    monkeypatch.setattr(strokes, "CHUNK", 3)
    together = measure_strokes(images)
    for name in PROPERTIES:
        assert together[name] == pytest.approx([float(a[name][0]) for a in alone], abs=1e-4), name


def test_bytes_measure_as_fractions_do_and_nothing_measures_as_zero():
    image = bar(3, 10)
    as_bytes = measure_strokes(np.rint(image * 255).astype(np.uint8))
    for name, values in measure_strokes(image).items():
        assert values == pytest.approx(as_bytes[name], abs=0.1), name
    assert all(values.tolist() == [0] for values in measure_strokes(np.zeros((1, 28, 28), np.uint8)).values())
    with pytest.raises(ValueError, match=r"images: got shape \(1, 1, 28, 28\), expected \(N, H, W\)"):
        measure_strokes(image[None])


def test_what_was_measured_is_kept(tmp_path, monkeypatch):
    """Catches a cache that gives one set of images the measures of another."""
    images = torch.from_numpy(np.rint(np.concatenate([bar(2), bar(5)]) * 255).astype(np.uint8))[:, None]
    first = measured_once(images, tmp_path)
    other = measured_once(images.flip(0), tmp_path)
    assert first["thickness"].tolist() == other["thickness"].tolist()[::-1] and len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(strokes, "measure_strokes", None)  # a second measuring would fail
    assert measured_once(images, tmp_path)["slant"].tolist() == first["slant"].tolist()
    with pytest.raises(ValueError, match="got 3 channels, expected 1"):
        measured_once(images.repeat(1, 3, 1, 1), None)
