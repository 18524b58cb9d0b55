"""The clock of one process, which can be set as the time of day of a machine can be."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from attrs import frozen

SOURCE: Final = Path(__file__).with_name("clock.c")


@frozen
class SetClock:
    """A file by which the clock of a process is set, and the environment that the process needs."""

    file: Path
    library: Path

    @classmethod
    def new(cls, file: Path, library: Path) -> "SetClock":
        """Make the file: the clock is right at first."""
        clock = cls(file, library)
        clock.set(0)
        return clock

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the process."""
        return {"LD_PRELOAD": str(self.library), "FLEET_CLOCK": str(self.file)}

    def set(self, seconds: int) -> None:
        """Set it ahead of what is right by so many seconds, from now on."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


@functools.cache
def clock_library(directory: Path) -> Path | None:
    """Compile the library into a directory, and return it; None where that cannot be done."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    library = directory / "clock.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, check=False)
    return library if done.returncode == 0 else None
