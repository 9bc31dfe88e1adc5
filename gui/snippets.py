"""Each view as Python that draws the same pixels; `tests/gui/test_snippets.py` runs them all and compares.

The code is for a reader: it uses what the package offers, and nothing of the app.
"""

from collections.abc import Sequence

from PIL import Image

from .pictures import encoded
from .studio import OWN, Settings


def draw_snippet(settings: Settings, asked: Sequence[int] | Sequence[str], repeats: int, columns: int) -> str:
    """A grid of digits or prompts, saved as digits.png."""
    imports = ["from text2digit.pipelines.images import image_grid"]
    if asked and isinstance(asked[0], str):
        imports.insert(0, "from text2digit.pipelines.drawing import draw_images")
        call = [
            f"prompts = {[text for text in asked for _ in range(repeats)]!r}",
            f"seeds = range({settings.seed}, {settings.seed} + len(prompts))",
            f"images = draw_images(pipe, prompts, seeds, {_numbers(settings)})",
        ]
    else:
        call = _call(settings, f"{list(asked)}, num_images_per_prompt={repeats}")
    return _lines(*imports, *_pipeline(settings), *call, f'image_grid(images, {columns}).save("digits.png")')


def inside_snippet(settings: Settings, asked: int | str, step: int) -> str:
    """x_t, the predicted x_0, the noise and the direction at a step (0 is the first), saved as inside.png."""
    return _lines(
        "import torch",
        "from text2digit import DDIMScheduler",
        "from text2digit.pipelines.images import image_grid",
        "from text2digit.schedulers.prediction import split_prediction",
        *_pipeline(settings),
        'seen, names = [], ["model_input", "model_output", "cond_output", "weak_output"]',
        "watch = lambda pipe, i, t, tensors: seen.append((t, *(tensors[name] for name in names)))",
        f"pipe({asked!r}, {_numbers(settings)}, generator={settings.seed},",
        "    callback_on_step_end=watch, callback_on_step_end_tensor_inputs=names)",
        f"t, x_t, output, cond, weak = seen[{step}]",
        "alpha_t, sigma_t = (x.float() for x in DDIMScheduler.from_config(pipe.scheduler.config).path.levels(t))",
        'kind = pipe.scheduler.config.get("prediction_type", "flow_prediction")',
        "split = lambda output: split_prediction(kind, output, x_t, alpha_t, sigma_t)",
        "x_0, noise = split(output)",
        "direction = 0 * x_t if cond is None or weak is None else split(cond)[0] - split(weak)[0]",
        "shown = torch.cat([x_t, x_0, noise / 3, direction / direction.abs().max().clamp(min=1e-6)])",
        'image_grid((shown / 2 + 0.5).clamp(0, 1), 4).save("inside.png")',
    )


def compare_snippet(columns: Sequence[Settings], asked: Sequence[int | str]) -> str:
    """The same noise under several settings, saved as compare.png; what is asked of each is a class or a prompt."""
    rows = [
        f"    ({s.model!r}, {what!r}, {None if s.scheduler == OWN else s.scheduler!r}, {s.steps}, {s.guidance_scale}),"
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
    masks = [] if mask is None else [f"mask = read({encoded(mask)!r})"]
    return _lines(
        "from base64 import b64decode",
        "from io import BytesIO",
        "from PIL import Image",
        "from text2digit.pipelines.images import image_grid",
        *_pipeline(settings, kind),
        "read = lambda text: Image.open(BytesIO(b64decode(text)))",
        f"start = read({encoded(start)!r})",
        *masks,
        *_call(settings, f"{argument}={asked!r}, {given}, strength={strength}"),
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


def _call(settings: Settings, inputs: str) -> list[str]:
    """Lines that call the pipeline."""
    return [
        "images = pipe(",
        f"    {inputs}, {_numbers(settings)},",
        f'    generator={settings.seed}, output_type="pt",',
        ").images",
    ]


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
