"""What a process sets up once, in processes of its own."""

import os
import subprocess
import sys

import psutil
import pytest

CORES = psutil.cpu_count(logical=False) or 1


@pytest.mark.parametrize(
    "environment, threads",
    [
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}, CORES),
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(CORES)}, 1),
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "2", "LOCAL_WORLD_SIZE": str(CORES)}, 2),
        ({"OMP_NUM_THREADS": "1"}, 1),
    ],
    ids=["launched", "launched as many", "launched with threads", "not launched"],
)
def test_only_the_launcher_s_one_thread_is_undone(environment, threads):
    """Catches half the speed lost under `accelerate launch`, and a choice of the user's that is overruled."""
    code = "from text2digit.runtime import use_all_cores; print(use_all_cores())"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE", "OMP", "MKL", "LOCAL_WORLD"))}
    output = subprocess.run([sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True)
    assert output.stdout.strip() == str(threads), output.stderr
