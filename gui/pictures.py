"""Tensors as what a browser shows: small PNGs that the page enlarges, GIFs, and words for those who cannot see."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn import functional as F

from ..pipelines.images import to_bytes, to_uint8, to_unit
from .words import cut

# A GIF of more frames takes long to watch and to load.
MOST_FRAMES = 48
FRAME_MS, LAST_FRAME_MS = 90, 1500
# Characters under a picture.
LONGEST_CAPTION = 120


def to_image(image: torch.Tensor) -> Image.Image:
    """One pixel a pixel; (C, H, W) in [0, 1]."""
    return Image.fromarray(to_uint8(image[None])[0])


def encoded(image: Image.Image) -> str:
    """A PNG in base64."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def data_uri(image: Image.Image) -> str:
    """A PNG within the page itself."""
    return f"data:image/png;base64,{encoded(image)}"


def stack_rows(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N, C, H, W) of N images (C, H, W'): dark ground to the right of the narrower, as `draw_images` returns them."""
    widest = max(image.shape[2] for image in images)
    return torch.stack([F.pad(image.detach().float().cpu(), (0, widest - image.shape[2])) for image in images])


def tiles(images: Sequence[torch.Tensor], captions: Sequence[str], alt: str, columns: int, kind: str = "") -> str:
    """Pictures side by side and of one height, as many in a row as fit, at most `columns`.

    Args:
        images: (C, H, W) in [0, 1] each.
        captions: a line under each; "" is none.
        alt: what all of them are; a caption is put behind it.
        columns: in a row where there is room.
        kind: more classes of the list.
    """
    items = []
    for image, caption in zip(images, captions, strict=True):
        caption = cut(caption, LONGEST_CAPTION)
        words = escape(f"{alt}: {caption}" if caption else alt, quote=True)
        source, below = data_uri(to_image(image)), f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        shape = f"--ratio: {image.shape[-1] / image.shape[-2]:.3f}"
        items.append(f'<figure style="{shape}"><img class="digit" src="{source}" alt="{words}">{below}</figure>')
    return f'<div class="tiles {kind}" style="--columns: {columns}">{"".join(items)}</div>'


def picture(image: Image.Image, alt: str) -> str:
    """One picture, as wide as there is room."""
    return f'<img class="digit whole" src="{data_uri(image)}" alt="{escape(alt, quote=True)}">'


def thin(frames: Sequence[Any]) -> list[Any]:
    """Every n-th of many frames, and always the last."""
    every = -(-len(frames) // MOST_FRAMES)
    return [*frames[:-1:every], frames[-1]]


class Film:
    """The frames of a drawing that a GIF of it shows, as it draws.

    Attributes:
        last: (N, C, H, W) in [0, 1], the newest frame.
    """

    def __init__(self) -> None:
        self._kept: list[torch.Tensor] = []

    def add(self, images: torch.Tensor, i: int, total: int) -> None:
        """Frame i of `total`, (N, C, H, W) in [0, 1]; kept as pixels, where `thin` keeps it."""
        self.last = images.float().cpu()
        if i % -(-total // MOST_FRAMES) == 0 or i == total - 1:
            self._kept.append(to_bytes(self.last))

    def watch(self, pipeline: Any, i: int, _: Any, tensors: dict[str, Any]) -> None:
        """A pipeline's callback that adds the images after each step."""
        self.add(pipeline.decode_latents(tensors["latents"], "pt"), i, pipeline.num_timesteps)

    def frames(self) -> list[torch.Tensor]:
        """What is kept, in [0, 1]."""
        return [to_unit(pixels) for pixels in self._kept]


def save_gif(frames: Sequence[Image.Image], path: Path) -> Path:
    """An endless GIF of frames of one size, which rests at its last."""
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    frames[0].save(path, save_all=True, append_images=list(frames[1:]), duration=durations, loop=0)
    return path
