"""See it work in the browser: `text2digit play`, offline and for this machine alone."""

import argparse
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from text2digit.gui.words import LANGUAGES
from text2digit.pipelines.loading import find_pipeline_folder
from text2digit.runtime import say
from text2digit.shell import Parser, command, number, set_up

DEFAULT_MODEL = "unet-mnist"
LOOPBACK = "127.0.0.1"


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--model", default=DEFAULT_MODEL, help="a folder, shipped weights, or user/name on the Hub (%(default)s)")
    add("--port", type=number(int, 0, 65535), help="of the page (the first free one from 7860 on)")
    hosts = f"address to listen at, such as 0.0.0.0 (GRADIO_SERVER_NAME, or {LOOPBACK}); or a name, such as that of a "
    add("--host", action="append", default=[], help=f"{hosts}proxy, that visitors reach the page by")
    add("--lang", choices=list(LANGUAGES), help="of the first page; the other is a link (that of the browser)")
    add("--open", action="store_true", help="open the browser")


def play(arguments: argparse.Namespace) -> None:
    """Serve the page until it is stopped."""
    check_gradio()
    find_pipeline_folder(arguments.model)
    address, names = listen_at(arguments.host)
    set_up()
    from text2digit.gui.app import launch_options, make_app
    from text2digit.gui.studio import Studio

    app = make_app(Studio(arguments.model), arguments.lang or "en")
    with _no_proxy():
        app.launch(
            server_name=address, server_port=arguments.port, inbrowser=arguments.open, quiet=True,
            prevent_thread_lock=True, **launch_options(names, arguments.lang),
        )  # fmt: skip
    say(f"text2digit is at {app.local_url} (Ctrl+C ends it)")
    app.block_thread()


def listen_at(hosts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the address to listen at, and names that visitors may reach the page by, of what `--host` lists."""
    addresses = [host for host in hosts if _is_address(host)][-1:]
    address = (addresses or [os.environ.get("GRADIO_SERVER_NAME", LOOPBACK)])[0]
    is_open = not (_is_address(address) and ipaddress.ip_address(address).is_loopback)
    return address, [host for host in hosts if not _is_address(host)] + [address] * is_open


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def check_gradio() -> None:
    """Say how to install gradio where it is missing."""
    if find_spec("gradio") is None:
        message = "got no gradio, expected it for the app; install it by: pip install 'text2digit[gui]'"
        raise ValueError(message)


@contextmanager
def _no_proxy() -> Iterator[None]:
    """Within the block no request goes through a proxy: gradio asks its own server whether it is up.

    With hosts in place of "*" the client would still make a connection to each proxy, and fail at those of SOCKS.
    """
    former = {name: value for name, value in os.environ.items() if name == "no_proxy"}
    os.environ["no_proxy"] = "*"  # in lower case, which wins over NO_PROXY
    try:
        yield
    finally:
        os.environ.pop("no_proxy")
        os.environ.update(former)


main = command("text2digit play", __doc__, flags, play)
