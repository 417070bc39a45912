"""Fixtures that every test may ask for, and which tests run.

The usual run shows everything once, with the Python that runs it.  What is marked `thorough`, the other
Pythons, and the real neighbours (tests/real) run with `--everything`, or when they are named.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import Any, Callable, Iterator

import needs
import pytest
from host import Host
from hypothesis import HealthCheck, settings
from lab import Lab
from support import ALL_PYTHONS, OLD_PYTHONS, PYTHONS, ROOT, SOME_PYTHONS, Python, is_running
from terminal_driver import Session, shell

REAL = os.path.join(ROOT, "tests", "real") + os.sep


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--everything",
        action="store_true",
        help="also what is thorough: real podman and terok-shield, other Pythons, long walks",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thorough: left out of the usual run, unless it is named")
    source = getattr(config, "args_source", None)
    if source is pytest.Config.ArgsSource.ARGS or config.option.keyword or config.option.markexpr:
        config.option.everything = True  # workers get the options, not where they came from
    _settle_hypothesis(config.option.everything)
    _obey_signals()


def _settle_hypothesis(everything: bool) -> None:
    """How many examples each of its tests tries; how long one takes is no matter of a test."""
    settings.register_profile(
        "ours",
        max_examples=300 if everything else 30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("ours")


def _obey_signals() -> None:
    """What the caller ignores (nohup, a script's `&`), every program under test would ignore, too."""
    for number in set(signal.Signals) - {signal.SIGPIPE, signal.SIGXFSZ}:  # which Python itself ignores
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path).startswith(REAL) or _is_of_another_python(item):
            item.add_marker("thorough")
    if not config.option.everything:
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def _is_of_another_python(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    values = call.params.values() if call is not None else ()
    return any(isinstance(value, Python) and not is_running(value) for value in values)


@pytest.fixture
def need() -> Callable[..., None]:
    return needs.need


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> Callable[[int], int]:
    """`rounds(2000)`: how far a fuzzer or a walk goes; a tenth of that in the usual run."""
    return lambda number: number if pytestconfig.option.everything else -(-number // 10)


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of the archive, built once with the Python that runs the tests; readable by all.

    Each worker has a copy: tests know the processes of theirs by its path.
    """
    mine = shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    built, path = str(shared / "built.pyz"), str(mine / "simple-clearance.pyz")
    with open(built + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(built):
            subprocess.run([sys.executable, os.path.join(ROOT, "build_zipapp.py"), "-o", built], check=True)
    return shutil.copy(built, path)


@pytest.fixture(scope="session")
def pythons() -> list[Python]:
    """Every Python found that the project supports, oldest first."""
    return PYTHONS


@pytest.fixture(params=PYTHONS, ids=lambda python: python.name)
def every_python(request: pytest.FixtureRequest) -> Python:
    """The test runs once for each Python found that the project supports."""
    python: Python = request.param
    return python


@pytest.fixture(params=SOME_PYTHONS, ids=lambda python: python.name)
def some_python(request: pytest.FixtureRequest) -> Python:
    """The test runs with the Python of the tests, and with the oldest and the newest that was found."""
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
    needs.need("pty")
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
    needs.need("pty")
    needs.need("bash")
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
def lab() -> Iterator[Any]:
    """A shielded network namespace with the rules of today's bundle, owned by whoever runs the tests."""
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
    """What this machine could not show, and what would; out of the reports, which come from workers."""
    stats = terminalreporter.stats
    lines = needs.not_shown(
        [report for kind in ("skipped", "failed", "error") for report in stats.get(kind, ())]
    )
    if lines:
        terminalreporter.section("not shown on this machine")
        for line in lines:
            terminalreporter.write_line(line)
