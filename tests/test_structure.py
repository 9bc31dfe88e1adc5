"""The house: who imports whom, what lies where, and what an import costs."""

import ast
import graphlib
import re
import subprocess
import sys

import pytest

from .conftest import ROOT

# A module may import from its own layer and from those before it.
LAYERS = [
    {"options", "config", "lazy", "runtime", "shell"},
    {"data"},
    {"models"},
    {"schedulers"},
    {"pipelines"},
    {"evaluation"},
    {"training"},
    {"sharing"},
    {"gui", "cli", "__main__", "train_text2digit", "sample_text2digit", "push_to_hub", "benchmarks"},
]
# diffusers gives pipelines a method that shares them; ours imports what it needs when it is called.
AGAINST_THE_ORDER = {("pipelines", "sharing")}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")
MODULES = sorted([*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))])
MODULES = [path for path in MODULES if path.name != "setup.py"]
# Over the limit on lines, and not split yet.
TOO_LONG = {"training/prepare.py"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def imported_names(path):
    """Absolute names of all that a module imports, at its top or inside a function."""
    package = ("text2digit", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if own == "__init__":
        return  # the root names everything, lazily
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "text2digit":
            in_order = LEVEL[parts[1]] <= LEVEL[own] or (own, parts[1]) in AGAINST_THE_ORDER
            assert in_order, f"{own} imports {name}, which comes after it"
        assert parts[0] not in LEVEL, f"bare import of {name}: it would make every class twice"


def test_no_module_imports_itself_by_way_of_others():
    """Would catch a cycle inside of a layer, which works or fails by what is imported first."""
    modules = {
        ".".join(("text2digit", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in MODULES
    }

    def home(name):
        while name not in modules:
            name = name.rpartition(".")[0]
        return name

    graph = {}
    for module, path in modules.items():
        layer = path.relative_to(ROOT).parts[0]
        needed = {name for name in imported_names(path) if name.startswith("text2digit.")}
        needed = {home(name) for name in needed if (layer, name.split(".")[1]) not in AGAINST_THE_ORDER}
        graph[module] = needed - {module, "text2digit"}
    del graph["text2digit"]  # the root names everything, lazily
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the names


@pytest.mark.parametrize("module", ["noise", "spacing"])
def test_the_maths_needs_torch_alone(module):
    names = {name.split(".")[0] for name in imported_names(ROOT / "schedulers" / f"{module}.py")}
    assert names <= {"torch", "math", "typing", "collections", "functools"}


def test_importing_the_package_costs_nothing():
    code = "import sys, text2digit; print({'torch', 'diffusers', 'transformers', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_public_names_resolve_and_unknown_ones_list_them():
    import text2digit

    assert all(getattr(text2digit, name).__name__ == name for name in text2digit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'DigitPipelin'; it has: .*DigitPipeline"):
        _ = text2digit.DigitPipelin


def test_classes_exist_once():
    """diffusers records classes by module: each must be recorded as text2digit.…"""
    import text2digit

    for name in text2digit.__all__:
        assert getattr(text2digit, name).__module__.startswith("text2digit.")


def test_files_stay_readable():
    """Tests too: would catch one that grows with each mended fault until nobody finds a test in it."""
    for path in [*MODULES, ROOT / "setup.py", *sorted((ROOT / "tests").rglob("*.py"))]:
        if path.relative_to(ROOT).as_posix() not in TOO_LONG:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path


def test_schedulers_stay_under_200_lines():
    for path in (ROOT / "schedulers").glob("scheduling_*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 200, path


def tracked_entries():
    """Folders and files at the root that git tracks; what a user drew there with README's commands is theirs."""
    command = ["git", "ls-files"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip("needs a git checkout to tell the project's files from others")
    entries = {line.split("/")[0] + ("/" if "/" in line else "") for line in result.stdout.splitlines()}
    return {entry for entry in entries if (ROOT / entry).exists() and not entry.startswith(".")}


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_tree_in_readme_is_the_disk_s(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    tree = re.search(r"<!-- tree -->\n```\n(.*?)```", text, re.DOTALL)
    listed = {line.split()[0] for line in tree.group(1).splitlines()}
    assert listed == tracked_entries()


def test_setup_lists_every_package():
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    packages = ast.literal_eval(re.search(r"PACKAGES = (\[.*?\])", text).group(1))
    assert packages == FOLDERS


def test_versions_agree():
    import text2digit

    assert f'version="{text2digit.__version__}"' in (ROOT / "setup.py").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\d\S*)", changelog, re.MULTILINE).group(1) == text2digit.__version__


def test_python_in_readme_runs(tmp_path, monkeypatch):
    """The ten lines, as they stand there."""
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    exec(compile(code, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"seven.png", "one.png"}
