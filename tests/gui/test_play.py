"""`text2digit play` behind a proxy: the page of this machine is asked without it, and nothing else changes."""

import os
import urllib.request

import pytest

from text2digit.gui import play

from .visitor import PATIENCE_S

gradio = pytest.importorskip("gradio", reason="needs the extra gui")
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
DEAD = "http://127.0.0.1:9"


def proxies():
    return {(name, value) for name, value in os.environ.items() if "proxy" in name.lower()}


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTP_PROXY": DEAD},
        {"https_proxy": DEAD, "HTTPS_PROXY": DEAD},
        {"ALL_PROXY": DEAD},
        {"all_proxy": "socks5://127.0.0.1:9"},
        {"http_proxy": "proxy-without-a-scheme:3128", "no_proxy": "example.com"},
        {"http_proxy": DEAD, "NO_PROXY": "example.com"},
        {"http_proxy": DEAD, "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SHARE": "True"},
    ],
    ids=str,
)
def test_the_page_opens_whatever_proxy_is_set(monkeypatch, capsys, environment):
    """Catches 30 lines of traceback, and an environment that later requests to the Hub find changed."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before, seen = proxies(), []

    def look(app):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        seen.append((app.local_url, opener.open(app.local_url, timeout=PATIENCE_S).status, app.share))
        app.close(verbose=False)

    monkeypatch.setattr(gradio.Blocks, "block_thread", look)
    assert play.main([]) == 0
    ((url, status, shared),) = seen
    name = "localhost" if "GRADIO_SERVER_NAME" in environment else "127.0.0.1"
    assert url.startswith(f"http://{name}:") and status == 200 and not shared
    assert f"text2digit is at {url}" in capsys.readouterr().err
    assert proxies() == before == environment.items() & before
