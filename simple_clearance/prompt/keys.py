"""When a key counts.  Pure.

Whoever is asked may be typing something else, may lean on a key, may be pasting; the program
in the container chooses the moment at which a question appears.  So a deciding key counts
only when the question has stood there for a while, after a moment without input, and when it
comes alone: one byte in the read and nothing after it for a moment.  Keys that decide nothing
(the list, help) work at any time.

Bytes go in with the time at which they were read; presses come out.
"""

from __future__ import annotations

AFTER_OWN_KEY = 0.4
"""Seconds that a question stands before keys count, when the operator's own key brought it up."""
AFTER_CHANGE = 1.0
"""The same for one that came, or changed, by itself."""
QUIET = 0.15
QUIET_IN_TEXT = 0.3
"""The same for somebody who seems to type a text, at 0.15 to 0.3 s a key: the last two keys, and no
longer apart than this, were none here or came too early."""
ALONE = 0.04
ALONE_REPEAT = 0.12
"""For the key that decided the request before: auto-repeat sends one every 30 to 100 ms."""
AFTER_ESCAPE = 1.0

BEL, ESC = 0x07, 0x1B
INTRODUCERS = {ord("["): "csi", ord("O"): "one", **dict.fromkeys(b"P]X^_", "string")}
"""The byte after an ESC, and what it begins."""


class Press:
    """One key: `key` is a character, or "" for what is none; `fate` says what became of it.

    `decides` and `works` are to be carried out; `early`, `crowded` (not alone) and `sequence`
    (arrows, Alt) were deciding keys or might have been, and are dropped; `unknown` is no key here.
    """

    __slots__ = ("fate", "key")

    def __init__(self, key: str, fate: str) -> None:
        self.key = key
        self.fate = fate

    def __repr__(self) -> str:
        return f"Press({self.key!r} {self.fate})"


class Keyboard:
    """The state of the keyboard with respect to what is painted.

    `deciding` and `working` are the keys of the screen that stands there now; `arm` tells
    when its last write has returned whole, `disarm` that it no longer stands.
    """

    def __init__(self) -> None:
        self.deciding = ""
        self.working = ""
        self._counts_from: float | None = None
        self._last_input = -1e9
        self._dropped = 0
        self._sequence = ""  # "", "esc", "csi", "one" (more byte) or "string"
        self._quiet_until = -1e9
        self._held = ""
        self._held_until = 0.0
        self._decided = ""

    def arm(self, mono: float, own_key: bool) -> None:
        self._counts_from = mono + (AFTER_OWN_KEY if own_key else AFTER_CHANGE)

    def disarm(self) -> None:
        self._counts_from = None
        self._held = ""

    def deadline(self) -> float | None:
        """When the key that is held back counts, unless something follows it."""
        return self._held_until if self._held else None

    def tick(self, mono: float) -> Press | None:
        if not self._held or mono < self._held_until:
            return None
        key, self._held = self._held, ""
        self._decided = key
        return Press(key, "decides")

    def feed(self, data: bytes, mono: float, since: float | None = None) -> list[Press]:
        """What one read brought at `mono`, typed at `since` at the earliest (else at that moment)."""
        typed = mono if since is None else since
        pause = typed - self._last_input
        if pause >= QUIET_IN_TEXT:
            self._dropped = 0
        quiet = pause >= (QUIET_IN_TEXT if self._dropped >= 2 else QUIET)
        if self._sequence == "string" and mono - self._last_input >= AFTER_ESCAPE:
            self._sequence = ""  # it was Alt and a letter
        self._last_input = mono
        presses = []
        if self._held:
            presses.append(Press(self._held, "crowded"))
            self._held = ""
        if ESC in data or self._sequence:
            self._follow(data)
            self._quiet_until = mono + AFTER_ESCAPE
            presses.append(Press("", "sequence"))
        elif len(data) > 1:
            presses.append(Press(chr(data[0]), "crowded"))
        elif data:
            presses.extend(self._single(chr(data[0]), quiet, typed, mono))
        self._dropped = self._dropped + 1 if any(press.fate != "works" for press in presses) else 0
        return presses

    def _single(self, key: str, quiet: bool, typed: float, mono: float) -> list[Press]:
        if key in self.working:
            return [Press(key, "works")]
        if key not in self.deciding:
            return [Press(key, "unknown")]
        counts = self._counts_from is not None and typed >= max(self._counts_from, self._quiet_until)
        if not counts or not quiet:
            return [Press(key, "early")]
        self._held = key
        self._held_until = mono + (ALONE_REPEAT if key == self._decided else ALONE)
        return []

    def _follow(self, data: bytes) -> None:
        """Keeps track of an escape sequence (ECMA-48): CSI to its final byte, SS3 and Alt one more byte.

        One that stays unfinished swallows the next byte, however late: it can only be dropped.
        A control string (a late answer to someone's query) goes to BEL or the next ESC.
        """
        for byte in data:
            if byte == ESC:
                self._sequence = "esc"
            elif self._sequence == "esc":
                self._sequence = INTRODUCERS.get(byte, "")
            elif self._sequence == "csi" and byte == ord("["):
                self._sequence = "one"  # a function key of the Linux console
            elif (
                self._sequence == "one"
                or (self._sequence == "csi" and 0x40 <= byte <= 0x7E)
                or (self._sequence == "string" and byte == BEL)
            ):
                self._sequence = ""
