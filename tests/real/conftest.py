"""Real terok-shield, real rootless podman: once with each release that the project says it works with.

A test that takes `rig` runs with both; one marked `newest` runs with today's alone, since what it
shows hangs on podman, on the kernel, or on code that goes the same way with both.
"""

from __future__ import annotations

import functools
import itertools
import os
from typing import Callable, Iterator

import pytest
from needs import PROBES, Lacking, lacks, need, programs
from real.desk import Desk
from real.rig import PROGRAMS, Rig
from support import PYTHONS
from terminal_driver import Session

VERSIONS = ("0.9.0", "0.7.2")
MODERN = "a Python from 3.12 on"  # what terok-shield itself needs
NEIGHBOURS = "podman and what it needs"
_modern = [python.path for python in PYTHONS if python.version >= (3, 12)]
_number = itertools.count(1)


def _some_modern() -> None:
    if not _modern:
        raise Lacking("terok-shield can't be installed with an older one")


PROBES[MODERN] = _some_modern
PROBES[NEIGHBOURS] = functools.partial(programs, *PROGRAMS)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "newest: with today's terok-shield only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        newest = metafunc.definition.get_closest_marker("newest")
        metafunc.parametrize("rig", VERSIONS[:1] if newest else VERSIONS, indirect=True, scope="session")


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Here rather than in the fixture, so that every test that can't run is counted; pytest itself
    # sets the variable right after this.
    os.environ["PYTEST_CURRENT_TEST"] = item.nodeid + " (setup)"
    for name in ("root", MODERN, NEIGHBOURS):
        need(name)


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A world with that terok-shield in it; all tests of one version run before those of the next."""
    it = Rig(request.param, _modern[0], *(python.path for python in PYTHONS))
    try:
        it.__enter__()
    except AssertionError as error:  # no package index, no nested namespaces, …
        lacks("terok-shield " + request.param, str(error))
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


@pytest.fixture
def desk(rig: Rig, pyz: str, terminal: Callable[..., Session]) -> Iterator[Desk]:
    """The operator with the archive."""
    with Desk(rig, pyz, terminal) as it:
        yield it
