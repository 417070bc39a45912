"""How lines are broken and set in columns, on any width.  Pure."""

from __future__ import annotations

import re

from ..base.text import clip_left, clip_right, printable

WORD = re.compile(" *[^ ]+")
COMMAND = "  hint:"
"""What a line with a remedy begins with; a command to copy goes on in the next one behind a backslash."""
SHORTEST_NAME = 16
"""Columns of its end that a name has at least where it stands behind something else."""
LABEL = re.compile(r"\.?[^.]+|\.")


def columns(left: str, right: str, width: int) -> str:
    """`left` and, at the right margin, `right` if two blanks fit between them."""
    room = width - len(right)
    return left.ljust(room) + right if len(left) + 2 <= room else clip_right(left, width)


def joined(between: str, *parts: str | bool) -> str:
    """Those of the parts that are not empty."""
    return between.join(part for part in parts if isinstance(part, str) and part)


def name_beside(name: str, room: int) -> str:
    """As much of its end as has `room` in a line; "" where that is too little to know it by."""
    return printable(name, room) if room >= min(len(name), SHORTEST_NAME) else ""


def folded(text: str, width: int, first: str = "  ", rest: str = "    ") -> list[str]:
    """`text` in lines of `width`; `first` and `rest` are what they begin with."""
    if len(first) + len(text) <= width:
        return [first + text]
    wide = max(width, len(first) + 4, len(rest) + 4)  # something has to fit
    lines = [first]
    for word in WORD.findall(text):
        if len(lines[-1]) + len(word) <= wide:
            lines[-1] += word
            continue
        blank = lines == [first]
        rows = broken(word.lstrip(" "), wide - max(len(first) * blank, len(rest)))
        if blank:
            lines[0] += rows.pop(0)
        lines.extend(rest + row for row in rows)
    return lines


def broken(word: str, room: int) -> list[str]:
    """A word in rows of `room`, of which all but the first begin with a dot.

    Whoever chose a name also chose where a row is full: one that ends like a name says in the next
    that it goes on.  A label is broken only where it alone is longer than a row.
    """
    rows = [""]
    for label in LABEL.findall(word):
        if rows[-1] and len(rows[-1]) + len(label) > room:
            rows.append("")
        parts = [label[at : at + room] for at in range(0, len(label), room)]
        rows[-1] += parts[0]
        rows.extend(parts[1:])
    return rows


def refit(lines: list[str], width: int) -> list[str]:
    """Lines that were made for a wider screen; a command to copy stays as a shell takes it."""
    fitted: list[str] = []
    command = False
    for line in lines:
        command = line.startswith(COMMAND) or (command and fitted[-1].endswith(" \\"))
        if command or len(line) <= width:
            fitted.append(line)
        elif line.startswith("  | "):
            fitted.append("  | " + clip_left(line[4:], width - 4))
        else:
            text = line.lstrip()
            fitted.extend(folded(text, width, line[: len(line) - len(text)]))
    return fitted
