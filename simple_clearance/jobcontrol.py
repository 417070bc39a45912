"""The signals that a session hears, and how it stops and goes on as a job of its shell.

Owns those that have come and are not dealt with yet: more come while it is stopped.
"""

from __future__ import annotations

import os
import signal

from .system import terminal
from .system.signals import Wakeups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .fronts.interactive import Front

SIGNALS = (
    signal.SIGCHLD, signal.SIGIO, signal.SIGURG, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
    signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT,
)  # fmt: skip

STRAY = (
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGABRT,
    signal.SIGXCPU, signal.SIGTRAP, signal.SIGSYS, signal.SIGPWR,
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)  # fmt: skip
"""Not meant for us, and their default is to end a process as it is: they end it like SIGTERM."""

ENDS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, *STRAY}

NO_SHELL = "can't be suspended here: no shell waits for it that could bring it back"


class JobControl:
    """`wakeups` catches the signals while it is entered.  `last`: the process ends with the session."""

    def __init__(self, last: bool) -> None:
        self.wakeups = Wakeups(*SIGNALS, *STRAY, last=last)
        self.came: set[int] = set()

    def take(self) -> set[int]:
        """What has come since the last call."""
        came, self.came = self.came, set()
        return came

    def give_way(self, term: terminal.Terminal | None, front: Front | None, ending: bool) -> bool:
        """After Ctrl-Z: gives the terminal back and stops, until it is ours again or all is to end.

        Whether that, or a SIGCONT, has come: then time has passed.
        """
        self.came |= self.wakeups.take()
        if not self.came & {signal.SIGTSTP, signal.SIGCONT}:
            return False
        if signal.SIGTSTP in self.came:
            if front is not None:
                front.suspend()
            if not self._halt(signal.SIGTSTP) and front is None:
                terminal.diagnose("simple-clearance: " + NO_SHELL)
        if term is not None:
            self.await_terminal(term, ending)
        return True

    def await_terminal(self, term: terminal.Terminal, ending: bool) -> None:
        """In the background: stops, as the kernel has it for whoever sets the modes of a terminal from there.

        Not by doing that: it would be stopped again and again, told to end or not.
        """
        while not term.is_ours():
            self.came |= self.wakeups.take()
            if ending or self.came & ENDS or not self._halt(signal.SIGTTOU):
                return  # not to be stopped, the terminal is lost to us, and reading says so

    def _halt(self, number: int) -> bool:
        """Stops as that signal does by itself, until SIGCONT; False where the kernel stops nobody.

        That is in a process group that no shell looks after.
        """
        handler = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, handler)
        came = self.wakeups.take()
        self.came |= came
        return signal.SIGCONT in came


def tell(front: Front, numbers: set[int], ending: bool) -> None:
    """The front learns that it has the terminal again, or in another size."""
    if numbers & {signal.SIGTSTP, signal.SIGCONT}:
        if ending:
            front.part()
            return
        front.resume()  # after a SIGSTOP, too, the shell's modes are on
        if signal.SIGCONT not in numbers:
            front.tell([NO_SHELL])
    elif signal.SIGWINCH in numbers:
        front.resize()
