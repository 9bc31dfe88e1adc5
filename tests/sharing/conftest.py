"""A Hub on loopback, a client of it in one process for all tests, and a tiny model with all that a run leaves."""

import json
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

from text2digit import ClassConditionedDigitPipeline, DDIMScheduler, cli
from text2digit.config import load_config, save_config
from text2digit.data.images import DIGIT_NAMES
from text2digit.evaluation.classifier import pipeline_identity
from text2digit.sharing.tree import build_tree

from ..conftest import TINY, randomize
from .client import Client
from .hub_routes import Routes
from .hub_server import Hub, Repository

SECRET = b"SECRET"  # the content of files that nobody shares
PUSH = """
from pathlib import Path
from text2digit.sharing.tree import list_tree
from text2digit.sharing.upload import Target, check_target, push_tree
target = check_target(Target(**target))
pushed = push_tree(Path(tree), list_tree(Path(tree)), target)
result = {"commit": pushed.commit, "url": pushed.url, "files": pushed.num_files}
"""


def save_model(folder, model_type="UNet", seed=0):
    """A tiny pipeline with random weights, as `save_pretrained` leaves it."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False)
    model = randomize(TINY[model_type](), seed)
    ClassConditionedDigitPipeline(model, scheduler, id2label=dict(enumerate(DIGIT_NAMES))).save_pretrained(folder)
    return folder


def add_run(folder, measured=True):
    """What training and `text2digit evaluate` would leave beside it."""
    places = [f"training.output_dir={folder}", "data.data_dir=/secret/place"]
    start = "training.pretrained_model_name_or_path=/secret/place/first"
    config = load_config("unet", [*places, start, "optim.lr=0.002"])
    save_config(config, folder / "config.yaml")
    lines = [{"step": 20, "loss": 0.5}, {"step": 30, "loss": 0.2345, "validation_loss": 0.3456}]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Image.new("L", (9, 9)).save(folder / "loss.png")
    (folder / "samples").mkdir()
    Image.new("L", (8, 8)).save(folder / "samples" / "step-000030.png")
    (folder / "checkpoint-000030").mkdir()
    (folder / "checkpoint-000030" / "state.json").write_text("{}")
    identity = {**pipeline_identity(folder), **({} if measured else {"model_sha256": "0" * 64})}
    settings = {"model": "mine", **identity, "scheduler": "text2digit.DDIMScheduler", "steps": 10}
    entry = {"n": 2000, "mean": {"frechet_distance": 1.2345678, "accuracy": 0.875}}
    entry["spread"] = dict.fromkeys(entry["mean"])
    report = {
        "settings": {**settings, "guidance_scale": 2.0, "seeds": [0]},
        **{"dataset": "mnist", "classifier_sha256": "0" * 64, "reference_images": 45_180},
        "sets": {"mine": entry},
    }
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "report.json").write_text(json.dumps(report))
    return folder


def files_of(folder):
    """Names and contents of all files in a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A run's folder, measured."""
    return add_run(save_model(tmp_path_factory.mktemp("model") / "mine"))


@pytest.fixture(scope="session")
def built(model, tmp_path_factory):
    """The tree of `model`; not to be changed."""
    folder = tmp_path_factory.mktemp("tree") / "tree"
    return SimpleNamespace(folder=folder, entries=build_tree(model, folder, "ada/digits"))


@pytest.fixture
def tree(built, tmp_path):
    """A copy of the tree, to change."""
    return shutil.copytree(built.folder, tmp_path / "tree")


@pytest.fixture(scope="session")
def hub():
    with Hub(Routes) as server:
        yield server


@pytest.fixture(autouse=True)
def no_faults_are_left(request):
    yield
    if "hub" in request.fixturenames:
        server = request.getfixturevalue("hub")
        server.faults.clear()
        server.requests.clear()
        server.chunk_size = None


@pytest.fixture(scope="session")
def client(hub, tmp_path_factory):
    process = Client(hub, tmp_path_factory.mktemp("client"))
    yield process
    process.close()


@pytest.fixture
def push(client, built):
    """Push a tree, by default the one of `model`, to ada's repository of a name."""

    def call(name, folder=None, token="hf_SECRETwrite", **target):
        target = {"repo_id": name if "/" in name else f"ada/{name}", **target}
        return client.run(PUSH, token=token, tree=str(folder or built.folder), target=target)

    return call


@pytest.fixture
def old(hub, request):
    """A repository of ada's with an earlier model in it, and the name of that commit."""
    name = f"ada/old-{len(hub.repositories)}"
    repository = hub.repositories[name] = Repository()
    index = b'{"_class_name": "ClassConditionedDigitPipeline"}'
    earlier = {
        "model_index.json": index,
        "denoiser/config.json": b"{}",
        "denoiser/old.safetensors": b"old",
        "own.txt": b"x",
    }
    return name, repository, repository.commit("main", earlier)


@pytest.fixture
def source(model, tmp_path):
    """A copy of a measured run, to change."""
    return shutil.copytree(model, tmp_path / "mine")


@pytest.fixture(params=["push", "space"])
def share(request, source, tmp_path, monkeypatch, capsys):
    """Share by either command; returns the status, what was written, and what was said."""
    if request.param == "space":
        pytest.importorskip("gradio", reason="needs the extra gui")
    told = {way: {"pipeline": "A"} for way in ("with_package", "without_package")}
    monkeypatch.setattr("text2digit.sharing.tree.load_tree_back", lambda tree: told)  # has a test of its own

    def call(model=source):
        out = tmp_path / "out"
        more = ["--repo", "ada/x", "--dry-run"] if request.param == "push" else []
        status = cli.main([request.param, "--model", str(model), "--out", str(out), *more])
        said = capsys.readouterr()
        home = out if request.param == "push" else out / source.name
        return status, files_of(home) if home.exists() else {}, said.out + said.err

    return call
