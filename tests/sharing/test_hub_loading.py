"""Loading from a Hub over HTTP: with the package, without it, offline, from private repositories and hostile ones."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from text2digit.sharing import load_back

from .client import environment
from .conftest import files_of
from .hub_server import Fault, Repository

LOAD = """
import hashlib, torch
from text2digit import DigitPipeline
pipe = DigitPipeline.from_pretrained(name, **arguments)
pipe.set_progress_bar_config(disable=True)
images = pipe([0, 1], num_inference_steps=3, generator=0, output_type="np").images
result = [f"{type(part).__module__}.{type(part).__name__}" for part in (pipe, pipe.denoiser, pipe.scheduler)]
result.append(hashlib.sha256(images.tobytes()).hexdigest())
"""
OURS = [
    "text2digit.pipelines.pipeline_class_conditioned.ClassConditionedDigitPipeline",
    "text2digit.models.unet.DigitUNet2DModel",
    "text2digit.schedulers.scheduling_ddim.DDIMScheduler",
]


@pytest.fixture
def load(client, tmp_path):
    """Load with the package, from a cache of its own."""

    def call(name, token="hf_SECRETwrite", **arguments):
        return client.run(LOAD, token=token, name=name, arguments={"cache_dir": str(tmp_path / "cache"), **arguments})

    return call


@pytest.fixture(scope="module")
def expected(client, model):
    """Hash of the images that the model draws, from its folder; in the client's process, for in this one earlier tests
    have chosen threads and kernels, and the last bits follow from those."""
    return client.run(LOAD, name=str(model), arguments={}).result[-1]


@pytest.fixture
def repository(hub, built):
    """ada/shared, with the whole tree."""
    hub.repositories["ada/shared"] = Repository()
    hub.repositories["ada/shared"].commit("main", files_of(built.folder))
    return hub.repositories["ada/shared"]


def test_with_the_package_no_code_is_fetched_and_classes_are_ours(hub, load, repository, expected, tmp_path):
    answer = load("ada/shared")
    assert answer.error is None and answer.result == [*OURS, expected]
    assert hub.count(r"resolve/\S+\.(py|png)$") == 0 and not list((tmp_path / "cache").rglob("*.py"))


def test_a_plain_upload_of_save_pretrained_loads_too(hub, load, model, expected):
    """FACTS: diffusers itself cannot load one, with any flag."""
    hub.repositories["ada/plain"] = Repository()
    parts = {
        n: c for n, c in files_of(model).items() if n.split("/")[0] in ("model_index.json", "denoiser", "scheduler")
    }
    hub.repositories["ada/plain"].commit("main", parts)
    assert load("ada/plain").result == [*OURS, expected]


def test_revisions_caches_and_tokens(hub, load, repository, expected, client, tmp_path):
    """A branch, a tag's commit, a private repository with and without a right, and a cache that is enough."""
    first = repository.refs["main"]
    repository.commit("main", {"README.md": b"gone"})
    assert "is no saved pipeline" in load("ada/shared").error or "model_index" in load("ada/shared").error
    assert load("ada/shared", revision=first).result == [*OURS, expected]
    assert load("ada/shared", revision=first, local_files_only=True).result == [*OURS, expected]
    assert "Revision Not Found" in load("ada/shared", revision="v9").error

    hub.repositories["ada/secret"] = Repository(private=True)
    hub.repositories["ada/secret"].commit("main", repository.commits[first])
    for token in (None, "hf_SECRETbob"):
        error = load("ada/secret", token=token).error
        assert error.startswith("FileNotFoundError: ada/secret: no such folder, and the Hub does not give it")
    code = LOAD.replace("**arguments", "token='hf_SECRETwrite', **arguments")
    values = {"name": "ada/secret", "arguments": {"cache_dir": str(tmp_path / "other")}}
    assert client.run(code, token=None, **values).result == [*OURS, expected]
    assert "the Hub does not give it" in load("ada/none", local_files_only=True).error


def test_info_of_a_repository(client, repository):
    code = "from text2digit import cli\nresult = cli.main(['info', 'ada/shared'])"
    answer = client.run(code)
    assert answer.result == 0
    for text in ("ada/shared", "text2digit.DigitUNet2DModel", "final loss 0.2345", "1.2346"):
        assert text in answer.output


def test_pickles_in_a_repository_are_not_even_fetched(hub, load, repository):
    """A repository with a pickle in place of its weights, and one with both."""
    files = dict(repository.head)
    trap = {
        "denoiser/diffusion_pytorch_model.bin": pickle.dumps(print),
        "denoiser/x.pkl": b"x",
        "pytorch_model.pt": b"x",
    }
    repository.commit("main", {**files, **trap})
    assert load("ada/shared").error is None
    files.pop("denoiser/diffusion_pytorch_model.safetensors")
    repository.commit("main", {**files, **trap})
    assert "safetensors" in load("ada/shared").error
    assert hub.count(r"resolve/\S+\.(bin|pkl|pt)$") == 0


def test_hostile_indices_are_refused(load, repository):
    files = dict(repository.head)
    index = json.loads(files["model_index.json"])
    repository.commit("main", {**files, "model_index.json": json.dumps({**index, "denoiser": ["os", "x"]}).encode()})
    assert "denoiser is a os.x, expected DigitUNet2DModel" in load("ada/shared").error
    shards = json.dumps({"metadata": {}, "weight_map": {"a": "../../../secret.safetensors"}}).encode()
    name = "denoiser/diffusion_pytorch_model.safetensors.index.json"
    repository.commit("main", {**files, name: shards})
    assert "points to '../../../secret.safetensors', expected a safetensors file beside it" in load("ada/shared").error


def test_a_path_out_of_the_cache_is_refused(load, repository, tmp_path):
    """A Hub that lists such a name; huggingface_hub refuses it, and this is to stay so."""
    repository.commit("main", {**repository.head, "../../../../../escaped.json": b"{}"})
    assert load("ada/shared").error
    assert not list(tmp_path.parent.rglob("escaped.json"))


@pytest.mark.parametrize("answer", [b"{", b"[1]", b"null", b'{"siblings": 7}'])
def test_an_answer_that_cannot_be_read_names_the_repository(hub, load, repository, answer):
    """By `info` and by loading: not "Expecting ',' delimiter" alone."""
    hub.faults.append(Fault("GET /api/models/", answer, times=10**6))
    error = load("ada/shared").error
    assert error.startswith("FileNotFoundError: ada/shared: no such folder, and the Hub does not give it")


STRANGER = """
import json, sys
space = {"__name__": "text"}
exec(sys.argv[1], space)
sys.meta_path.insert(0, space["Absent"]())
from diffusers import DiffusionPipeline
try:
    import text2digit
    raise SystemExit("the package can be imported")
except ModuleNotFoundError:
    pass
found = {}
for way, arguments in {
    "untrusted": {},
    "untrusted custom": {"custom_pipeline": "ada/shared"},
    "trusted": {"trust_remote_code": True},
    "custom": {"trust_remote_code": True, "custom_pipeline": "ada/shared"},
    "offline": {"trust_remote_code": True, "local_files_only": True},
}.items():
    try:
        pipe = DiffusionPipeline.from_pretrained("ada/shared", **arguments)
        found[way] = [space["names"](pipe)["denoiser"].split(".")[-1], space["draw"](pipe)]
    except ValueError as error:
        found[way] = str(error)
assert "text2digit" not in sys.modules
print(json.dumps(found))
"""


def test_without_the_package_it_loads_if_it_is_trusted(hub, repository, expected, tmp_path):
    """Where `text2digit` cannot be imported; catches a file that the Hub does not send, or an import of ours."""
    command = [sys.executable, "-c", STRANGER, Path(load_back.__file__).read_text(encoding="utf-8")]
    own = environment(hub, tmp_path / "hf")
    result = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.strip().splitlines()[-1])
    for way in ("untrusted", "untrusted custom"):
        assert "trust_remote_code=True" in found[way], way
    for way in ("trusted", "custom", "offline"):
        assert found[way] == ["DigitUNet2DModel", expected], way
    assert hub.count(r"GET /ada/shared/resolve/\S+/denoiser/unet_digit.py") > 0


OFFLINE = """
from text2digit.sharing.upload import Target, check_target
for attempt in (lambda: DigitPipeline.from_pretrained("ada/never", **arguments), lambda: check_target(Target("ada/x"))):
    try:
        attempt()
    except OSError as error:
        print(error)
"""


def test_offline_with_what_is_cached(hub, client, repository, expected, tmp_path):
    """HF_HUB_OFFLINE is read at import, so a process of its own; it must not ask the Hub anything."""
    cache = str(client.folder / "for-offline")
    assert client.run(LOAD, name="ada/shared", arguments={"cache_dir": cache}).error is None
    hub.requests.clear()
    code = f"name, arguments = 'ada/shared', {{'cache_dir': {cache!r}}}\n{LOAD}\nprint(result)\n{OFFLINE}"
    own = environment(hub, tmp_path / "hf", HF_HUB_OFFLINE="1", HF_TOKEN="hf_SECRETwrite")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=own, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert str([*OURS, expected]) in result.stdout
    assert "ada/never: no such folder, and the Hub does not give it" in result.stdout
    assert "HF_HUB_OFFLINE is set, so nothing can be sent" in result.stdout
    assert hub.requests == []


def test_pushed_from_memory_it_loads(hub, client, model, load, expected):
    """`pipe.push_to_hub`, and `save_pretrained(push_to_hub=True)`: diffusers' own would upload what nobody can load."""
    code = """
from text2digit import DigitPipeline
from text2digit.sharing import upload
upload.load_tree_back = lambda tree: None  # has a test of its own, and takes seconds
pipe = DigitPipeline.from_pretrained(model)
result = pipe.push_to_hub("ada/memory", commit_message="from memory")
pipe.save_pretrained(folder + "/saved-here", push_to_hub=True, private=True)
"""
    answer = client.run(code, model=str(model), folder=str(client.folder))
    assert answer.error is None and "/ada/memory/commit/" in answer.result
    for name in ("ada/memory", "ada/saved-here"):
        assert {"pipeline.py", "README.md", "denoiser/unet_digit.py"} <= set(hub.repositories[name].head)
        assert load(name).result == [*OURS, expected]
        assert not [n for n, content in hub.repositories[name].head.items() if str(model).encode() in content]
    assert hub.repositories["ada/saved-here"].private
