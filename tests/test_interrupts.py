"""Ctrl-C, tried on commands in processes of their own."""

import os
import signal
import time

import pytest

from .test_shell import start

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def test_ctrl_c_at_any_moment(tmp_path):
    """At several moments of the imports and after: 130, one word, no traceback, nothing written."""
    code = "import sys; from text2digit import cli; print('ready', flush=True); sys.exit(cli.main())"
    for delay in (0.05, 0.7, 2.5, 6.0):
        # Whoever starts the tests in a shell's background has SIGINT ignored, and children inherit that.
        default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        process = start("sample", "--num", "10000", "-o", str(tmp_path / "x.png"), code=code, **default)
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # people press it twice
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130 and b"Traceback" not in err, (delay, err.decode())
        assert not list(tmp_path.iterdir())
