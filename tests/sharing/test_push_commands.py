"""`text2digit push` and training with `--push-to-hub`, as people type them."""

import json
import subprocess

import pytest

from text2digit import cli
from text2digit.evaluation.classifier import sha256
from text2digit.sharing import tree
from text2digit.sharing.tree import NotTheSameError, load_tree_back
from text2digit.train_text2digit import parse_arguments

from .hub_server import Fault
from .test_upload import same

# Loading back takes seconds and has a test here; the commands that are run beside it leave it out.
RUN = """
from text2digit import cli
from text2digit.evaluation.classifier import sha256
from text2digit.sharing import tree, upload
told = {"with_package": {"pipeline": "A"}, "without_package": {"pipeline": "B"}}
tree.load_tree_back = upload.load_tree_back = lambda tree: told
try:
    result = cli.main(arguments)
except SystemExit as stop:
    result = stop.code
"""


def test_a_dry_run_shows_all_and_sends_nothing(hub, model, tmp_path, capsys):
    """It needs neither a token nor a network; what it lists is what lies there, and loads in both ways."""
    out = tmp_path / "out"
    arguments = ["--model", str(model), "--repo", "ada/dry", "--dry-run", "--out", str(out)]
    assert cli.main(["push", *arguments]) == 0
    text = capsys.readouterr().out
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    lines = [line.split() for line in text.splitlines() if line.startswith(" ") and "bytes" not in line]
    listed = {name: (size, digest) for size, digest, name in lines}
    assert set(listed) == set(files) and {"README.md", "pipeline.py"} < set(files)
    for name, (size, digest) in listed.items():
        assert int(size.replace(",", "")) == files[name].stat().st_size and sha256(files[name]).startswith(digest)
    assert "loads with the package:     text2digit.pipelines.pipeline_class_conditioned.ClassConditioned" in text
    assert "loads without the package:  diffusers_modules.local.pipeline.ClassConditioned" in text
    assert "nothing was sent; the tree is" in text and hub.requests == []
    assert cli.main(["push", *arguments]) == 2
    assert "expected a folder that is empty" in capsys.readouterr().err


def test_a_push_says_where_it_is(hub, client, model, built):
    answer = client.run(
        RUN, arguments=["push", "--model", str(model), "--repo", "ada/digits", "--private", "--message", "m"]
    )
    assert answer.result == 0, answer.output
    repository = hub.repositories["ada/digits"]
    assert same(repository.head, built.entries) and repository.private
    assert f"pushed: {hub.url}/ada/digits/commit/{repository.refs['main']}" in answer.output
    assert f"{len(built.entries)} files were fetched again and are the same" in answer.output


@pytest.mark.parametrize(
    "arguments, token, message",
    [
        (["--repo", "digits"], "hf_SECRETwrite", "--repo: got 'digits', expected user/name"),
        (
            ["--repo", "ada/digits2", "--model", "nothing"],
            "hf_SECRETwrite",
            "no such folder and no such shipped weights",
        ),
        (["--repo", "ada/digits2"], "hf_SECRETread", "may only read"),
        (["--repo", "eve/digits2"], "hf_SECRETwrite", "name one of these, or propose it with --create-pr"),
    ],
)
def test_mistakes_end_before_anything_is_built(hub, client, model, arguments, token, message):
    answer = client.run(RUN, token=token, arguments=["push", "--model", str(model), *arguments])
    assert answer.result == 2 and message in answer.output
    assert "README.md" not in answer.output and hub.count("POST|PUT") == 0


@pytest.mark.parametrize(
    "pattern, action, status",
    [
        ("GET /api/whoami", "lost", 1),
        ("GET /api/whoami", 500, 1),
        ("GET /api/whoami", b"{", 1),
        ("POST /api/repos/create", 403, 1),
        ("POST .*/commit/", 412, 1),
        ("resolve", "lost", 1),
        ("GET /api/whoami", 401, 2),
    ],
)
def test_wrong_input_and_trouble_have_statuses_of_their_own(hub, client, model, pattern, action, status):
    """A script that repeats a push after trouble must not be told that its input was wrong."""
    hub.faults.append(Fault(pattern, action, times=10**6))
    name = f"ada/status-{len(hub.requests)}-{len(hub.repositories)}"
    answer = client.run(RUN, arguments=["push", "--model", str(model), "--repo", name])
    assert answer.result == status and "error: " in answer.output
    if "whoami" in pattern:
        more = [TRAIN[0], "--hub-model-id", "ada/x", *TRAIN[1:], str(client.folder / "never")]
        assert client.run(RUN, arguments=more).result == status and not (client.folder / "never").exists()


def test_an_unchanged_push_says_that_there_is_nothing_to_send(hub, client, model, built):
    arguments = ["push", "--model", str(model), "--repo", "ada/again"]
    assert client.run(RUN, arguments=arguments).result == 0
    before = hub.repositories["ada/again"].refs["main"]
    answer = client.run(RUN, arguments=arguments)
    assert answer.result == 0 and "pushed: " not in answer.output
    assert f"nothing to send: {hub.url}/ada/again/commit/{before} holds these files already" in answer.output


@pytest.mark.parametrize(
    "found, message",
    [
        ({"refuses_without_trust": False, "images": ["a", "a"]}, "loads by diffusers without trust_remote_code"),
        ({"refuses_without_trust": True, "images": ["a", "b"]}, "draws other images without this package than with it"),
        (None, "does not load back: some error"),
    ],
)
def test_a_tree_that_does_not_load_back_is_not_sent(built, monkeypatch, found, message):
    output = json.dumps(found) if found else ""
    result = subprocess.CompletedProcess([], 0 if found else 1, output, "some error")
    monkeypatch.setattr(tree.subprocess, "run", lambda *arguments, **options: result)
    with pytest.raises(NotTheSameError, match=message):
        load_tree_back(built.folder)


# --- training --------------------------------------------------------------------------------------------------------

TRAIN = ["train", "--dataset", "digits", "--max-train-steps", "2", "--batch-size", "8", "--report-to", "none"]
TRAIN += ["--push-to-hub", "model.block_out_channels=[32, 32]", "--output-dir"]


def test_training_pushes_in_the_end(hub, client, run_folder):
    answer = client.run(
        RUN, arguments=[*TRAIN, run_folder("run"), "--hub-model-id", "ada/trained", "--hub-private-repo"]
    )
    assert answer.result == 0, answer.output[-3000:]
    repository = hub.repositories["ada/trained"]
    wanted = {"README.md", "config.yaml", "recipe.yaml", "history.jsonl", "run.json", "loss.png", "samples.png"}
    assert wanted | {"pipeline.py", "denoiser/unet_digit.py"} <= set(repository.head) and repository.private
    assert not [name for name in repository.head if "checkpoint" in name]
    card = repository.head["README.md"].decode()
    assert "2 of 8 images" in card and "scikit-learn" in card and "model-index" not in card


def test_training_that_could_not_be_pushed_does_not_begin(hub, client, run_folder):
    """Hours later would be late."""
    for name, token, message in (
        ("eve/x", "hf_SECRETwrite", "got 'eve/x', but the token is of ada"),
        ("ada/a b", "hf_SECRETwrite", "got 'ada/a b', expected user/name"),
        ("ada/x", None, "no token: log in"),
    ):
        folder = run_folder("never")
        answer = client.run(RUN, token=token, arguments=[*TRAIN, folder, "--hub-model-id", name])
        assert answer.result == 2 and message in answer.output
        assert not (client.folder / folder).exists()


def test_a_push_that_fails_does_not_lose_the_training(hub, client, run_folder):
    hub.faults.append(Fault("POST /api/repos/create", 403))
    folder = run_folder("kept")
    answer = client.run(RUN, arguments=[*TRAIN, folder, "--hub-model-id", "ada/late"])
    assert answer.result == 1 and (client.folder / folder / "model_index.json").is_file()
    assert f"again:  text2digit push --model {folder} --repo ada/late" in answer.output


def test_a_name_without_the_wish_to_push_is_an_error(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--hub_model_id", "ada/x"])
    assert "--hub-model-id: got a name without --push-to-hub" in capsys.readouterr().err


@pytest.fixture
def run_folder(client):
    """A relative name of a folder for a run of the client's process."""
    count = len(list(client.folder.iterdir()))
    return lambda name: f"{name}-{count}"
