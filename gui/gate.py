"""The app's gate: which requests reach the server."""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .words import LANGUAGES

# All that the page asks for. The server has more: uploads, a description of its API, monitoring, logins.
READ = re.compile(
    rf"/(({'|'.join(LANGUAGES)})/?)?|/(assets|static)/.+|/theme\.css|/favicon\.ico|/robots\.txt|"
    r"/gradio_api/(app_id|startup-events|queue/data|heartbeat/[\w-]+|file=.+)"
)
WRITTEN = re.compile(r"/gradio_api/(queue/join|run/predict)")
# A form with 100 prompts or two large sketches has less than 300 kB.
MOST_BYTES = 1_000_000


class Gate:
    """ASGI middleware that refuses what the page does not need: other hosts, sites, paths and large bodies.

    A page of another site can reach a server on loopback, by a form or by a name that it points here (DNS rebinding).
    Its browser names that site in `Host`, `Origin` or `Sec-Fetch-Site`.

    Args:
        app: the server behind the gate.
        hosts: names that the server goes by, besides those of loopback.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()):
        self._app, self._hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        refusal = self._refusal(scope)
        if scope["method"] == "POST":
            body = await _read(receive)
            if len(body) > MOST_BYTES:
                told = f"body: got more than {MOST_BYTES:,} bytes, expected fewer; ask for less at once."
                refusal = refusal or (413, told)
            receive = _replay(body, receive)
        if refusal is None:
            return await self._app(scope, receive, send)
        status, why = refusal
        await JSONResponse({"detail": why}, status)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, or None for a request of the page."""
        headers = Headers(scope=scope)
        hosts, origins, sites = (headers.getlist(name) for name in ("host", "origin", "sec-fetch-site"))
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            names = ", ".join(["localhost", *sorted(self._hosts)])
            return 403, f"Host: got {_short(hosts)}, expected {names}; start `text2digit play --host NAME` for another."
        own = [[f"{scheme}://{hosts[0].lower()}"] for scheme in ("http", "https")]
        if origins and [origin.lower() for origin in origins] not in own:
            return 403, f"Origin: got {_short(origins)}, expected the page's own, {hosts[0]}."
        if not {*sites} <= {"same-origin", "none"} and headers.get("sec-fetch-mode") != "navigate":
            return 403, f"Sec-Fetch-Site: got {_short(sites)}, expected same-origin."
        known = {"GET": READ, "HEAD": READ, "POST": WRITTEN}.get(scope["method"])
        if known is None or not known.fullmatch(scope["path"]):
            return 404, f"{scope['method']} {_short([scope['path']])}: the page does not need it, so it is closed."
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names loopback or a stated host, with any port: a tunnel may change it."""
        match = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^\s:\[\]@/\\]+))(?::\d{1,5})?", host.lower())
        name = (match[1] or match[2]) if match else ""
        try:
            # An address in digits cannot be made to point elsewhere, and a hosted app's health is asked for by it.
            return ipaddress.ip_address(name).is_loopback or bool(self._hosts)
        except ValueError:
            return name == "localhost" or name in self._hosts


class Aside:
    """ASGI middleware that puts a sentence at the end of each page, for browsers without JavaScript.

    Gradio's own `head` comes by JavaScript, too.

    Args:
        app: the server, which sends a page in one message.
        html: what is put there.
    """

    def __init__(self, app: ASGIApp, html: str):
        self._app, self._html = app, html.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does, and add to its pages."""
        page: Message | None = None

        async def tell(message: Message) -> None:
            nonlocal page
            if message["type"] == "http.response.start":
                if Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                    page = message  # its length is not known yet
                    return
            elif page is not None:
                body = message.get("body", b"").replace(b"</body>", self._html + b"</body>")
                MutableHeaders(scope=page)["content-length"] = str(len(body))
                await send(page)
                message, page = {**message, "body": body}, None
            await send(message)

        await self._app(scope, receive, tell)


def _short(values: Sequence[str]) -> str:
    return repr(", ".join(values)[:80]) if values else "none"


async def _read(receive: Receive) -> bytes:
    """The body. One that is too large is read to its end, so that the client gets to the answer, but not kept."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"") if len(body) <= MOST_BYTES else b""
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that tells of a body that was read, and then of what follows."""
    told: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Message:
        return next(told, None) or await receive()

    return again
