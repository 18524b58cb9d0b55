"""Commands as a person types them in a shell."""

import shlex


def command(*words: object) -> str:
    """Return a command, with quotes where a shell needs them."""
    return shlex.join(map(str, words))


def engine_command(*words: object) -> str:
    """Return one of the engine's own commands."""
    return command("python", "-m", "engine", *words)
