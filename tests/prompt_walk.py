"""An operator who presses anything at any time, on a terminal that stalls, and what must hold.

- no verdict, and no undo, without a key that arrived alone, after the wait, while the very
  question (its ids, its address) stood on the screen whole, and that stood announced for half a
  second in which nothing else was typed
- each id is answered at most once, unless a verdict on it came to nothing in between
- what a painted question means never changes: the answer is about the address painted last
- everything painted is printable ASCII, line ends, a bell or colours, and no line is too wide
  (the stage looks at that itself)
- containers take turns, and the questions of one come in the order in which its requests came, unless
  the operator chose
- what is painted is bounded by what happened
- it always ends: with ESC and the letter q, pressed as often as there are second thoughts
"""

from __future__ import annotations

import re

from docket_walk import CONTAINERS, Walk
from stage import SGR, Stage

from simple_clearance.docket.states import OPEN
from simple_clearance.prompt.asking import Asking, Confirming
from simple_clearance.prompt.counting import Counting
from simple_clearance.prompt.keyboard import (
    AFTER_CHANGE,
    AFTER_OWN_KEY,
    ALONE,
    ALONE_REPEAT,
    QUIET,
    TAKE_BACK,
)
from simple_clearance.prompt.lists import Listing

NEARLY = 1e-6
KEYS = "aaaaAAddssmmuuyyyyyylhi?qxcc\n\n\r123**00\x7f\x0c /\x1b"
HEAD = re.compile(r"^(c\d)  ([0-9a-f.:]+)  \S.* \d\d:\d\d:\d\d   \d+ tr(?:y|ies)")
BURSTS = [
    "aa",
    "a\n",
    "allow\n",
    "\x1b[A",
    "\x1b",
    "\x1b[200~a\x1b[201~",
    "\xc3\xa9",
    "yyyyyyyy",
    "d\r",
    "\x1bOP",
    "q\n",
    "1\n",
]


class Watcher:
    """What the terminal and the clock saw, apart from the prompt: the reads and the paintings."""

    def __init__(self):
        self.reads = []  # (time, bytes)
        self.stood_since = None  # when what stands there had gone out whole
        self.by_itself = False
        self.view = None


class PromptWalk(Walk):
    """The docket's walk, with a prompt before it."""

    def __init__(self, seed, width=140, height=30, **options):
        self.stage = Stage(width, height, emulate=False, **options)
        self.stage.auto = False
        super().__init__(seed, self.stage)
        self.watcher = Watcher()
        self.answered = {}
        self.reads = 0
        self.ran_at = -1e9  # when a verdict was carried out that had been announced
        self.stalled_since_read = False
        self.started_at = self.stage.mono
        self.turns = dict.fromkeys(CONTAINERS, 0.0)  # when the last question about each was over
        self.asked = self.chosen = ""  # the ids of what is asked, and of what the operator wants to be asked
        self._show, self._prefer = self.stage.prompt.show, self.stage.prompt.prefer
        self.stage.prompt.show, self.stage.prompt.prefer = self.show, self.prefer
        self._moved, self.docket.moved = self.docket.moved, self.moved
        self._answer, self._undo = self.docket.answer, self.docket.undo
        self.docket.answer, self.docket.undo = self.answer, self.undo
        self._begin_reading = self.stage.take
        self.stage.take = self.take

    def take(self, *kinds):
        """The stage hands every record to the prompt; the ledger reads it on the way."""
        found = self._begin_reading(*kinds)
        self.ledger.read(found)
        return found

    def read_told(self):
        self.stage.take()

    # Whose turn it is

    def prefer(self, request_id):
        self.chosen = request_id
        self._prefer(request_id)

    def moved(self, request):
        if request.id == self.asked and request.state != OPEN:
            self.asked = ""
            self.turns[request.container] = max(self.turns.values()) + 1
        self._moved(request)

    def show(self, view, own_key):
        standing = self.stage.prompt._view  # or what is read before it comes back
        if isinstance(view, Asking) and view not in (standing, getattr(standing, "_below", None)):
            lead = view.group.lead
            if self.chosen not in view.ids:
                first = self.docket.waiting(lead.container)[0]
                assert first.id in view.ids and first.changed == lead.changed
                assert all(
                    self.turns[one] >= self.turns[lead.container] for one in self.docket.waiting_for
                ), "it was not its turn"
            self.asked, self.chosen = lead.id, ""
        self._show(view, own_key)

    # The other side of every decision

    def answer(self, action, ids, now, by, *, name=""):
        open_before = {request.id for request in self.docket.waiting()}
        done = self._answer(action, ids, now, by, name=name)
        if done:
            self.ran_at = self.stage.mono
            counting = isinstance(self.stage.prompt._view, Counting)
            self.check_key(now, "\r\n" if counting else "adsmy", action in ("allow", "deny"))
            assert set(ids) <= open_before
            self.check_painted(action, ids, name)
            for one in ids:
                assert one not in self.answered, "answered twice"
                self.answered[one] = action
        return done

    def undo(self, answer, by, now):
        self.check_key(now, "y", True)
        self.ran_at = self.stage.mono
        assert "u undoes `" in self.painted()
        return self._undo(answer, by, now)

    def check_key(self, now, keys, verdict):
        at, data = self.watcher.reads[-1]
        if self.stage.prompt.painter.dumb and data[1:] in (b"\r", b"\n", b"\r\n"):
            data = data[:1]
        assert len(data) == 1 and chr(data[0]) in keys, data
        if verdict:
            assert now.mono - at >= ALONE + TAKE_BACK - NEARLY, "it might have been taken back"
            told = self.painted()
            assert any(how in told[-200:] for how in ("any key takes it back", "takes it b"))
        assert now.mono - at >= ALONE - NEARLY, "something might have followed"
        if len(self.watcher.reads) > 1:
            assert at - self.watcher.reads[-2][0] >= QUIET - NEARLY
        for earlier, bytes_read in self.watcher.reads[-20:-1]:
            assert b"\x1b" not in bytes_read or at - earlier >= 1.0 - NEARLY
        assert self.watcher.view is self.stage.prompt._view, "what stands there had not gone out whole"
        wait = AFTER_CHANGE if self.watcher.by_itself else AFTER_OWN_KEY
        if not verdict:
            wait -= ALONE_REPEAT - ALONE  # the same key once more, which was held back longer for it
        assert at - self.watcher.stood_since >= wait - NEARLY

    def check_painted(self, action, ids, name):
        view = self.stage.prompt._view
        if isinstance(view, Listing):
            assert set(ids) <= {one for index in view._chosen for one in view._ids[index]}
            self.check_narrowed(view, ids)
            return
        if isinstance(view, Counting):
            assert set(ids) <= set(view._requests)
            self.check_narrowed(view._listing, ids)
            told = self.painted().rpartition(f"allowing {len(view._requests)} address")[2]
            assert all(self.ledger.pending[one]["dest"] in told.split() for one in view._requests)
            return
        assert isinstance(view, (Asking, Confirming))
        assert set(ids) <= set(view.ids)
        lines = self.painted().split("\n")
        unnamed = [line for line in lines if not line.startswith("  | ")]
        heads = [
            found
            for found, below in zip(map(HEAD.match, unnamed), [*unnamed[1:], ""])
            if found and not below.startswith("  ! not asked")
        ]
        lead = self.ledger.pending[ids[0]]
        assert (heads[-1].group(1), heads[-1].group(2)) == (lead["container"], lead["dest"])
        if action == "mute":
            shown = [line[4:].split()[0].lstrip(".") for line in lines if line.startswith("  | ")]
            assert name == lead["dest"] or any(map(name.endswith, shown)), "what was painted is muted"
        elif name:
            assert f"A allow {name} - any key takes it back" in self.painted()

    def check_narrowed(self, listing, ids):
        """A list that is narrowed to one container answers nothing of another one."""
        only = listing._narrowing.only
        assert not only or {self.ledger.pending[one]["container"] for one in ids} == {only}

    def painted(self):
        """What has gone out, of the last of it; of a line that was rewritten, what it was last."""
        text = SGR.sub(b"", self.stage.written[-12_000:]).replace(b"\a", b"").decode()
        return "\n".join(line.rsplit("\r", 1)[-1] for line in text.split("\r\n"))

    # What happens

    def flush(self):
        prompt = self.stage.prompt
        before = len(self.stage.written)
        self.stage.flush()
        if len(self.stage.written) > before and prompt._view is not self.watcher.view:
            acted = max(self.ran_at, self.watcher.reads[-1][0] if self.watcher.reads else 0.0)
            quick = self.stage.mono - acted < 0.3
            self.watcher.view = prompt._view
            self.watcher.stood_since = self.stage.mono
            self.watcher.by_itself = not quick and not self.stalled_since_read
        elif self.watcher.reads and self.watcher.reads[-1] in (
            (self.stage.mono, b"?"),
            (self.stage.mono, b"i"),
            (self.stage.mono, b"\x0c"),
        ):
            self.watcher.by_itself = False  # painted anew by the operator's own key

    def round(self):
        """One round of a session."""
        stage = self.stage
        for record in stage.take():
            stage.prompt.record(record, stage.now)
        stage.prompt.tick(stage.now)
        stage.prompt.refresh(stage.now)
        self.flush()
        for record in stage.take():
            stage.prompt.record(record, stage.now)
        self.flush()

    def pass_time(self, seconds):
        stage = self.stage
        until = stage.mono + seconds
        for _ in range(50):
            due = stage.prompt.deadline()
            if due is None or due > until:
                break
            stage.mono = max(due, stage.mono)
            self.round()
        stage.mono = max(until, stage.mono)
        self.docket.tick(stage.now)
        self.round()

    def do_time(self):
        self.pass_time(self.rng.choice([0.01, 0.05, 0.2, 0.5, 1.1, 3, 61]))

    def read(self, data):
        self.watcher.reads = [*self.watcher.reads[-30:], (self.stage.mono, data)]
        self.reads += 1
        self.stalled_since_read = self.stage.stalled
        self.stage.prompt.input(data, self.stage.now)
        self.round()

    def do_key(self):
        """A person's key, with the pauses that make it count, or nearly."""
        self.pass_time(self.rng.choice([0.1, 0.3, 0.5, *[1.1] * 9]))
        view = self.stage.prompt._view
        keys = view.deciding or KEYS
        if isinstance(view, Counting) and self.rng.random() < 0.8:
            number = str(len(view._requests))
            keys = (
                number[len(view._typed)] if number.startswith(view._typed) and view._typed != number else "\n"
            )
        self.read(self.rng.choice(keys if self.rng.random() < 0.6 else KEYS).encode("latin-1"))
        self.pass_time(self.rng.choice([0.0, 0.03, 0.05, 0.13, 0.4, *[0.7] * 6]))

    def do_burst(self):
        if self.rng.random() < 0.5:
            self.read(self.rng.choice(BURSTS).encode("latin-1"))
        else:
            for _ in range(self.rng.randrange(2, 12)):
                self.read(self.rng.choice("aadmyq1").encode())
                self.pass_time(self.rng.choice([0.0, 0.03, 0.1]))

    def do_resize(self):
        painter = self.stage.prompt.painter
        size = self.rng.choice([100, 120, 140, 180]), self.rng.choice([5, 8, 24, 50])
        if size != (painter.width, painter.height):
            self.stage.prompt.resize(*size, self.stage.now)
            self.flush()
            self.watcher.view = None

    def do_stall(self):
        self.stage.stalled = not self.stage.stalled and self.rng.random() < 0.5
        self.stalled_since_read = self.stalled_since_read or self.stage.stalled
        self.flush()

    def do_suspend(self):
        self.stage.prompt.leave_line()
        self.flush()
        self.watcher.view = None
        self.stage.prompt.repaint()
        self.flush()

    def do_paint(self):
        """Who paints is the prompt."""

    def do_answer(self):
        """Who answers is the operator."""

    do_undo = do_answer

    def finish(self, job):
        for one in job.ids:
            self.answered.pop(one, None)  # it may stay open, and then be answered again
        super().finish(job)

    def do_overdue(self):
        for job in self.docket.jobs():
            if job.state == "running" and self.rng.random() < 0.3:
                for one in job.ids:
                    self.answered.pop(one, None)
                self.ends(job, "unknown")
                self.docket.overdue(job, self.stage.now)

    WEIGHTS = (
        (Walk.do_blocked, 20),
        (Walk.do_others, 6),
        (Walk.do_start, 10),
        (Walk.do_finish, 9),
        (do_overdue, 1),
        (do_time, 10),
        (Walk.do_learn, 4),
        (Walk.do_policy, 1),
        (Walk.do_ask_again, 0),
        (Walk.do_lost, 1),
        (Walk.do_stop, 0.3),
        (do_key, 60),
        (do_burst, 6),
        (do_resize, 2),
        (do_stall, 3),
        (do_suspend, 1),
    )

    def step(self):
        action = self.rng.choices([one for one, _ in self.WEIGHTS], [weight for _, weight in self.WEIGHTS])[0]
        painted = dict(self.docket.painted)
        action(self)
        self.round()
        same = painted == self.docket.painted
        self.look(painted if same and action not in (PromptWalk.do_key, PromptWalk.do_burst) else {})
        self.bounded()
        self.hold_the_groups()
        if self.stage.prompt.quit:
            self.stage.prompt.quit = False  # the walk goes on; the session would not
            self.stage.prompt.back()
            self.stalled_since_read = True  # whatever comes next is still of that key
        return action

    def hold_the_groups(self):
        """Kept up with each change, or made anew: the same groups."""
        anew = {}
        for request in self.docket.waiting():
            anew.setdefault((request.container, self.docket.label(request)), set()).add(request.id)
        groups = self.stage.prompt.groups
        order = groups.in_order()
        assert sorted(order) == sorted(anew) and len(groups) == len(anew)
        for container in self.docket.waiting_for:
            own = [key for key in anew if key[0] == container]
            assert [key for key in order if key[0] == container] == own
        for at, key in enumerate(order):  # no other has two rows more than it before that one
            before = [one for one, _ in order[:at]]
            assert all(before.count(one) <= before.count(key[0]) + 1 for one in CONTAINERS)
        assert {key: set(groups.group(key).ids) for key in groups.in_order()} == anew

    def bounded(self):
        """A key may bring up a page, two seconds a batch of notices, a request and a verdict its lines."""
        happened = len(self.ledger.pending) + len(self.ledger.verdicts)
        written = len(self.stage.written) + len(self.stage.waiting_to_go)
        assert (
            written
            < 8000 * (self.reads + 10) + 3000 * (self.stage.mono - self.started_at) / 2 + 2000 * happened
        )

    def end(self):
        stage = self.stage
        stage.stalled = False
        self.flush()
        self.pass_time(1.3)
        self.read(b"\x1b")  # a word that is being typed would take the letter
        for _ in range(7):
            if stage.prompt.quit:
                break
            self.pass_time(1.3)
            self.read(b"q")
            self.pass_time(0.3)
        assert stage.prompt.quit, "q, and as many q as there are second thoughts, end it"
        stage.prompt.end()
        self.flush()
        assert stage.keys == ""
        super().end()


def walk(seed, steps, **options):
    one = PromptWalk(seed, **options)
    for _ in range(steps):
        one.step()
    one.end()
    return one
