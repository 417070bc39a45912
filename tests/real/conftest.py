"""Real terok-shield, real rootless podman: once with each release that the project says it works with."""

from __future__ import annotations

import itertools
import os
from typing import Iterator

import pytest
import support
from real.rig import PROGRAMS, Rig
from support import PYTHONS, need

VERSIONS = ("0.9.0", "0.7.2")
_number = itertools.count(1)
MODERN = (3, 12)  # what terok-shield itself needs


def _modern() -> list[str]:
    return [python.path for python in PYTHONS if python.version >= MODERN]


def _some_modern() -> None:
    assert _modern(), "terok-shield needs one, none found"


support._PROBES["a Python from 3.12 on"] = _some_modern


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Here rather than in the fixture, so that every test that can't run is counted; pytest itself
    # sets the variable right after this.
    os.environ["PYTEST_CURRENT_TEST"] = item.nodeid + " (setup)"
    for name in ("root", "a Python from 3.12 on", *PROGRAMS):
        need(name, optional=True)


@pytest.fixture(scope="session", params=VERSIONS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A world with that terok-shield in it; all tests of one version run before those of the next."""
    it = Rig(request.param, _modern()[0])
    try:
        it.__enter__()
    except AssertionError as error:  # no package index, no nested namespaces, …
        support._known["terok-shield " + request.param] = str(error)
        need("terok-shield " + request.param, optional=True)
    yield it
    it.__exit__()


@pytest.fixture(scope="session")
def c(rig: Rig) -> str:
    """The container that most tests share, each with addresses and names of its own."""
    return rig.shielded("c1", "--annotation", "dossier.task=t-7", "--annotation", "dossier.project=demo")


@pytest.fixture
def fresh(rig: Rig) -> str:
    """A shielded container for one test alone; it ends with its world, as removing it takes seconds."""
    return rig.shielded("fresh%d" % next(_number))
