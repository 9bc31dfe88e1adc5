"""The sheet that a visitor draws on, as pictures. The browser's half is assets/pad.js."""

import re
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image

from ..pipelines.images import to_uint8, to_unit
from .pictures import to_image
from .words import Complaint, Words

CODE = (Path(__file__).parent / "assets" / "pad.js").read_text(encoding="utf-8")
SHEET = """
<div class="pad">
  <p class="pad-name">${name}</p>
  <canvas width="${side}" height="${side}" tabindex="0" role="img" aria-label="${name}. ${help}"></canvas>
  <p class="pad-help">${help}</p>
  <button type="button" name="undo">${undo}</button>
  <button type="button" name="clear">${clear}</button>
</div>
"""


def make_pad(words: Words, side: int, over: bool, value: str = "") -> gr.HTML:
    """A sheet of side x side pixels; `over` paints a mask over a picture, `value` is on it at first."""
    return gr.HTML(
        value,
        html_template=SHEET,
        js_on_load=CODE,
        side=side,
        mode="mask" if over else "draw",
        name=words("mask" if over else "sketch"),
        help=words("sketch_help"),
        clear=words("clear"),
        undo=words("undo"),
        elem_classes="t2d-pad",
    )


def pad_value(image: torch.Tensor, over: bool, painted: bool = False) -> str:
    """What a pad is given to show a picture, (C, H, W) in [0, 1]; `painted` puts a mask over its lower half."""
    pixels = to_uint8(image.mean(dim=0, keepdim=True)[None])[0].tobytes()
    half = len(pixels) // 2
    mask = bytes(half).hex() + "ff" * (len(pixels) - half) if painted else ""
    return pixels.hex() + (f":{mask}" if over else "")


def read_pad(value: Any, side: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Paper and ink of a pad, (side, side) uint8 each; None where there is nothing. A sketch is ink alone.

    Raises:
        ValueError: what no pad tells.
    """
    first, colon, second = str(value or "").partition(":")
    paper, ink = (first, second) if colon else ("", first)
    return _read(paper, side), _read(ink, side)


def _read(text: str, side: int) -> torch.Tensor | None:
    if not text:
        return None
    if not re.fullmatch(f"[0-9a-f]{{{2 * side * side}}}", text):
        raise Complaint("no_sketch", got=text, side=side)
    pixels = torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
    return pixels.reshape(side, side) if pixels.any() else None


def centred(ink: torch.Tensor) -> torch.Tensor:
    """A sketch moved so that its centre of mass is in the middle, as MNIST's digits are; no ink leaves the sheet.

    Args:
        ink: (H, W) uint8, not empty.
    """
    for axis in (0, 1):
        mass = ink.double().sum(dim=1 - axis)
        inked, size = mass.nonzero(), len(mass)
        middle = float((mass * torch.arange(size)).sum() / mass.sum())
        shift = round((size - 1) / 2 - middle)
        shift = max(-int(inked.min()), min(shift, size - 1 - int(inked.max())))
        ink = torch.roll(ink, shift, dims=axis)
    return ink


def as_image(pixels: torch.Tensor) -> Image.Image:
    """(H, W) uint8 as a picture."""
    return to_image(to_unit(pixels[None]))
