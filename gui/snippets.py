"""Each view as Python that draws the same pixels; `tests/gui/test_snippets.py` runs them all and compares.

The code is for a reader: it uses what the package offers, and nothing of the app.
"""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from .studio import OWN, Settings


def draw_snippet(settings: Settings, asked: Sequence[int] | Sequence[str], repeats: int, columns: int) -> str:
    """A grid of digits or prompts, saved as digits.png."""
    if asked and isinstance(asked[0], str):
        inputs = [text for text in asked for _ in range(repeats)]
        call = [
            f"prompts = {inputs!r}",
            f"seeds = range({settings.seed}, {settings.seed} + len(prompts))",
            f"images = draw_images(pipe, prompts, seeds, {_numbers(settings)})",
        ]
        return _lines(
            "from text2digit.pipelines.drawing import draw_images",
            "from text2digit.pipelines.images import image_grid",
            *_pipeline(settings),
            *call,
            f'image_grid(images, {columns}).save("digits.png")',
        )
    call = [
        "images = pipe(",
        f"    {list(asked)}, num_images_per_prompt={repeats}, {_numbers(settings)},",
        f'    generator={settings.seed}, output_type="pt",',
        ").images",
    ]
    return _lines(
        "from text2digit.pipelines.images import image_grid",
        *_pipeline(settings),
        *call,
        f'image_grid(images, {columns}).save("digits.png")',
    )


def inside_snippet(settings: Settings, asked: int | str, step: int) -> str:
    """x_t, the predicted x_0, the noise and the direction at a step (0 is the first), saved as inside.png."""
    return _lines(
        "import torch",
        "from text2digit import DDIMScheduler",
        "from text2digit.pipelines.guidance import classifier_free_guidance",
        "from text2digit.pipelines.images import image_grid",
        "from text2digit.schedulers.prediction import split_prediction",
        *_pipeline(settings),
        "seen = []",
        "pipe.denoiser.register_forward_hook(lambda _, shown, said: seen.append((shown[0], shown[1], said.sample)))",
        f"pipe({asked!r}, {_numbers(settings)}, generator={settings.seed})",
        f"x_t, t, said = seen[{step}]",
        "uncond, cond = said[:1], said[-1:]  # one and the same where guidance is off",
        "alpha_t, sigma_t = (x.float() for x in DDIMScheduler.from_config(pipe.scheduler.config).path.levels(t))",
        'kind = pipe.scheduler.config.get("prediction_type", "flow_prediction")',
        "split = lambda output: split_prediction(kind, output, x_t[:1], alpha_t, sigma_t)",
        f"x_0, noise = split(classifier_free_guidance(cond, uncond, {settings.guidance_scale}))",
        "direction = split(cond)[0] - split(uncond)[0]",
        "shown = torch.cat([x_t[:1], x_0, noise / 3, direction / direction.abs().max().clamp(min=1e-6)])",
        'image_grid((shown / 2 + 0.5).clamp(0, 1), 4).save("inside.png")',
    )


def compare_snippet(columns: Sequence[Settings], asked: Sequence[int | str]) -> str:
    """The same noise under several settings, saved as compare.png; what is asked of each is a class or a prompt."""
    rows = [
        f"    ({s.model!r}, {what!r}, {_or_none(s.scheduler)}, {s.steps}, {s.guidance_scale}),"
        for s, what in zip(columns, asked, strict=True)
    ]
    return _lines(
        "import torch",
        "from text2digit import DigitPipeline",
        "from text2digit.pipelines.images import image_grid",
        "from text2digit.pipelines.samplers import make_scheduler",
        "",
        "settings = [  # model, digit, scheduler or None for the model's own, steps, guidance",
        *rows,
        "]",
        "images = []",
        "for model, digit, scheduler, steps, guidance in settings:",
        "    pipe = DigitPipeline.from_pretrained(model)",
        "    if scheduler:",
        "        pipe.scheduler = make_scheduler(scheduler, pipe.scheduler.config)",
        f"    call = dict(num_inference_steps=steps, guidance_scale=guidance, generator={columns[0].seed})",
        '    images.append(pipe(digit, output_type="pt", **call).images[0])',
        'image_grid(torch.stack(images), len(images)).save("compare.png")',
    )


def redraw_snippet(
    settings: Settings, asked: int | str, start: Image.Image, strength: float, mask: Image.Image | None
) -> str:
    """A picture drawn again, or its painted part drawn anew, saved as edited.png."""
    kind = "DigitImg2ImgPipeline" if mask is None else "DigitInpaintPipeline"
    argument = "prompt" if isinstance(asked, str) else "class_labels"
    given = "image=start" if mask is None else "image=start, mask_image=mask"
    masks = [] if mask is None else [f"mask = read({_encoded(mask)!r})"]
    return _lines(
        "from base64 import b64decode",
        "from io import BytesIO",
        "from PIL import Image",
        "from text2digit.pipelines.images import image_grid",
        *_pipeline(settings, kind),
        "read = lambda text: Image.open(BytesIO(b64decode(text)))",
        f"start = read({_encoded(start)!r})",
        *masks,
        "images = pipe(",
        f"    {argument}={asked!r}, {given}, strength={strength}, {_numbers(settings)},",
        f'    generator={settings.seed}, output_type="pt",',
        ").images",
        'image_grid(images, 1).save("edited.png")',
    )


def between_snippet(settings: Settings, first: int | str, second: int | str, seeds: tuple[int, int], count: int) -> str:
    """The way from one digit to another, saved as between.png."""
    call = f"interpolate(pipe, {first!r}, {second!r}, {count}, {seeds}, {settings.steps}, output_type='pt')"
    return _lines(
        "import torch",
        "from text2digit.pipelines import interpolate",
        "from text2digit.pipelines.images import image_grid",
        *_pipeline(settings),
        f"images = {call}",
        'image_grid(torch.stack(images), len(images)).save("between.png")',
    )


def training_snippet(folder: str, picture: str) -> str:
    """A run's loss as loss.png, and the grid of samples that is shown, a path in the folder, as grid.png."""
    return _lines(
        "from pathlib import Path",
        "from PIL import Image",
        "from text2digit.training.history import plot_loss, read_history",
        "",
        f"run = Path({folder!r})",
        'lines = read_history(run / "history.jsonl")',
        'plot_loss(lines, Path("loss.png"))',
        'print(lines[-1].get("loss_by_time"))  # from clean to noise',
        f'Image.open(run / {picture!r}).save("grid.png")',
    )


def _pipeline(settings: Settings, kind: str = "DigitPipeline") -> list[str]:
    """Lines that load a model and give it its scheduler."""
    imports, changes = [f"from text2digit import {kind}"], []
    if settings.scheduler != OWN:
        imports.append("from text2digit.pipelines.samplers import make_scheduler")
        changes.append(f"pipe.scheduler = make_scheduler({settings.scheduler!r}, pipe.scheduler.config)")
    if settings.spacing != OWN:
        changes.append("kind, config = type(pipe.scheduler), pipe.scheduler.config")
        changes.append(f"pipe.scheduler = kind.from_config(config, timestep_spacing={settings.spacing!r})")
    return [*imports, "", f"pipe = {kind}.from_pretrained({settings.model!r})", *changes]


def _numbers(settings: Settings) -> str:
    interval = f"guidance_interval={settings.interval}"
    return f"num_inference_steps={settings.steps}, guidance_scale={settings.guidance_scale}, {interval}"


def _or_none(choice: str) -> str:
    return "None" if choice == OWN else repr(choice)


def _encoded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
