"""The Hub as one push sees it: what may pass is asked again, and every error says what the remote holds now.

No message here holds a token.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from ..pipelines.loading import UNREADABLE_ANSWERS
from .component_code import PACKAGE

# huggingface_hub tries again by itself when it uploads and downloads; these are for the requests that it makes once.
TRIES, SECONDS_BETWEEN_TRIES = 3, 1.0
PASSING = (429, 500, 502, 503, 504)
# Its errors come from one HTTP library or another, by its version; all of them derive from one of these.
FAILURES: tuple[type[Exception], ...] = (HfHubHTTPError.__bases__[0], OSError, RuntimeError)


class PushError(OSError):
    """A push that did not succeed; the message says why, what the remote holds now, and what to do.

    Attributes:
        exit_status: of a command: 2 if what was asked for cannot be done, and 1 if it failed.
    """

    def __init__(self, message: str, exit_status: int = 1):
        super().__init__(message)
        self.exit_status = exit_status


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
class State:
    """A repository at one commit; `files` is name to the SHA-256 of a large file, and to git's hash of a small one."""

    commit: str
    private: bool
    files: dict[str, str]


class Hub:
    """Asks the Hub about one repository.

    Args:
        target: with a token.

    Attributes:
        before: the commit that the target's revision was at when the push began; None until that is known.
        has_sent: whether a request that changes the remote was made.
    """

    def __init__(self, target: Target):
        self.target, self.api = target, HfApi(token=target.token, library_name=PACKAGE)
        self.before: str | None = None
        self.has_sent = False

    def ask(self, request: str, call: Callable[[HfApi], Any], none_for: int | None = None, once: str = "") -> Any:
        """Return what a call of the client returns, or None if the Hub answers with the status `none_for`.

        Args:
            request: method and path, or words if there are several.
            call: repeated while the fault may pass.
            none_for: a status.
            once: part of the address of the only request of `call` that the client does not repeat by itself; it is
                not repeated if its answer was lost, because it may have arrived.

        Raises:
            PushError: names the request and says what the remote holds now.
        """
        self.has_sent |= not request.startswith("GET")
        for tried in range(1, TRIES + 1):
            try:
                return call(self.api)
            except (*FAILURES, *UNREADABLE_ANSWERS) as error:
                status, asked = answer_of(error)
                if status is not None and status == none_for:
                    return None
                passing = (status in PASSING and once in asked) or (status is None and not once)
                if tried == TRIES or not passing:
                    # `from None`: the client's own errors carry requests, and a request carries the token.
                    raise self._explained(request, asked, status, error) from None
            time.sleep(SECONDS_BETWEEN_TRIES * tried)
        raise AssertionError("unreachable")

    def state(self, revision: str | None = None) -> State | None:
        """Return what a branch or commit holds; None if there is no such repository, or the token may not see it."""

        def read(api: HfApi) -> State:
            info = api.model_info(self.target.repo_id, revision=revision, files_metadata=True, timeout=30)
            files = {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in info.siblings or []}
            return State(str(info.sha), bool(info.private), files)

        return self.ask(f"GET /api/models/{self.target.repo_id}", read, none_for=404)

    def _explained(self, request: str, asked: str, status: int | None, error: Exception) -> PushError:
        """Return an error of the client as a sentence."""
        name, where = self.target.repo_id, constants.ENDPOINT
        changed = f"{name} changed while the push was under way; start it again"
        reasons = {
            401: f"the token is not valid; make a new one at {token_settings()}",
            403: f"the token has no right to write to {name}; it needs one, or another name",
            404: f"no repository {name} with that revision, or this token may not see it",
            **dict.fromkeys((409, 412), changed),
            429: f"{where} wants fewer requests; wait some minutes and start again",
        }
        detail = f"status {status}" if status else " ".join(f"{type(error).__name__}: {error}".split())
        if status:
            trouble = f"{where} is in trouble (status {status}); start again later" if status >= 500 else "it refused"
            reason = reasons.get(status, trouble)
        elif isinstance(error, UNREADABLE_ANSWERS) and not isinstance(error, OSError):
            reason = f"the answer of {where} could not be read; start again"
        else:
            reason = f"the connection to {where} broke, or was never made; start again"
        text = f"{request} failed: {reason}. {self._now()} ({': '.join(filter(None, (asked, detail)))})"
        return PushError(text.replace(self.target.token or "\0", "hf_…"))

    def _now(self) -> str:
        """Return a sentence about what the remote holds."""
        if not self.has_sent:
            return "Nothing was sent."
        try:
            now = str(self.api.model_info(self.target.repo_id, revision=self.target.revision, timeout=10).sha)
        except (*FAILURES, *UNREADABLE_ANSWERS) as error:
            known = f"was at commit {self.before[:12]}" if self.before else "may have been made, without files"
            unknown = f"The remote {known}; what it holds now could not be learnt."
            return f"The remote has no {self.target.repo_id}." if answer_of(error)[0] == 404 else unknown
        return f"The remote is {'still' if now == self.before else 'now'} at commit {now[:12]}."


def token_settings() -> str:
    """Return the address where tokens are made."""
    return f"{constants.ENDPOINT}/settings/tokens"


def answer_of(error: BaseException | None) -> tuple[int | None, str]:
    """Return the status behind an error or its cause, and "METHOD /path"; None and "" if the client does not tell."""
    asked = ""
    while error is not None:
        response = getattr(error, "response", None)
        with suppress(AttributeError, RuntimeError):  # of an error or answer that does not know its request
            request: Any = (error if response is None else response).request  # type: ignore[union-attr]
            asked = f"{request.method} {urlsplit(str(request.url)).path}"
        if response is not None:
            return int(response.status_code), asked
        error = error.__cause__
    return None, asked
