"""Commands as they are typed in a shell, for advice to the operator."""

import shlex


def command(*words: object) -> str:
    """Return a command line, with quotes where the shell needs them."""
    return shlex.join(map(str, words))


def engine_command(*words: object) -> str:
    """Return the command line of one of the engine's own commands."""
    return command("python", "-m", "engine", *words)
