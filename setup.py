"""The repository root is the package `text2digit`, and its folders are subpackages: in a checkout as in a wheel."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent

PACKAGES = ["benchmarks", "data", "evaluation", "gui", "models", "pipelines", "schedulers", "sharing", "training"]
WEIGHTS = ["*.json", "*.md", "*.png", "*.yaml", "*.jsonl", "*.safetensors"]

GUI = ["gradio>=6.31,<7"]
DATASETS = ["datasets>=4"]  # of the Hub, and Parquet files
TEST = [
    *DATASETS,
    *("pytest>=8", "pytest-xdist>=3", "hypothesis>=6", "num2words>=0.5.13", "torchmetrics>=1.4"),
    *("setuptools>=77", "wheel"),
    *(*GUI, "playwright>=1.50"),  # its browser is the system's chromium; without one those tests skip
    "axe-playwright-python>=0.1.8",  # brings axe-core, which finds what is hard to see or to reach on the page
]
LINT = ["ruff>=0.9", "mypy>=1.13", "types-PyYAML"]

setup(
    name="text2digit",
    script_name="setup.py",  # setuptools leaves this file out of the package by its name, which pip's build hides
    version="0.1.0",
    description="Handwritten digits by small diffusion models, in the style of Hugging Face diffusers",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    package_dir={"text2digit": "."},
    packages=["text2digit", *(f"text2digit.{name}" for name in PACKAGES)],
    package_data={
        "text2digit": [
            "py.typed",
            "configs/*.yaml",
            "benchmarks/*.yaml",
            "gui/assets/*",
            "sharing/card.md",
            *(f"pretrained/*/{pattern}" for pattern in WEIGHTS),
            *(f"pretrained/*/*/{pattern}" for pattern in WEIGHTS),
        ]
    },
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "diffusers>=0.41,<1",
        "accelerate>=1.6",
        "transformers>=4.57",
        "tokenizers>=0.21",
        "safetensors>=0.6",
        "huggingface_hub>=0.34",
        "jinja2>=3",
        "numpy>=1.26",
        "pillow>=10",
        "pyyaml>=6",
        "matplotlib>=3.8",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "tqdm>=4.66",
        "psutil>=5.9",
        "filelock>=3.12",
        "tensorboard>=2.15",
    ],
    # gradio 6 has the sheet to draw on (HTML with a script of its own) and pages by language; nothing else needs it.
    extras_require={"gui": GUI, "datasets": DATASETS, "test": TEST, "lint": LINT, "dev": [*TEST, *LINT]},
    entry_points={"console_scripts": ["text2digit=text2digit.cli:main"]},
)
