"""Real terok-shield, real rootless podman: once with each release that the project says it works with.

A test that takes `rig` runs with both; one marked `newest` runs with today's alone, since what it
shows hangs on podman, on the kernel, or on code that goes the same way with both.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from typing import Callable, Iterator

import pytest
from needs import PROBES, Lacking, lacks, need, programs
from real import rig as rigs
from real.desk import Desk
from real.rig import Rig
from support import PYTHONS
from terminal_driver import Session

VERSIONS = ("0.9.0", "0.7.2")
MODERN = "a Python from 3.12 on"  # what terok-shield itself needs
NEIGHBOURS = "podman and what it needs"
_modern = [python.path for python in PYTHONS if python.version >= (3, 12)]
PYTHON = (*_modern[:1], *(python.path for python in PYTHONS))  # terok-shield's, and those of the tool
_number = itertools.count(1)


def _some_modern() -> None:
    if not _modern:
        raise Lacking("terok-shield can't be installed with an older one; .ci/python FOLDER gets one")


PROBES[MODERN] = _some_modern
PROBES[NEIGHBOURS] = lambda: programs(*rigs.programs())


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "newest: with today's terok-shield only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        newest = metafunc.definition.get_closest_marker("newest")
        metafunc.parametrize("rig", VERSIONS[:1] if newest else VERSIONS, indirect=True, scope="session")


def pytest_itemcollected(item: pytest.Item) -> None:
    # not of the first one's set-up, which builds a world
    item.add_marker(pytest.mark.timeout(300, func_only=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Here rather than in the fixture, so that every test that can't run is counted; pytest itself
    # sets the variable right after this.
    os.environ["PYTEST_CURRENT_TEST"] = item.nodeid + " (setup)"
    for name in ("root", MODERN, NEIGHBOURS):
        need(name)


@contextlib.contextmanager
def entered(it: Rig, what: str) -> Iterator[Rig]:
    try:
        it.__enter__()
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        lacks(what, str(error))  # no package index, no nested namespaces, …
    yield it
    it.__exit__()


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of what all rigs of this run, of every worker, share."""
    shared = tmp_path_factory.getbasetemp()
    return str((shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "tools")


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest, tools: str) -> Iterator[Rig]:
    """A world with that terok-shield in it; all tests of one version run before those of the next."""
    with entered(Rig(request.param, *PYTHON, tools=tools), "terok-shield " + request.param) as it:
        yield it


@pytest.fixture(scope="session")
def c(rig: Rig) -> str:
    """The container that most tests share, each with addresses and names of its own."""
    return rig.shielded("c1", "--annotation", "dossier.task=t-7", "--annotation", "dossier.project=demo")


@pytest.fixture(scope="session")
def quarantined(rig: Rig) -> str:
    """A container that stays in quarantine."""
    name = rig.shielded("quarantined")
    rig.posture(name, "quarantine")
    return name


@pytest.fixture
def fresh(rig: Rig) -> str:
    """A shielded container for one test alone; it ends with its world, as removing it takes seconds."""
    return rig.shielded("fresh%d" % next(_number))


@pytest.fixture
def desk(rig: Rig, pyz: str, terminal: Callable[..., Session]) -> Iterator[Desk]:
    """The operator with the archive."""
    with Desk(rig, pyz, terminal) as it:
        yield it
