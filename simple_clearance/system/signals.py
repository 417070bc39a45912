"""Signals as bytes on a descriptor.

Owns the process's wake-up descriptor, its handlers for the signals named and its mask.  Nothing here
runs on a timer: idle costs nothing.

The awkward fact: whoever starts a program may have it ignore signals, or block them.  What a terminal
would send is ignored on purpose (nohup, a job in the background of a script) and stays so; for
anything else it is an accident.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any


FROM_TERMINALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)


class Wakeups:
    """Catches the given signals; `fd` polls readable when `take` has something to tell.

    A context manager for the main thread (RuntimeError elsewhere).  On the way out every
    handler, the mask and the wake-up descriptor are what they were; with `last`, the process is about to end
    with a code that is known, and signals are ignored instead: they would give it another.
    """

    def __init__(self, *numbers: int, last: bool = False) -> None:
        self.fd = -1
        self._numbers = numbers
        self._last = last
        self._alarm = -1
        self._caught: set[int] = set()
        self._former: list[tuple[int, Any]] = []
        self._former_fd = -1
        self._former_mask: set[int] = set()

    def __repr__(self) -> str:
        return "Wakeups(%s)" % ", ".join(str(int(number)) for number in self._numbers)

    def __enter__(self) -> Wakeups:
        self.fd, self._alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._former_fd = signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        except ValueError:
            self._close_pipe()
            raise RuntimeError("signals can be caught in the main thread only") from None
        try:
            for number in self._numbers:
                if number not in FROM_TERMINALS or signal.getsignal(number) != signal.SIG_IGN:
                    self._former.append((number, signal.signal(number, self._catch)))
            self._former_mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        while self._former:
            number, handler = self._former.pop()
            if number == signal.SIGIO:  # a last notice may be pending: drop it, its default kills
                signal.signal(number, signal.SIG_IGN)
            if self._last and number != signal.SIGCHLD:  # which, ignored, takes away what children ended with
                handler = signal.SIG_IGN
            # None: set by something other than Python, which can't be put back from here
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._former_mask)
        signal.set_wakeup_fd(self._former_fd)
        self._close_pipe()

    def take(self) -> set[int]:
        """The signals caught since the last call; each is told once.

        The pipe only wakes: it may be full of notices when a SIGTERM comes, so which signals
        there were is what the handlers saw.
        """
        try:
            while len(os.read(self.fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass  # a false alarm
        signal.pthread_sigmask(signal.SIG_BLOCK, ())  # runs the handlers that are due
        caught, self._caught = self._caught, set()
        return caught

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self._caught.add(number)

    def _close_pipe(self) -> None:
        os.close(self.fd)
        os.close(self._alarm)
        self.fd = self._alarm = -1
