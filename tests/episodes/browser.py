"""A headless Chromium, steered over its DevTools pipe: JSON messages, each ended by a zero byte."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# The browser reads commands from descriptor 3 and answers on 4.
START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def executable() -> str | None:
    """Returns the path of a Chromium, None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One browser with one page."""

    def __init__(self, path: str, profile: Path, *, width: int = 1440, height: int = 860) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        options = [
            "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions",
            "--disable-component-update", f"--user-data-dir={profile}",
            f"--window-size={width},{height}", "--force-device-scale-factor=1", "about:blank",
        ]  # fmt: skip
        ends = (theirs_in, theirs_out)
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, ends), path, *options],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        """All that the page reported: requests, messages of the console, exceptions."""

        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _receive(self) -> Any:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {PATIENCE:g} s")
            piece = os.read(self._in, 1 << 16)
            if not piece:
                raise RuntimeError("the browser has gone")
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def run(self, script: str) -> Any:
        """Returns what a script gives; a promise is waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until a condition holds."""
        until = time.monotonic() + PATIENCE
        while not self.run(condition):
            if time.monotonic() > until:
                raise TimeoutError(f"never came true: {condition}")
            time.sleep(0.05)

    def open(self, path: Path) -> None:
        """Opens a page from disk; forgets what was reported before."""
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        self.wait(f"location.href === {json.dumps(path.as_uri())} && !!document.body")

    def frame(self) -> None:
        """Waits until the page has drawn."""
        self.run("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")

    def click(self, x: float, y: float) -> None:
        """Moves the mouse to a place of the window and clicks there [px]."""
        place = {"x": x, "y": y, "button": "left"}
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.send("Input.dispatchMouseEvent", type="mousePressed", clickCount=1, **place)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", clickCount=1, **place)
        self.frame()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drags with the mouse from one place to another [px]."""
        steps = [start, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), end]
        kinds = ("mousePressed", "mouseMoved", "mouseMoved")
        for kind, (x, y) in zip(kinds, steps, strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        x, y = end
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left")
        self.frame()

    def wheel(self, x: float, y: float, delta: float) -> None:
        """Turns the mouse wheel."""
        self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)
        self.frame()

    def press(self, key: str, code: int) -> None:
        """Presses a key."""
        names = {"key": key, "windowsVirtualKeyCode": code}
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **names, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **names)
        self.frame()

    def middle(self, element: str) -> tuple[float, float]:
        """Returns the middle of an element, named by its id [px]."""
        x, y = self.run(
            f"(() => {{ const b = document.getElementById({json.dumps(element)})"
            ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return x, y

    def text(self, element: str) -> str:
        """Returns the text of an element, named by its id."""
        return str(self.run(f"document.getElementById({json.dumps(element)}).textContent"))

    def screenshot(self, path: Path) -> None:
        """Writes a picture of the window."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """Returns errors and warnings that the page reported since it was opened."""
        self.run("0")  # what was reported before comes before the answer
        found = []
        for event in self.events:
            method, about = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(about["exceptionDetails"].get("exception", {}).get("description")))
            if method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                found.append(about["entry"]["text"])
            if method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
                found.append(str(about["args"]))
            if method == "Page.javascriptDialogOpening":
                found.append(f"dialog: {about['message']}")
        return found

    def requests(self) -> list[str]:
        """Returns the addresses that the page asked for since it was opened."""
        self.run("0")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        """Ends the browser."""
        with contextlib.suppress(RuntimeError, OSError, TimeoutError):
            self._session = None
            self.send("Browser.close")
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
