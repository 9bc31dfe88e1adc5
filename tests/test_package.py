"""A wheel, looked into and used away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from .conftest import ROOT

NOT_SOURCE = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "MNIST")


def run(*command, **options):
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    run(*build, str(folder / "source"))
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    metadata = next(name for name in names if name.endswith("METADATA"))
    inside = {name for name in names if not name.startswith(metadata.split("/")[0])}
    assert all(name.startswith("text2digit/") for name in inside)
    for name in ("__init__.py", "py.typed", "cli.py", "models/unet.py", "configs/unet.yaml", "sharing/card.md"):
        assert f"text2digit/{name}" in inside
    weights = "text2digit/pretrained/unet-mnist"
    assert {f"{weights}/model_index.json", f"{weights}/denoiser/diffusion_pytorch_model.safetensors"} <= inside
    classifier = "text2digit/pretrained/mnist-classifier"
    assert {f"{classifier}/config.json", f"{classifier}/diffusion_pytorch_model.safetensors"} <= inside
    assert not [name for name in inside if name.startswith("text2digit/tests/") or name.endswith("setup.py")]
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "Requires-Python: >=3.10" in text and "Requires-Dist: diffusers" in text and "License-Expression" in text
    assert wheel.stat().st_size < 30e6


def test_the_wheel_draws_and_trains_away_from_the_checkout(wheel, tmp_path):
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel))
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "2"}

    def text2digit(*arguments):
        return run("-m", "text2digit.cli", *arguments, cwd=work, env=environment)

    where = run("-c", "import text2digit; print(text2digit.__file__)", cwd=work, env=environment)
    assert where.startswith(str(site))
    text2digit("sample", "--digits", "3", "--num", "1", "-o", "three.png")
    text2digit("train", "--dataset", "digits", "--max-train-steps", "2", "--batch-size", "8", "--output-dir", "out")
    text2digit("sample", "--model", "out", "--digits", "3", "--num", "1", "--steps", "2", "-o", "other.png")
    assert {path.name for path in work.iterdir()} == {"three.png", "out", "other.png"}
