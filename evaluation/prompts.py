"""Whether words are obeyed: the asked digit under captions never trained on, and properties against what was asked.

A property is compared as its place among real digits of the class, 0 to 1, because levels are relative to the class.
The same figure of real digits, each under the caption of its own level, stands beside: with five levels in place of
values no rank correlation reaches 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from ..data import ImageData, cache_folder, counter_generator, every_nth_of_each_class
from ..data.captions import CORNER, COUNTED, LANGUAGES, LEVELS, Captions, held_out_corner, levels_of, plain_caption
from ..data.strokes import PROPERTIES, measure_strokes, measured_once
from ..pipelines.drawing import draw_images
from ..pipelines.images import image_grid, to_bytes
from .classifier import classify
from .judge import HELD_OUT_EVERY, Judge
from .page import markdown_table

# Of N images: a held-out combination of each digit has N / 50, each level of each property of each digit N / 500.
HELD_OUT_PART, LEVEL_PART = 50, 500
# A level is asked of a digit that at least so many real ones have.
LEAST = 10
# What the picture shows.
SWEPT_DIGITS = (2, 5, 7)
SWEPT = ("thickness", "slant", "width", "size", "ink")


class RealStrokes:
    """Measured training digits, as the scale of what is measured of others.

    Args:
        data: training images with their labels.
    """

    def __init__(self, data: ImageData):
        self.labels = data.labels.numpy()
        self.measured = measured_once(data.images, cache_folder("strokes"))
        self.levels = levels_of(self.measured, self.labels)

    def texts_for(self, labels: torch.Tensor, seed: int) -> list[str]:
        """A caption for each of (N,) digits that are asked for: of a training digit of that class, drawn by the seed.

        As captions of training, so that styles come as often as among real digits; but they all name their digit.
        """
        generator = counter_generator(seed, "captions of an evaluation")
        own = {int(label): np.flatnonzero(self.labels == int(label)) for label in labels.unique()}
        chosen = [
            own[label][int(draw * len(own[label]))]
            for label, draw in zip(labels.tolist(), torch.rand(len(labels), generator=generator).tolist(), strict=True)
        ]
        return Captions(self.labels, self.levels).draw(torch.tensor(chosen), generator, any_digit_share=0)

    def places(self, name: str, values: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(N,) where values stand among those of the class: the part below, and half of the equal ones."""
        places = np.zeros(len(values))
        for label in np.unique(labels):
            own = np.sort(self.measured[name][self.labels == label])
            chosen = labels == label
            sides = [np.searchsorted(own, values[chosen], side=side) for side in ("left", "right")]
            places[chosen] = (sides[0] + sides[1]) / 2 / len(own)
        return places

    def captions(self, name: str) -> list[tuple[int, int]]:
        """(digit, level) that can be asked of a property: those that real digits have."""
        levels = (-1, 1) if name in COUNTED else LEVELS
        return [
            (digit, level)
            for digit in range(10)
            for level in levels
            if ((self.levels[name] == level) & (self.labels == digit)).sum() >= LEAST
        ]

    def in_held_out_corner(self) -> np.ndarray:
        """(M,) whether a digit has the combination that no caption of its class says."""
        signs = {name: np.array([held_out_corner(digit)[name] for digit in range(10)]) for name in CORNER}
        return np.all([np.sign(self.levels[name]) == signs[name][self.labels] for name in CORNER], axis=0)

    def correlation(self, name: str, captions: Sequence[tuple[int, int]], count: int) -> float:
        """Rank correlation of level and place, of real digits: up to `count` of each caption."""
        chosen = [
            np.flatnonzero((self.labels == digit) & (self.levels[name] == level))[:count] for digit, level in captions
        ]
        indices = np.concatenate(chosen)
        asked = np.repeat([level for _, level in captions], [len(part) for part in chosen])
        return rank_correlation(asked, self.places(name, self.measured[name][indices], self.labels[indices]))


def rank_correlation(asked: np.ndarray, measured: np.ndarray) -> float:
    """Spearman's, with ties at their mean rank; 0 where either does not vary."""
    if len(set(asked.tolist())) < 2 or len(set(measured.tolist())) < 2:
        return 0.0
    return float(spearmanr(asked, measured).statistic)


def measure_prompts(
    pipeline: Any,
    judge: Judge,
    real: RealStrokes,
    num: int,
    seeds: range,
    other_scales: Sequence[float] = (),
    **settings: Any,
) -> dict[str, Any]:
    """What a pipeline of texts makes of captions.

    Args:
        pipeline: on its device.
        judge: has the classifier and the training digits.
        real: those digits, measured.
        num: images; see `HELD_OUT_PART` and `LEVEL_PART`.
        seeds: at least as many as images are drawn; the first ones are used again for each property.
        other_scales: of guidance, to measure the held-out combinations at, too.
        settings: of the pipeline's call.

    Returns:
        "held_out": as `measure_held_out`; "by_guidance": the same at each of the other scales; "properties": accuracy,
        correlation, that of real digits and number of images of each.
    """
    per_digit, per_level = max(2, num // HELD_OUT_PART), max(1, num // LEVEL_PART)
    properties = {}
    for name in PROPERTIES:
        captions = real.captions(name)
        if len({level for _, level in captions}) < 2:
            continue
        repeated = [caption for caption in captions for _ in range(per_level)]
        digits, levels = np.array(repeated).T
        images = _sample(pipeline, [plain_caption(d, {name: level}) for d, level in repeated], seeds, settings)
        places = real.places(name, measure_strokes(images[:, 0].numpy())[name], digits)
        properties[name] = {
            "n": len(repeated),
            "accuracy": float((_seen(judge, images) == digits).mean()),
            "correlation": rank_correlation(levels, places),
            "real": real.correlation(name, captions, per_level),
        }

    def held_out(**changes: float) -> dict[str, Any]:
        return measure_held_out(pipeline, judge, real, per_digit, seeds, **{**settings, **changes})

    return {
        "held_out": held_out(),
        "by_guidance": [{"guidance_scale": scale, **held_out(guidance_scale=scale)} for scale in other_scales],
        "properties": properties,
    }


def measure_held_out(
    pipeline: Any, judge: Judge, real: RealStrokes, per_digit: int, seeds: range, **settings: Any
) -> dict[str, Any]:
    """What it makes of the combinations of thickness, slant and width that no caption had.

    Args:
        per_digit: images of each digit, in turn by a caption of each language.

    Returns:
        Accuracy of the asked digit, over all and by language; accuracy and number of the real digits with these
        combinations that the classifier has not seen; rank correlation of asked side and measure for each property.
    """
    asked = [(digit, held_out_corner(digit)) for digit in range(10) for _ in range(per_digit)]
    languages = [LANGUAGES[i % len(LANGUAGES)] for i in range(len(asked))]
    prompts = [plain_caption(digit, levels, lang) for (digit, levels), lang in zip(asked, languages, strict=True)]
    labels = np.array([digit for digit, _ in asked])
    images = _sample(pipeline, prompts, seeds, settings)
    right = _seen(judge, images) == labels
    measured = measure_strokes(images[:, 0].numpy())
    unseen = every_nth_of_each_class(judge.training.labels, HELD_OUT_EVERY).numpy() & real.in_held_out_corner()
    real_right = (_seen(judge, judge.training.images[unseen]) == real.labels[unseen]) if unseen.any() else np.zeros(0)
    return {
        "n": len(prompts),
        "accuracy": float(right.mean()),
        "accuracy_by_language": {each: float(right[np.array(languages) == each].mean()) for each in LANGUAGES},
        "real_n": int(unseen.sum()),
        "real_accuracy": float(real_right.mean()) if len(real_right) else None,
        "correlation": {
            name: rank_correlation(
                np.array([levels[name] for _, levels in asked]), real.places(name, measured[name], labels)
            )
            for name in CORNER
        },
    }


def _sample(pipeline: Any, prompts: Sequence[str], seeds: range, settings: dict[str, Any]) -> torch.Tensor:
    """(N, 1, H, W) uint8, by the first N seeds."""
    images = draw_images(pipeline, prompts, seeds=seeds[: len(prompts)], show_progress=len(prompts) > 500, **settings)
    return to_bytes(images)


def _seen(judge: Judge, images: torch.Tensor) -> np.ndarray:
    return classify(judge.classifier, images).logits.argmax(dim=1).numpy()


def sweep_picture(pipeline: Any, seed: int, **settings: Any) -> Any:
    """A picture of levels from one noise: a row for each property, and in it each digit's levels from low to high."""
    prompts = [plain_caption(digit, {name: level}) for name in SWEPT for digit in SWEPT_DIGITS for level in LEVELS]
    images = draw_images(pipeline, prompts, seeds=[seed] * len(prompts), **settings)
    return image_grid(images, columns=len(SWEPT_DIGITS) * len(LEVELS))


def prompts_to_markdown(found: dict[str, Any]) -> str:
    """What `measure_prompts` found, for a reader."""
    lines = []
    for each in (found["held_out"], *found["by_guidance"]):
        at = f" At guidance scale {each['guidance_scale']:g}:" if "guidance_scale" in each else ""
        by_language = ", ".join(f"{name} {share:.2%}" for name, share in each["accuracy_by_language"].items())
        correlations = ", ".join(f"{name} {value:.2f}" for name, value in each["correlation"].items())
        lines.append(
            f"Combinations of thickness, slant and width that no caption had, {each['n']:,} images.{at} Asked digit "
            f"{each['accuracy']:.2%} ({by_language}); rank correlation of asked side and measure: {correlations}."
        )
    if (held_out := found["held_out"])["real_n"]:
        lines.append(
            f"Of {held_out['real_n']:,} real digits with these combinations, which the classifier had not seen, it is "
            f"right on {held_out['real_accuracy']:.2%}."
        )
    rows = [
        (name, f"{p['correlation']:.3f}", f"{p['real']:.3f}", f"{p['accuracy']:.2%}", f"{p['n']:,}")
        for name, p in found["properties"].items()
    ]
    head = ("asked, five levels or two", "rank correlation", "of real digits", "asked digit", "images")
    return "\n\n".join([*lines, markdown_table(head, rows)]) + "\n"
