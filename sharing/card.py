"""The model card: metadata and text, built from a folder. What was not measured or recorded is not on it."""

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..evaluation.report import FIGURES, table, when_guided
from .facts import Facts, read_facts
from .text import markdown

# Title of each dataset, and its id on the Hub where there is one that we know of.
DATASETS = {
    "mnist": ("MNIST", "ylecun/mnist"),
    "fashion-mnist": ("Fashion-MNIST", "zalando-datasets/fashion_mnist"),
    "kmnist": ("Kuzushiji-MNIST", None),
    "qmnist": ("QMNIST", None),
    "emnist-letters": ("EMNIST Letters", None),
    "emnist-balanced": ("EMNIST Balanced", None),
    "usps": ("USPS", None),
    "svhn": ("SVHN", "ufldl-stanford/svhn"),
    "cifar10": ("CIFAR-10", "uoft-cs/cifar10"),
    "digits": ("scikit-learn's 8x8 digits", None),
    "folder": ("a folder of images", None),
}
LICENCE = "apache-2.0"
TAGS = ["text2digit", "diffusers", "image-generation", "handwritten-digits", "custom_code"]


def make_card(folder: Path, repo_id: str) -> ModelCard:
    """The card of a pipeline's folder, by the template card.md.

    Args:
        folder: with the pictures and files that the card will point to.
        repo_id: user/name, for the examples.
    """
    facts, name = read_facts(folder), repo_id.split("/")[-1]
    dataset, settings = _dataset(facts), facts.settings
    steps, scale = (settings.get(f"default_{name}") for name in ("num_inference_steps", "guidance_scale"))
    when = when_guided(settings.get("default_guidance_interval"))
    told = [f"{steps} steps" if steps else "", f"guidance scale {scale:g}{when}" if scale is not None else ""]
    label = min(7, (facts.denoiser.config.get("num_classes") or 10) - 1)
    make: Any = ModelCard.from_template  # takes any values, and its annotation says texts
    return make(
        _metadata(facts, repo_id),
        template_path=str(Path(__file__).with_name("card.md")),
        **{"facts": facts, "run": facts.run, "c": facts.denoiser.config, "repo_id": repo_id, "name": name},
        files={path.name for path in folder.iterdir()},
        dataset=dataset and dataset[0],
        ask='"7"' if "tokenizer" in facts.components else str(label),
        defaults=", ".join(filter(None, told)),
        machine=_machine(facts),
        markdown=markdown,
        **(_measured(facts.report, name, folder) if facts.report else {}),
    )


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
    return *titled(name), name


def titled(name: str) -> tuple[str, str | None]:
    """Title of a dataset, and its id on the Hub; those of a Hub id are that id."""
    return DATASETS.get(name) or (name, name if "/" in name else None)


def _results(facts: Facts) -> list[EvalResult]:
    """The measured figures, as the Hub reads them."""
    if facts.report is None:
        return []
    entry = next(iter(facts.report["sets"].values()))
    name = markdown(facts.report["dataset"])
    title, hub_id = titled(name)
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


def _machine(facts: Facts) -> str:
    if not facts.sessions:
        return ""
    session = facts.sessions[-1]
    versions = ", ".join(f"{name} {value}" for name, value in (session["versions"] or {}).items() if value)
    processes = f"{session['num_processes']} process(es) of {session['num_threads']} threads"
    return markdown(f"{session['device']}, {processes}; {versions}")


def _measured(report: dict[str, Any], name: str, folder: Path) -> dict[str, Any]:
    """What the template says of an evaluation."""
    settings, (first, *_) = report["settings"], report["sets"]
    sets = {name if title == first else markdown(title): entry for title, entry in report["sets"].items()}
    pictures = {"worst.png": "the most doubtful ones", "nearest.png": "the nearest training digits"}
    return {
        "measured": settings,
        "table": table(sets),
        "guidance": f"{settings['guidance_scale']:g}{when_guided(settings['guidance_interval'])}",
        "pictures": [
            f"[{what}](evaluation/{n})" for n, what in pictures.items() if (folder / "evaluation" / n).is_file()
        ],
    }
