"""A hub that is active, comes up later, or can't be asked: the archive, real sockets, a real bus."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time

import endtoend
import pytest
from busmade import Owner
from support import PATIENCE, eventually
from terminal_driver import state

desk = endtoend.desk

NAME = "org.terok.Shield1"
SOCKETS = {
    "today's hub": "terok/clearance/%s/hub.sock",
    "today's ingester": "terok/events/%s/ingester.sock",
    "the hub of before": "terok/clearance/%s.sock",
    "the ingester of before": "terok/events/%s.sock",
    "the hub for all": "terok-clearance.sock",
    "the ingester for all": "terok-shield-events.sock",
}


class Runtime:
    """A runtime directory, short enough for the path of a socket, and the hubs in it."""

    def __init__(self, sid):
        self.path = tempfile.mkdtemp(prefix="run")
        self.sid = sid
        self.env = {"XDG_RUNTIME_DIR": self.path}
        self._closing = []

    def bind(self, path, kind=socket.SOCK_STREAM):
        """A socket that is there and refuses connections, as a hub's is between bind() and listen()."""
        path = os.path.join(self.path, path % self.sid if "%" in path else path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        bound = socket.socket(socket.AF_UNIX, kind)
        bound.bind(path)
        self._closing.append(bound.close)
        return bound

    def listen(self, path):
        hub = self.bind(path)
        hub.listen(1)
        return hub

    def bus(self):
        argv = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
        daemon = subprocess.Popen(
            [*argv, "--address=unix:path=%s/bus" % self.path],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._closing += [daemon.stdout.close, daemon.wait, daemon.kill]
        assert daemon.stdout.readline().startswith(b"unix:")
        return daemon

    def own(self, name):
        """Become the owner of this name on the bus, as a hub does."""
        owner = Owner(self.path + "/bus")
        self._closing.append(owner.close)
        owner.own(name)

    def close(self):
        for close in reversed(self._closing):
            close()
        shutil.rmtree(self.path, ignore_errors=True)


@pytest.fixture
def runtime(desk):
    runtime = Runtime(desk.c1.sid)
    desk.env.update(runtime.env)
    yield runtime
    runtime.close()


def refused(desk, *words, code=1):
    """The lines on stderr of a start that is refused; nothing was asked, nothing is on stdout."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        t = desk.start(*words, "c1", stdout=out, stderr=err)
        assert t.wait() == code
        out.seek(0), err.seek(0)
        assert out.read() == b"" and bytes(t.raw) == b""
        desk.nothing_is_left()
        lines = err.read().decode().splitlines()
    assert lines[0].startswith("simple-clearance: ") and len(lines) > 1
    assert all(line.startswith("hint: ") for line in lines[1:])
    return lines


def one_and_for_all(*names):
    """The places of these are for the usual run: that each is looked at is tried in test_hub.py."""
    return [
        pytest.param(path, id=name, marks=[] if name in names else [pytest.mark.thorough])
        for name, path in SOCKETS.items()
    ]


@pytest.mark.parametrize("path", one_and_for_all("today's hub", "the hub for all"))
def test_while_a_hub_listens_the_start_is_refused_and_the_remedy_named(desk, runtime, path):
    runtime.listen(path)
    lines = refused(desk)
    assert (
        "the clearance hub is active" in lines[0]
        and (path % desk.c1.sid if "%" in path else path) in lines[0]
    )
    own = "%" in path  # and then nobody feeds it here
    assert own or any("terok-clearance-hub" in line for line in lines)
    assert any(("kill -TERM %d" % os.getpid() if own else "systemctl --user stop") in line for line in lines)
    assert not any("terok-supervisor" in line for line in lines)
    assert "--ignore-hub" not in "".join(lines)


@pytest.mark.parametrize(
    "how, name",
    [
        ("XDG_RUNTIME_DIR", NAME),
        pytest.param("XDG_RUNTIME_DIR", NAME + ".Container_%s", marks=pytest.mark.thorough),
        pytest.param("DBUS_SESSION_BUS_ADDRESS", NAME, marks=pytest.mark.thorough),
        pytest.param("DBUS_SESSION_BUS_ADDRESS", NAME + ".Container_%s", marks=pytest.mark.thorough),
    ],
)
def test_while_the_name_has_an_owner_the_start_is_refused(desk, runtime, need, name, how):
    need("dbus-daemon")
    runtime.bus()
    name = name % desk.c1.sid if "%" in name else name
    runtime.own(name)
    if how == "DBUS_SESSION_BUS_ADDRESS":
        desk.env.update({how: "unix:path=%s/bus" % runtime.path, "XDG_RUNTIME_DIR": "/nonexistent"})
    lines = refused(desk)
    assert name + " has an owner" in lines[0]


def test_ignore_hub_overrides_no_hub_that_is_active(desk, runtime):
    runtime.listen(SOCKETS["today's hub"])
    refused(desk, "--ignore-hub")


def test_a_socket_file_that_a_hub_left_behind_hinders_nobody(desk, runtime):
    runtime.bind(SOCKETS["today's hub"]).close()
    desk.sit()
    desk.quit()


def test_a_bus_without_the_name_hinders_nobody(desk, runtime, need):
    need("dbus-daemon")
    runtime.bus()
    desk.sit()
    desk.quit()


def test_a_session_of_several_has_one_connection_to_the_bus(desk, runtime, need):
    need("dbus-daemon")
    daemon = runtime.bus()
    desk.host.container("c2", desk.lab)
    connected = []
    for names in (["c1"], ["c1", "c2"]):
        desk.start(*names).expect("watching " + names[-1])
        eventually(lambda: state(daemon.pid) == "S", what="the bus is done with what has come")
        connected.append(len(os.listdir("/proc/%d/fd" % daemon.pid)))
        desk.quit()
    assert connected[0] == connected[1]


def test_with_debug_what_goes_over_the_bus_is_shown(desk, runtime, need):
    need("dbus-daemon")
    runtime.bus()
    desk.sit("--debug")
    text = desk.quit()
    assert "bus > b'\\x00AUTH EXTERNAL" in text and "bus < b'DATA" in text


def silent_bus(runtime):
    runtime.listen("bus")


def wrong_kind_of_socket(runtime):
    runtime.bind(SOCKETS["today's hub"], socket.SOCK_DGRAM)


@pytest.mark.parametrize("prepare", [silent_bus, wrong_kind_of_socket])
def test_what_can_not_be_asked_is_not_no_hub(desk, runtime, prepare):
    prepare(runtime)
    lines = refused(desk, code=3)
    assert "can't tell whether a clearance hub is active" in lines[0]
    assert "--ignore-hub" in lines[1]
    desk.sit("--ignore-hub")
    desk.press("a", desk.block())
    desk.t.expect("done in")
    desk.quit()


def stopped_by(desk, appear):
    """`appear()` while a question waits ends the session, which says why."""
    desk.block()
    appear()
    text = desk.ends(1)
    assert "the clearance hub is active" in text and "hint: " in text
    assert desk.host.verdicts() == []


@pytest.mark.parametrize("path", one_and_for_all("today's ingester", "the ingester for all"))
def test_a_hub_that_comes_up_later_stops_the_session(desk, runtime, path):
    desk.sit()
    stopped_by(desk, lambda: runtime.listen(path))


def test_one_that_listens_a_while_after_it_bound_is_noticed_too(desk, runtime):
    desk.sit()

    def appear():
        hub = runtime.bind(SOCKETS["today's hub"])
        time.sleep(0.3)  # what a hub does meanwhile; no notice comes of listen()
        hub.listen(1)

    stopped_by(desk, appear)


def test_a_name_that_gets_an_owner_later_stops_the_session(desk, runtime, need):
    need("dbus-daemon")
    runtime.bus()
    desk.sit()
    stopped_by(desk, lambda: runtime.own(NAME))


def test_a_bus_that_comes_up_later_with_the_name_on_it_stops_the_session(desk, runtime, need):
    need("dbus-daemon")
    desk.sit()

    def appear():
        runtime.bus()
        runtime.own(NAME)

    stopped_by(desk, appear)


def test_a_bus_that_ends_is_no_reason_to_stop(desk, runtime, need):
    need("dbus-daemon")
    daemon = runtime.bus()
    desk.sit()
    daemon.kill()
    daemon.wait()
    desk.press("a", desk.block())
    desk.t.expect("done in")
    desk.quit()


def test_right_before_a_verdict_it_is_looked_again(desk, runtime):
    """No notice comes of listen() on a socket that was bound long before."""
    hub = runtime.bind(SOCKETS["today's hub"])
    t = desk.sit()
    asked = desk.block()
    hub.listen(1)
    desk.press("a", asked)
    assert t.wait() == 1
    assert "the clearance hub is active" in desk.ends(1)
    assert desk.host.verdicts() == []


def test_a_verdict_that_runs_when_a_hub_comes_up_is_waited_for(desk, runtime):
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    t = desk.sit("--verdict-timeout", "600")
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    hub = runtime.listen(SOCKETS["today's hub"])
    hub.settimeout(PATIENCE)
    hub.accept()[0].close()  # it has been looked for
    desk.host.open(gate)
    assert t.wait() == 1
    text = desk.ends(1)
    (verdict,) = desk.host.verdicts()
    assert verdict.rc == 0 and "1 allowed" in text


def test_while_it_can_not_be_told_no_verdict_is_run(desk, runtime):
    """A socket of another kind in the place of one that was there: no notice, and no answer."""
    os.makedirs(runtime.path + "/terok/clearance/" + desk.c1.sid)
    outside = tempfile.mkdtemp(prefix="out")
    try:
        link = "%s/terok/clearance/%s/hub.sock" % (runtime.path, desk.c1.sid)
        os.symlink(outside + "/hub.sock", link)
        desk.sit()
        asked = desk.block()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(outside + "/hub.sock")
            desk.press("a", asked)
            desk.t.expect("FAILED")
            asked = desk.t.expect(endtoend.KEYS)
        assert desk.host.verdicts() == []
        os.unlink(outside + "/hub.sock")
        desk.press("a", asked)
        desk.t.expect("done in")
        desk.quit()
    finally:
        shutil.rmtree(outside)


def test_a_bus_that_hangs_keeps_nobody_waiting_who_has_a_hundred_verdicts_to_run(desk, runtime, tmp_path):
    """Some time goes by with each look at it, so what is doubtful stays so for a while."""
    rules = tmp_path / "rules"
    rules.write_text("deny 198.18.0.0/15\n")
    t = desk.sit("--policy", str(rules))
    bus = runtime.bind("bus")
    bus.listen(1000)
    bus.setblocking(False)
    desk.lab.flood(100)
    t.expect("can't tell whether a clearance hub is active")
    t.send("h")
    t.expect("h back")
    t.send("\x03")
    assert t.wait() == 5
    assert desk.host.verdicts() == []
    looks = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            bus.accept()[0].close()
            looks += 1
    assert 0 < looks < 50


def test_it_is_said_also_where_there_is_no_terminal(desk, runtime):
    """Which is not what is missing then."""
    done = desk.run("c1")
    assert done.returncode == 2
    runtime.listen(SOCKETS["today's hub"])
    done = desk.run("c1")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"simple-clearance: the clearance hub is active")
    os.remove(desk.host.bin + "/podman")
    assert desk.run("c1").returncode == 2, "which is still what is missing"


def test_as_a_library_it_raises_system_exit_1(desk, runtime):
    runtime.listen(SOCKETS["today's hub"])
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from simple_clearance import run_simple_clearance\n"
        "try:\n    run_simple_clearance(sys.argv[2], 'c1')\n"
        "except SystemExit as end:\n    print('raised', repr(end.code))\n"
    )
    t = desk.terminal([desk.python, "-I", "-c", code, desk.pyz, desk.c1.state_dir], env=desk.env)
    t.expect("the clearance hub is active")
    t.expect("raised 1")
    assert t.wait() == 0 and t.termios() == endtoend.as_opened()


def test_as_a_library_it_does_the_job_and_returns_nothing(desk):
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from simple_clearance import run_simple_clearance\n"
        "print('returned', run_simple_clearance(pathlib.Path(sys.argv[2]), 'c1'))\n"
    )
    desk.t = t = desk.terminal([desk.python, "-I", "-c", code, desk.pyz, desk.c1.state_dir], env=desk.env)
    t.expect("watching c1")
    desk.press("d", desk.block())
    t.expect("done in")
    desk.t.send("q")
    t.expect("returned None")
    assert desk.host.targets() == ["deny 203.0.113.10"]
    desk.ends(0)
