"""Texts measured in the cells of a terminal."""

from rich.cells import cell_len, chop_cells


def width_of(text: str) -> int:
    """Return how many cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most so many cells, broken between words, and in a word only if it is longer."""
    width = max(width, 2)  # the widest letter
    lines, line, used = list[str](), "", 0
    for word in text.split():
        length = width_of(word)
        if line and used + 1 + length <= width:
            line, used = f"{line} {word}", used + 1 + length
            continue
        if line:
            lines.append(line)
        *full, line = chop_cells(word, width) if length > width else [word]
        lines += full
        used = width_of(line)
    return [*lines, line] if line else lines


def indented(text: str, width: int, indent: int) -> list[str]:
    """Return a text as lines of at most so many cells, each behind so many blanks."""
    return [" " * indent + line for line in wrapped(text, width - indent)]
