"""Several digits as one number: in a row, as a hand would set them.

C channels, H W height and width of a piece in pixels.
"""

from collections.abc import Sequence

import torch

# What is darker than this part of full ink is ground.
INK = 0.2
# Space between two digits, where they come closest, as a part of the height of a piece.
SPACE = 0.09
# Rows above and below that a digit keeps clear of its neighbour, as a part of the height.
REACH = 0.07


def compose_row(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """One picture of several digits.

    The feet of the digits stand on one line, and each comes as near to the one before as their ink lets it: space by
    the shapes and not by the boxes, so that a 7 before a 4 is no further off than a 1 before a 1.

    Args:
        pieces: (C, H, W) in [0, 1] each, bright ink on a dark ground.

    Returns:
        (C, H, W'), as high as the pieces, with the margins of the first and the last one.
    """
    height = pieces[0].shape[1]
    masks = [piece.amax(dim=0) > INK for piece in pieces]
    feet = [int(mask.any(dim=1).nonzero().max()) if mask.any() else height - 1 for mask in masks]
    line = sorted(feet)[len(feet) // 2]
    pieces = [_shifted_down(piece, line - foot) for piece, foot in zip(pieces, feet, strict=True)]
    masks = [piece.amax(dim=0) > INK for piece in pieces]

    places = [0]
    for before, mask in zip(masks, masks[1:], strict=False):
        places.append(places[-1] + _advance(before, mask))
    row = pieces[0].new_zeros(
        pieces[0].shape[0], height, max(p + m.shape[1] for p, m in zip(places, masks, strict=True))
    )
    for place, piece in zip(places, pieces, strict=True):
        window = row[..., place : place + piece.shape[2]]
        window.copy_(torch.maximum(window, piece))
    return row


def _shifted_down(piece: torch.Tensor, rows: int) -> torch.Tensor:
    """The piece moved down, or up; no ink is moved out of the picture."""
    inked = (piece.amax(dim=0) > 0).any(dim=1).nonzero()
    if len(inked) == 0:
        return piece
    rows = max(-int(inked.min()), min(rows, piece.shape[1] - 1 - int(inked.max())))
    return torch.roll(piece, rows, dims=1)


def _advance(before: torch.Tensor, mask: torch.Tensor) -> int:
    """Columns from the left edge of one digit's mask (H, W) to that of the next, with `SPACE` between their ink."""
    height, width = mask.shape
    if not before.any() or not mask.any():
        return width
    reach = max(1, round(REACH * height))
    columns = torch.arange(width)
    right = torch.where(before, columns, -1).amax(dim=1)  # (H,) last ink of each row, -1 for none
    left = torch.where(mask, columns, 10 * width).amin(dim=1)
    near = torch.nn.functional.max_pool1d(right[None].float(), 2 * reach + 1, stride=1, padding=reach)[0]
    overlap = torch.where(near >= 0, near - left, torch.tensor(-10.0 * width)).max()
    if overlap < -5 * width:  # they share no rows
        return width
    # Not so near that the second digit would stand left of the first one's middle.
    middle = int(before.any(dim=0).nonzero().float().mean() - mask.any(dim=0).nonzero().min())
    return max(int(overlap) + 1 + max(1, round(SPACE * height)), middle)
