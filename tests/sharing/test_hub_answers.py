"""Answers of a Hub that are lost or cannot be read: each is repeated, recognised, or named in an error."""

import pytest

from .hub_server import Fault, Repository
from .test_upload import COMMIT, LFS, same


@pytest.mark.parametrize("answer", [b'{"commitOid": ', b"[]", b"null", b"{}", b"<html>", b"\xff"])
def test_a_commit_whose_answer_cannot_be_read_counts(hub, push, built, answer):
    """A proxy answers 200 with a page of its own; the commit is there, and nobody was told."""
    name = f"unread-{answer.hex()}"
    hub.faults.append(Fault(COMMIT, answer))
    found = push(name)
    assert found.error is None and found.result["commit"] == hub.repositories[f"ada/{name}"].refs["main"]
    assert len(hub.repositories[f"ada/{name}"].commits) == 2


@pytest.mark.parametrize("action", ["lost", b"{", b"{}"])
def test_a_pull_request_whose_answer_is_lost_counts(hub, push, built, old, action):
    hub.faults.append(Fault(COMMIT, action))
    answer = push(old[0], create_pr=True)
    assert answer.error is None and same(old[1].commits[answer.result["commit"]], built.entries) is False
    assert {entry.name for entry in built.entries} <= set(old[1].commits[answer.result["commit"]])
    assert list(old[1].refs) == ["main", "refs/pr/2"] and old[1].refs["main"] == old[2]


@pytest.mark.parametrize("action", ["lost", b"{", b"null", 500])
def test_a_repository_whose_creation_was_not_confirmed_is_one_s_own(hub, push, built, action):
    """The second try meets status 409; "taken by a repository that this token may not see" was false."""
    name = f"created-{len(hub.repositories)}"
    hub.faults.append(Fault("POST /api/repos/create", action))
    assert push(name, private=True).error is None
    repository = hub.repositories[f"ada/{name}"]
    assert same(repository.head, built.entries) and repository.private and len(repository.commits) == 2


def test_a_branch_whose_creation_was_not_confirmed_is_used(hub, push, built, old):
    hub.faults.append(Fault(r"POST \S+/branch/", "lost"))
    assert push(old[0], revision="v2").error is None
    assert "README.md" in old[1].commits[old[1].refs["v2"]] and "README.md" not in old[1].head


STEPS = {
    "GET /api/whoami-v2": "GET /api/whoami-v2",
    r"GET /api/models/\S+": "GET /api/models/ada/",
    "POST /api/repos/create": "POST /api/repos/create",
    r"POST \S+/branch/": "POST /api/models/ada/",
    r"POST \S+/preupload/": "pushing",
    r"POST \S+/objects/batch": "pushing",
    COMMIT: "pushing",
}


@pytest.mark.parametrize("answer", [b'{"a": 1,', b"[1, 2]", b'"text"', b"7", b'{"files": 7, "objects": 7}', b""])
@pytest.mark.parametrize("pattern", STEPS)
def test_an_answer_that_cannot_be_read_names_its_request(hub, push, pattern, answer):
    """Status 200 with something else than the Hub's JSON, each time: a sentence, and not "Expecting ',' delimiter"."""
    name = f"ada/odd-{len(hub.repositories)}"
    if "create" not in pattern:
        hub.repositories[name] = Repository()
    hub.objects.clear()
    hub.faults.append(Fault(pattern, answer, times=10**6))
    commits = {n: len(repository.commits) for n, repository in hub.repositories.items()}
    found = push(name, **({"revision": "v2"} if "branch" in pattern else {}))
    if found.error is None:  # it did not matter, or the remote told what was done in another way
        assert pattern == COMMIT or "repos/create" in pattern or "branch" in pattern
        return
    assert found.error.startswith(f"PushError: {STEPS[pattern]}") and "failed: " in found.error
    assert "could not be read; start again" in found.error
    assert "The remote " in found.error or "Nothing was sent." in found.error
    assert {n: len(hub.repositories[n].commits) for n in commits} == commits


@pytest.mark.parametrize("action", ["lost", 500, 503, b"", 429])
def test_a_comparison_is_repeated(hub, push, built, action):
    """The commit is made; a lost answer while it is fetched is no reason to say that the push failed."""
    name = f"compared-{len(hub.repositories)}"
    hub.faults.append(Fault(rf"GET /api/models/ada/{name}/(revision|tree)/\w{{40}}", action))
    hub.faults.append(Fault(rf"(GET|HEAD) /ada/{name}/resolve/", action if action != b"" else "lost", times=2))
    assert push(name).error is None
    assert same(hub.repositories[f"ada/{name}"].head, built.entries)
    assert all(fault.times == 0 for fault in hub.faults)


def test_a_comparison_that_cannot_be_made_says_that_the_commit_was(hub, push):
    hub.faults.append(Fault(r"(GET|HEAD) /ada/uncompared/resolve/", "lost", times=10**6))
    error = push("uncompared").error
    commit = hub.repositories["ada/uncompared"].refs["main"]
    assert f"comparing commit {commit}, which was made, failed" in error and "broke" in error
    assert f"The remote is now at commit {commit[:12]}" in error


def test_an_unchanged_push_sends_nothing(hub, push, built, tree):
    """Each made another commit, and a history of the same files; a changed file is sent alone."""
    assert push("twice").error is None
    before = hub.repositories["ada/twice"].refs["main"]
    hub.requests.clear()
    answer = push("twice")
    assert answer.error is None and answer.result["commit"] == before and answer.result["files"] == 0
    assert hub.count("POST|PUT") == 0 and hub.repositories["ada/twice"].refs["main"] == before
    (tree / "README.md").write_bytes((tree / "README.md").read_bytes() + b"\nmore\n")
    assert push("twice", folder=tree).error is None
    assert hub.repositories["ada/twice"].head["README.md"].endswith(b"more\n") and hub.count(LFS) == 0
    assert push("twice", create_pr=True).error is None and "refs/pr/3" in hub.repositories["ada/twice"].refs
