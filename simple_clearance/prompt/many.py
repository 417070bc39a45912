"""What is said of many containers at once: in a few lines, however many there are.  Pure."""

from __future__ import annotations

from ..base.text import printable
from .sentences import SHIELD_STATES, Sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from ..base.happenings import Watching

FEW = 3
"""Of more containers than that is told in one sentence what would be the same in one for each."""
GREETED = 5
"""More containers than that are greeted as one."""
WORST_FIRST = ("quarantine", "disengaged", "down")

HELD = (
    "terok-shield's readers hold the packet logs of %s: questions come up to 1 s late, "
    "retries within 30 s and what an answer did are not seen"
)
TAKEN_OVER = (
    "terok-shield's readers of %s were ended. Until the next start of these containers their audit logs "
    "get no blocked lines, and a hub would take them for stopped"
)


def names_text(names: Sequence[str]) -> str:
    """The first of these containers, and how many more there are."""
    shown = names if len(names) <= FEW else names[: FEW - 1]
    rest = len(names) - len(shown)
    return ", ".join(map(printable, shown)) + (f" and {rest} more" if rest else "")


def greeting(watched: Sequence[Watching]) -> list[Sentence]:
    """What is watched, the shields that are not up, the worst first, and what is missing."""
    states: dict[str, list[str]] = {state: [] for state in WORST_FIRST}
    unseen: dict[str, list[str]] = {}
    for one in watched:
        states.setdefault(one.state, []).append(one.name)
        for text in one.unseen:
            unseen.setdefault(text, []).append(one.name)
    up, unknown = len(states.pop("up", ())), len(states.pop("", ()))
    all_names = [one.name for one in watched]
    which = "" if unknown == len(watched) else ": shields up" if up == len(watched) else f": {up} shields up"
    told = [Sentence((), f"watching {len(watched)} containers{which}", [names_text(all_names)])]
    for state, names in states.items():
        if names:
            text = SHIELD_STATES.get(state, "the shield is " + printable(state, 40))
            told.append(Sentence((names_text(names),), text, grave=True))
    told += [Sentence((names_text(names),), text) for text, names in unseen.items()]
    held = [one.name for one in watched if one.held_by]
    if held:
        text = "--take-over ends these readers and shows all of it"
        told.append(Sentence((), HELD % names_text(held), [text]))
    taken_over = [one.name for one in watched if one.taken_over and not one.held_by]
    if taken_over:
        told.append(Sentence((), TAKEN_OVER % names_text(taken_over)))
    missed = [one.name for one in watched if one.missed]
    if missed:
        text = "some was blocked before this start: asked when it is tried again"
        told.append(Sentence((names_text(missed),), text))
    return told
