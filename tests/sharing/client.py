"""The real client, in a process of its own: HF_ENDPOINT is read when huggingface_hub is imported.

One process serves many tests, because each start takes seconds. It is sent Python and answers with what `result` is in
the end, with what was printed or logged, and with the error's whole text.
"""

import json
import os
import subprocess
import sys

WORKER = """
import contextlib, io, json, logging, os, sys, time, traceback
time.sleep = lambda seconds: None  # the client waits between its tries, which no test needs
answers, sys.stdout = sys.stdout, sys.stderr
logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
logging.getLogger().setLevel(logging.DEBUG)
for line in sys.stdin:
    asked, output = json.loads(line), io.StringIO()
    os.environ.pop("HF_TOKEN", None)
    os.environ.update(asked["environment"])
    space, error = dict(asked["values"], result=None), None
    for handler in logging.getLogger().handlers:
        handler.setStream(output)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            exec(asked["code"], space)
        except BaseException as raised:
            error = f"{type(raised).__name__}: {raised}"
            traceback.print_exc()
    answers.write(json.dumps({"result": space["result"], "error": error, "output": output.getvalue()}) + "\\n")
    answers.flush()
"""


def environment(hub, cache, **more):
    """Of a process that knows no Hub but this one, and no cache but its own."""
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**kept, **own, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1", **more}


class Answer:
    def __init__(self, result, error, output):
        self.result, self.error, self.output = result, error, output


class Client:
    """Runs Python beside a Hub."""

    def __init__(self, hub, folder):
        self.folder = folder
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=folder,
            env=environment(hub, folder / "hf"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, code, token="hf_SECRETwrite", **values):
        """Run code with some values in its namespace, logged in by `token` or, with None, not at all."""
        variables = {"HF_TOKEN": token} if token else {}
        self.process.stdin.write(json.dumps({"code": code, "environment": variables, "values": values}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client's process died"
        answer = Answer(**json.loads(line))
        self.said.append(answer.output + str(answer.error) + str(answer.result))
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
