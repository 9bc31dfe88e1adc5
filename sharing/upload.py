"""A tree goes to the Hub in one commit, and is fetched again and compared.

Until that commit the repository's files are what they were, so a push that fails or is killed changes none of them;
large files that were sent before it belong to no commit.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..pipelines.loading import INDEX_NAME, find_token
from .component_code import PACKAGE, PIPELINE_FILE
from .files import REPORT_FOLDER, RUN_FILES
from .hub import Hub, PushError, State, Target, token_settings
from .tree import RECIPE_NAME, Entry, build_tree, list_tree, load_tree_back

# Up to this size a file is read once, compared with its hash and sent from memory; larger ones are sent from the disk,
# and the Hub compares the hash.
LARGEST_IN_MEMORY = 10_000_000
# What a new repository, or one that waits for its model, may hold.
HARMLESS = {".gitattributes", "README.md", "LICENSE"}


@dataclass(frozen=True)
class Pushed:
    """What a push made: the commit, where it can be seen, and how many files were fetched again and compared.

    `num_files` is 0 where the remote held the same files already, so nothing was sent.
    """

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
    raise PushError(f"--repo: got {repo_id!r}, expected user/name, of letters, digits, '-', '_' and '.': {reason}", 2)


def check_target(target: Target) -> Target:
    """Ask the Hub whether a push can succeed, before any work is done for it; nothing is changed there.

    Returns:
        The target with the user in its name, and the token.

    Raises:
        PushError: a bad name, no token, one that is not valid or may not write there, or no connection.
    """
    check_repo_id(target.repo_id, with_user=False)
    if target.create_pr and target.revision not in (None, "main"):
        raise PushError(f"--revision: got {target.revision!r} with --create-pr, which goes to main; leave one out.", 2)
    if constants.HF_HUB_OFFLINE:
        raise PushError("HF_HUB_OFFLINE is set, so nothing can be sent; unset it, or use --dry-run.", 2)
    token = find_token(target.token)
    if not token:
        raise PushError("no token: log in with `hf auth login`, or set HF_TOKEN to a token that may write.", 2)
    target = replace(target, token=token)
    who = Hub(target).ask("GET /api/whoami-v2", _whoami, none_for=401)
    if who is None:
        raise PushError(f"the token is not valid; make a new one at {token_settings()}.", 2)
    user, organizations, role = who
    if role == "read":
        raise PushError(f"the token of {user} may only read; make one that may write, at {token_settings()}.", 2)
    if "/" not in target.repo_id:
        target = replace(target, repo_id=f"{user}/{target.repo_id}")
    if target.repo_id.split("/")[0] not in (user, *organizations) and not target.create_pr:
        known = ", ".join(f"{name}/…" for name in (user, *organizations))
        raise PushError(
            f"--repo: got {target.repo_id!r}, but the token is of {user}, who may write to {known}; name one of these, "
            "or propose it with --create-pr.",
            2,
        )
    return target


def _whoami(api: HfApi) -> tuple[str, list[str], str | None]:
    """Return the token's user, that user's organizations, and the token's role."""
    who = api.whoami()
    token = who.get("auth", {}).get("accessToken", {})
    return who["name"], [each["name"] for each in who.get("orgs", [])], token.get("role")


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
    """Send what of a tree the remote does not hold in one commit, fetch all of it, and compare every file.

    Args:
        folder, entries: as `build_tree` wrote and listed them.
        target: as `check_target` returned it.
        message: of the commit.

    Raises:
        PushError: a right is missing, the name is taken, a file or the repository changed on the way, the connection
            broke, or what comes back is not what was sent.
    """
    hub = Hub(target)
    state = _open_repository(hub)
    hub.before = state.commit
    operations = _operations(folder, entries, state)
    if not operations:
        return Pushed(state.commit, _commit_url(target, state.commit), 0)
    try:
        commit, url = _commit(hub, operations, message or f"Upload by {PACKAGE}")
    except PushError:  # also of an answer that was lost on its way back
        arrived = _arrived(hub, folder, entries)
        if arrived is None:
            raise
        commit, url = arrived, _commit_url(target, arrived)
    _verify(hub, commit, entries)
    return Pushed(commit, url, len(entries))


def _commit_url(target: Target, commit: str) -> str:
    return f"{constants.ENDPOINT}/{target.repo_id}/commit/{commit}"


def _open_repository(hub: Hub) -> State:
    """Return the state of the target's revision; a repository or branch that is missing is made."""
    name, branch, private = hub.target.repo_id, hub.target.revision, hub.target.private
    state = hub.state()
    if state is None:
        if hub.target.create_pr:
            raise PushError(f"{name}: does not exist, or this token may not see it; a pull request needs it.", 2)
        # 409 also stands for a repository of our own, whose first answer was lost.
        hub.ask("POST /api/repos/create", lambda api: api.create_repo(name, private=private), none_for=409)
        state = hub.state()
    if state is None:
        raise PushError(f"--repo: {name} is taken by a repository that this token may not see.", 2)
    _check_existing(hub, state)
    if branch is not None and branch != "main":
        request = f"POST /api/models/{name}/branch/{branch}"
        hub.ask(request, lambda api: api.create_branch(name, branch=branch, exist_ok=True))
        state = hub.state(branch) or state
    return state


def _check_existing(hub: Hub, state: State) -> None:
    """Leave alone what is not a pipeline of ours, and do not let a public repository pass for a private one."""
    target = hub.target
    if target.private and not state.private:
        raise PushError(
            f"--private: {target.repo_id} exists already and is public; make it private in its settings, or pass "
            "another name.",
            2,
        )
    if state.files.keys() <= HARMLESS:
        return

    def read_index(api: HfApi) -> bytes:
        with tempfile.TemporaryDirectory() as cache:
            return Path(api.hf_hub_download(target.repo_id, INDEX_NAME, cache_dir=cache)).read_bytes()

    request = f"GET /{target.repo_id}/resolve/main/{INDEX_NAME}"
    index = hub.ask(request, read_index) if INDEX_NAME in state.files else b""
    if b"DigitPipeline" not in index:
        raise PushError(
            f"--repo: {target.repo_id} is taken by something that is no pipeline of {PACKAGE} "
            f"({', '.join(sorted(state.files)[:4])}, …); pass another name.",
            2,
        )


def _operations(folder: Path, entries: Sequence[Entry], state: State) -> list[Any]:
    """Return additions of what the remote does not hold, and deletions of what an earlier push left there."""
    operations: list[Any] = []
    for entry in entries:
        path = folder / entry.name
        try:
            content = path.read_bytes() if entry.size <= LARGEST_IN_MEMORY else None
            operation = CommitOperationAdd(entry.name, str(path) if content is None else content)
        except (OSError, ValueError) as error:
            raise PushError(
                f"{entry.name}: was listed and cannot be read any more ({error}); nothing was sent."
            ) from None
        if operation.upload_info.sha256.hex() != entry.sha256:
            raise PushError(f"{entry.name}: has changed since it was listed; nothing was sent. Start the push again.")
        as_git = hashlib.sha1(b"blob %d\0" % entry.size + (content or b"")).hexdigest()
        if state.files.get(entry.name) not in (entry.sha256, as_git):
            operations.append(operation)
    names = {entry.name for entry in entries}
    folders = {entry.name.split("/")[0] for entry in entries if "/" in entry.name} | {REPORT_FOLDER}
    files = {f"{PIPELINE_FILE}.py", RECIPE_NAME, *RUN_FILES}
    stale = [
        name
        for name in sorted(state.files.keys() - names)
        if name in files or ("/" in name and name.split("/")[0] in folders)
    ]
    return operations + [CommitOperationDelete(name) for name in stale]


def _commit(hub: Hub, operations: list[Any], message: str) -> tuple[str, str]:
    """Make the one commit, on top of what was there when the push began; returns it and its address."""
    target = hub.target

    def send(api: HfApi) -> tuple[str, str]:
        options: Any = {"revision": target.revision, "create_pr": target.create_pr, "parent_commit": hub.before}
        made = api.create_commit(target.repo_id, operations, commit_message=message, **options)
        return str(made.oid), made.pr_url or made.commit_url

    return hub.ask("pushing", send, once="/commit/")


def _arrived(hub: Hub, folder: Path, entries: Sequence[Entry]) -> str | None:
    """Return the commit that arrived although its answer was lost or cannot be read; None if there is none."""
    name, revision = hub.target.repo_id, hub.target.revision

    def newest_proposal(api: HfApi) -> str:
        refs = [proposal.ref for proposal in api.list_repo_refs(name, include_pull_requests=True).pull_requests or ()]
        return max(refs, key=lambda ref: int(ref.rpartition("/")[2]))

    try:
        if hub.target.create_pr:
            revision = hub.ask(f"GET /api/models/{name}/refs", newest_proposal)
        state = hub.state(revision)
        if state is None or state.commit == hub.before or _operations(folder, entries, state):
            return None
        return state.commit
    except PushError:
        return None


def _verify(hub: Hub, commit: str, entries: Sequence[Entry]) -> None:
    """Fetch every file of a commit and compare it with what was listed."""
    target, names = hub.target, [entry.name for entry in entries]

    def fetch(api: HfApi) -> dict[str, str]:
        with tempfile.TemporaryDirectory() as cache:  # a new one for each try: half a download would count as whole
            found = snapshot_download(
                target.repo_id, revision=commit, cache_dir=cache, token=target.token, allow_patterns=names
            )
            return {entry.name: entry.sha256 for entry in list_tree(Path(found))}

    back = hub.ask(f"comparing commit {commit}, which was made,", fetch)
    wrong = [entry.name for entry in entries if back.get(entry.name) != entry.sha256]
    if wrong:
        raise PushError(
            f"{target.repo_id}: commit {commit} was made, but {', '.join(wrong)} came back unlike what was listed; "
            "push again, or undo that commit."
        )
