"""The model card: metadata and text, built from a folder. What was not measured or recorded is not on it."""

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..evaluation.report import FIGURES, table, when_guided
from .facts import CONFIG_NAME, HISTORY_NAME, REPORT_NAME, Facts, read_facts
from .text import markdown

# Title of each dataset, and its id on the Hub where there is one that we know of.
DATASETS = {
    "mnist": ("MNIST", "ylecun/mnist"),
    "fashion-mnist": ("Fashion-MNIST", "zalando-datasets/fashion_mnist"),
    "kmnist": ("Kuzushiji-MNIST", None),
    "digits": ("scikit-learn's 8x8 digits", None),
}
LICENCE = "apache-2.0"
TAGS = ["text2digit", "diffusers", "image-generation", "handwritten-digits", "custom_code"]


def make_card(folder: Path, repo_id: str) -> ModelCard:
    """The card of a pipeline's folder.

    Args:
        folder: with the pictures and files that the card will point to.
        repo_id: user/name, for the examples.
    """
    facts = read_facts(folder)
    parts = [
        f"# {repo_id.split('/')[-1]}",
        _summary(facts),
        "![Ten digits of each class](samples.png)" if (folder / "samples.png").is_file() else None,
        _usage(facts, repo_id),
        _training(facts, folder, repo_id),
        _measured(facts, repo_id, folder),
        _limits(facts),
    ]
    text = "\n\n".join(part for part in parts if part)
    return ModelCard(f"---\n{_metadata(facts, repo_id).to_yaml()}\n---\n\n{text}\n")


def _metadata(facts: Facts, repo_id: str) -> ModelCardData:
    dataset = _dataset(facts)
    results = _results(facts)
    return ModelCardData(
        library_name="diffusers",
        license=LICENCE,
        tags=[*TAGS, *([dataset[2]] if dataset and dataset[2] not in TAGS else [])],
        datasets=[dataset[1]] if dataset and dataset[1] else None,
        model_name=repo_id.split("/")[-1] if results else None,
        eval_results=results or None,
    )


def _dataset(facts: Facts) -> tuple[str, str | None, str] | None:
    """Title, id on the Hub, and our own name of the data that it was trained on; None if that is not recorded."""
    if facts.run is None:
        return None
    name = facts.run.data.dataset
    title, hub_id = DATASETS.get(name, ("a folder of images", None))
    return title, hub_id, name


def _results(facts: Facts) -> list[EvalResult]:
    """The measured figures, as the Hub reads them."""
    if facts.report is None:
        return []
    entry = next(iter(facts.report["sets"].values()))
    name = markdown(facts.report["dataset"])
    title, hub_id = DATASETS.get(name, (name, None))
    return [
        EvalResult(
            task_type="unconditional-image-generation",
            dataset_type=hub_id or name,
            dataset_name=title,
            metric_type=name,
            metric_name=f"{FIGURES[name][0]}, n = {entry['n']:,}",
            metric_value=value,
        )
        for name, value in entry["mean"].items()
        if name in FIGURES
    ]


def _summary(facts: Facts) -> str:
    c, denoiser = facts.denoiser.config, facts.denoiser
    size = f"{c['sample_size']}×{c['sample_size']} pixels in {c['in_channels']} channel" + "s" * (c["in_channels"] > 1)
    dataset = _dataset(facts)
    trained = f", trained on {dataset[0]}" if dataset else ""
    classes = f" {c['num_classes']} classes," if c.get("num_classes") else ""
    return (
        f"Draws images of{classes} {size}, by diffusion: a `{facts.class_name}` of `text2digit` with a "
        f"`{denoiser.class_name}` of {denoiser.parameters:,} weights ({denoiser.size / 1e6:.1f} MB of "
        f"safetensors){trained}."
    )


def _usage(facts: Facts, repo_id: str) -> str:
    label = min(7, (facts.denoiser.config.get("num_classes") or 10) - 1)
    ask = '"7"' if "tokenizer" in facts.components else str(label)
    steps = facts.settings.get("default_num_inference_steps")
    scale = facts.settings.get("default_guidance_scale")
    when = when_guided(facts.settings.get("default_guidance_interval"))
    told = [f"{steps} steps" if steps else "", f"guidance scale {scale:g}{when}" if scale is not None else ""]
    defaults = ", ".join(filter(None, told))
    return f"""## Use

With the package `text2digit`, which runs no code of this repository:

```python
from text2digit import DigitPipeline

pipe = DigitPipeline.from_pretrained("{repo_id}")
pipe({ask}, generator=0).images[0].save("digit.png")
```

Without it, with torch and diffusers alone, by the code that lies beside the weights; the image is the same:

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{repo_id}", trust_remote_code=True)
pipe({ask}, generator=0).images[0].save("digit.png")
```
""" + (f"\nA call that does not say takes {defaults}." if defaults else "").rstrip()


def _training(facts: Facts, folder: Path, repo_id: str) -> str:
    """What is recorded of the training, and the commands that repeat it."""
    if facts.run is None:
        return "## Training\n\nNot recorded in this repository."
    run, training, dataset = facts.run, facts.run.training, _dataset(facts)
    assert dataset is not None
    held_out = run.data.validation_every
    share = f"one training image in {held_out} of each class held out" if held_out else "all training images"
    rows = [
        ("data", f"{dataset[0]}, {share}"),
        ("recipe", f"[recipe.yaml](recipe.yaml); with all defaults written out, [{CONFIG_NAME}]({CONFIG_NAME})"),
        ("steps", _steps(facts)),
        ("predicts", f"{run.scheduler.prediction_type}, schedule {run.scheduler.beta_schedule}"),
        ("final training loss", _number(facts.last("loss"))),
        ("held-out loss", _number(facts.last("validation_loss"))),
        ("machine", _machine(facts)),
        ("history", f"[{HISTORY_NAME}]({HISTORY_NAME})" if facts.history else None),
    ]
    lines = ["## Training", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows if value)]
    if (folder / "loss.png").is_file():
        lines += ["", "![Training loss](loss.png)"]
    lines += [
        "",
        f"The saved weights are a moving average. To train it again, seed {training.seed}:",
        "",
        "```",
        f"hf download {repo_id} {CONFIG_NAME} --local-dir .",
        f"text2digit train --config {CONFIG_NAME} --output-dir runs/again",
        "```",
    ]
    return "\n".join(lines)


def _steps(facts: Facts) -> str | None:
    step = facts.last("step")
    return None if step is None or facts.run is None else f"{step:,} of {facts.run.training.batch_size} images"


def _number(value: Any) -> str | None:
    return None if value is None else f"{value:.4f}"


def _machine(facts: Facts) -> str | None:
    if not facts.sessions:
        return None
    session = facts.sessions[-1]
    versions = ", ".join(f"{name} {value}" for name, value in session["versions"].items() if value)
    processes = f"{session['num_processes']} process(es) of {session['num_threads']} threads"
    return markdown(f"{session['device']}, {processes}; {versions}")


def _measured(facts: Facts, repo_id: str, folder: Path) -> str | None:
    """The evaluation's table; None without an evaluation."""
    if facts.report is None:
        return None
    settings, (first, *_) = facts.report["settings"], facts.report["sets"]
    own = repo_id.split("/")[-1]
    sets = {own if title == first else markdown(title): entry for title, entry in facts.report["sets"].items()}
    pictures = {"worst.png": "the most doubtful ones", "nearest.png": "the nearest training digits"}
    links = [
        f"[{what}](evaluation/{name})" for name, what in pictures.items() if (folder / "evaluation" / name).is_file()
    ]
    seeds = ", ".join(map(str, settings["seeds"]))
    guidance = f"{settings['guidance_scale']:g}{when_guided(settings['guidance_interval'])}"
    return (
        f"## Measured\n\n{table(sets)}\nBy {settings['steps']} steps of {markdown(settings['scheduler'])} and guidance "
        f"{guidance}, seeds {seeds}; all of it is in [{REPORT_NAME}]({REPORT_NAME})"
        + (f". Pictures: {', '.join(links)}." if links else ".")
        + " Columns that begin with *real* are real images in the place of drawn ones. To measure again:"
        f"\n`text2digit evaluate --model {repo_id}`"
    )


def _limits(facts: Facts) -> str:
    dataset = _dataset(facts)
    data = dataset[0] if dataset else "its training data"
    return (
        f"## Limits\n\nIt knows the classes of {data} at this size and nothing else: no other signs, no strings of "
        "digits, no colours unless the data has them. Guidance above 1 buys the asked class with variety. It draws "
        "what its data looks like, faults included, and some images show no clear class.\n\n"
        "Weights and code: Apache-2.0."
    )
