"""A recording in the place of containers: what is read of it goes into the docket, at its own moments."""

from __future__ import annotations

from ..base.happenings import Event, Lost
from .replay import ReplayFile, ReplaySource
from .watched import Watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from ..docket.docket import Docket
    from ..system.loop import Loop


class Playback:
    """Plays the recording at `path` about `container`, "" where it is about one only.

    Refused when it can't be read.  `drain(now)` is called after each thing, which is told with its own time.
    """

    def __init__(
        self, path: str, container: str, loop: Loop, docket: Docket, drain: Callable[[Now], None]
    ) -> None:
        self.watched = Watched(container)
        self._docket = docket
        self._drain = drain
        file = ReplayFile(path, container)
        self.source = ReplaySource(self.watched, file, loop, self._known, self._played, self._over)

    def _known(self, file: ReplayFile) -> None:
        """Which container it is about, and what is recorded of that."""
        one, recording = self.watched, file.recording
        one.name, one.id, one.version = recording.container, recording.id, recording.version
        one.dossier = recording.dossier
        self._docket.add_container(one.name, one.version, one.dossier)

    def _played(self, _source: ReplaySource, message: object, now: Now) -> None:
        name, dest = self.watched.name, getattr(message, "dest", "")
        if isinstance(message, Event):
            self._docket.handle(name, message, now)
        elif isinstance(message, Lost):
            self._docket.lost(name, message.count, message.where)
        elif dest:  # `recording.Learnt`: more is known of an address
            self._docket.learn(name, dest, now)
        self._drain(now)

    def _over(self, source: ReplaySource, _now: Now) -> None:
        for remark in source.file.remarks():
            self._docket.warn(remark)
