"""A small Hub on loopback: what huggingface_hub asks of the real one, faults on demand, and everything in memory.

Written after the requests of huggingface_hub 2.4 (its `hf_api.py`, `_commit_api.py`, `lfs.py`, `file_download.py`).
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Fault:
    """What goes wrong at requests whose "METHOD /path" matches, the next `times` times.

    `action`: an HTTP status; "cut" closes the connection within the request's body; "lost" does what was asked and
    closes the connection in place of an answer; "hang" never answers; "garble" answers with a byte changed. Bytes are
    the answer's body, with status 200, after what was asked was done.
    """

    pattern: str
    action: int | str | bytes
    times: int = 1


@dataclass
class Repository:
    """A repository: each commit is all its files."""

    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})

    def commit(self, ref: str, files: Files) -> str:
        content = repr((ref, len(self.commits), sorted((n, hashlib.sha1(b).hexdigest()) for n, b in files.items())))
        sha = hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs[ref] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    @property
    def head(self) -> Files:
        return self.commits[self.refs["main"]]


class Hub:
    """The server of a `Handler` with routes; use as a context manager.

    Attributes:
        url: for HF_ENDPOINT.
        tokens: token to user, role and organizations.
        repositories: by name.
        faults: to come.
        requests: "METHOD /path" of all that was asked.
        hanging: set when a request has begun to hang.
        chunk_size: of multi-part uploads, in bytes; None is uploads in one part.
    """

    def __init__(self, handler: type["Handler"]):
        self.handler = handler
        self.tokens = {
            "hf_SECRETwrite": {"name": "ada", "role": "write", "orgs": ["lab"]},
            "hf_SECRETread": {"name": "ada", "role": "read", "orgs": []},
            "hf_SECRETbob": {"name": "bob", "role": "write", "orgs": []},
        }
        self.repositories: dict[str, Repository] = {}
        self.objects: Files = {}
        self.parts: dict[str, Files] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.hanging, self.released = threading.Event(), threading.Event()
        self.chunk_size: int | None = None
        self.lock = threading.Lock()

    def __enter__(self):
        bound = type("Bound", (self.handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def count(self, pattern: str) -> int:
        """How many requests matched."""
        return sum(bool(re.search(pattern, request)) for request in self.requests)


class Problem(Exception):
    def __init__(self, status, message, code=None, told=None):
        self.status, self.message, self.code, self.told = status, message, code, told


class Handler(BaseHTTPRequestHandler):
    """One request: what was sent, the fault that is due, and the answer. A subclass has the routes.

    Attributes:
        hub: the server.
        body: what was sent.
        path_only: the path, decoded and without its query.
    """

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._handle()

    do_POST = do_PUT = do_HEAD = do_GET

    def _handle(self):
        self.path_only = unquote(urlsplit(self.path).path)
        request = f"{self.command} {self.path_only}"
        fault = None
        with self.hub.lock:
            self.hub.requests.append(request)
            for candidate in self.hub.faults:
                if candidate.times > 0 and re.search(candidate.pattern, request):
                    candidate.times -= 1
                    fault = candidate.action
                    break
        length = int(self.headers.get("Content-Length") or 0)
        if fault == "cut":
            self.rfile.read(length // 2)
            return self._drop()
        self.body = self._read_body(length)
        if fault == "hang":
            self.hub.hanging.set()
            self.hub.released.wait(60)
            return self._drop()
        try:
            if isinstance(fault, int):
                # Some servers repeat what they were sent; no message may tell the token for all that.
                raise Problem(fault, f"status {fault} on purpose", told=self.headers.get("Authorization"))
            with self.hub.lock:
                status, headers, content = self._route()
            if fault == "garble":
                content = content[:-1] + bytes([content[-1] ^ 1])
            if isinstance(fault, bytes):
                status, headers, content = 200, {"Content-Type": "application/json"}, fault
        except Problem as problem:
            status, content = problem.status, json.dumps({"error": f"{problem.message} {problem.told or ''}"}).encode()
            headers = {"X-Error-Message": problem.message, **({"X-Error-Code": problem.code} if problem.code else {})}
        if fault == "lost":
            return self._drop()
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _read_body(self, length):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(length)
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _drop(self):
        self.close_connection = True
        self.connection.close()

    def _route(self) -> tuple[int, dict[str, str], bytes]:
        """Do what is asked, or raise `Problem`; status, headers and content of the answer."""
        raise NotImplementedError
