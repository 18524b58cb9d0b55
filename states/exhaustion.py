"""What a process may run out of, as the details of failures say it. Apart, because commands need nothing else."""

from typing import Final

NO_DESCRIPTORS: Final = "the process has no file descriptor left"
NO_THREADS: Final = "the process can start no more threads"
NO_MEMORY: Final = "the process has no memory left"
EXHAUSTED: Final = (NO_DESCRIPTORS, NO_THREADS, NO_MEMORY)
"""How the detail of a failure begins whose cause is a limit of the process itself, and no file or network."""
