"""Who may ask the app for what, tried on a real server by raw requests."""

import json
import time

import pytest

pytest.importorskip("gradio", reason="needs the extra gui")

from text2digit.gui.app import launch_options, make_app

from .visitor import Visitor, raw

PATHS = "/upload /gradio_api/upload /gradio_api/upload_progress /monitoring /monitoring/summary /gradio_api/info"
PATHS += " /gradio_api/openapi.json /openapi.json /docs /config /gradio_api/runs /login /gradio_api/user /manifest.json"
PATHS += (
    " /gradio_api/token /gradio_api/deep_link /gradio_api/vibe-code /gradio_api/component_server /gradio_api/cancel"
)
PATHS += " /gradio_api/call/draw /gradio_api/api/predict /gradio_api/reset /gradio_api/process_recording /pwa_icon"
PATHS += " /gradio_api/proxy=http://127.0.0.1:1/ /gradio_api/stream/1 /svelte/x.js /gradio_api/queue/join/../upload"


@pytest.fixture
def app(studio):
    app = make_app(studio)
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options())
    yield app
    app.close()


def head(method="GET", path="/", version="1.1", **headers):
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "Connection: close", "", ""]).encode()


def test_only_our_hosts_and_our_pages_reach_the_app(app):
    """Would catch DNS rebinding, and a form or script of another site that posts to the app."""
    port = app.local_url.rstrip("/").rsplit(":", 1)[1]
    ours = f"127.0.0.1:{port}"
    allowed = [ours, "127.0.0.1", "localhost", f"LOCALHOST:{port}", "[::1]:9999", "127.0.0.2:1", f"localhost:{port}"]
    for host in allowed:
        assert raw(app.local_url, head(Host=host))[0] == 200, host
        assert raw(app.local_url, head(Host=host, Origin=f"http://{host}"))[0] == 200, host
    foreign = ["evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0"]
    foreign += ["10.0.0.7", "[::2]", "localhost:", "localhost:80:80", "user@localhost", "::1", "2130706433", "", "[]"]
    for host in foreign:
        status, told = raw(app.local_url, head(Host=host))
        assert status == 403 and b"Host: got" in told and b"--host NAME" in told, host
    assert raw(app.local_url, head(version="1.0"))[0] == 403
    assert raw(app.local_url, head(version="1.0", Host=ours))[0] == 200
    assert raw(app.local_url, head(Host=ours).replace(b"Conn", b"Host: evil.example\r\nConn"))[0] in (400, 403)
    assert raw(app.local_url, head(path="http://evil.example/", Host="evil.example"))[0] == 403
    assert raw(app.local_url, head(path="http://evil.example/", Host=ours))[0] in (403, 404)
    for origin in ("http://evil.example", "null", "http://localhost:1", f"http://{ours}.evil.example", "file://"):
        assert raw(app.local_url, head(Host=ours, Origin=origin))[0] == 403, origin
        posted = head("POST", "/gradio_api/queue/join", Host=ours, Origin=origin, Content_Length=2) + b"{}"
        assert raw(app.local_url, posted)[0] == 403, origin
    heartbeat = {"path": "/gradio_api/heartbeat/abc", "Host": ours}
    assert raw(app.local_url, head(**heartbeat, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors"))[0] == 403
    assert raw(app.local_url, head(Host=ours, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate"))[0] == 200
    socket = {"Upgrade": "websocket", "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Version": 13}
    assert raw(app.local_url, head(path="/gradio_api/queue/data", Host="evil.example", **socket))[0] in (400, 403)


def test_stated_hosts_reach_the_app(studio, monkeypatch):
    """Would catch a Space that refuses its own name."""
    monkeypatch.setenv("SPACE_HOST", "me-digits.hf.space")
    app = make_app(studio)
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options(["Lab.example"]))
    try:
        for host in ("me-digits.hf.space", "lab.example:8080", "10.0.0.7:7860", "localhost"):
            assert raw(app.local_url, head(Host=host, Origin=f"https://{host}"))[0] == 200, host
        assert raw(app.local_url, head(Host="evil.example"))[0] == 403
    finally:
        app.close()


def test_nothing_is_open_that_the_page_does_not_need(app):
    """Would catch uploads, monitoring and the description of an API that nobody is to use."""
    host = app.local_url.removeprefix("http://").rstrip("/")
    for path in PATHS.split():
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            request = head(method, path, Host=host, Content_Type="multipart/form-data; boundary=x", Content_Length=0)
            assert raw(app.local_url, request)[0] in (400, 404, 405), (method, path)
    for path in ("/ko", "/theme.css", "/gradio_api/app_id"):
        assert raw(app.local_url, head(path=path, Host=host))[0] == 200, path
    for path in ("/etc/passwd", "../../etc/passwd", "http://127.0.0.1:1/x", __file__):
        assert raw(app.local_url, head(path=f"/gradio_api/file={path}", Host=host))[0] in (403, 404), path


def test_large_bodies_are_refused_before_they_are_parsed(app):
    """Would catch a prompt of 48 MB that is taken: all others wait, and gigabytes stay."""
    host = app.local_url.removeprefix("http://").rstrip("/")
    visitor = Visitor(app, "large")
    draw = visitor.function("Draw")
    data = visitor.inputs(draw, prompts_one_per_line="7" * 48_000_000)
    body = json.dumps({"data": data, "fn_index": draw._id, "session_hash": "large"}).encode()
    for path in ("queue/join", "run/predict"):
        started = time.perf_counter()
        request = head(
            "POST", f"/gradio_api/{path}", Host=host, Content_Type="application/json", Content_Length=len(body)
        )
        status, told = raw(app.local_url, request + body)
        assert status == 413 and b"expected fewer" in told and time.perf_counter() - started < 10
    chunked = head("POST", "/gradio_api/queue/join", Host=host, Transfer_Encoding="chunked")
    chunk = b"100000\r\n" + b"7" * 0x100000 + b"\r\n"
    assert raw(app.local_url, chunked + 3 * chunk + b"0\r\n\r\n")[0] == 413


def test_the_gate_comes_before_all_else(app):
    """Would catch a preflight that is answered before anyone asks which host, site or path it is for."""
    host = app.local_url.removeprefix("http://").rstrip("/")
    asked = {"Access_Control_Request_Method": "POST"}
    for origin in (f"http://{host}", "http://localhost:1", "http://evil.example"):
        for path in ("/", "/gradio_api/queue/join", "/gradio_api/upload"):
            assert raw(app.local_url, head("OPTIONS", path, Host=host, Origin=origin, **asked))[0] in (403, 404), origin
            assert raw(app.local_url, head("OPTIONS", path, Host="evil.example", Origin=origin, **asked))[0] == 403
