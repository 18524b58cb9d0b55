"""A headless Chromium that a test drives through a pipe, in Chromium's own protocol: no port, no other library."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any, Final

from attrs import define, field

from tests.timeouts import TIMEOUT

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser of this machine; None if there is none."""
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class PageFailed(Exception):
    """The browser refused, or a script of the test raised."""


@define
class BrowserTab:
    """One page, and what it reported: errors of scripts, and what its policy forbade."""

    reader: int
    writer: int
    session: str = ""
    complaints: list[str] = field(factory=list)
    requests: list[str] = field(factory=list)
    _waiting: bytes = b""
    _last: int = 0

    def ask(self, method: str, **parameters: Any) -> Any:
        """Send a command, and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.writer, data) :]
        deadline = time.monotonic() + TIMEOUT
        while (answer := self._read(deadline)).get("id") != self._last:
            self._note(answer)
        if "error" in answer:
            raise PageFailed(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self, deadline: float) -> Any:
        while b"\0" not in self._waiting:
            left = deadline - time.monotonic()
            if left <= 0 or not select([self.reader], [], [], left)[0]:
                raise PageFailed("the browser does not answer")
            data = os.read(self.reader, 1 << 20)
            if not data:
                raise PageFailed("the browser has ended")
            self._waiting += data
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(event["params"]["exceptionDetails"]))
            case "Log.entryAdded" if event["params"]["entry"]["level"] in ("error", "warning"):
                self.complaints.append(event["params"]["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        done = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise PageFailed(str(done["exceptionDetails"]))
        return done["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression in the page is true."""
        deadline = time.monotonic() + TIMEOUT
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > deadline:
                raise PageFailed(f"never true: {script}")
            time.sleep(0.02)

    def open(self, url: str) -> None:
        """Open an address anew, and wait until the page has been drawn."""
        self.ask("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.ask("Page.navigate", url=url)
        self.wait("document.documentElement?.dataset.ready === 'yes'")

    def press(self, key: str) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"windowsVirtualKeyCode": 13} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, **code)


@contextmanager
def open_browser(directory: Path) -> Iterator[BrowserTab]:
    """Start the browser with a profile of its own, and yield a tab; end the browser afterwards."""
    assert CHROMIUM is not None, "ask for CHROMIUM first"
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
    profile, log = directory / "profile", directory / "chromium.log"
    # The protocol's pipes are the descriptors 3 and 4, whatever numbers they have here.
    command = f'exec "$@" 3<&{to_read} 4>&{from_write}'
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", command, "chromium", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, from_write), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    os.close(to_read)
    os.close(from_write)
    try:
        tab = BrowserTab(from_read, to_write)
        target = tab.ask("Target.createTarget", url="about:blank")["targetId"]
        tab.session = tab.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.ask(f"{domain}.enable")
        yield tab
        tab.session = ""
        tab.ask("Browser.close")
    finally:
        os.close(to_write)
        os.close(from_read)
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
