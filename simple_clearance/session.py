"""The session: the only place that knows both sides, the containers' and the operator's.

One loop over readers, verdict commands, the containers' ends, the hub's signs, signals and the
front.  Whatever happens goes into the docket; what comes out of it as records is shown and
logged, and what comes out as jobs is run, each after one more look for a hub.
"""

from __future__ import annotations

import os
import signal

from . import __version__, jobcontrol
from .base.errors import (
    CANNOT_START,
    HUB_ACTIVE,
    INCOMPLETE,
    MORE_FILES,
    OK,
    READER_ENDED,
    STOPPED_EARLY,
    USAGE,
    Refused,
    starved,
)  # fmt: skip
from .base.options import Options
from .base.text import printable
from .docket.byrule import ByRule
from .docket.docket import Docket
from .docket.states import RUNNING
from .docket.verdict import DRY_RUN, FAILED, NOT_STARTED, Outcome
from .fronts import protocol
from .hub.common import Common
from .hub.guard import Guard
from .hub.hub import Hub
from .jobcontrol import ENDS, JobControl
from .joined.links import Links
from .prompt.sentences import NO_VERDICTS, by_rule, repeat_commands
from .runner import Runner
from .sources import watched
from .sources.fleet import Fleet
from .system import children, clocks, terminal
from .system.folders import LOOK_EVERY, NO_NOTICES, Folders
from .system.limits import ManyFiles
from .system.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Sequence

    from .base.happenings import Name, Recorded
    from .base.moment import Now
    from .docket.docket import Record
    from .docket.jobs import Job
    from .fronts.interactive import Front
    from .fronts.logfile import Log, Profile
    from .fronts.savedpolicy import SavedPolicy
    from .sources.policyfile import PolicyFile

PATIENCE = 3.0
"""Seconds for the readers to listen; then it is told what is waited for."""

LAST_WORDS = 0.5
"""Seconds that stdout gets to take what is left when it is to end at once: half a line is none."""

INCOMPLETE_IF = ("failed", "unknown", "open", "lost")
"""The counts of a summary that make an end incomplete."""


class ClearanceSession:
    """Drives the clearance loop of one container: its reader, the prompt and the verdicts.

    It lives until the container or its reader ends, or the operator stops it.
    """

    def __init__(self, *, state_dir: os.PathLike[str] | str, container: str) -> None:
        """Prepares the session; the reader is started by `run`.

        `state_dir` is the container's own shield state directory.
        """
        self._options = Options([container])
        self._options.state_dir = os.fspath(state_dir)

    def run(self) -> int:
        """Runs it to its end and returns its exit code: 0, 1, 4 or 5.

        Raises `errors.Refused`, which names the remedy, when it can't start.  The main thread only.
        """
        return Session(self._options, os.environ).run()


class Session:
    """One session over any number of containers.  `last`: the process ends with it."""

    def __init__(self, options: Options, environ: Mapping[str, str], last: bool = False) -> None:
        self._options = options
        self._environ = environ
        self._loop = Loop()
        self._docket = Docket(
            answer=options.answer, names=self._names, behind=self._behind, recorded=self._recorded
        )
        self._fleet = Fleet(self._loop, self._docket, options, environ, self._trace, self._nothing_left)
        self._links = Links(self._loop, self._docket, options.verdict_timeout, self._trace)
        self._runner = Runner(self._loop, self._docket, options.shield, options.verdict_timeout, self._trace)
        common = Common(environ, os.getuid(), self._trace)
        self._guard = Guard(self._loop, common, self._hub_appeared, self._fleet.feeds_a_hub)
        self._job_control = JobControl(last)
        self._term: terminal.Terminal | None = None
        self._front: Front | None = None
        self._policy: PolicyFile | None = None
        self._by_rule: ByRule | None = None  # of a replay alone
        self._kept: list[Log | Profile | SavedPolicy] = []  # what is left behind
        self._rotates = False  # whether a SIGHUP is no hang-up, but what follows on the rotation of a log
        self._until: float | None = None
        self._look_at: float | None = None  # when to look for what there are no notices of
        self._patience: float | None = None
        self._ending: int | None = None
        self._hurry = False
        self._reason: Refused | None = None  # why it ends by itself
        self._loop.deadlines += [
            self._docket.deadline,
            lambda: self._until,
            lambda: self._patience,
            lambda: self._look_at,
        ]

    def run(self) -> int:
        """Runs to the end; returns the exit code.  Raises Refused before anything was asked."""
        try:
            if self._options.replay:
                self._options.dry_run = True
                self._by_rule = ByRule(self._docket)
            elif self._options.containers and not self._options.sandbox:
                self._look_for_a_hub_of_all()
            if self._options.save_policy is not None:
                # may be the same file as the next, which begins with nothing
                self._save_policy(self._options.save_policy)
            if self._options.policy is not None:
                self._load_policy(self._options.policy)
            term = self._term = self._terminal()
            with ManyFiles():
                if term is None:
                    return self._run_on(None)
                with term:
                    return self._run_on(term)
        finally:
            self._close()

    def _terminal(self) -> terminal.Terminal | None:
        """The terminal to prompt on; None where nobody is prompted.  Refused (2) where there is none."""
        if self._options.json or self._options.answer:
            return None
        try:
            return terminal.find()
        except Refused:
            if self._options.replay:
                return None
            self._look_for_hubs()  # where one is active, a terminal is not what is missing
            raise

    def _run_on(self, term: terminal.Terminal | None) -> int:
        self._open_records(term)
        if term is None:
            self._front = self._piped_front()
        if self._options.elsewhere:
            self._links.join(self._options, may_ask=term is not None)
        if not self._options.replay:
            self._fleet.prepare(self._guard)
            self._guard.check()
            self._find_shield()
        with self._job_control.wakeups as wakeups, Folders() as files, Folders(signal.SIGURG) as places:

            def woken(_events: int, now: Now) -> Now:
                if self._job_control.give_way(self._term, self._front, self._ending is not None):
                    now = clocks.now()
                numbers = self._job_control.take()
                if signal.SIGURG in numbers:
                    places.refresh()
                    self._guard.noticed(now)
                    self._fleet.noticed(now)
                if signal.SIGIO in numbers:
                    files.refresh()
                    self._files_changed(now)  # which are read once all keys and signals have been
                self._signals(numbers, now)
                return now

            self._loop.add(wakeups.fd, woken, urgent=True)
            try:
                self._guard.watch(places)
                self._start(files, places)
                if self._ending == OK:
                    raise Refused(CANNOT_START, STOPPED_EARLY)
                self._greet(term)
                woken(0, clocks.now())  # what came while it waited for the terminal
                self._next_round(wait=False)  # what came along with the readers' first line
                while not self._over():
                    self._tell_the_end()
                    self._next_round()
                return self._finish(clocks.now())
            finally:
                if term is not None:
                    term.restore()  # while no signal can end us before that

    # Starting

    def _look_for_a_hub_of_all(self) -> None:
        """Before anything is asked of podman.  Refused (1 or 3) as by `Guard.check`."""
        self._guard.add("", Hub(None, None, self._environ, os.getuid(), self._options.ignore_hub))
        self._guard.check()
        self._guard.remove("")

    def _look_for_hubs(self) -> None:
        """Refused (1) where one of a container that was named is active."""
        try:
            self._fleet.prepare(self._guard)
            self._guard.check()
        except Refused as refused:
            if refused.code == HUB_ACTIVE:
                raise

    def _save_policy(self, path: str) -> None:
        from .fronts.savedpolicy import SavedPolicy

        self._kept.append(SavedPolicy(path, self._docket.warn, self._options.several))

    def _load_policy(self, path: str) -> None:
        from .sources.policyfile import PolicyFile

        policy = self._policy = PolicyFile(path)
        self._docket.rules.replace(policy.load())
        self._loop.deadlines.append(lambda: policy.due)

    def _open_records(self, term: terminal.Terminal | None) -> None:
        if self._options.log is not None:
            from .fronts.logfile import Log

            if self._options.log == "-" and (term is None or self._options.sandbox):
                raise Refused(USAGE, "--log -: other things go to stdout", "--json has the same there")
            self._rotates = term is None and not terminal.is_controlled()
            self._kept.append(Log(self._options.log, self._docket.warn))
        if self._options.save_profile is not None:
            from .fronts.logfile import Profile

            versions = self._docket.shields.versions
            self._kept.append(Profile(self._options.save_profile, self._docket.warn, versions))
        self._docket.report_again = self._options.json or self._options.log is not None

    def _find_shield(self) -> None:
        program = self._options.shield[0]
        if self._fleet.containers and self._options.decides and not children.find(program, self._environ):
            raise watched.no_shield(program)

    def _start(self, files: Folders, places: Folders) -> None:
        """Starts every source and waits until all of them listen."""
        unnoticed = False  # whether files may change of which there are no notices
        if self._policy is not None:
            unnoticed = not files.watch_file(self._policy.path)
            self._policy.notice(clocks.now().mono)  # what came before the first notice could
        if self._options.replay:
            self._fleet.start_replay(self._drain)
        else:
            self._fleet.start(files, places, clocks.now())
        if self._policy is not None and unnoticed:
            self._docket.warn(NO_NOTICES % printable(self._policy.path, 200))
        self._patience = clocks.now().mono + PATIENCE
        self._links.start(clocks.now())
        while not self._listening() and self._ending is None:
            now = self._loop.wait()
            self._tick(now)
            if self._patience is not None and self._patience <= now.mono:
                self._patience = None
                late = "the recording has not begun" if self._options.replay else self._fleet.late
                terminal.diagnose("simple-clearance: %s yet (Ctrl-C stops)" % (self._links.late or late))
        self._patience = None
        if unnoticed or self._fleet.unnoticed:
            self._look_at = 0.0
        if self._ending is None:
            self._fleet.claim()

    def _listening(self) -> bool:
        return self._fleet.listening() and self._links.listening(clocks.now())

    def _piped_front(self) -> Front:
        from .fronts import piped

        if not self._options.json:
            return piped.QuietFront(self._loop, self._docket)
        stdin = -1 if self._options.answer or self._options.replay == "-" else 0
        return piped.JsonFront(self._loop, self._docket, self._docket.warn, stdin=stdin)

    def _greet(self, term: terminal.Terminal | None) -> None:
        """All sources listen, or it has been ended before: from here on something may be asked."""
        options = self._options
        if options.duration is not None:
            self._until = clocks.now().mono + options.duration
        if term is not None:
            from .fronts.interactive import TerminalFront

            self._job_control.await_terminal(term, self._ending is not None)
            self._job_control.came.discard(signal.SIGCONT)  # nothing is to be painted anew
            if not self._job_control.came & ENDS:
                term.raw()
            self._front = TerminalFront(
                term, self._loop, self._docket, self._environ, shield=options.shield_name, bell=options.bell
            )
        assert self._front is not None
        watching = [*self._fleet.watching(), *self._links.watching()]
        self._show(protocol.session(__version__, watching), clocks.now())
        if self._listening():
            dry = NO_VERDICTS if self._options.dry_run and not self._options.replay else ""
            self._front.greet(watching, self._fleet.awaited(), dry)

    # One round

    def _next_round(self, wait: bool = True) -> None:
        """What can't be had any more, a reader or a descriptor, ends it with all that is to be told."""
        try:
            self._round(self._loop.wait() if wait else clocks.now())
        except Refused as refused:
            hints = (MORE_FILES,) if starved(refused) else refused.hints
            self._end(READER_ENDED, Refused(READER_ENDED, refused.message, *hints))
        except OSError as error:
            if not starved(error):
                raise
            self._end(READER_ENDED, Refused(READER_ENDED, starved(error).lower(), MORE_FILES))

    def _round(self, now: Now) -> None:
        front = self._front
        assert front is not None
        self._tell_the_end()
        self._tick(now)
        if self._links.over and not self._fleet.watches:
            self._end(OK)
        replay = self._fleet.replay
        if replay is not None:
            replay.catch_up(now)
        self._fleet.tell_bad_lines()
        self._drain(now)
        front.refresh(now)
        self._drain(now)
        replays = replay is not None and not replay.over
        if front.ended and self._ending is None and not (front.ended == "input" and replays):
            self._end(OK)
        if replay is not None and replay.over and (not front.asks or not self._docket.open_count()):
            self._end(OK)
        if self._until is not None and self._until <= now.mono:
            self._until = None
            self._end(OK)
        if self._options.count is not None and self._docket.tally.settled >= self._options.count:
            self._end(OK)

    def _tick(self, now: Now) -> None:
        """What is due: all that has a deadline in the loop, since one that is not served ends every wait."""
        self._runner.tick(now)
        self._docket.tick(now)
        self._fleet.tick(now)
        self._links.tick(now)
        if self._look_at is not None and self._look_at <= now.mono:
            self._look_at = now.mono + LOOK_EVERY
            self._files_changed(now)
            self._guard.look()
        self._fleet.logs.read(now)
        self._guard.tick(now)
        self._read_policy_again(now)

    def _drain(self, now: Now) -> None:
        """Starts what is to be run and shows what is to be told, until there is neither.

        Each thing replayed is drained at its own moment, so that it is told with its own time.
        """
        front = self._front
        assert front is not None
        while True:
            for job in self._docket.runnable():
                if self._may_run() and not self._fleet.ending(job.container) and not self._waits(job, now):
                    self._run(job, now)
            records = self._docket.take()
            if not records:
                return
            for record in records:
                self._show(record, now)
            front.refresh(now)

    def _waits(self, job: Job, now: Now) -> bool:
        """Whether somebody else's verdict is under way for that container."""
        if self._options.dry_run or self._ending is not None:
            return False
        remote = self._links.of(job.container)
        if remote is not None:
            return remote.must_wait(job)
        return self._runner.must_wait(job, self._fleet.spellings(job.container), now)

    @property
    def _running(self) -> list[Job]:
        return [*self._runner.running, *self._links.running]

    def _may_run(self) -> bool:
        """`--count` is a limit: what runs may come to an applied verdict, too."""
        most = self._options.count
        return most is None or self._docket.tally.settled + len(self._running) < most

    def _show(self, record: Record, now: Now) -> None:
        self._keep(record, now)
        if self._front is not None:
            self._front.record(record, now)
        self._links.told(record, now)

    def _keep(self, record: Record, now: Now) -> None:
        for kept in self._kept:
            kept.record(record, now)

    def _run(self, job: Job, now: Now) -> None:
        """Starts a verdict, unless it is too late for that or a hub is active."""
        if self._ending is not None:
            self._docket.call_off([job], now)
            return
        remote = self._links.of(job.container)
        guarded_here = remote is None and not self._options.dry_run
        refused = self._guard.objection(job.container) if guarded_here else None
        self._docket.begin(job, now)
        if refused is not None:
            self._docket.finish(job, Outcome(FAILED, NOT_STARTED, refused.message), now)
            self._hub_appeared(job.container, refused)
        elif self._options.dry_run:
            self._docket.finish(job, Outcome(DRY_RUN), now)
        else:
            self._keep(protocol.deciding(job), now)
            (self._runner if remote is None else remote).start(job, now)

    def _hub_appeared(self, container: str, refused: Refused) -> None:
        """It ends the watch of the container that it is for, and the session where there is no other."""
        if refused.code != HUB_ACTIVE:
            self._docket.warn(refused.message + ": no verdict is run until it can be")
            return
        if self._fleet.several or self._links:
            self._fleet.leave(container, refused, clocks.now())
            return
        self._end(HUB_ACTIVE, refused)

    # What happens

    def _signals(self, numbers: set[int], now: Now) -> None:
        if signal.SIGCHLD in numbers:
            self._runner.reap(now)
            self._fleet.reap(now)
            self._links.reap(now)
        if signal.SIGINT in numbers:
            self._hurry = self._hurry or self._ending is not None
            self._end(OK)
        elif numbers & ENDS - ({signal.SIGHUP} if self._rotates else set()):
            self._end(OK)
        if self._front is not None:
            jobcontrol.tell(self._front, numbers, self._ending is not None)

    def _files_changed(self, now: Now) -> None:
        self._fleet.logs.changed()
        if self._policy is not None:
            self._policy.notice(now.mono)

    def _read_policy_again(self, now: Now) -> None:
        """Its file has changed, and stands still since."""
        if self._policy is None or self._policy.due is None or self._policy.due > now.mono:
            return
        was_right = self._policy.right
        try:
            self._docket.set_policy(self._policy.load(), now)
            if not was_right:
                self._docket.note(self._policy.told())
        except Refused as refused:
            self._docket.warn(refused.message + ": the rules stay as they were")

    # Ending

    def _end(self, code: int, reason: Refused | None = None) -> None:
        """Nothing more is asked or started; running verdicts are waited for.  The gravest code stands."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # last words stop nobody in the background
        ranks = (OK, READER_ENDED, HUB_ACTIVE)
        self._fleet.stop(clocks.now())
        self._links.stop(clocks.now())
        if self._ending is None or ranks.index(code) > ranks.index(self._ending):
            self._ending, self._reason = code, reason

    def _nothing_left(self, code: int, reason: Refused | None = None) -> None:
        """No container of this machine is watched any more."""
        if code == READER_ENDED or self._links.over:
            self._end(code, reason)

    def _over(self) -> bool:
        """Whether nothing is waited for any more; last of all for what was blocked by then."""
        waits = self._waited_for() or self._fleet.has_last_words or self._links.has_last_words
        if self._ending is None or waits and not self._hurry:
            return False
        self._fleet.take_leave(clocks.now())
        return not self._fleet.has_last_words

    def _waited_for(self) -> list[Job]:
        return [job for job in self._running if job.state == RUNNING]

    def _tell_the_end(self) -> None:
        """An end that waits for verdicts is told, and nobody is asked meanwhile."""
        if self._ending is not None and self._front is not None:
            self._front.stop(self._waited_for())

    def _finish(self, now: Now) -> int:
        """Accounts for everything, and says the last words."""
        self._tell_the_end()
        self._docket.call_off(self._docket.jobs(), now)
        left = self._runner.abandon(now)
        self._links.abandon(now)
        front = self._front
        assert front is not None
        self._fleet.logs.close()
        self._fleet.tell_bad_lines(at_end=True)
        self._docket.close_all(now)
        self._drain(now)
        front.close()
        self._drain(now)  # what it lost
        why = self._reason.message if self._reason is not None else ""
        summary = protocol.summary(self._docket.summary(), self._exit_code(), self._docket.tally.dry, why)
        rules = self._by_rule.told() if self._by_rule is not None else []
        if rules:
            summary["rules"] = protocol.by_rule(rules)
        self._keep(summary, now)
        summary["exit"] = self._exit_code()  # that may have been what could not be written
        if self._listening() or self._options.json:
            front.summary(summary, self._commands())
            if rules:
                front.tell(by_rule(rules))
        else:
            front.tell([STOPPED_EARLY])
        until: float | None = None
        self._loop.deadlines.append(lambda: until)
        while front.busy and (until is None or clocks.now().mono < until):
            if self._hurry and until is None:
                until = clocks.now().mono + LAST_WORDS
            self._loop.wait()
        if self._reason is not None:
            terminal.diagnose("simple-clearance: " + self._reason.message)
            for hint in self._reason.hints:
                terminal.diagnose("hint: " + hint)
        if front.failed:
            terminal.diagnose("simple-clearance: " + front.failed)
        for pid in left:
            terminal.diagnose("simple-clearance: a verdict command still runs as pid %d" % pid)
        return self._exit_code()

    def _commands(self) -> list[str]:
        """What would repeat the verdicts of this session."""
        if self._options.sandbox or not self._docket.tally.applied:
            return []
        words = self._docket.tally.last_words()
        return repeat_commands(words, self._options.shield_command, self._links.command_of)

    def _exit_code(self) -> int:
        if self._ending:
            return self._ending
        counts = self._docket.summary()
        unwritten = any(part.failed for part in (self._front, *self._kept) if part is not None)
        return INCOMPLETE if unwritten or any(counts[key] for key in INCOMPLETE_IF) else OK

    def _close(self) -> None:
        self._fleet.close()
        self._guard.close()
        self._links.close()
        for kept in self._kept:
            kept.close()

    def _names(self, container: str, dest: str) -> Sequence[Name]:
        return (self._links.of(container) or self._fleet).names(container, dest)

    def _behind(self, container: str) -> bool:
        remote = self._links.of(container)
        return self._fleet.behind(container) if remote is None else container in remote.behind

    def _recorded(self, container: str, dest: str) -> Recorded | None:
        return self._fleet.recorded(container, dest)

    def _trace(self, text: str) -> None:
        if self._options.debug:
            terminal.diagnose("simple-clearance: debug: " + text)
