"""The code that travels: it is the package's own, and needs no package."""

import ast
import importlib.util
import inspect
import sys

import pytest

import text2digit
from text2digit.sharing import component_code as module
from text2digit.sharing.component_code import COMPONENT_FILES, STAND_INS, component_code

PIPELINES = [name for name in text2digit.__all__ if name.endswith("Pipeline") and name != "DigitPipeline"]
CLASSES = [*COMPONENT_FILES, *PIPELINES]


@pytest.fixture(scope="module")
def codes():
    return {name: component_code(name) for name in CLASSES}


@pytest.mark.parametrize("name", CLASSES)
def test_imports_reach_libraries_alone(codes, name):
    """Catches an import of ours, at the top or in a function, which a stranger's Python would not find."""
    libraries = set()
    for node in ast.walk(ast.parse(codes[name])):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            libraries.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            libraries |= {alias.name.split(".")[0] for alias in node.names}
    assert libraries - sys.stdlib_module_names <= {"torch", "diffusers", "transformers", "numpy"}


@pytest.mark.parametrize("name", CLASSES)
def test_it_says_what_the_package_says(codes, name, tmp_path):
    """Each function and method is, letter by letter, ours; catches one that is lost, cut or taken from elsewhere."""
    path = tmp_path / f"{name}.py"
    path.write_text(codes[name], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"travelling_{name}", path)
    travelling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(travelling)
    ours = getattr(text2digit, name)
    theirs = getattr(travelling, name)
    for method, function in inspect.getmembers(ours, inspect.isfunction):
        home_name = function.__module__ or ""  # some of torch's have none
        if home_name.startswith("text2digit") and home_name not in STAND_INS:
            assert inspect.getsource(getattr(theirs, method)) == inspect.getsource(function), method
    home = inspect.getmodule(ours)
    for function_name, function in inspect.getmembers(home, inspect.isfunction):
        home_name = function.__module__ or ""
        if home_name.startswith("text2digit") and home_name not in STAND_INS:
            assert inspect.getsource(getattr(travelling, function_name)) == inspect.getsource(function)


def test_it_is_the_same_each_time(codes):
    """A set in a random order would make each push a change."""
    assert codes == {name: component_code(name) for name in CLASSES}


def test_what_belongs_to_the_package_stays_there(codes):
    for name in PIPELINES:
        methods = {node.name for node in ast.walk(ast.parse(codes[name])) if isinstance(node, ast.FunctionDef)}
        assert not methods & {"from_pretrained", "load_config", "save_pretrained", "push_to_hub", "_subclasses"}


def test_only_what_is_needed_travels(codes):
    """A module that a pipeline takes one function of brings no more, so no library that only the rest wants."""
    parts = (
        "A = 1",
        "# about b\ndef b():\n    return A",
        "# about c\ndef c():\n    return d()",
        "def d():\n    return 2",
    )
    body = "\n\n\n".join(parts)
    assert module._cut_down(body, {"b"}) == "\n\n\n".join(parts[:2])
    assert module._cut_down(body, {"c"}) == "\n\n\n".join(parts[2:])
    assert module._cut_down(body, set()) == ""
    assert "GroupNorm" not in codes["DigitDiT2DModel"] and "sincos_position" not in codes["DigitUNet2DModel"]


def test_two_modules_with_one_name_are_refused(monkeypatch):
    """The second would overwrite the first, and the model would compute something else without a word."""
    first = module._Module("text2digit.models.a", "", [], [], "def helper():\n    return 1")
    second = module._Module("text2digit.models.b", "", [], [], "helper = 2")
    monkeypatch.setattr(module, "_gather", lambda name: [first, second])
    with pytest.raises(ValueError, match="helper: is defined in text2digit.models.a and in text2digit.models.b"):
        component_code("DigitUNet2DModel")


def test_a_class_of_others_is_refused():
    with pytest.raises(ValueError, match="AutoencoderKL: is no class of text2digit; it has "):
        component_code("AutoencoderKL")
