"""Measured properties of strokes: how thick, slanted, wide, high, large and dark they are; loops and gaps.

The definitions follow Morpho-MNIST (1809.10780, section 3.1): moments for the slant, the distance to the background
along the middle of the stroke for the thickness, and a box that holds all but the outermost ink, measured after the
slant is taken out. All are arrays in, arrays out: N images, H W height and width in pixels.
"""

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from .cache import computed_once

# Property: unit. The last two count.
PROPERTIES = {
    "thickness": "pixels",
    "slant": "degrees, positive to the right",
    "width": "pixels",
    "height": "pixels",
    "size": "pixels",
    "ink": "fraction of full ink",
    "loops": "holes",
    "gaps": "pieces beyond the first",
}
# Where the ink of a pixel is at least this part of the darkest of its image, the pixel belongs to the stroke.
THRESHOLD = 0.5
# Strokes are two to four pixels thick, so they are measured on a grid this much finer.
ZOOM = 3
# The box leaves out this part of the ink on each of its four sides.
OUTSIDE = 0.02
# Holes and pieces of fewer pixels than this are flaws of the pen.
LEAST_PIXELS = 2
CHUNK = 2000


def measure_strokes(images: np.ndarray) -> dict[str, np.ndarray]:
    """Every property of every image.

    Args:
        images: (N, H, W) of bright strokes on a dark ground, uint8, or float in [0, 1].

    Returns:
        Name to (N,) float32, in the units of `PROPERTIES`; an image without ink has zeros.

    Raises:
        ValueError: another shape.
    """
    if images.ndim != 3:
        raise ValueError(f"images: got shape {images.shape}, expected (N, H, W), one channel without its axis.")
    parts = [_measure(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
    return {name: np.concatenate([p[name] for p in parts] or [np.zeros(0, np.float32)]) for name in PROPERTIES}


def _measure(images: np.ndarray) -> dict[str, np.ndarray]:
    ink = images.astype(np.float32) / (255 if images.dtype == np.uint8 else 1)
    darkest = ink.max(axis=(1, 2), keepdims=True)
    stroke = (ink >= THRESHOLD * darkest) & (darkest > 0)
    shear = shears(ink)
    width, height = box_sides(ink, shear)
    measured = {
        "thickness": thicknesses(ink),
        "slant": np.degrees(np.arctan(shear)),
        "width": width,
        "height": height,
        "size": np.sqrt(width * height),
        "ink": (ink * stroke).sum(axis=(1, 2)) / np.maximum(stroke.sum(axis=(1, 2)), 1),
        "loops": count_loops(stroke),
        "gaps": count_gaps(stroke),
    }
    return {name: values.astype(np.float32) for name, values in measured.items()}


def shears(ink: np.ndarray) -> np.ndarray:
    """(N,) pixels to the right per pixel upwards: -mu_11 / mu_02, of central moments with y downwards.

    The arc tangent is the slant. Source: 1809.10780, section 3.1.4; the minus is for y, which images count downwards.
    """
    y, x, mass = *_centred(ink), ink.sum(axis=(1, 2))
    mu_11, mu_02 = (ink * x * y).sum(axis=(1, 2)), (ink * y * y).sum(axis=(1, 2))
    return np.where(mass > 0, -mu_11 / np.maximum(mu_02, 1e-6), 0)


def box_sides(ink: np.ndarray, shear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width and height (N,) of the parallelogram that leaves 2 % of the ink out on each side, slanted as the image is.

    So the width of a slanted one is that of its stroke, and not how far it leans. Source: 1809.10780, section 3.1.5.
    """
    y, x = _centred(ink)
    upright = x + shear[:, None, None] * y
    return _spread(np.broadcast_to(upright, ink.shape), ink), _spread(np.broadcast_to(y, ink.shape), ink)


def thicknesses(ink: np.ndarray) -> np.ndarray:
    """(N,) twice the mean distance from the middle of the stroke to its edge, in pixels.

    The middle is the ridge of the distance transform, Blum's medial axis: places that no neighbour is farther from the
    edge than. Source: 1809.10780, section 3.1.2, with the ridge in place of a thinning, which takes a loop an image.
    """
    fine = ndimage.zoom(ink, (1, ZOOM, ZOOM), order=1, grid_mode=True, mode="grid-constant")
    darkest = ink.max(axis=(1, 2))[:, None, None]
    stroke = (fine >= THRESHOLD * darkest) & (darkest > 0)
    # One call for all: rows of background between the images keep their strokes apart.
    stroke = np.pad(stroke, ((0, 0), (1, 1), (1, 1)))
    sheet = stroke.reshape(-1, stroke.shape[2])
    distance = ndimage.distance_transform_edt(sheet).astype(np.float32).reshape(stroke.shape)
    ridge = stroke & (distance >= ndimage.maximum_filter(distance, size=(1, 3, 3)))
    mean = (distance * ridge).sum(axis=(1, 2)) / np.maximum(ridge.sum(axis=(1, 2)), 1)
    # A distance is to the centre of the nearest pixel outside, half a pixel beyond the edge.
    return np.maximum(2 * mean - 1, 0) / ZOOM


def count_loops(stroke: np.ndarray) -> np.ndarray:
    """(N,) pieces of background, 4-connected, that the stroke (N, H, W) shuts in."""
    outside = np.pad(~stroke, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    return np.maximum(_count_pieces(outside, diagonal=False) - 1, 0)


def count_gaps(stroke: np.ndarray) -> np.ndarray:
    """(N,) pieces of the stroke (N, H, W), 8-connected, beyond the first."""
    return np.maximum(_count_pieces(stroke, diagonal=True) - 1, 0)


def _count_pieces(mask: np.ndarray, diagonal: bool) -> np.ndarray:
    """(N,) connected pieces of `LEAST_PIXELS` or more; pixels of different images never touch."""
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, 2 if diagonal else 1)
    pieces, count = ndimage.label(mask, structure)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    first = np.zeros(count + 1, int)  # the image that a piece lies in
    image = np.broadcast_to(np.arange(len(mask))[:, None, None], mask.shape)
    first[pieces[mask]] = image[mask]
    large = np.flatnonzero(sizes[1:] >= LEAST_PIXELS) + 1
    return np.bincount(first[large], minlength=len(mask))


def _centred(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates y (N, H, 1) and x (N, 1, W) from the centre of each image's ink."""
    mass = np.maximum(ink.sum(axis=(1, 2)), 1e-6)
    rows, columns = np.arange(ink.shape[1], dtype=np.float32), np.arange(ink.shape[2], dtype=np.float32)
    y_0 = (ink.sum(axis=2) * rows).sum(axis=1) / mass
    x_0 = (ink.sum(axis=1) * columns).sum(axis=1) / mass
    return (rows - y_0[:, None])[:, :, None], (columns - x_0[:, None])[:, None, :]


def _spread(places: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """(N,) how far apart the places lie below which `OUTSIDE` and above which `OUTSIDE` of the ink is, and a pixel."""
    flat, weights = places.reshape(len(places), -1), ink.reshape(len(ink), -1)
    order = np.argsort(flat, axis=1)
    flat, weights = np.take_along_axis(flat, order, axis=1), np.take_along_axis(weights, order, axis=1)
    total = weights.sum(axis=1)
    share = weights.cumsum(axis=1) / np.maximum(total, 1e-6)[:, None]
    low, high = (share < OUTSIDE).sum(axis=1), (share < 1 - OUTSIDE).sum(axis=1)
    last = flat.shape[1] - 1
    ends = [np.take_along_axis(flat, np.minimum(i, last)[:, None], axis=1)[:, 0] for i in (low, high)]
    return np.where(total > 0, ends[1] - ends[0] + 1, 0)


def measured_once(images: torch.Tensor, folder: Path | None) -> dict[str, np.ndarray]:
    """`measure_strokes` of (N, 1, H, W) uint8 images, read from a folder where they were measured before.

    MNIST's 60,000 take about a minute. The file is named by a hash of the images and of this module, so that a changed
    definition is measured anew.

    Args:
        images: what `ImageData` holds.
        folder: of the cache; None keeps nothing.

    Raises:
        ValueError: images of several channels.
    """
    if images.shape[1] != 1:
        raise ValueError(f"images: got {images.shape[1]} channels, expected 1: strokes are measured in grey.")
    key = Path(__file__).read_bytes() + repr(tuple(images.shape)).encode() + images.numpy().tobytes()
    return computed_once(folder, "strokes", key, lambda: measure_strokes(images[:, 0].numpy()))
