"""The operator's prompt: what stands on the screen, and what a key does to it.  Pure.

One view is on the screen at a time; each says which keys decide, which merely work, and what
a press does.  What is painted is frozen: a view holds the ids it was painted for, and what
changes meanwhile is told below it or in the list.  Bytes to paint come out of `output`; the
keys of a view count only after `written` has told that all of them have gone out.
"""

from __future__ import annotations

from ..base import addresses
from ..base.moment import Now
from ..base.text import clip_middle, count, printable
from ..docket.verdict import NOT_STARTED
from . import layout, notices
from .asking import Asking, Idle
from .groups import Groups
from .history import History
from .keyboard import INTERRUPTS, Keyboard, Press
from .lists import Listing
from .notices import NOTICE_LINES
from .painter import Painter
from .reading import Reading
from .sentences import NO_IPV6, batch
from .view import View, key_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..base.moment import Clock
    from ..docket.batch import Batch
    from ..docket.docket import Docket
    from ..docket.jobs import Job

NOTICE_EVERY = 2.0
"""Seconds between two batches of notices."""
NOTICE_EVERY_WHOLE = 10.0
"""The same while a second thought stands, all of which is painted anew below each."""
RECOUNT_EVERY = 1.0
"""Seconds between two looks at how many wait beside the question that stands."""
GRUMBLE_EVERY = 1.0
"""Seconds between two words about keys that did nothing."""
RESIZE_REST = 0.2
"""Seconds for which a window's size has stood when what stands in it is painted anew."""
ANSWERED = "answered meanwhile"
LET_OUT = "let out meanwhile, without a verdict from here"
GONE = {"stopped": "the container has stopped", "lost": "the link to its machine was lost"}
LEFT = "the container is not watched any more"


class Prompt:
    """What a session shows on a terminal of `width` by `height` characters, and takes from it."""

    def __init__(
        self,
        docket: Docket,
        painter: Painter,
        clock: Clock,
        *,
        shield: str = "terok-shield",
        bell: bool = False,
    ) -> None:
        self.docket = docket
        self.painter = painter
        self.groups = Groups(docket)
        self.clock = clock
        self.shield = shield
        self.quit = False
        self.stopping = False
        self._told_stopping = False
        self._not_run = 0  # verdicts that the end has left in the queue
        self._bell = bell
        self.interrupts = ""  # Ctrl-C, Ctrl-Z and Ctrl-\ that came as keys
        self._keyboard = Keyboard(whole_lines=painter.dumb)
        self._announced = ""  # what is going to be done, unless a key takes it back
        self._unreadable = ""  # deciding keys that don't count, since the screen is too small
        self._view: View = Idle(self)
        self._own_key = False
        self._resized_at: float | None = None  # since then its window has another size
        self._fresh = False  # the view has been painted, its keys are not armed yet
        self._drained = True
        self._notices = notices.Gathered()
        self._notice_at = -1e9
        self._told_lines = 0  # since what stands was painted
        self._counted: tuple[int, tuple[int, int]] = (0, (0, 0))  # what waits, by the lines of keys; a batch
        self._counted_at = -1e9
        self._unsaid = ""  # why a key did nothing, where that has just been said of another
        self._grumbled_at = -1e9
        self._pending_job: Job | None = None
        self.doing: list[str] = []  # the line of an answer whose verdict runs, while it stands last
        self._prefer = ""
        self._vanished = ANSWERED  # why, when the question does
        self.now = Now(0.0, 0.0)
        self._keyboard.arm(self.now.mono, False)
        self._view_keys()

    # The edge's side

    def output(self) -> bytes:
        """What is to be written now; call `written` when all of it has gone out."""
        data = self.painter.take()
        if data:
            self._drained = False
        return data

    def written(self, now: Now) -> None:
        """Everything painted so far has gone out whole."""
        self._drained = True
        self._keyboard.told(now.mono)
        if self._fresh:
            self._fresh = False
            self._keyboard.arm(now.mono, self._own_key)
            self._own_key = False

    def deadline(self) -> float | None:
        """When `tick` wants to be called next (monotonic), or None."""
        times = [self._keyboard.deadline()]
        if self._resized_at is not None:
            times.append(self._resized_at + RESIZE_REST)
        if self._drained and not self._keyboard.announced:
            if self._notices:
                times.append(self._notices_from)
            if self._counts() != self._counted:
                times.append(self._counted_at + RECOUNT_EVERY)
            if self._unsaid:
                times.append(self._grumbled_at + GRUMBLE_EVERY)
        return min((time for time in times if time is not None), default=None)

    def input(self, data: bytes, now: Now, since: float | None = None) -> None:
        """Bytes from the terminal, typed at `since` (monotonic) at the earliest."""
        self.now = now
        for press in self._keyboard.feed(data, now.mono, since):
            self._press(press)

    def tick(self, now: Now) -> None:
        self.now = now
        press = self._keyboard.tick(now.mono)
        if press is not None:
            self._press(press)
        if self._resized_at is not None and now.mono >= self._resized_at + RESIZE_REST:
            self._own_key = False
            self._repaint()
        if self._unsaid and now.mono >= self._grumbled_at + GRUMBLE_EVERY:
            self.grumble(self._unsaid)

    def resize(self, width: int, height: int, now: Now) -> None:
        """A window that is being dragged has many sizes: what stands is painted anew for the last one.

        Also when that is the one before: a smaller one in between may have taken the question away.
        """
        self.painter.resize(width, height)
        self._take_back()
        self._keyboard.disarm()
        self._fresh = False
        self._resized_at = now.mono

    def repaint(self, own_key: bool = False, unread: bool = False) -> None:
        """Paints what stands anew, below: after Ctrl-L, or when the terminal was someone else's.

        `unread` says that something was typed meanwhile, which counts for nothing.
        """
        self._take_back()
        self.painter.commit()
        if unread:
            text = "what was typed while this was stopped: ignored"
            self.painter.lines(layout.folded(text, self.painter.width - 1))
        self._own_key = own_key
        self._repaint()

    def leave_line(self) -> None:
        """Ends the line that the cursor is on: others will write to the terminal."""
        self._take_back()
        self.painter.commit()
        self._keyboard.disarm()

    def stop(self, commands: Sequence[str]) -> None:
        """The session waits for these verdicts, then ends: nothing is asked, only Ctrl-C is a key."""
        if not self.stopping:
            self._take_back()
            self.stopping = True
            if isinstance(self._view, Idle):
                self._commit()
            else:
                self.painter.erase()
                self._leave()
        if self._told_stopping or not commands:
            return
        self._told_stopping = True
        others = len(commands) - 1
        more = " and {}".format(count(others, "more verdict")) if others > 0 else ""
        text = f"stopping: waits for `{commands[0]}`{more} (Ctrl-C leaves {'them' if more else 'it'})"
        self.say(layout.folded(text, self.painter.width - 1, "", "  "))

    def end(self) -> None:
        """Nothing is asked any more."""
        self.painter.erase()
        self._leave()
        while self._notices:
            self._tell(self.now)
        if self._not_run:
            whose = "it was" if self._not_run == 1 else "they were"
            text = f"{count(self._not_run, 'verdict')} not run: what {whose} for is unanswered"
            self.say(layout.folded(text, self.painter.width - 1, "! ", "  "))
            self._not_run = 0

    def say(self, lines: list[str]) -> None:
        """Tells something at once, in the place of the line of keys."""
        if isinstance(self._view, Idle):
            self._commit()
        elif self._is_pushed_out(len(lines)):
            self.painter.lines(lines)
            if self._view.whole:  # the program inside can make us tell things: its keys go on counting
                self._paint()
            else:
                self._own_key = False
                self._repaint()
            return
        self._told_lines += len(lines)
        self.painter.lines(lines)
        self.paint_keys()

    def _is_pushed_out(self, more: int) -> bool:
        """Whether so many lines are too many between what stands and its line of keys."""
        if not self._lines_above():
            return False
        if self._view.whole or self._told_lines + more >= NOTICE_LINES:
            return True
        keys = len(self._view.key_lines())
        return self._view.is_readable() and not self.painter.fits(more + keys)

    def grumble(self, text: str) -> None:
        """Says that a key did nothing, once a second; on a terminal that takes no output, nobody reads it."""
        if not self._drained:
            return
        if self.now.mono < self._grumbled_at + GRUMBLE_EVERY or self._keyboard.announced:
            self._unsaid = text
            return
        self._unsaid, self._grumbled_at = "", self.now.mono
        self.say(layout.folded(text, self.painter.width - 1))

    # Records

    def record(self, record: dict[str, Any], now: Now) -> None:
        """One record of the docket."""
        kind, width = record["type"], self.painter.width - 1
        if kind == "container" and record["state"] in GONE and self._view.vanished():
            runs_on = record["state"] == "stopped" and record["reason"] is not None
            self._vanished = LEFT if runs_on else GONE[record["state"]]
        if kind == "closed" and record["why"] == "covered" and not record["by"] and self._view.vanished():
            self._vanished = LET_OUT
        if kind == "lost":
            if record["where"] != "link":  # that is told of the machine, with what it means
                self._notices.lost(record)
        elif kind == "verdict":
            self._outcome(record, width)
        elif kind == "batch":
            self._sum_up(record, width)
        elif kind != "pending" or record["floor"]:
            lines = notices.notice_lines(record, width, self.clock.time(now.wall))
            if kind == "passed" and not self.docket.shields.answers(record["container"], record["dest"]):
                lines += layout.folded("! " + NO_IPV6, width)
            same = notices.same_of_many(record)
            if same is not None:
                self._notices.of_many(record["container"], lines, same)
            elif lines:
                self._notices.notice(record.get("container", ""), lines)

    def where(self, container: str) -> str:
        """What the line of an answer begins with: its container, where there are several."""
        whose = clip_middle(printable(container), self.painter.width // 2)
        return whose + "  " if self.docket.several else "  "

    def _outcome(self, record: dict[str, Any], width: int) -> None:
        if self.stopping and record["reason"] == NOT_STARTED:
            self._not_run += 1  # in one line, at the end
            return
        if "batch" in record and not record["late"]:
            return  # it is counted, and what all came to is told with the last
        job, self._pending_job = self._pending_job, None
        named = addresses.canonical(record["target"]) is None
        shut = [request.dest for request in map(self.docket.request, record["elsewhere"]) if request]
        where = self.where(record["container"])
        lines = notices.verdict_lines(record, list(dict.fromkeys(shut)), width, named, self.shield, where)
        about = (record["container"], record["action"], record["target"])
        same = job is not None and (job.container, job.action, job.target) == about
        if same and isinstance(self._view, Idle):
            self.doing = []
            self.painter.lines(lines)  # in the place of the line that said it had begun
            self.paint_keys()
        else:
            self._pending_job = None if same else job
            self._notices.outcome(record["container"], lines)

    def _sum_up(self, record: dict[str, Any], width: int) -> None:
        """What all verdicts of a batch have come to."""
        text = f"{notices.batch_text(record)} ... {batch(record)}"
        if self.stopping:  # what was not run has a line of its own, with all others
            text = notices.progress(record)
        self._notices.outcome("", layout.folded(text, width, "  ", "    "))

    # The screen

    def refresh(self, now: Now) -> None:
        """Brings the screen up to date; call it once in each round, after records and input."""
        self.now = now
        if isinstance(self._view, Idle) and not self.docket.waiting_for:
            self._own_key = False  # what is asked next comes by itself
        if not self._drained:
            return
        if self._view.vanished():
            text, self._vanished = f"{self._vanished}: no key needed", ANSWERED
            self.painter.lines(layout.folded(text, self.painter.width - 1))
            self._leave()
            self._own_key = False
        if self._view.turned():
            self._own_key = False
            self._repaint()
        if now.mono >= self._notices_from and not self._keyboard.announced:
            self._tell(now)
        if isinstance(self._view, Idle) and not self.stopping:
            self._ask_next(now)
        if self._counts() != self._counted and now.mono >= self._counted_at + RECOUNT_EVERY:
            self._recount(now)

    def _counts(self) -> tuple[int, tuple[int, int]]:
        """How many groups wait, and how far a batch is, where the lines of keys tell it and are rewritten."""
        if self.painter.dumb or self.stopping:
            return self._counted
        batch = self.batch if isinstance(self._view, (Asking, Idle)) else None
        progress = (batch.number, batch.ended) if batch is not None else (0, 0)
        return len(self.groups) if self._view.counts else 0, progress

    def _recount(self, now: Now) -> None:
        """What waits beside the question that stands has become more, or less, or a batch has gone on."""
        if self._keyboard.announced:
            return
        if self._bell and self._counted[0] == 1 < self._counts()[0]:
            self.painter.bell()
        self._counted_at = now.mono
        self.paint_keys()

    @property
    def batch(self) -> Batch | None:
        """The verdicts of one answer about many that are under way, the first such."""
        return next(iter(self.docket.batches.values()), None)

    def batch_lines(self) -> list[str]:
        """How far they are, in a line that is rewritten, and what ends them."""
        batch = self.batch
        if batch is None or self.painter.dumb or self.stopping:
            return []
        return notices.progress_lines(batch.told(), self.painter.width - 1)

    def end_batch(self) -> bool:
        """What has not begun of a batch is not run; whether there is one."""
        batch = self.batch
        if batch is not None:
            self.docket.call_off([job for job in self.docket.jobs() if job.batch is batch], self.now)
            self._counted_at = -1e9
        return batch is not None

    def show(self, view: View, own_key: bool) -> None:
        """Puts a view on the screen."""
        if isinstance(self._view, Idle):
            self._commit()
        self._view = view
        self.docket.set_painted(view.ids, self.now)
        self._own_key = own_key
        self._repaint()

    def back(self) -> None:
        """The operator's own key ends a view: what waits is asked again."""
        self.painter.erase()
        self._leave()
        self._own_key = True

    def open_list(self) -> None:
        """The operator's own key shows what waits."""
        self.show(Listing(self), True)

    def open_history(self) -> None:
        """The operator's own key shows what was answered."""
        self.show(History(self), True)

    def open_text(self, view: View, text: Callable[[int], list[str]]) -> None:
        """The operator's own key has a text told: above what stands, or before it where there is no room."""
        reading = Reading(self, view, text)
        if reading.fits():
            self.painter.lines(text(self.painter.width - 1))
        self.show(view if reading.fits() else reading, True)

    def prefer(self, request_id: str) -> None:
        """Which request is asked next, when it still waits."""
        self._prefer = request_id

    def decided(self, line: str, job: Job | None = None) -> None:
        """A key has decided: `line` says so in the place of the line of keys."""
        self._leave()
        self._own_key = True
        self.doing = self._indented(line)
        if job is None:
            self._commit()
        else:
            self._pending_job = job
            self.paint_keys()

    def decided_many(self, line: str) -> None:
        """A key has decided what takes many verdicts: the line that counts them says so, if there is one."""
        if self.painter.dumb:
            self.decided(f"{line} ... ESC ends the rest")
            return
        self.back()
        self.paint_keys()

    def _commit(self) -> None:
        """The line of a verdict that runs stays as it is: what follows goes below it."""
        self.painter.keys(self.doing)
        self.painter.commit()
        self.doing = []

    def _leave(self) -> None:
        self._keyboard.disarm()
        self._view = Idle(self)
        self._view_keys()
        self._fresh = False
        self._announced = self._unsaid = ""
        self._keyboard.arm(self.now.mono, True)  # its only key decides nothing, and asks back
        self.docket.set_painted((), self.now)

    def _ask_next(self, now: Now) -> None:
        preferred = self.groups.of(self._prefer)
        group = preferred or self.groups.first()
        if group is None:
            return
        self._prefer = ""
        self.groups.asked(group)
        place = self.groups.in_order().index(group.key) + 1 if preferred else 1
        text = "%d of %d" % (place, len(self.groups)) if len(self.groups) > 1 else ""
        if self._bell and not self._own_key:
            self.painter.bell()
        self.show(Asking(self, group, text), self._own_key)

    def _repaint(self) -> None:
        """Paints the view whole; its keys count after a while."""
        self._take_back()
        self._keyboard.disarm()
        self._resized_at = None
        self._paint()
        self._view_keys()
        self._fresh = not isinstance(self._view, Idle)
        if not self._fresh:
            self._keyboard.arm(self.now.mono, False)  # there is nothing to be read first

    def _paint(self) -> None:
        """The view whole, below all that stands there."""
        self.painter.mark()
        self._told_lines = 0
        lines = self._lines_above()
        if lines:
            self.painter.lines(lines, headed=self._view.headed)
        self.paint_keys()

    def _lines_above(self) -> list[str]:
        """What stands there and stays: where nothing is rewritten, that are the rows of a list, too."""
        return [*self._view.lines(), *(self._view.rows() if self.painter.dumb else ())]

    def paint_keys(self) -> None:
        """The line of keys anew, and the rows of a list above it, of which only what has changed."""
        rows = () if self.painter.dumb else self._view.rows()
        self._counted = self._counts()
        self.painter.keys(self._view.key_lines(), rows)

    def _view_keys(self) -> None:
        self._unreadable = "" if self._view.is_readable() else self._view.deciding
        self._keyboard.deciding = "" if self._unreadable else self._view.deciding
        self._keyboard.working = self._view.working

    @property
    def _notices_from(self) -> float:
        """When the next batch of notices may be told (monotonic)."""
        return self._notice_at + (NOTICE_EVERY_WHOLE if self._view.whole else NOTICE_EVERY)

    def _tell(self, now: Now) -> None:
        """Paints the notices that have gathered, as one batch."""
        if self._notices:
            self._notice_at = now.mono
            self.say(self._notices.batch(self.painter.width - 1, self.clock.time(now.wall)))

    # Keys

    def _press(self, press: Press) -> None:
        key, fate = press.key, press.fate
        if fate == "works" and key and key in INTERRUPTS:
            self.interrupts += key
        elif self.stopping:
            return
        elif fate == "works" and key == "\x0c":
            self.repaint(own_key=True)
        elif fate in ("works", "runs"):
            self._announced = ""
            self._view.press(key)
        elif fate == "decides":
            self._decide(key)
        elif fate == "taken back":
            self._take_back()
        elif fate == "unknown" and key in self._unreadable:
            self.grumble("this window is too small to show what you would decide")
        elif fate == "unknown":
            self._view.unknown(key)
        else:
            self.grumble(WHY_DROPPED[fate].format(key_name(key)))

    def _decide(self, key: str) -> None:
        """A verdict is announced first, anything else done at once."""
        announced = self._view.announcement(key)
        if not announced:
            self._view.press(key)
            return
        self._announced, how, width = announced, "any key takes it back", self.painter.width - 1
        one = f"{announced} - {how}"
        self._keyboard.announce(key)
        self.painter.keys([one] if len(one) <= width else [*self._indented(announced), "  " + how])

    def _take_back(self) -> None:
        """What was announced is not done."""
        announced, self._announced = self._announced, ""
        if announced:
            self._keyboard.take_back()
            self.say(self._indented(announced + ": taken back"))

    def _indented(self, line: str) -> list[str]:
        """The line of an answer, in several where one has no room for it."""
        return layout.folded(line.strip(), self.painter.width - 1, "  " if line.startswith(" ") else "")


WHY_DROPPED = {
    "early": "{} came before one could read this: ignored, wait a moment, press it again",
    "hurried": "{} came right after another key: ignored, wait a moment, press it again",
    "escaped": "{} came right after an ESC: ignored, wait a second, press it again",
    "crowded": "more than one key at once: ignored, press one alone",
    "sequence": "an arrow, function or Alt key: ignored, ? shows the keys",
}
