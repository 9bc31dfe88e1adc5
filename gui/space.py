"""Write the app as a Hugging Face Space: `text2digit space --out DIR`, a folder that holds all that it needs.

`cd DIR && python app.py` runs it as it will run there.
"""

import argparse
import re
import shlex
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from text2digit.gui.play import DEFAULT_MODEL, check_gradio
from text2digit.gui.words import LANGUAGES
from text2digit.pipelines.loading import SHIPPED_FOLDER, find_pipeline_folder, shipped_names
from text2digit.shell import Parser, Result, command, output

PACKAGE = Path(__file__).resolve().parent.parent
# What the app imports; the rest of the package's requirements is for training and measuring.
REQUIREMENTS = (
    *("torch", "torchvision", "diffusers", "transformers", "tokenizers", "safetensors", "huggingface_hub"),
    *("numpy", "pillow", "scipy", "pyyaml", "matplotlib"),
)
# Of the package: all code but that which only developers run.
LEFT_OUT = ("tests", "benchmarks")

APP = '''"""text2digit in the browser."""

from text2digit.gui.app import launch_options, make_app
from text2digit.gui.studio import Studio

app = make_app(Studio({model!r}), {language!r} or "en", any_folder=False)

if __name__ == "__main__":
    app.launch(**launch_options(language={language!r}))
'''

README = """---
title: text2digit
colorFrom: blue
colorTo: gray
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
license: apache-2.0
short_description: Watch small diffusion models draw handwritten digits
---

# text2digit

Small diffusion models draw handwritten digits: watch every step, look inside, compare samplers, edit a sketch.
Written by `text2digit space`; `python app.py` runs it on a machine of your own. English and Korean.
"""


def build_space(folder: Path, model: str = DEFAULT_MODEL, language: str | None = None) -> list[Path]:
    """Write the tree of a Space.

    Args:
        folder: to fill; empty, or not there.
        model: that the page opens with: a folder, the name of shipped weights, or user/name on the Hub; what ships
            comes along.
        language: of the first page; None is that of the visitor's browser.

    Returns:
        The files, relative to the folder, sorted.

    Raises:
        ValueError: the folder holds files already, there is no such model, or a file of it is a link.
        FileNotFoundError: the Hub does not give it.
    """
    from text2digit.sharing.files import check_empty, copy_pipeline

    check_empty(folder)
    source, package = find_pipeline_folder(model), folder / "text2digit"
    shipped = model in shipped_names()
    name = (
        model if shipped else re.sub(r"[^A-Za-z0-9._-]", "-", (Path(model) if "/" in model else source.resolve()).name)
    )
    if folder / name == package:
        raise ValueError(f"--model: got a folder named {name}, which is the package's name; rename the folder.")
    texts = {
        "app.py": APP.format(model=name, language=language),
        "requirements.txt": "".join(f"{line}\n" for line in requirements()),
        "README.md": README.format(gradio=version("gradio"), python=".".join(map(str, sys.version_info[:2]))),
    }
    if not shipped:
        copy_pipeline(source, folder / name)
    for path in _package_files():
        _copy(path, package / path.relative_to(PACKAGE))
    for shipped_name in shipped_names():
        copy_pipeline(SHIPPED_FOLDER / shipped_name, package / "pretrained" / shipped_name)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def requirements() -> list[str]:
    """What is installed here, to the version: the Space runs what was tried."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def _package_files() -> list[Path]:
    """Code, recipes, the page's assets and the classifier."""
    from text2digit.evaluation.classifier import CLASSIFIER_FOLDER, DigitClassifier
    from text2digit.pipelines.component_files import component_files

    folders = [p.parent for p in PACKAGE.glob("*/__init__.py") if p.parent.name not in LEFT_OUT]
    code = [path for folder in folders for path in folder.rglob("*.py")]
    modules = [path for path in PACKAGE.glob("*.py") if path.name != "setup.py"]
    classifier = component_files(CLASSIFIER_FOLDER, DigitClassifier.__name__)
    others = [PACKAGE / "py.typed", *(PACKAGE / "configs").glob("*.yaml"), *(PACKAGE / "gui" / "assets").iterdir()]
    return [*code, *modules, *filter(Path.is_file, classifier), *others]


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--out", type=output(is_folder=True, is_empty=True), required=True, metavar="DIR",
        help="where to write it; needs to be empty")  # fmt: skip
    add("--model", default=DEFAULT_MODEL, help="that the page opens with (%(default)s); what ships comes along")
    add("--lang", choices=list(LANGUAGES), help="of the first page (that of the browser)")


def write_space(arguments: argparse.Namespace) -> Result:
    """Write the Space, and tell of it."""
    check_gradio()
    source, out = find_pipeline_folder(arguments.model), arguments.out
    from text2digit.sharing.files import pipeline_files

    files = build_space(out, arguments.model, arguments.lang)
    size = sum((out / file).stat().st_size for file in files)
    return Result(
        f"{out}: {len(files)} files, {size / 1e6:.1f} MB; nothing was sent\n{pipeline_files(source).left_at_home()}\n"
        f"try it:  cd {shlex.quote(str(out))} && python app.py"
    )


main = command("text2digit space", __doc__, flags, write_space)
