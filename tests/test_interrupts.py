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
        process = start("sample", "--num", "10000", "-o", str(tmp_path / "x.png"), code=code)
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # people press it twice
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130 and b"Traceback" not in err, (delay, err.decode())
        assert not list(tmp_path.iterdir())


def test_an_interrupt_that_is_lost_comes_again():
    """Would catch a command that goes on for minutes after Ctrl-C: Python drops what is raised in a C callback."""
    code = """if True:
        import os, signal, sys, time
        from text2digit import shell
        def work():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            except KeyboardInterrupt:
                os.kill(os.getpid(), signal.SIGINT)  # pressed twice
            time.sleep(60)
        sys.exit(shell.guard(work))
    """
    process = start(code=code)
    _, err = process.communicate(timeout=50)
    assert process.returncode == 130 and err == b"interrupted\n"
