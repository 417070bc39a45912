"""Text that is safe to show: the one function that escapes, and numbers as people read them.

Everything that comes from a packet, a log, a child process or an annotation passes through
`printable` before it reaches a terminal.  Whoever chose it may want to paint the screen.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

ELLIPSIS = ".."


def printable(value: object, limit: int = 0) -> str:
    r"""`value` as printable ASCII: everything else becomes `\xHH`, `\uHHHH` or `\UHHHHHHHH`.

    Bytes are taken as Latin-1, so that each shows as itself.  With a `limit` in columns the
    left end is lost, never the right one: the last labels of a name are those that decide.
    """
    text = value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else str(value)
    if limit and len(text) > 4 * limit:  # bound the work before the escaping makes it longer
        text = ELLIPSIS + text[-4 * limit :]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_escaped(character) for character in text)
    return clip_left(text, limit) if limit else text


def printable_lines(data: bytes) -> list[str]:
    """What a child has said, a line each, without the empty ones."""
    return [printable(line, 1000) for line in data.splitlines() if line.strip()]


def _escaped(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clip_left(text: str, width: int) -> str:
    """The last `width` columns of `text`, `..` marking what was cut at its left end."""
    if len(text) <= width:
        return text
    return (ELLIPSIS + text[len(text) - width + len(ELLIPSIS) :]) if width > len(ELLIPSIS) else text[-width:]


def clip_right(text: str, width: int) -> str:
    """The first `width` columns of `text`; for our own words, where the beginning decides."""
    if len(text) <= width:
        return text
    return (text[: width - len(ELLIPSIS)] + ELLIPSIS) if width > len(ELLIPSIS) else text[:width]


def clip_middle(text: str, width: int) -> str:
    """Both ends of `text`: for names that are told apart by either."""
    if len(text) <= width:
        return text
    end = (width - len(ELLIPSIS)) // 2
    return clip_right(text, width - end) + text[len(text) - end :] if end > 0 else clip_left(text, width)


MOST_LABELS = 16
LABEL_LIMIT = 128


def bounded_labels(labels: Mapping[str, object]) -> dict[str, str]:
    """The texts among `labels`, 16 of 128 printable characters at most: each record of a request has them.

    Those with the shortest keys: whoever built an image may add any number of them to the launcher's.
    """
    found = [(key, value) for key, value in labels.items() if isinstance(value, str)]
    found.sort(key=lambda label: (len(label[0]), label[0]))
    return {_label(key): _label(value) for key, value in found[:MOST_LABELS]}


def _label(text: str) -> str:
    return clip_right(printable(text[: LABEL_LIMIT + 1]), LABEL_LIMIT)


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 try`, `4 tries`."""
    return "%d %s" % (number, singular if number == 1 else plural or singular + "s")


def seconds(duration: float) -> str:
    """A duration as `0.3 s`, `12 s`, `4 min`."""
    if duration < 10:
        return f"{duration:.1f} s"
    return "%d s" % duration if duration < 180 else "%d min" % (duration // 60)
