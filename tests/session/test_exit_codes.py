"""Every exit code, in every way to get it, before each of the three fronts: a terminal, a script, nobody.

`--help` and the README tell the same ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest
import scripting
from support import PATIENCE, ROOT, eventually, with_a_fault

from simple_clearance.base import errors

FRONTS = {"terminal": [], "json": ["--json"], "quiet": ["--answer", "skip"]}
THOROUGH_FRONTS = [pytest.param(front, marks=pytest.mark.thorough) for front in ("json", "quiet")]
RULES = "deny 198.51.100.0/24\nallow 192.0.2.0/24\nskip 203.0.113.2\n"
PROFILE = "a path of its own"
DENIED, ALLOWED, LEFT, SKIPPED = "198.51.100.1", "192.0.2.1", "203.0.113.1", "203.0.113.2"


class Session(scripting.Script):
    """A session before one of the fronts; its events come by a pipe, what became of it is in its log."""

    def __init__(self, host, pyz, terminal, runtime, folder, front, words):
        self.host, self.front, self.runtime, self.folder = host, front, runtime, folder
        self._feed, self._sent, self._hubs = -1, 0, []
        self.log = os.path.join(folder, "log")
        self.rules = os.path.join(folder, "rules")
        self.profile = os.path.join(folder, "profile")
        words = [self.profile if word is PROFILE else word for word in words]
        with open(self.rules, "w") as file:
            file.write(RULES)
        env = host.env(XDG_RUNTIME_DIR=runtime)
        argv = [sys.executable, "-S", "-W", "error", pyz, "--reader", self._open_feed(host)]
        argv += ["--policy", self.rules]
        argv += [*FRONTS[front], *(words if "--log" in words else ("--log", self.log, *words)), "c1"]
        if front == "terminal":
            self.child = terminal(argv, env=env)
            self.child.expect("watching c1")
        else:
            pipe = subprocess.PIPE
            self.child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
            assert self.child.stdout.readline().startswith((b"watching c1", b'{"type":"session"'))

    def until(self, kind, number=1, **fields):
        def found():
            with open(self.log) as file:
                records = [json.loads(line) for line in file if line.endswith("\n")]
            found = [
                r for r in records if r["type"] == kind and all(r.get(key) == fields[key] for key in fields)
            ]
            return found[number - 1] if len(found) >= number else None

        return eventually(found, what="%s %r" % (kind, fields))

    def asked(self, *dests, **fields):
        """Blocked, and told."""
        for dest in dests:
            self.block(dest, **fields)
            self.until("pending", dest=dest)

    def ends_its_reader(self):
        """The reader's end, once it is seen."""
        super().reader_ends()
        children = "/proc/%d/task/%d/children" % (self.child.pid, self.child.pid)

        def reaped():
            try:
                with open(children) as file:
                    return not any(is_a("cat", pid) for pid in file.read().split())
            except FileNotFoundError:
                return True

        eventually(reaped, what="its reader's end is seen")

    def hub(self):
        """A hub comes up; until it has been looked for."""
        hub = socket.socket(socket.AF_UNIX)
        self._hubs.append(hub)
        hub.settimeout(PATIENCE)
        hub.bind(os.path.join(self.runtime, "terok-clearance.sock"))
        hub.listen(1)
        hub.accept()[0].close()

    def exits(self):
        """The code, once it has ended; the summaries tell it, too."""
        if self.front == "terminal":
            code, said = self.child.wait(PATIENCE), self.child.text()
        else:
            # its stdin stays open: it is not the end of input that ends it
            out = self.child.stdout.read()
            said = self.child.stderr.read().decode()
            code = self.child.wait(PATIENCE)
            if self.front == "json" and code != 70:
                assert json.loads(out.splitlines()[-1])["exit"] == code
        assert "Traceback" not in said
        if os.path.isfile(self.log) and code != 70:
            summary = self.until("summary")
            assert summary["exit"] == code
            assert ("reason" in summary) == (code in (1, 4)), "why it ended by itself"
            assert "simple-clearance: %s\n" % summary.get("reason", "") in said.replace(
                "\r", ""
            ) or code not in (1, 4)
        return code, said

    def close(self):
        for hub in self._hubs:
            hub.close()
        if self.front != "terminal":
            super().close()
        elif self._feed >= 0:
            os.close(self._feed)


def is_a(program, pid):
    """Whether this is, or just was, that program."""
    try:
        with open("/proc/%s/stat" % pid) as file:
            return "(%s)" % program in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def runtime():
    """A runtime directory, short enough for the path of a socket."""
    path = tempfile.mkdtemp(prefix="run")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def session(host, pyz, terminal, runtime, tmp_path):
    """`session(front, *words)`: watching c1."""
    host.container("c1")
    host.control("terok-shield", mode="silent")
    started = []

    def start(front, *words, archive=pyz):
        started.append(Session(host, archive, terminal, runtime, str(tmp_path), front, words))
        return started[-1]

    yield start
    for each in started:
        each.close()


# --- how a session ends


def stops(it):
    it.host.containers["c1"].stop()


def terminates(it):
    it.signal(signal.SIGTERM)


def interrupts(it):
    it.signal(signal.SIGINT)


def hangs_up(it):
    it.signal(signal.SIGHUP)


def loses_its_terminal(it):
    it.child.hangup()


def quits(it):
    it.child.send("q")


def ends_input(it):
    it.child.stdin.close()


def goes_on(it):
    """Something else ends it: `--for`, `--count`."""


def reader_ends(it):
    it.ends_its_reader()


def reader_says_that_it_ends(it):
    """The container still runs; so does the reader, which the session ends."""
    it.feed({"type": "container_exited", "container": "c1", "reason": "poststop"})


def hub_comes_up(it):
    it.hub()


def press(it, painted, key, seconds):
    """A key that decides, once it counts: so long after its question has been written."""
    written = max(painted.at, it.child.settled())
    time.sleep(max(0.0, written + seconds - time.monotonic()))
    it.child.send(key)


def in_turn(rows):
    """Of the rows (code, front, what, …) that differ in the front alone one is for the usual run, each
    time before the next front; the others are thorough."""
    alike, found = {}, []
    for row in rows:
        alike.setdefault((row[0], *filter(callable, row)), []).append(row)
    for number, same in enumerate(alike.values()):
        for index, row in enumerate(same):
            marks = [] if index == number % len(same) else [pytest.mark.thorough]
            found.append(pytest.param(*row, marks=marks))
    return found


ENDINGS = [
    *((0, front, stops, []) for front in FRONTS),
    *((0, front, terminates, []) for front in FRONTS),
    *((0, front, interrupts, []) for front in FRONTS),
    (0, "terminal", hangs_up, []),  # the others have a log and no terminal: then it is no hang-up
    *((0, front, goes_on, ["--for", "0.3"]) for front in FRONTS),
    (0, "terminal", loses_its_terminal, []),
    (0, "terminal", quits, []),
    (0, "json", ends_input, []),
    *((4, front, reader_ends, []) for front in FRONTS),
    *((4, front, reader_says_that_it_ends, []) for front in FRONTS),
    *((1, front, hub_comes_up, []) for front in FRONTS),
]


def name(value):
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("code, front, end, words", in_turn(ENDINGS), ids=name)
def test_with_nothing_open_the_end_alone_decides(session, code, front, end, words):
    it = session(front, *words)
    if end is quits:
        it.asked(DENIED)  # until something is asked, there is nothing to quit
        it.until("closed")
    end(it)
    found, said = it.exits()
    assert found == code
    if code == 1:
        assert "hub" in said
    if code == 4:
        assert "the reader ended unexpectedly" in said


@pytest.mark.parametrize("code, front, end, words", in_turn(reversed(ENDINGS)), ids=name)
def test_with_a_request_open_an_end_as_asked_is_incomplete(session, code, front, end, words):
    it = session(front, *words)
    if front == "quiet":
        it.host.control("terok-shield", mode="fail")
        it.asked(DENIED)
        it.until("verdict")
    else:
        it.asked(LEFT)
    if end is quits:
        it.child.expect("i l ? q")
        it.child.send("q")
        press(it, it.child.expect("any other key: no"), "q", 0.5)
    else:
        end(it)
    assert it.exits()[0] == (code or 5)
    assert it.until("closed", 1)["why"] == "stopped"


# --- what makes an end incomplete, and what doesn't


def nothing(it):
    pass


def denied(it):
    it.asked(DENIED)
    it.until("closed", why="applied")


def skipped(it):
    it.asked(SKIPPED)
    it.until("closed", why="skipped")


def refused_by_the_floor(it):
    it.asked("10.1.2.3", **{"class": "private"})
    it.until("closed", why="floor")


def not_asked(it):
    it.feed({"type": "denied", "container": "c1", "id": "c1:1", "dest": DENIED, "port": 443, "proto": 6})
    it.feed(
        {"type": "multicast", "container": "c1", "id": "c1:2", "dest": "ff02::1", "port": None, "proto": 58}
    )
    denied(it)


def rubbish(it):
    it.write(b"rubbish\n[]\n")
    it.until("error")


def failed(it):
    it.host.control("terok-shield", mode="fail")
    it.asked(DENIED)
    it.until("verdict", result="failed")


def failed_and_made_good(it):
    failed(it)
    it.host.control("terok-shield", mode="silent")
    if it.front == "terminal":  # it is asked, and what is asked no rule decides
        press(it, it.child.expect("i l ? q"), "d", 1.1)
    with open(it.rules, "a") as file:
        file.write("# once more\n")
    it.until("verdict", result="applied")


def unknown(it):
    it.host.control("terok-shield", mode="killed")
    it.asked(DENIED)
    it.until("verdict", result="unknown")


def no_answer_in_time(it):
    it.host.control("terok-shield", mode="hang")
    it.asked(DENIED)
    it.until("verdict", reason="timeout")


def lost(it):
    it.feed({"type": "lost", "container": "c1", "count": 3, "where": "kernel"})
    it.until("lost")


def still_blocked(it):
    """A rule allowed it in vain: it is open again."""
    it.asked(ALLOWED)
    it.until("closed", why="applied")

    def told():
        it.block(ALLOWED)
        with open(it.log) as file:
            return "still_blocked" in file.read()

    eventually(told, what="it is blocked still")


def not_written(it):
    it.asked(DENIED)
    it.until("closed", why="applied")
    os.unlink(it.log)
    os.mkdir(it.log)  # else it would be begun anew


def no_profile(it):
    os.unlink(it.profile)
    os.mkdir(it.profile)  # else it would be begun anew
    it.asked(ALLOWED)
    it.until("closed", why="applied")
    it.until("error")


BALANCES = [
    (0, nothing, []),
    (0, denied, []),
    (0, skipped, []),
    (0, refused_by_the_floor, []),
    (0, not_asked, []),
    (0, rubbish, []),
    (0, failed_and_made_good, []),
    (5, failed, []),
    (5, unknown, []),
    (5, no_answer_in_time, ["--verdict-timeout", "0.3"]),
    (5, lost, []),
    (5, not_written, []),
    (5, no_profile, ["--save-profile", PROFILE]),
]


@pytest.mark.parametrize(
    "code, front, happens, words",
    in_turn((code, front, *rest) for code, *rest in BALANCES for front in FRONTS),
    ids=name,
)
def test_what_happened_makes_an_end_complete_or_not(session, code, front, happens, words):
    it = session(front, *words)
    happens(it)
    terminates(it)
    assert it.exits()[0] == code


@pytest.mark.parametrize(
    "code, front, happens, end",
    in_turn(
        (code, front, happens, end)
        for code, end in ((4, reader_ends), (1, hub_comes_up))
        for happens in (failed, lost, not_written)
        for front in FRONTS
    ),
    ids=name,
)
def test_an_incomplete_end_is_no_excuse_for_a_bad_one(session, code, front, happens, end):
    it = session(front)
    happens(it)
    end(it)
    assert it.exits()[0] == code


# --- more than one of them


def verdict_runs(it):
    """Until this is opened."""
    gate = it.host.gate()
    it.host.control("terok-shield", mode="silent", gate=gate)
    it.asked(DENIED)
    eventually(it.host.verdicts, what="a verdict command runs")
    return gate


@pytest.mark.parametrize("front", ["json", pytest.param("terminal", marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    "ends, code",
    [
        ((reader_ends, hub_comes_up), 1),
        ((hub_comes_up, reader_ends), 1),
        ((terminates, hub_comes_up), 1),
        ((hub_comes_up, terminates), 1),
        ((reader_ends, terminates), 4),
        ((terminates, reader_ends), 0),  # it was told to end
        ((stops, reader_ends), 0),
        ((stops, terminates), 0),
    ],
    ids=lambda value: "-".join(end.__name__ for end in value) if isinstance(value, tuple) else None,
)
def test_the_gravest_end_counts(session, front, ends, code):
    """The second comes while a verdict in progress is waited for."""
    it = session(front, "--verdict-timeout", "600")
    gate = verdict_runs(it)
    for end in ends:
        end(it)
    it.host.open(gate)
    assert it.exits()[0] == code
    assert it.host.verdicts()[0].rc == 0, "the verdict is not cut short"


def test_a_container_that_ends_with_its_reader_is_no_fault(session, rounds):
    """terok-shield's own reader ends with the container, and may be quicker than its end is seen."""
    for _ in range(rounds(20)):
        it = session("json")
        it.host.containers["c1"].stop()
        it.reader_ends()
        assert it.exits()[0] == 0
        it.close()
        it.host.containers["c1"].close()
        it.host.container("c1")


@pytest.mark.parametrize("front", ["terminal", *THOROUGH_FRONTS])
def test_a_fault_of_ours_is_70_whatever_else_is_wrong(session, front, pyz, tmp_path):
    fault = "\n\ndef outcome(*args):\n    raise KeyError('a bug')\n"
    broken = with_a_fault(pyz, str(tmp_path / "broken.pyz"), "docket/verdict", fault)
    it = session(front, archive=broken)
    lost(it)
    it.asked(DENIED)
    found, said = it.exits()
    assert found == 70
    assert "simple-clearance: internal error: KeyError at verdict.py:" in said
    assert "hint: run it with --debug and report what it prints" in said


# --- where it doesn't start


def gone(host, folder):
    return ["c9"]


def stopped(host, folder):
    host.container("c2").stop()
    return ["c2"]


def not_shielded(host, folder):
    c2 = host.container("c2")
    del c2.annotations["terok.shield.state_dir"]
    c2.save()
    return ["c2"]


def no_podman(host, folder):
    host.remove("podman")
    return ["c1"]


def no_shield(host, folder):
    host.remove("terok-shield")
    return ["--reader", 'sh -c \'echo {\\"type\\":\\"container_started\\"}; cat\'', "c1"]


def no_reader(host, folder):
    return ["--reader", "/nonexistent/reader", "c1"]


def a_reader_that_only_ends(host, folder):
    return ["--reader", "true", "c1"]


def no_policy(host, folder):
    return ["--policy", "/nonexistent/rules", "c1"]


def a_wrong_policy(host, folder):
    (folder / "rules").write_text("allow *\n")
    return ["--policy", str(folder / "rules"), "c1"]


def no_log(host, folder):
    return ["--log", "/nonexistent/log", "c1"]


def no_profile_to_save_to(host, folder):
    return ["--save-profile", "/nonexistent/profile", "c1"]


def no_recording(host, folder):
    return ["--replay", "/nonexistent/recording"]


def no_recording_in_it(host, folder):
    return ["--replay", "/dev/null"]


def a_state_directory_that_is_none(host, folder):
    return ["--state-dir", "/nonexistent", "c1"]


def no_container(host, folder):
    return []


def two_at_once(host, folder):
    return ["--state-dir", "/", "c1", "c2"]


def no_bound(host, folder):
    return ["--answer", "allow", "c1"]


def no_such_option(host, folder):
    return ["--nosuch", "c1"]


def two_recorded(host, folder):
    session = {"type": "session", "protocol": 1, "containers": [{"name": "c1"}, {"name": "c2"}]}
    (folder / "recording").write_text(json.dumps(session) + "\n")
    return ["--replay", str(folder / "recording")]


STARTS = [
    *(
        (3, why)
        for why in (gone, stopped, not_shielded, no_podman, no_shield, no_reader, a_reader_that_only_ends)
    ),
    *((3, why) for why in (no_policy, a_wrong_policy, no_log, no_profile_to_save_to)),
    *((3, why) for why in (no_recording, no_recording_in_it, a_state_directory_that_is_none)),
    *((2, why) for why in (no_container, two_at_once, no_bound, no_such_option, two_recorded)),
]
BEFORE_A_SCRIPT = (stopped, no_shield, no_profile_to_save_to, no_recording_in_it, two_recorded)
NOT_FOR_CHECK = (no_log, no_profile_to_save_to, no_recording, no_recording_in_it, no_bound, two_recorded)


@pytest.mark.parametrize(
    "code, why, fronts",
    [
        *((code, why, ["json"]) for code, why in STARTS if why in BEFORE_A_SCRIPT),
        *(pytest.param(*row, [*FRONTS], marks=pytest.mark.thorough) for row in STARTS),
    ],
    ids=name,
)
def test_what_can_not_start_says_why_on_stderr_and_nothing_on_stdout(
    host, pyz, terminal, tmp_path, code, why, fronts
):
    """What is told of each is tried on the terminal in test_startup_errors, of policies in test_policy."""
    host.container("c1")
    words = why(host, tmp_path)
    said = []
    for front in fronts:
        # one that runs no verdict needs no verdict command
        chosen = ["--answer", "deny"] if why is no_shield and front == "quiet" else FRONTS[front]
        argv = [sys.executable, "-S", "-W", "error", pyz, *([] if why is no_bound else chosen), *words]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            if front == "terminal":
                assert terminal(argv, env=host.env(), stdout=out, stderr=err).wait() == code
            else:
                done = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=host.env(),
                    timeout=PATIENCE,
                    check=False,
                )
                assert done.returncode == code
            out.seek(0), err.seek(0)
            assert out.read() == b""
            said.append(err.read().decode().splitlines())
    assert said == [said[0]] * len(fronts), "the front makes no difference"
    assert said[0][0].startswith("simple-clearance: ") and len(said[0]) > 1
    assert all(line.startswith("hint: ") for line in said[0][1:])
    if len(fronts) > 1 and why not in NOT_FOR_CHECK:
        done = subprocess.run(
            [sys.executable, pyz, "--check", *words],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=host.env(),
        )
        assert done.returncode == code, "--check ends as a session would"


@pytest.mark.parametrize("front", ["terminal", *THOROUGH_FRONTS])
def test_an_active_hub_comes_before_everything_else_that_is_wrong(host, pyz, terminal, runtime, front):
    with socket.socket(socket.AF_UNIX) as hub:
        hub.bind(os.path.join(runtime, "terok-clearance.sock"))
        hub.listen(1)
        argv = [sys.executable, pyz, *FRONTS[front], "--log", "/nonexistent/log", "c9"]
        env = host.env(XDG_RUNTIME_DIR=runtime)
        if front == "terminal":
            assert terminal(argv, env=env).wait() == 1
        else:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False)
            assert (done.returncode, done.stdout) == (1, b"")


def test_without_a_terminal_nobody_can_be_asked(host, pyz):
    host.container("c1")
    done = subprocess.run(
        [sys.executable, pyz, "c1"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=host.env(),
        start_new_session=True,
    )
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("words", [["--version"], ["--help", "--nosuch"]], ids=" ".join)
def test_what_only_tells_is_0(pyz, words):
    done = subprocess.run(
        [sys.executable, pyz, *words], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout


# --- what is told of them


def plain(text):
    return " ".join(text.replace("`", "").split())


def table_of_the_readme():
    with open(os.path.join(ROOT, "README.md")) as file:
        text = file.read().partition("### Exit codes")[2].partition("###")[0]
    return {
        int(code): plain(meaning)
        for code, meaning in re.findall(r"^\| ([0-9]+) \| (.*) \|$", text, re.MULTILINE)
    }


def table_of_the_help(pyz):
    done = subprocess.run(
        [sys.executable, pyz, "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    text = done.stdout.decode().partition("\nexit codes:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^  ([0-9]+) +(.*(?:\n {6}.*)*)", text, re.MULTILINE)
    return {int(code): plain(meaning) for code, meaning in found}


def test_help_and_the_readme_list_the_same_codes_in_the_same_words(pyz):
    assert table_of_the_help(pyz) == table_of_the_readme()


def test_every_code_is_listed_and_no_other(pyz):
    codes = {value for key, value in vars(errors).items() if key.isupper() and isinstance(value, int)}
    assert set(table_of_the_help(pyz)) == codes == {0, 1, 2, 3, 4, 5, 70}


@pytest.mark.parametrize(
    "columns, widest",
    [
        (None, 80),
        ("50", 50),
        *(
            pytest.param(*row, marks=pytest.mark.thorough)
            for row in (("", 80), ("0", 80), ("x", 80), ("120", 120))
        ),
    ],
)
def test_help_fits_the_terminal_and_says_what_ctrl_c_gives(pyz, columns, widest):
    env = {"PATH": os.environ["PATH"], **({} if columns is None else {"COLUMNS": columns})}
    argv = [sys.executable, pyz, "--help"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, env=env)
    assert b"Ctrl-C gives 0 or 5, not 130" in done.stdout
    assert b"Before anything is\nwatched or waited for it gives 3" in done.stdout
    options = (
        done.stdout.decode().partition("\nwhat to watch:\n")[2].partition("\nexamples:\n")[0].splitlines()
    )
    assert min(widest, 100) - 20 < max(map(len, options)) <= widest


def test_help_is_grouped_and_each_group_fits_a_screen(pyz, some_python):
    argv = [some_python.path, pyz, "--help"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    parts = done.stdout.decode().split("\n\n")
    heads = [part.splitlines()[0] for part in parts]
    assert heads[0] == "usage: simple-clearance [OPTIONS] CONTAINER..."
    assert heads[2:] == [
        *("what to watch:", "what decides:", "what is kept:", "trying it:", "examples:", "exit codes:"),
        "Ctrl-C gives 0 or 5, not 130: a calling script goes on. Before anything is",
    ]
    assert max(len(part.splitlines()) for part in parts) < 24


@pytest.mark.parametrize("code, front", [(5, "terminal"), (5, "json"), (0, "quiet")])
def test_what_a_rule_has_allowed_in_vain_is_open_again_unless_an_answer_is_left_for_it(session, code, front):
    it = session(front)
    still_blocked(it)
    terminates(it)
    assert it.exits()[0] == code
