"""Fixtures that every test may ask for; what they are made of is in `support` and `host`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any, Callable, Iterator

import pytest
from host import Host
from support import (
    ALL_PYTHONS,
    OLD_PYTHONS,
    PYTHONS,
    ROOT,
    Python,
    eventually,
    need,
)
from terminal_driver import Session, shell

__all__ = ["eventually", "need"]


@pytest.fixture(name="need")
def _need() -> Callable[..., None]:
    return need


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of the archive, built once with the Python that runs the tests; readable by all."""
    folder = tmp_path_factory.mktemp("archive")
    path = str(folder / "simple-clearance.pyz")
    subprocess.run([sys.executable, os.path.join(ROOT, "build_zipapp.py"), "-o", path], check=True)
    return path


@pytest.fixture(scope="session")
def pythons() -> list[Python]:
    """Every Python found that the project supports, oldest first."""
    return PYTHONS


@pytest.fixture(params=PYTHONS, ids=lambda python: python.name)
def every_python(request: pytest.FixtureRequest) -> Python:
    """The test runs once for each Python found that the project supports."""
    python: Python = request.param
    return python


@pytest.fixture(params=OLD_PYTHONS, ids=lambda python: python.name)
def old_python(request: pytest.FixtureRequest) -> Python:
    """The test runs once for each Python found that is too old, 2.7 among them; skipped without any."""
    python: Python = request.param
    return python


@pytest.fixture
def terminal() -> Iterator[Callable[..., Session]]:
    """`terminal(argv, env=…)`: a program on a pty of its own; all of them end with the test."""
    need("pty")
    opened: list[Session] = []

    def start(argv: list[str], **options: Any) -> Session:
        opened.append(Session(argv, **options))
        return opened[-1]

    yield start
    for session in opened:
        session.close()


@pytest.fixture
def interactive_shell() -> Iterator[Callable[..., Session]]:
    """`interactive_shell(env=…)`: bash with job control on a pty, to try Ctrl-Z and `fg`."""
    need("pty")
    need("bash")
    opened: list[Session] = []

    def start(**options: Any) -> Session:
        opened.append(shell(**options))
        return opened[-1]

    yield start
    for session in opened:
        session.close()


@pytest.fixture
def host(tmp_path: Any) -> Iterator[Host]:
    """A host with stand-ins for podman and terok-shield; see `host.Host`."""
    with Host(str(tmp_path / "host")) as it:
        yield it


@pytest.fixture
def lab(need: Callable[..., None]) -> Iterator[Any]:
    """A shielded network namespace with the rules of today's bundle, owned by whoever runs the tests."""
    need("nft")
    from lab import Lab

    with Lab() as it:
        yield it


def pytest_report_header() -> str:
    return "pythons: " + ", ".join(python.name for python in ALL_PYTHONS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One world of real podman and terok-shield for each version, not one for each worker.

    By name: marks of a group get lost between pytest 9.2, which has structured node ids, and xdist 3.8.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            if "tests/real/" not in nodeid:
                return nodeid
            version = re.search(r"\d+\.\d+\.\d+", nodeid.partition("[")[2])
            return "real " + (version.group() if version else "")

    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What this machine could not show, in its own words; out of the reports, which come from workers."""
    lacking: dict[str, tuple[str, int]] = {}
    for outcome in ("skipped", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            found = re.search(r"needs ([\w./ -]+): (.*)", str(report.longrepr))
            if found is not None:
                name, reason = found.group(1), found.group(2).rstrip("')")
                lacking[name] = (reason, lacking.get(name, ("", 0))[1] + 1)
    if lacking:
        terminalreporter.section("not exercised on this machine")
        for name, (reason, tests) in sorted(lacking.items()):
            terminalreporter.write_line("%s: %s (%d tests)" % (name, reason, tests))
