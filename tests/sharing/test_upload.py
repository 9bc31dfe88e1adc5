"""Pushes to a Hub over HTTP, by the real client, and all that can go wrong with one."""

import hashlib
import os
import subprocess
import sys

import pytest

from .client import environment
from .conftest import PUSH
from .hub_server import Fault, Repository

COMMIT, LFS = r"POST /api/models/\S+/commit/", r"PUT /lfs/"


def same(files, entries):
    """Whether a repository holds what was listed; the Hub adds a file of its own."""
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != ".gitattributes"}
    return found == {entry.name: entry.sha256 for entry in entries}


# --- what a push does ------------------------------------------------------------------------------------------------


def test_a_push_makes_a_repository_in_one_commit(hub, push, built):
    answer = push("fresh")
    assert answer.error is None
    repository = hub.repositories["ada/fresh"]
    assert same(repository.head, built.entries) and not repository.private
    assert answer.result["commit"] == repository.refs["main"] and answer.result["files"] == len(built.entries)
    assert hub.count(COMMIT) == 1 and len(repository.commits) == 2
    fetched = hub.count(r"GET /ada/fresh/resolve/")
    assert fetched >= len(built.entries)  # verified by download


def test_large_files_travel_in_parts(hub, push, built):
    hub.chunk_size = 30_000
    hub.objects.clear()
    assert push("parts").error is None
    assert same(hub.repositories["ada/parts"].head, built.entries) and hub.count(r"PUT /lfs/\w+/00002") > 0


def test_a_later_push_replaces_the_model_and_keeps_what_is_not_its(hub, push, built, old):
    """An old file of weights beside the new ones would be loaded with them, or in their place."""
    name, repository, before = old
    assert push(name).error is None
    assert "denoiser/old.safetensors" not in repository.head and repository.head["own.txt"] == b"x"
    assert repository.commits[before]["denoiser/old.safetensors"] == b"old"


def test_private_branches_and_pull_requests(hub, push, built):
    assert push("closed", private=True).error is None and hub.repositories["ada/closed"].private
    assert push("lab/branch", revision="v2").error is None
    repository = hub.repositories["lab/branch"]
    assert same(repository.commits[repository.refs["v2"]], built.entries) and "README.md" not in repository.head
    answer = push("lab/branch", token="hf_SECRETbob", create_pr=True)
    assert answer.error is None and "/discussions/" in answer.result["url"]
    assert "README.md" not in repository.head and same(repository.commits[answer.result["commit"]], built.entries)


def test_a_bare_name_is_the_user_s(hub, client, built):
    assert client.run(PUSH, tree=str(built.folder), target={"repo_id": "bare"}).error is None
    assert "ada/bare" in hub.repositories


# --- what is refused before anything is sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("ada/a b", {}, "--repo: got 'ada/a b', expected user/name"),
        ("ada/a/b", {}, "--repo: got 'ada/a/b', expected user/name"),
        ("ada/a..b", {}, "--repo: got 'ada/a..b', expected user/name"),
        ("eve/digits", {}, "--repo: got 'eve/digits', but the token is of ada, who may write to ada/…, lab/…"),
        ("ada/x", {"token": None}, "no token: log in with `hf auth login`"),
        ("ada/x", {"token": "hf_SECRETwrong"}, "the token is not valid; make a new one at"),
        ("ada/x", {"token": "hf_SECRETread"}, "the token of ada may only read"),
        ("ada/x", {"create_pr": True, "revision": "v2"}, "got 'v2' with --create-pr, which goes to main"),
        ("ada/none", {"create_pr": True}, "ada/none: does not exist, or this token may not see it"),
    ],
)
def test_what_cannot_succeed_is_said_and_nothing_is_sent(hub, push, name, options, message):
    before = set(hub.repositories)
    answer = push(name, **options)
    assert message in answer.error and answer.error.startswith("PushError")
    assert set(hub.repositories) == before and hub.count("POST|PUT") == 0


def test_a_name_that_something_else_has_is_taken(hub, push):
    hub.repositories["ada/other"] = Repository()
    before = hub.repositories["ada/other"].commit("main", {"model.bin": b"x", "config.json": b"{}"})
    assert "ada/other is taken by something that is no pipeline of text2digit" in push("other").error
    hub.repositories["ada/dit"] = Repository()
    hub.repositories["ada/dit"].commit("main", {"model_index.json": b'{"_class_name": "DiTPipeline"}'})
    assert "is taken" in push("dit").error
    assert hub.repositories["ada/other"].refs["main"] == before and hub.count("POST|PUT") == 0


def test_a_name_that_only_the_hub_knows_is_taken(hub, push):
    hub.faults.append(Fault("POST /api/repos/create", 409))
    assert "ada/hidden is taken by a repository that this token may not see" in push("hidden").error


def test_public_stays_public_only_if_nobody_asked_for_private(hub, push, old):
    assert "exists already and is public; make it private in its settings" in push(old[0], private=True).error
    assert old[1].refs["main"] == old[2]


def test_a_file_that_changes_on_the_way_is_noticed(hub, client, tree, old):
    """Between the listing that a person saw and the upload."""
    code = PUSH.replace("pushed = push_tree(Path(tree), list_tree(Path(tree)), target)", "").replace("result =", "#")
    code += """
entries = list_tree(Path(tree))
(Path(tree) / changed).write_bytes(b"something else")
push_tree(Path(tree), entries, target)
"""
    for changed in ("config.yaml", "denoiser/diffusion_pytorch_model.safetensors"):
        answer = client.run(code, tree=str(tree), target={"repo_id": old[0]}, changed=changed)
        assert f"{changed}: has changed since it was listed; nothing was sent" in answer.error
    assert old[1].refs["main"] == old[2] and hub.count(f"{COMMIT}|{LFS}") == 0


# --- faults on the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_outlived(hub, push, built, status):
    """At each step of a push; the client repeats some by itself, and the others are repeated here."""
    patterns = ("GET /api/whoami", "POST /api/repos/create", "POST \\S+/preupload/", LFS, COMMIT)
    hub.objects.clear()
    hub.faults += [Fault(pattern, status) for pattern in patterns]
    name = f"passing-{status}"
    assert push(name).error is None
    assert same(hub.repositories[f"ada/{name}"].head, built.entries)
    assert all(fault.times == 0 for fault in hub.faults) and len(hub.repositories[f"ada/{name}"].commits) == 2


@pytest.mark.parametrize(
    "pattern, action, message, most",
    [
        (COMMIT, 403, "the token has no right to write to", 1),
        (COMMIT, 409, "changed while the push was under way; start it again", 1),
        (COMMIT, 412, "changed while the push was under way; start it again", 1),
        (COMMIT, 401, "the token is not valid", 1),
        (COMMIT, 404, "no repository", 1),
        (COMMIT, 429, "wants fewer requests; wait some minutes", 3),
        (COMMIT, 500, "is in trouble (status 500); start again later", 3),
        (COMMIT, "cut", "broke", 1),
        (LFS, 500, "is in trouble (status 500)", 24),
        (LFS, 403, "the token has no right", 6),
        (LFS, "cut", "broke", 24),
        (r"POST \S+/preupload/", 403, "the token has no right", 1),
        (r"POST \S+/preupload/", 500, "is in trouble", 6),
    ],
)
def test_a_lasting_fault_leaves_the_remote_as_it_was(hub, push, old, pattern, action, message, most):
    """Retries are bounded, the old commit stays, and the sentence says both what happened and where the remote is."""
    name, repository, before = old
    hub.objects.clear()
    hub.faults.append(Fault(pattern, action, times=10**6))
    answer = push(name)
    assert answer.error.startswith("PushError: pushing failed: ") and message in answer.error
    assert f"The remote is still at commit {before[:12]}" in answer.error
    assert repository.refs["main"] == before and list(repository.commits)[-1] == before
    assert 1 <= hub.count(pattern) <= most


def test_a_push_after_a_broken_one_succeeds(hub, push, built, old):
    hub.objects.clear()
    hub.faults.append(Fault(LFS, "cut", times=10**6))
    assert push(old[0]).error
    hub.faults.clear()
    assert push(old[0]).error is None
    assert same({n: c for n, c in old[1].head.items() if n != "own.txt"}, built.entries)


def test_a_commit_whose_answer_is_lost_counts(hub, push, built):
    """It arrived; to say that it failed would be wrong, and to send it again would make a second one."""
    hub.faults.append(Fault(COMMIT, "lost"))
    answer = push("lost")
    assert answer.error is None and answer.result["commit"] == hub.repositories["ada/lost"].refs["main"]
    assert len(hub.repositories["ada/lost"].commits) == 2


def test_two_pushes_at_once_do_not_mix(hub, client, built, old):
    """The second has seen a remote that is no more; its commit is refused, not put on top."""
    code = PUSH.replace("pushed = push_tree", "from text2digit.sharing import upload\npushed = push_tree").replace(
        "pushed =",
        "made = upload._operations\n"
        "def slow(*arguments):\n"
        "    upload._operations = made\n"
        "    push_tree(Path(other), list_tree(Path(other)), target)\n"
        "    return made(*arguments)\n"
        "upload._operations = slow\n"
        "pushed =",
        1,
    )
    other = built.folder.parent / "other"
    other.mkdir(exist_ok=True)
    (other / "model_index.json").write_text('{"_class_name": "ClassConditionedDigitPipeline", "other": 1}')
    answer = client.run(code, tree=str(built.folder), other=str(other), target={"repo_id": old[0]})
    assert "changed while the push was under way" in answer.error and "The remote is now at commit" in answer.error
    assert old[1].head["model_index.json"] == (other / "model_index.json").read_bytes()
    assert "README.md" not in old[1].head


def test_what_comes_back_is_compared(hub, push):
    hub.faults.append(Fault("GET /ada/garbled/resolve/.*config.yaml", "garble", times=10**6))
    error = push("garbled").error
    assert "config.yaml came back unlike what was listed; push again, or undo that commit" in error


def test_a_killed_push_leaves_the_remote_as_it_was(hub, built, old, tmp_path):
    """SIGKILL while the weights are on their way: no handler of ours runs."""
    name, repository, before = old
    hub.objects.clear()
    hub.hanging.clear()
    hub.faults.append(Fault(LFS, "hang", times=10**6))
    code = f"tree, target = {str(built.folder)!r}, {{'repo_id': {name!r}}}\n{PUSH}"
    own = environment(hub, tmp_path / "hf", HF_TOKEN="hf_SECRETwrite")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=own, stderr=subprocess.DEVNULL)
    assert hub.hanging.wait(60), "the push never came to its weights"
    process.kill()
    process.wait(10)
    assert repository.refs["main"] == before and hub.count(COMMIT) == 0


# --- the token -------------------------------------------------------------------------------------------------------


def test_the_token_is_told_to_nobody(hub, client, push, old, tmp_path):
    """By no error, log or file, though this Hub repeats it, and with all logs on."""
    for pattern, action in ((COMMIT, 418), (COMMIT, 500), (LFS, "cut"), (LFS, 403), ("GET /api/whoami", 418)):
        hub.objects.clear()
        hub.faults.append(Fault(pattern, action, times=10**6))
        assert push(old[0]).error
        hub.faults.clear()
    code = "from text2digit.sharing.upload import Target\nresult = repr(Target('ada/x', token='hf_SECRETwrite'))"
    assert "Target" in client.run(code).result
    said = "\n".join(client.said)
    assert "POST" in said  # logs are on
    assert "hf_SECRET" not in said
    for path in (p for p in client.folder.rglob("*") if p.is_file() and not p.is_symlink()):
        assert b"hf_SECRET" not in path.read_bytes(), path
    assert os.environ.get("HF_TOKEN") is None


@pytest.mark.parametrize("token", ["hf_SECRET\u00e9clair", "hf_SECRET\ud55c", "hf_SECRET write", "hf_SECRET\x7f"])
def test_a_token_that_no_request_can_carry_is_said_and_not_told(client, push, built, token):
    """Copied with a letter too many: a codec's message told that letter, and httpx's the whole header."""
    target = {"repo_id": "ada/x", "token": token}
    answers = [push("ada/x", token=token), client.run(PUSH, tree=str(built.folder), target=target)]
    code = "from text2digit.pipelines.loading import find_pipeline_folder\nfind_pipeline_folder('ada/x', {})"
    answers.append(client.run(code, token=token))
    for answer in answers:
        assert "the token for the Hub holds a character that no token has, at place 10" in answer.error
        assert "SECRET" not in answer.error and token[9:] not in answer.error
