"""Takes the picture of ``verify``'s page with Chromium; ``tools.pictures`` calls it.

Pixels differ between browsers, so the file carries the fingerprint of the page that it shows, without its data: only
another page makes the picture stale.
"""

import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Final

from engine.verify import POLICIES, Explorer
from engine.verify.page import Recorder, make_page, source_digest
from engine.verify.page.data import law_digest

PICTURE: Final = Path(__file__).resolve().parents[1] / "docs" / "images" / "explorer.png"
SIZE: Final = (1240, 860)
WALK: Final = "Started.one/TurnGranted/Connected/Stable/ProbeDue/TimedOut.probe/NetworkLost/TurnGranted/NetworkLost"
"""What has happened in the picture: a link that fell silent and was lost, and an attempt that failed."""
KEY: Final = b"page"
"""What the fingerprint stands behind in the file."""
TIMEOUT: Final = 120.0
_HEADER: Final = 8 + 25
"""Bytes of a PNG before the place of its texts: the signature, and the chunk with its size."""


def _browser() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def is_current() -> bool:
    """Return whether the picture shows the page as it is now."""
    return _chunk(b"tEXt", KEY + b"\0" + source_digest().encode()) in PICTURE.read_bytes()[:1000]


def take() -> None:
    """Take the picture anew; where no browser is, say so and leave it."""
    browser = _browser()
    if browser is None:
        print(f"{PICTURE.name} is left as it is: there is no Chromium here", file=sys.stderr)
        return
    recorder = Recorder()
    for policy in POLICIES:
        Explorer(policy, properties=(), observe=recorder.observe).run()
    with tempfile.TemporaryDirectory() as place:
        page, shot = Path(place) / "page.html", Path(place) / "page.png"
        page.write_bytes(make_page(recorder.as_data()))
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000",
            f"--user-data-dir={place}/profile", f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={shot}",
            f"{page.as_uri()}#{law_digest()}/keep_trying/{WALK}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
        taken = shot.read_bytes()
    text = _chunk(b"tEXt", KEY + b"\0" + source_digest().encode())
    PICTURE.write_bytes(taken[:_HEADER] + text + taken[_HEADER:])
