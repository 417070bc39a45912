"""simple-clearance: a terminal prompt for connections that terok-shield blocked.

As a library it offers `ClearanceSession` and `run_simple_clearance`; both are imported on
first use, because start-up time is part of the product.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["ClearanceSession", "run_simple_clearance"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cli import run_simple_clearance
    from .session import ClearanceSession


def __getattr__(name: str) -> object:
    if name == "ClearanceSession":
        from .session import ClearanceSession

        return ClearanceSession
    if name == "run_simple_clearance":
        from .cli import run_simple_clearance

        return run_simple_clearance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
