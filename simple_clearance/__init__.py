"""simple-clearance: a terminal prompt for connections that terok-shield blocked.

As a library it offers `ClearanceSession`, `run_simple_clearance` and the error `Refused`; each is
imported on first use, because start-up time is part of the product.

In its folders: who answers (`fronts`, and on a terminal `prompt`), what is decided (`docket`), where things
come from (`sources`, `containers`, `hub`, the `reader`, which is a process of its own, and `joined` sessions
elsewhere), what bytes mean (`formats`), the operating system (`system`), and values that all know (`base`).
"""

from __future__ import annotations

__version__ = "1.0.0"
NAME = "simple-clearance"
__all__ = ["ClearanceSession", "Refused", "run_simple_clearance"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base.errors import Refused
    from .cli import run_simple_clearance
    from .session import ClearanceSession


def __getattr__(name: str) -> object:
    if name == "ClearanceSession":
        from .session import ClearanceSession

        return ClearanceSession
    if name == "run_simple_clearance":
        from .cli import run_simple_clearance

        return run_simple_clearance
    if name == "Refused":
        from .base.errors import Refused

        return Refused
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
