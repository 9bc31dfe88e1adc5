"""A visitor without a browser: presses buttons of a running app by its own requests, and reads what comes back."""

import json
import socket
import time
import urllib.error
import urllib.request
from html import unescape

# A busy machine is slow, and not broken.
PATIENCE_S = 120


class Visitor:
    """One session of an app that is served.

    Args:
        app: the `gr.Blocks`, for its components' ids and first values.
        session: a name of the session's own.
    """

    def __init__(self, app, session):
        self.app, self.session, self.address = app, session, app.local_url.rstrip("/")

    def function(self, button, place=0, event="click"):
        """The function that a button of this label starts; `place` counts those of one label."""
        blocks, found = self.app.blocks, []
        for function in self.app.fns.values():
            named = [blocks[block] for block, name in function.targets if name == event and block in blocks]
            if any(button in (getattr(block, "value", None), getattr(block, "label", None)) for block in named):
                found.append(function)
        return found[place]

    def inputs(self, function, **values):
        """First values of a function's inputs, but for those that are given by label, such as images_of_each."""
        data = []
        for block in function.inputs:
            name = str(getattr(block, "label", None)).lower().replace(" ", "_").replace(",", "")
            data.append(values.pop(name, None if type(block).__name__ == "State" else block.value))
        assert not values, values
        return data

    def call(self, function, data):
        """Call what is answered at once; returns its outputs."""
        return json.loads(self._post("run/predict", function, data))

    def ask(self, function, data):
        """Call what is answered at once; returns what the server says, whatever its status."""
        try:
            return self.call(function, data)
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def press(self, button, place=0, **values):
        """Press a button; yields (seconds since, {class of the output: value}) for each update."""
        function = self.function(button, place)
        return self.run(function, self.inputs(function, **values))

    def run(self, function, data):
        """As `press`, of a function with all of its inputs."""
        started = time.perf_counter()
        self._post("queue/join", function, data)
        names = [(getattr(block, "elem_classes", None) or [type(block).__name__])[0] for block in function.outputs]
        told = [None] * len(names)
        url = f"{self.address}/gradio_api/queue/data?session_hash={self.session}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            for line in answer:
                if not line.startswith(b"data:"):
                    continue
                message = json.loads(line[5:])
                if message["msg"] not in ("process_generating", "process_completed"):
                    continue
                for i, value in enumerate(message["output"].get("data", [])):
                    told[i] = _updated(told[i], value)
                yield time.perf_counter() - started, dict(zip(names, told, strict=True))
                if message["msg"] == "process_completed":
                    return

    def status(self, button, place=0, **values):
        """Press a button and wait; returns the last line that is told."""
        *_, (_, told) = self.press(button, place, **values)
        return unescape(str(told["t2d-status"]))

    def _post(self, path, function, data):
        body = {"data": data, "fn_index": function._id, "session_hash": self.session, "trigger_id": None}
        request = urllib.request.Request(
            f"{self.address}/gradio_api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.read()


def _updated(old, new):
    """An output after an update: a whole value, a list of changes to the old one, or none."""
    if isinstance(new, list) and all(isinstance(change, list) and len(change) == 3 for change in new):
        for action, path, value in new:
            if path or action not in ("replace", "append"):
                return new
            old = value if action == "replace" else str(old) + value
        return old
    if isinstance(new, dict) and new.get("__type__") == "update":
        return new.get("value", old)
    return new


def raw(address, request, patience_s=PATIENCE_S):
    """Send bytes to a server; returns (status, the rest of the answer)."""
    host, port = address.removeprefix("http://").rstrip("/").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=patience_s) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer or b"text/event-stream" not in answer:
            chunk = connection.recv(65536)
            answer += chunk
            if not chunk:
                break
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), rest
