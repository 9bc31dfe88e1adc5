"""Image files of any kind as arrays of one size and one number of channels, by stated rules.

- Size: `data.image_size`, else the most frequent size; its longer side, or its shorter side where images are cropped.
- Images of another size or shape are resized: to fit inside, with the ground around them (`data.fit: pad`), to fill the
  square (`crop`), or without regard to their shape (`stretch`).
- Transparent pixels and padding show the ground, `data.background`. `auto` is what most images ask for: white for dark
  ink on transparency or a light border, else black.
- Channels: `data.channels`, else 3 where any image has colour, else 1.
- 16-bit images keep their full range. Images of floats are in [0, 1], or in [0, 255] where any exceeds 1.
- Images are turned as EXIF says. Of an animation the first frame is read.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from ..config import DataConfig

# A model of images of more pixels a side would not train on a laptop or one card.
LARGEST_SIDE = 256
# Channels that differ by less are grey: JPEG rounds them apart.
COLOR_THRESHOLD = 16
# Formats that are read, by the suffixes of their files. Pillow's others may call programs, as EPS does.
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
IMAGE_SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}
TRANSPARENT = "transparent"
LANCZOS = Image.Resampling.LANCZOS
# Of a rotation by EXIF that swaps width and height.
_ORIENTATION, _SWAPPED = 0x0112, (5, 6, 7, 8)
_FIT: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "pad": lambda image, size: ImageOps.pad(image, size, LANCZOS, color=(0, 0, 0, 0)),
    "crop": lambda image, size: ImageOps.fit(image, size, LANCZOS),
    "stretch": lambda image, size: image.resize(size, LANCZOS),
}


@dataclass(frozen=True)
class _Header:
    """What is known of a file before all are decoded: (width, height), and the largest value of floats."""

    size: tuple[int, int]
    highest: float


def read_images(files: Mapping[str, Path | bytes], config: DataConfig) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Decode image files.

    Args:
        files: path or content of each file, by the name that errors use.
        config: size, channels, fit and background.

    Returns:
        (N, C, H, H) uint8, and what was done to how many, in words.

    Raises:
        ValueError: files that cannot be read, named; or images that are too large to train on.
    """
    found = _each(files, _read_header)
    headers = [each for each in found if isinstance(each, _Header)]
    pairs = zip(files.items(), found, strict=True)
    whole = {name: content for (name, content), each in pairs if isinstance(each, _Header)}
    _refuse_broken([] if headers else found)
    sizes = Counter(header.size for header in headers)
    usual = max(sizes, key=lambda size: (sizes[size], size))
    side = config.image_size or (min(usual) if config.fit == "crop" else max(usual))
    if side > LARGEST_SIDE:
        raise ValueError(
            f"data.image_size: got nothing for images of {usual[0]}x{usual[1]} pixels, expected a side of at most "
            f"{LARGEST_SIDE}; set data.image_size, such as 64."
        )
    scale = 255.0 if max(header.highest for header in headers) <= 1 else 1.0

    def decode(content: Path | bytes) -> tuple[np.ndarray, bool, list[str]]:
        with _open(content) as opened:
            facts = _facts_of(opened)
            image = _to_rgba(ImageOps.exif_transpose(opened), scale)
        array = np.asarray(image)
        is_clear = bool((array[..., 3] < 255).any())
        facts += [TRANSPARENT] * is_clear
        if image.size != (side, side):
            facts.append(f"brought to {side}x{side} ({config.fit})")
            image = _FIT[config.fit](image, (side, side))
        return np.asarray(image.convert("RGBa")), _asks_for_white(array, is_clear), facts

    decoded = _each(whole, decode)
    _refuse_broken([*decoded, *found])
    arrays, votes, facts = zip(*decoded, strict=True)
    is_white = 2 * sum(votes) > len(votes) if config.background == "auto" else config.background == "white"
    pixels = np.stack(arrays)
    pixels = pixels[..., :3] + (255 - pixels[..., 3:] if is_white else np.uint8(0))
    counted = Counter(what for found in facts for what in found)
    notes = [f"{count:,} {what}" for what, count in sorted(counted.items())]
    if counted[TRANSPARENT]:
        notes.append(f"on {'white' if is_white else 'black'} ground")
    return with_channels(torch.from_numpy(pixels).permute(0, 3, 1, 2), config.channels), tuple(notes)


def resized(images: torch.Tensor, config: DataConfig) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Bring images that are decoded, (N, C, H, H) uint8, to the size and channels of a config; say what was done."""
    notes: tuple[str, ...] = ()
    size, own = config.image_size, images.shape[-1]
    if size is not None and size != own:
        arrays = images.permute(0, 2, 3, 1).numpy()
        small = [Image.fromarray(each.squeeze(-1) if each.shape[-1] == 1 else each) for each in arrays]
        arrays = np.stack([np.asarray(each.resize((size, size), LANCZOS)) for each in small])
        images = torch.from_numpy(arrays).reshape(len(arrays), size, size, -1).permute(0, 3, 1, 2).contiguous()
        notes = (f"resized from {own}x{own}",)
    if config.channels not in (None, images.shape[1]):
        notes += ("grey as three channels" if config.channels == 3 else "colour as grey",)
    return with_channels(images, config.channels or images.shape[1]), notes


def with_channels(images: torch.Tensor, channels: int | None) -> torch.Tensor:
    """Images (N, 1 or 3, H, W) uint8 with 1 or 3 channels; None keeps the three only where any image has colour."""
    if channels is None:
        spread = images.amax(dim=1).int() - images.amin(dim=1).int()
        channels = 3 if bool((spread > COLOR_THRESHOLD).any()) else 1
    if channels == images.shape[1]:
        return images.contiguous()
    if channels == 3:
        return images.repeat(1, 3, 1, 1)
    weights = torch.tensor([19595, 38470, 7471]).view(1, 3, 1, 1)  # luma of ITU-R 601 in 65,536 parts, as Pillow has it
    return ((images.int() * weights).sum(dim=1, keepdim=True) + 0x8000 >> 16).to(torch.uint8)


def _each(files: Mapping[str, Path | bytes], read: Callable[[Path | bytes], Any]) -> list[Any]:
    """Call `read` for each file, several at a time; a file that it cannot read becomes a `_Broken`."""

    def attempt(item: tuple[str, Path | bytes]) -> Any:
        try:
            return read(item[1])
        except Exception as error:  # Pillow raises what the file's format makes it raise
            return _Broken(item[0], str(error) or type(error).__name__)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(attempt, files.items()))


def _refuse_broken(found: Sequence[Any], shown: int = 5) -> None:
    """Name the files that cannot be read.

    Raises:
        ValueError: there are any.
    """
    if broken := [each for each in found if isinstance(each, _Broken)]:
        names = ", ".join(each.name for each in broken[1 : shown + 1]) + (", …" if len(broken) > shown + 1 else "")
        others = f"; {len(broken) - 1:,} others are damaged too: {names}" if names else ""
        raise ValueError(f"{broken[0].name}: cannot be read ({broken[0].why}){others}. Repair or remove them.")


@dataclass(frozen=True)
class _Broken:
    """A file that cannot be read."""

    name: str
    why: str


def _open(content: Path | bytes) -> Image.Image:
    return Image.open(BytesIO(content) if isinstance(content, bytes) else content, formats=list(FORMATS))


def _read_header(content: Path | bytes) -> _Header:
    with _open(content) as opened:
        width, height = opened.size
        size = (height, width) if opened.getexif().get(_ORIENTATION) in _SWAPPED else (width, height)
        highest = float(np.asarray(opened).max()) if opened.mode == "F" else 0.0
        return _Header(size, highest)


def _facts_of(opened: Image.Image) -> list[str]:
    """What is told of an image, by its mode and its header."""
    found = {
        "of 16 bits": opened.mode.startswith("I"),
        "of floats": opened.mode == "F",
        "of CMYK": opened.mode == "CMYK",
        "turned by EXIF": opened.getexif().get(_ORIENTATION, 1) != 1,
        "animated, first frame": getattr(opened, "is_animated", False),
    }
    return [what for what, holds in found.items() if holds]


def _to_rgba(image: Image.Image, float_scale: float) -> Image.Image:
    """Any of Pillow's modes as RGBA of 8 bits.

    Raises:
        ValueError: numbers outside of the range of 16 bits, or floats outside of [0, 255].
    """
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        scaled = values * float_scale if image.mode == "F" else values / 257
        if not (scaled.min() >= 0 and scaled.max() <= 255):  # NaN fails both
            wanted = "floats in [0, 1] or [0, 255]" if image.mode == "F" else "0 to 65,535"
            raise ValueError(f"got values from {values.min():g} to {values.max():g}, expected {wanted}")
        image = Image.fromarray(np.rint(scaled).astype(np.uint8))
    return image.convert("RGBA")


def _asks_for_white(array: np.ndarray, is_clear: bool) -> bool:
    """Whether an image (H, W, 4) wants a white ground: by dark ink on transparency, else by a light border."""
    grey = array[..., :3].mean(axis=-1)
    if is_clear:
        seen = array[..., 3] > 127
        return bool(seen.any() and grey[seen].mean() < 127.5)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool(border.mean() > 127.5)
