"""A tree goes to the Hub in one commit, and is fetched again and compared.

Until that commit the repository's files are what they were, so a push that fails or is killed changes none of them;
large files that were sent before it belong to no commit. No message here holds a token.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from ..pipelines.loading import INDEX_NAME
from .component_code import PACKAGE, PIPELINE_FILE
from .files import REPORT_FOLDER, RUN_FILES
from .tree import RECIPE_NAME, Entry, build_tree, list_tree, load_tree_back

# huggingface_hub tries again by itself when it uploads and downloads; these are for the requests that it makes once.
TRIES, SECONDS_BETWEEN_TRIES = 3, 1.0
PASSING = (429, 500, 502, 503, 504)
# Its errors come from one HTTP library or another, by its version; all of them derive from one of these.
FAILURES: tuple[type[Exception], ...] = (HfHubHTTPError.__bases__[0], OSError, RuntimeError)
# Up to this size a file is read once, compared with its hash and sent from memory; larger ones are sent from the disk,
# and the Hub compares the hash.
LARGEST_IN_MEMORY = 10_000_000
# What a new repository, or one that waits for its model, may hold.
HARMLESS = {".gitattributes", "README.md", "LICENSE"}

Result = TypeVar("Result")


class PushError(OSError):
    """A push that did not succeed; the message says why, what the remote holds now, and what to do."""


@dataclass(frozen=True)
class Target:
    """Where a push goes.

    Attributes:
        repo_id: user/name or organization/name; a bare name is the token's user's.
        revision: branch, made if it does not exist; None is main.
        private: of a repository that is made; None is the account's default.
        create_pr: propose the files in a pull request instead of committing them.
        token: None is HF_TOKEN, or what `hf auth login` stored.
    """

    repo_id: str
    revision: str | None = None
    private: bool | None = None
    create_pr: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Pushed:
    """What a push made: the commit, where it can be seen, and how many files were fetched again and compared."""

    commit: str
    url: str
    num_files: int


def check_repo_id(repo_id: str, with_user: bool = True) -> None:
    """Refuse a name that no repository can have.

    Raises:
        PushError: says what is expected.
    """
    try:
        validate_repo_id(repo_id)
        if repo_id.count("/") == 1 or (not with_user and repo_id):
            return
        reason = "a user or organization is missing"
    except HFValidationError as error:
        reason = str(error)
    raise PushError(f"--repo: got {repo_id!r}, expected user/name, of letters, digits, '-', '_' and '.': {reason}")


def check_target(target: Target) -> Target:
    """Ask the Hub whether a push can succeed, before any work is done for it; nothing is changed there.

    Returns:
        The target with the user in its name, and the token.

    Raises:
        PushError: a bad name, no token, one that is not valid or may not write there, or no connection.
    """
    check_repo_id(target.repo_id, with_user=False)
    if target.create_pr and target.revision not in (None, "main"):
        raise PushError(f"--revision: got {target.revision!r} with --create-pr, which goes to main; leave one out.")
    if constants.HF_HUB_OFFLINE:
        raise PushError("HF_HUB_OFFLINE is set, so nothing can be sent; unset it, or use --dry-run.")
    token = target.token or get_token()
    if not token:
        raise PushError("no token: log in with `hf auth login`, or set HF_TOKEN to a token that may write.")
    target = replace(target, token=token)
    try:
        who = _patiently(lambda: _api(target).whoami())
    except FAILURES as error:
        _fail(target, error, "asking whose the token is")
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise PushError(f"the token of {who['name']} may only read; make one that may write, at {_settings()}.")
    if "/" not in target.repo_id:
        target = replace(target, repo_id=f"{who['name']}/{target.repo_id}")
    owner = target.repo_id.split("/")[0]
    known = [who["name"], *(organization["name"] for organization in who.get("orgs", []))]
    if owner not in known and not target.create_pr:
        raise PushError(
            f"--repo: got {target.repo_id!r}, but the token is of {who['name']}, who may write to "
            f"{', '.join(f'{name}/…' for name in known)}; name one of these, or propose it with --create-pr."
        )
    return target


def push_folder(source: Path, target: Target, message: str | None = None) -> Pushed:
    """Everything, from a pipeline's folder to files on the Hub that were compared.

    Args:
        source: of a pipeline.
        target: where to.
        message: of the commit.

    Raises:
        PushError: as `push_tree` and `check_target`.
        ValueError, NotTheSameError: a folder that cannot be shared.
    """
    target = check_target(target)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        entries = build_tree(source, tree, target.repo_id)
        load_tree_back(tree)
        return push_tree(tree, entries, target, message)


def push_tree(folder: Path, entries: Sequence[Entry], target: Target, message: str | None = None) -> Pushed:
    """Send a tree in one commit, fetch it, and compare every file.

    Args:
        folder, entries: as `build_tree` wrote and listed them.
        target: as `check_target` returned it.
        message: of the commit.

    Raises:
        PushError: a right is missing, the name is taken, a file or the repository changed on the way, the connection
            broke, or what comes back is not what was sent.
    """
    before: str | None = None
    try:
        before, existing = _open_repository(target)
        operations = _operations(folder, entries, existing)
        made = _commit(target, operations, before, message or f"Upload by {PACKAGE}")
    except FAILURES as error:
        arrived = None if before is None else _arrived(target, before, entries)
        if arrived is None:
            _fail(target, error, "pushing", before)
        return Pushed(arrived, f"{constants.ENDPOINT}/{target.repo_id}/commit/{arrived}", len(entries))
    _verify(target, made.oid, entries)
    return Pushed(made.oid, made.pr_url or made.commit_url, len(entries))


def _api(target: Target) -> HfApi:
    return HfApi(token=target.token, library_name=PACKAGE)


def _settings() -> str:
    return f"{constants.ENDPOINT}/settings/tokens"


def _patiently(call: Callable[[], Result], tried_once: str = "") -> Result:
    """Ask a few times where the fault may pass.

    Args:
        call: what to do.
        tried_once: part of the address of the only request of `call` that the client does not repeat by itself.
    """
    for tried in range(1, TRIES + 1):
        try:
            return call()
        except FAILURES as error:
            if isinstance(error, HfHubHTTPError):
                passing = error.response.status_code in PASSING and tried_once in str(error.response.url)
            else:
                passing = _is_broken_connection(error) and not tried_once  # a cut commit may have arrived
            if tried == TRIES or not passing:
                raise
            time.sleep(SECONDS_BETWEEN_TRIES * tried)
    raise AssertionError("unreachable")


def _status(error: BaseException | None) -> int | None:
    """HTTP status behind an error, also where it is the cause of another."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def _is_broken_connection(error: BaseException) -> bool:
    return not isinstance(error, HfHubHTTPError) and isinstance(error, HfHubHTTPError.__bases__[0] | ConnectionError)


def _open_repository(target: Target) -> tuple[str, set[str]]:
    """Commit that the target's revision is at, and the files there; a repository or branch that is missing is made."""
    api, repo_id = _api(target), target.repo_id
    try:
        info = _patiently(lambda: api.model_info(repo_id))
    except RepositoryNotFoundError:
        if target.create_pr:
            raise PushError(
                f"{repo_id}: does not exist, or this token may not see it; a pull request needs it."
            ) from None
        try:
            _patiently(lambda: api.create_repo(repo_id, private=target.private))
        except HfHubHTTPError as error:
            if _status(error) == 409:
                raise PushError(f"--repo: {repo_id} is taken by a repository that this token may not see.") from None
            raise
        info = _patiently(lambda: api.model_info(repo_id))
    else:
        _check_existing(target, info)
    if target.revision not in (None, "main"):
        branch = str(target.revision)
        _patiently(lambda: api.create_branch(repo_id, branch=branch, exist_ok=True))
        info = _patiently(lambda: api.model_info(repo_id, revision=branch))
    return str(info.sha), {sibling.rfilename for sibling in info.siblings or []}


def _check_existing(target: Target, info: Any) -> None:
    """Leave alone what is not a pipeline of ours, and do not let a public repository pass for a private one."""
    if target.private and not info.private:
        raise PushError(
            f"--private: {target.repo_id} exists already and is public; make it private in its settings, or pass "
            "another name."
        )
    files = {sibling.rfilename for sibling in info.siblings or []}
    if files <= HARMLESS:
        return
    is_ours = False
    if INDEX_NAME in files:
        with tempfile.TemporaryDirectory() as cache:
            path = hf_hub_download(target.repo_id, INDEX_NAME, cache_dir=cache, token=target.token)
            is_ours = "DigitPipeline" in Path(path).read_text(encoding="utf-8")
    if not is_ours:
        raise PushError(
            f"--repo: {target.repo_id} is taken by something that is no pipeline of {PACKAGE} "
            f"({', '.join(sorted(files)[:4])}, …); pass another name."
        )


def _operations(folder: Path, entries: Sequence[Entry], existing: set[str]) -> list[Any]:
    """Additions of what was listed, and deletions of what an earlier push left in the same places."""
    operations: list[Any] = []
    for entry in entries:
        path = folder / entry.name
        small = entry.size <= LARGEST_IN_MEMORY
        try:
            operation = CommitOperationAdd(entry.name, path.read_bytes() if small else str(path))
        except (OSError, ValueError) as error:
            raise PushError(
                f"{entry.name}: was listed and cannot be read any more ({error}); nothing was sent."
            ) from None
        if operation.upload_info.sha256.hex() != entry.sha256:
            raise PushError(f"{entry.name}: has changed since it was listed; nothing was sent. Start the push again.")
        operations.append(operation)
    names = {entry.name for entry in entries}
    folders = {entry.name.split("/")[0] for entry in entries if "/" in entry.name} | {REPORT_FOLDER}
    files = {f"{PIPELINE_FILE}.py", RECIPE_NAME, *RUN_FILES}
    stale = [
        name for name in sorted(existing - names) if name in files or ("/" in name and name.split("/")[0] in folders)
    ]
    return operations + [CommitOperationDelete(name) for name in stale]


def _commit(target: Target, operations: list[Any], before: str, message: str) -> Any:
    """The one commit, on top of what was there when the push began."""
    return _patiently(
        lambda: _api(target).create_commit(
            target.repo_id,
            operations,
            commit_message=message,
            revision=target.revision,
            create_pr=target.create_pr,
            parent_commit=before,
        ),
        tried_once="/commit/",
    )


def _verify(target: Target, commit: str, entries: Sequence[Entry]) -> None:
    """Fetch every file of a commit and compare it with what was listed."""
    names = [entry.name for entry in entries]
    with tempfile.TemporaryDirectory() as cache:
        try:
            found = snapshot_download(
                target.repo_id, revision=commit, cache_dir=cache, token=target.token, allow_patterns=names
            )
            back = {entry.name: entry.sha256 for entry in list_tree(Path(found))}
        except FAILURES as error:
            _fail(target, error, f"fetching commit {commit}, which was made, to compare it")
    wrong = [entry.name for entry in entries if back.get(entry.name) != entry.sha256]
    if wrong:
        raise PushError(
            f"{target.repo_id}: commit {commit} was made, but {', '.join(wrong)} came back unlike what was listed; "
            "push again, or undo that commit."
        )


def _arrived(target: Target, before: str, entries: Sequence[Entry]) -> str | None:
    """The commit that arrived although its answer was lost on the way back; None if there is none."""
    try:
        now = str(_api(target).model_info(target.repo_id, revision=target.revision, timeout=10).sha)
        if now != before:
            _verify(target, now, entries)
    except FAILURES:
        return None
    return now if now != before else None


def _fail(target: Target, error: Exception, doing: str, before: str | None = None) -> NoReturn:
    """Turn an error of the client into a sentence, with what the remote holds now where that is known."""
    if isinstance(error, PushError):
        raise error
    status = _status(error)
    name, where = target.repo_id, constants.ENDPOINT
    reasons = {
        401: f"the token is not valid; make a new one at {_settings()}",
        403: f"the token has no right to write to {name}; it needs one, or another name",
        404: f"no repository {name} with that revision, or this token may not see it",
        409: f"{name} changed while the push was under way; start it again",
        412: f"{name} changed while the push was under way; start it again",
        429: f"{where} wants fewer requests; wait some minutes and start again",
    }
    reason = reasons.get(status or 0)
    if reason is None and status is not None and status >= 500:
        reason = f"{where} is in trouble (status {status}); start again later"
    reason = reason or f"the connection to {where} broke, or was never made; start again" * (status is None)
    now = _state(target, before)
    detail = (
        " ".join(f"{type(error).__name__}: {error}".split()) if status is None or not reason else f"status {status}"
    )
    text = f"{doing} failed: {reason or 'the Hub refused'}. {now}({detail})"
    # `from None`: the client's own errors carry requests, and a request carries the token.
    raise PushError(text.replace(target.token or "\0", "hf_…")) from None


def _state(target: Target, before: str | None) -> str:
    """A sentence about the remote after a failure, or nothing if that cannot be learnt."""
    if before is None:
        return ""
    try:
        now = _api(target).model_info(target.repo_id, revision=target.revision, timeout=10).sha
    except FAILURES:
        return f"The remote was at commit {before[:12]}; whether it still is could not be learnt. "
    return f"The remote is {'still' if now == before else 'now'} at commit {str(now)[:12]}. "
