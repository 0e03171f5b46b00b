"""A headless chromium that is asked over its own pipe: what a page really shows, asks for, and says to who can't see it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUIET = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe""".split()


class Page:
    """One tab. `asked` are the addresses that it has fetched or tried to, `said` what went wrong in it."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._kept = b""
        self._number = 0
        self._session: dict[str, str] = {}
        self.asked: list[str] = []
        self.said: list[str] = []
        self._loaded = False

    def attach(self) -> None:
        """Opens the tab."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Network", "Log", "Runtime", "Accessibility"):
            self.call(f"{domain}.enable")

    def open(self, file: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Shows a file, in a window so wide, in the light or the dark scheme, and waits until it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.call("Page.navigate", url=file.as_uri())
        while not self._loaded:
            self._take()

    def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def spoken(self, role: str) -> list[str]:
        """The names that a screen reader says of everything with this role."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [node.get("name", {}).get("value", "") for node in nodes if node.get("role", {}).get("value") == role]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Asks the browser. Raises AssertionError for what it refuses."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._take()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _take(self) -> dict[str, Any]:
        while b"\0" not in self._kept:
            more = os.read(self._read, 1 << 16)
            assert more, "the browser has gone"
            self._kept += more
        text, _, self._kept = self._kept.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(params["exceptionDetails"]["text"])


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A browser with a profile in this folder, and a tab in it; it is gone at the end."""
    (there, write), (read, back) = os.pipe(), os.pipe()
    with _started(there, back, folder) as process:
        os.close(there)
        os.close(back)
        page = Page(write, read)
        try:
            page.attach()
            yield page
        finally:
            os.close(write)  # it ends when nobody asks any more
            os.close(read)
            process.terminate()


def _started(asked: int, told: int, folder: Path) -> subprocess.Popen[bytes]:
    """It reads what it is asked from descriptor 3, and tells on descriptor 4: a shell puts them there."""
    moved = f"exec chromium {' '.join(QUIET)} --user-data-dir='{folder}' 3<&{asked} 4>&{told}"
    quiet = subprocess.DEVNULL
    return subprocess.Popen(["bash", "-c", moved], pass_fds=(asked, told), stdout=quiet, stderr=quiet)
