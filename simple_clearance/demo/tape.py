"""The demonstration's recording, played at the pace at which it was taken.

Owns nothing: the lines go to stdout with the times of now, and it ends when its stdin closes.
"""

from __future__ import annotations

import os
import pkgutil
import select
import time

from ..base import jsonlines, timestamps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

NAME = "demo.jsonl"


def lines() -> Iterator[tuple[float, dict[str, Any]]]:
    """Each line of the recording, and how many seconds after the first one it comes."""
    import json

    first = None
    for line in (pkgutil.get_data(__package__, NAME) or b"").splitlines():
        fields = json.loads(line)
        when = timestamps.seconds(fields["ts"]) or 0.0
        first = first or when
        yield when - first, fields


def main() -> int:
    start = time.monotonic()
    poll = select.poll()
    poll.register(0, 0)  # nobody writes to it: only its hang-up is waited for
    for at, fields in lines():
        if poll.poll(max(0.0, start + at - time.monotonic()) * 1000):
            return 0
        fields["ts"] = timestamps.stamp(time.time())
        try:
            os.write(1, jsonlines.encode(fields))
        except BrokenPipeError:
            return 0
    poll.poll()  # the prompt stays, as that of the live one does
    return 0
