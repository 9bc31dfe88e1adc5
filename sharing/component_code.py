"""Source code that travels beside the weights, for people without this package.

diffusers loads a component's class from one file in the component's folder, and from the Hub it fetches that file
alone. So each file here is one of our modules after what it needs of those that it imports: made from the source text
that is installed, comments and docstrings included, and the same bytes each time.
"""

import ast
import inspect
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from diffusers import DiffusionPipeline

from ..schedulers import OUR_SCHEDULERS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "text2digit"

# Our classes that a pipeline's folder may name, with the name of the file that holds each. diffusers looks for
# pipeline.py by itself, so that `custom_pipeline="user/name"` finds it too.
PIPELINE_FILE = "pipeline"
COMPONENT_FILES = {
    "DigitUNet2DModel": "unet_digit",
    "DigitDiT2DModel": "dit_digit",
    **{class_name: f"scheduling_{short_name}_digit" for short_name, class_name in OUR_SCHEDULERS.items()},
}
# Modules that do not travel: the import and the class that take the place of their names, and why.
STAND_INS = {
    # A pipeline names the classes of its models for type checkers only.
    f"{PACKAGE}.models": ("from diffusers import ModelMixin", "ModelMixin", "its code lies in its own folder"),
    f"{PACKAGE}.models.saved": ("from diffusers import ModelMixin", "ModelMixin", "diffusers' own methods load"),
    # What finds, checks and uploads folders is of the package alone.
    f"{PACKAGE}.pipelines.stored": (
        "from diffusers import DiffusionPipeline",
        "DiffusionPipeline",
        "diffusers' own methods load and save",
    ),
}

HEADER = '''"""{name}, as one file that needs torch and diffusers{more} alone.

Made from the modules of {package} {version} (Apache-2.0) that are named below. Do not edit: change those and push.
"""
'''


@dataclass
class _Module:
    """A module's text, taken apart."""

    name: str
    docstring: str
    imports: list[ast.Import | ast.ImportFrom]
    own_imports: list[tuple[str, list[str]]]  # name of the module of ours, and the names that are taken from it
    body: str


def component_code(class_name: str) -> str:
    """One file with a class of ours and all that it needs.

    Args:
        class_name: a key of `COMPONENT_FILES`, or a pipeline of `text2digit.pipelines`.

    Raises:
        ValueError: a class that is not ours, or modules that cannot be joined; the message says where.
    """
    package = import_module(PACKAGE)
    if class_name not in package.__all__:
        raise ValueError(f"{class_name}: is no class of {PACKAGE}; it has {', '.join(package.__all__)}.")
    modules = _gather(getattr(package, class_name).__module__)
    _check_names(modules)
    imports, aliases = _stand_ins(modules)
    body = "\n\n\n".join([*aliases, *(_chapter(module) for module in modules)])
    if hidden := _base_pipelines(class_name):
        body += f"\n\n\ndel {', '.join(hidden)}  # diffusers expects exactly one pipeline in the file; this is its base"
    outside = _merge_imports([*imports, *(node for module in modules for node in module.imports)], body)
    more = " and transformers" if "transformers" in outside else ""
    header = HEADER.format(name=class_name, package=PACKAGE, version=package.__version__, more=more)
    return f"{header}\n{outside}\n\n{body}\n"


def _gather(module_name: str) -> list[_Module]:
    """A module after all of ours that it imports, each once and cut down to what is needed of it."""
    gathered: dict[str, _Module] = {}
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or name in STAND_INS:
            return
        seen.add(name)
        module = _take_apart(name)
        for wanted, _ in module.own_imports:
            visit(wanted)
        gathered[name] = module  # after what it imports: the order in which Python would run them

    visit(module_name)
    needed: dict[str, set[str]] = {name: set() for name in gathered}
    needed[module_name] = _defined(gathered[module_name].body)
    kept: list[_Module] = []
    for module in reversed(list(gathered.values())):  # who imports comes before what is imported
        module.body = _cut_down(module.body, needed[module.name])
        asked = _used(ast.parse(module.body)) | needed[module.name]
        for wanted, names in module.own_imports:
            needed.setdefault(wanted, set()).update(asked & set(names))
        if module.body:
            kept.append(module)
    return kept[::-1]


def _take_apart(name: str) -> _Module:
    place = ROOT.joinpath(*name.split(".")[1:])
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    dropped = set(_lines_of(tree.body[0])) if docstring else set()
    imports: list[ast.Import | ast.ImportFrom] = []
    own_imports = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            package = name if place.is_dir() else name.rpartition(".")[0]
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            own_imports.append((".".join([*base, *filter(None, [node.module])]), [alias.name for alias in node.names]))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        else:
            continue
        dropped.update(_lines_of(node))
    return _Module(name, docstring or "", imports, own_imports, _without(text, dropped))


def _cut_down(body: str, needed: set[str]) -> str:
    """The definitions that are needed, and those that they need in turn; comments stay with what they stand above."""
    tree, lines = ast.parse(body), body.splitlines()
    homes = {name: node for node in tree.body for name in _names_of(node)}
    open_names, kept = list(needed & set(homes)), set()
    while open_names:
        node = homes[open_names.pop()]
        if node not in kept:
            kept.add(node)
            open_names += _used(node) & set(homes)
    dropped: set[int] = set()
    for node in tree.body:
        if node not in kept:
            span = _lines_of(node)
            first = span.start
            while first > 1 and lines[first - 2].startswith("#"):
                first -= 1
            dropped.update(range(first, span.stop))
    return _without(body, dropped)


def _without(text: str, dropped: set[int]) -> str:
    """Text without some of its lines, nor the empty lines that they leave behind."""
    kept = "\n".join(line for number, line in enumerate(text.splitlines(), 1) if number not in dropped)
    return re.sub(r"\n{3,}(?= )", "\n\n", re.sub(r"\n{4,}", "\n\n\n", kept)).strip("\n")


def _used(tree: ast.AST) -> set[str]:
    """Names that code mentions, also as text, which annotations may be."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def _chapter(module: _Module) -> str:
    """A module's text under its name, its docstring as a remark."""
    remark = "\n".join(f"# {line}".rstrip() for line in module.docstring.splitlines())
    return f"# --- {module.name} ---\n#\n{remark}\n\n\n{module.body}"


def _lines_of(node: ast.stmt) -> range:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return range(first, (node.end_lineno or first) + 1)


def _check_names(modules: list[_Module]) -> None:
    """Refuse what cannot be joined: a name that two modules define, and an import of ours inside a function."""
    home: dict[str, str] = {}
    for module in modules:
        if any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(ast.parse(module.body))):
            raise ValueError(f"{module.name}: imports from the package in a function, which cannot travel; move it up.")
        for name in _defined(module.body):
            if home.setdefault(name, module.name) != module.name:
                raise ValueError(f"{name}: is defined in {home[name]} and in {module.name}; rename one of them.")


def _defined(body: str) -> set[str]:
    return {name for node in ast.parse(body).body for name in _names_of(node)}


def _names_of(node: ast.stmt) -> list[str]:
    """What a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    named = [target for target in targets if isinstance(target, ast.Name | ast.Tuple)]
    return [name.id for target in named for name in ast.walk(target) if isinstance(name, ast.Name)]


def _stand_ins(modules: list[_Module]) -> tuple[list[ast.Import | ast.ImportFrom], list[str]]:
    """Imports, and the lines that follow them, for names of modules that do not travel in this file."""
    imports: list[ast.Import | ast.ImportFrom] = []
    aliases: set[str] = set()
    for module in modules:
        for wanted, names in module.own_imports:
            if wanted in STAND_INS:
                statement, stand_in, reason = STAND_INS[wanted]
                imports.append(cast(ast.ImportFrom, ast.parse(statement).body[0]))
                aliases.update(f"{name} = {stand_in}  # {reason}" for name in names)
    return imports, ["\n".join(sorted(aliases))] if aliases else []


def _merge_imports(nodes: list[ast.Import | ast.ImportFrom], body: str) -> str:
    """Imports of the names that the body uses: each module once, a line each, the standard library first."""
    names: dict[str, set[str]] = {}  # by the beginning of the line
    used = _used(ast.parse(body))
    for node in nodes:
        for alias in node.names:
            if (alias.asname or alias.name).split(".")[0] in used:
                start = "import" if isinstance(node, ast.Import) else f"from {node.module} import"
                names.setdefault(start, set()).add(ast.unparse(alias))
    whole = [f"import {name}" for name in sorted(names.pop("import", ()))]
    lines = [*whole, *(f"{start} {', '.join(sorted(names[start]))}" for start in sorted(names))]
    is_standard = [line.split()[1].split(".")[0] in sys.stdlib_module_names for line in lines]
    groups = [[line for line, own in zip(lines, is_standard, strict=True) if own is wanted] for wanted in (True, False)]
    return "\n\n".join("\n".join(group) for group in groups if group)


def _base_pipelines(class_name: str) -> list[str]:
    """Names of the pipelines of ours that a pipeline derives from."""
    chosen = getattr(import_module(PACKAGE), class_name)
    bases = [c for c in inspect.getmro(chosen)[1:] if issubclass(c, DiffusionPipeline)]
    return [c.__name__ for c in bases if c.__module__.startswith(PACKAGE)]
