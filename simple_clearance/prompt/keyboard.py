"""When a key counts.  Pure.

Whoever is asked may be typing something else, may lean on a key, may be pasting; the program
in the container chooses the moment at which a question appears.  So a deciding key counts
only when the question has stood there for a while, after a moment without input, and when it
comes alone: one byte in the read and nothing after it for a moment.  One that leads to a
verdict is announced then, and whatever is typed within half a second takes it back: of a text
at most the last key could stand, and that one comes too soon after a key that was dropped.
Keys that decide nothing (the list, help) work at any time, also several in one read.

Bytes go in with the time at which they were read; presses come out.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

AFTER_OWN_KEY = 0.4
"""Seconds that a question stands before keys count, when the operator's own key brought it up."""
AFTER_CHANGE = 1.0
"""The same for one that came, or changed, by itself."""
QUIET = 0.15
AFTER_DROPPED = 0.5
AFTER_ESCAPE = 1.0
ALONE = 0.04
ALONE_REPEAT = 0.12
"""For the key that decided the request before: auto-repeat sends one every 30 to 100 ms."""
TAKE_BACK = 0.5
"""Seconds in which any key takes back the one that was announced."""
HELD_DOWN = 1.02
"""The key of the last verdict counts again this long after it came last: keyboards wait up to a
second before they repeat a key that is held down."""
ESCAPE_ALONE = 0.1
"""An ESC, or the first byte of a letter, with nothing behind it for so long was all of it."""

BEL, ESC = 0x07, 0x1B
ESCAPE = chr(ESC)
INTRODUCERS = {ord("["): "csi", ord("O"): "one", **dict.fromkeys(b"P]X^_", "string")}
"""The byte after an ESC, and what it begins."""
INTERRUPTS = "\x03\x1a\x1c"
"""Ctrl-C, Ctrl-Z, Ctrl-\\, where the terminal makes no signal of them."""
WITH_CTRL = re.compile(rb"(\d{1,7})(?::[\d:]*)?;5(?::1)?u|27;5;(\d{1,7})~")
"""A key with Ctrl as kitty's protocol tells it, and as xterm does with modifyOtherKeys."""
LETTERS = {**dict.fromkeys(range(0xC2, 0xE0), 2), **dict.fromkeys(range(0xE0, 0xF0), 3), 0xF0: 4}
"""The first byte of a letter in UTF-8, and how many it has."""


class Press:
    """One key: `key` is a character, or "" for what is none; `fate` says what became of it.

    `works` is to be carried out, and so is `decides`, which may only be announced, too; `runs` was
    announced and nothing has taken it back, `taken back` something has.  `early`, `hurried` (right
    after another), `escaped` (after an ESC), `crowded` (not alone) and `sequence` (arrows, Alt) were
    deciding keys or might have been, and are dropped; `unknown` is no key here.
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
    when its last write has returned whole, `disarm` that it no longer stands.  `whole_lines`:
    the terminal may send a key together with an Enter.
    """

    def __init__(self, whole_lines: bool = False) -> None:
        self.deciding = ""
        self.working = ""
        self._whole_lines = whole_lines
        self._counts_from: float | None = None
        self._last_input = -1e9
        self._last_dropped = -1e9
        self._sequence = ""  # "", "esc", "late" (that was told as a key), "csi", "one" (more byte), "string"
        self._parameters = b""  # of a CSI
        self._letter = b""  # the bytes of one that is not whole
        self._alone_at: float | None = None  # when an ESC or a piece of a letter turns out to be all
        self._quiet_until = -1e9
        self._held = ""
        self._held_since = self._held_until = 0.0
        self._decided = ""
        self._lenient = 0.0  # seconds for which that key was held back longer than another
        self._announced = ""
        self._runs_at: float | None = None
        self._ran = ""
        self._ran_came = -1e9  # when that key came last, whatever became of it

    def arm(self, mono: float, own_key: bool) -> None:
        self._counts_from = mono + (AFTER_OWN_KEY if own_key else AFTER_CHANGE)

    def disarm(self) -> None:
        self._counts_from = None
        self._held = ""
        self._announced = ""
        self._runs_at = None

    def announce(self, key: str) -> None:
        """A key that decides is being told; `told` says when that has gone out."""
        self._announced, self._runs_at = key, None
        self._lenient = 0.0

    def take_back(self) -> None:
        self._announced, self._runs_at = "", None

    def told(self, mono: float) -> None:
        if self._announced and self._runs_at is None:
            self._runs_at = mono + TAKE_BACK

    @property
    def announced(self) -> str:
        """The key that will run, unless something takes it back."""
        return self._announced

    def deadline(self) -> float | None:
        """When something held back counts, unless something follows it."""
        held = self._held_until if self._held else None
        return min((at for at in (held, self._runs_at, self._alone_at) if at is not None), default=None)

    def tick(self, mono: float) -> Press | None:
        if self._alone_at is not None and mono >= self._alone_at:
            return self._was_alone()
        if self._held and mono >= self._held_until:
            key, self._held = self._held, ""
            self._lenient = ALONE_REPEAT - ALONE if key == self._decided else 0.0
            self._decided = key
            return Press(key, "decides")
        if self._runs_at is not None and mono >= self._runs_at:
            key, self._announced, self._runs_at = self._announced, "", None
            self._ran, self._ran_came = key, self._held_since
            return Press(key, "runs")
        return None

    def feed(self, data: bytes, mono: float, since: float | None = None) -> Iterator[Press]:
        """What one read brought at `mono`, typed at `since` at the earliest (else at that moment).

        What a press changes (`deciding`, `working`) holds for those after it.
        """
        if not data:
            return
        typed = mono if since is None else since
        if self._whole_lines and len(data.rstrip(b"\r\n")) == 1:
            data = data[:1]
        wrong = self._too_soon(typed) if len(data) == 1 else "crowded"
        if self._sequence in ("string", "late") and mono - self._last_input >= AFTER_ESCAPE:
            self._sequence = ""  # it was Alt and a letter, or ESC alone
        self._last_input = mono
        taken_back, crowded = self._announced, self._held
        self._held = self._announced = ""
        self._runs_at = None
        if taken_back or crowded:
            wrong = wrong or "hurried"
            yield self._drop(taken_back or crowded, "taken back" if taken_back else "crowded")
        for key in self._keys(data, mono):
            if key and key in INTERRUPTS:
                yield Press(key, "works")
            elif taken_back:
                self._last_dropped = mono
            elif not key:
                yield self._drop(key, "sequence")
            elif key in self.working:
                yield Press(key, "works")
            else:
                fate = self._judge(key, typed, wrong)
                if fate:
                    yield self._drop(key, fate)
        if taken_back and self._sequence == "esc":
            self._sequence, self._alone_at = "late", None

    def _drop(self, key: str, fate: str) -> Press:
        self._last_dropped = self._last_input
        return Press(key, fate)

    def _too_soon(self, typed: float) -> str:
        """Why no key may decide yet, for what came before it."""
        if typed < self._quiet_until:
            return "escaped"
        if typed - self._last_input < QUIET or typed - self._last_dropped <= AFTER_DROPPED:
            return "hurried"
        return ""

    def _judge(self, key: str, typed: float, wrong: str) -> str:
        """Why a key that does not merely work is dropped; "" for one that is held back now."""
        came, repeated = self._ran_came, key == self._ran
        if repeated:
            self._ran_came = self._last_input
        if key not in self.deciding:
            return "unknown"
        if wrong == "crowded":
            return wrong
        lenient = self._lenient if key == self._decided else 0.0
        if self._counts_from is None or typed + lenient <= self._counts_from:
            return "early"
        if wrong or (repeated and typed - came <= HELD_DOWN):
            return wrong or "hurried"
        self._held, self._held_since = key, self._last_input
        self._held_until = self._last_input + (ALONE_REPEAT if key == self._decided else ALONE)
        return ""

    def _was_alone(self) -> Press:
        """Nothing has followed an ESC, or the beginning of a letter."""
        self._alone_at = None
        if self._letter:
            key, self._letter = self._letter.decode("latin-1")[0], b""
        else:
            key, self._sequence = ESCAPE, "late"
        return Press(key, "works") if key in self.working else self._drop(key, "unknown")

    def _keys(self, data: bytes, mono: float) -> Iterator[str]:
        """The keys in `data`; at its end "" if some of it belonged to a sequence that is none."""
        self._alone_at = None
        sequence = False
        for byte in data:
            if byte != 0x03 and self._is_inside(byte):
                self._quiet_until = mono + AFTER_ESCAPE
                key = self._follow(byte)
                sequence = not key and (sequence or byte != ESC)
            else:
                self._sequence = ""
                key = self._letters(byte)
            yield from key
        if self._letter or self._sequence == "esc":
            self._alone_at = mono + ESCAPE_ALONE
        if sequence:
            yield ""

    def _letters(self, byte: int) -> str:
        """The keys that this byte completes: none if more of a letter is to come."""
        stale = ""
        if self._letter:
            if 0x80 <= byte < 0xC0:
                self._letter += bytes([byte])
                if len(self._letter) < LETTERS[self._letter[0]]:
                    return ""
                letter, self._letter = self._letter.decode("utf-8", "replace"), b""
                return letter[0]
            stale, self._letter = self._letter.decode("latin-1")[0], b""
        if byte in LETTERS:
            self._letter = bytes([byte])
            return stale
        return stale + chr(byte)

    def _is_inside(self, byte: int) -> bool:
        """Whether it belongs to an escape sequence, or begins one."""
        if self._sequence == "late":  # the ESC was told, but it may have been a slow line
            self._sequence = "esc" if byte in INTRODUCERS else ""
        return byte == ESC or self._sequence != ""

    def _follow(self, byte: int) -> str:
        """Keeps track of an escape sequence (ECMA-48): CSI to its final byte, SS3 and Alt one more byte.

        One that stays unfinished swallows the next byte, however late: it can only be dropped.
        A control string (a late answer to someone's query) goes to BEL or the next ESC.  Returns the
        key that a whole one stands for, if it is one of ours.
        """
        if byte == ESC:
            self._sequence = "esc"
        elif self._sequence == "esc":
            self._sequence, self._parameters = INTRODUCERS.get(byte, ""), b""
        elif self._sequence == "csi" and byte == ord("["):
            self._sequence = "one"  # a function key of the Linux console
        elif self._sequence == "csi":
            self._parameters = self._parameters[:40] + bytes([byte])
            if 0x40 <= byte <= 0x7E:
                self._sequence = ""
                return _with_ctrl(self._parameters)
        elif self._sequence == "one" or byte == BEL:
            self._sequence = ""
        return ""


def _with_ctrl(parameters: bytes) -> str:
    """Ctrl and a letter, told as a CSI with these parameters, where it is a key of ours; else ""."""
    found = WITH_CTRL.fullmatch(parameters)
    key = chr(int(found.group(1) or found.group(2)) & 0x1F) if found else ""
    return key if key in INTERRUPTS + "\x0c" else ""
