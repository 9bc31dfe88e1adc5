"""See it work in the browser: `text2digit play`, offline and for this machine alone."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from text2digit.gui.words import LANGUAGES
from text2digit.runtime import keep_freed_memory

DEFAULT_MODEL = "unet-mnist"
NO_GRADIO = "error: got no gradio, expected it for the app; install it by: pip install 'text2digit[gui]'"
LOOPBACK = "127.0.0.1"


def make_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(prog="text2digit play", description=__doc__)
    add = parser.add_argument
    add("--model", default=DEFAULT_MODEL, help="a folder, shipped weights, or user/name on the Hub (%(default)s)")
    add("--port", type=int, help="of the page (the first free one from 7860 on)")
    add("--host", action="append", default=[], metavar="NAME", help="another name that a proxy reaches the page by")
    add("--lang", choices=list(LANGUAGES), help="of the first page; the other is a link (that of the browser)")
    add("--open", action="store_true", help="open the browser")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it is stopped; returns the exit status."""
    arguments = make_parser().parse_args(argv)
    keep_freed_memory()  # before the first tensor
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        print(NO_GRADIO, file=sys.stderr)
        return 2
    from diffusers.utils import logging

    from text2digit.gui.app import launch_options, make_app
    from text2digit.gui.studio import Studio

    logging.disable_progress_bar()
    try:
        app = make_app(Studio(arguments.model), arguments.lang or "en")
        with _no_proxy():
            app.launch(
                server_name=LOOPBACK, server_port=arguments.port, inbrowser=arguments.open, quiet=True,
                prevent_thread_lock=True, **launch_options(arguments.host, arguments.lang),
            )  # fmt: skip
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"text2digit is at {app.local_url} (Ctrl+C ends it)", flush=True)
    app.block_thread()
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
