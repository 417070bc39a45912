"""A hostile program inside, an operator who types at the wrong moment: what fresh eyes have tried."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time

import endtoend
import pytest
from endtoend import KEYS
from stage import Bench, Stage, name
from support import eventually, grows_evenly, thorough
from terminal_driver import state

from simple_clearance.base.happenings import Watching
from simple_clearance.docket.budget import Budget
from simple_clearance.docket.later import PER_SECOND
from simple_clearance.docket.names import NAMES_TOLD
from simple_clearance.prompt import layout, notices

desk = endtoend.desk

ADDRESS = "203.0.113.10"
LONG = "2001:db8:5:1234:5678:9abc:def0:1234"


# --- the screen


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_name_puts_its_words_at_the_start_of_a_line(width):
    label = "-".join(["zzzz"] * 11)
    name = f"{label}.{label}.zz-zz.zzzz"
    stage = Stage(width, 24)
    stage.result = {"opened": (ADDRESS,)}
    stage.blocked(names=[name])
    for key in "illAyuyh":  # the list and back, since a small window has a view of its own for `i`
        stage.key(key)
    assert stage.commands == [f"allow c1 {name}", f"deny c1 {name}"]
    for line in stage.text.split("\n"):
        assert not re.match("[ .-]*z", line), line


def test_on_a_small_screen_the_first_line_of_a_question_is_never_pushed_out():
    stage = Stage(20, 5)
    stage.blocked(LONG)
    assert stage.shown[0] == "c1  tcp 443 https"
    assert "".join(line.strip() for line in stage.shown[1:-1]) == LONG
    stage.key("a")
    assert stage.commands == ["allow c1 " + LONG]


@pytest.mark.parametrize("key", "asmdu")
def test_where_a_question_does_not_fit_the_screen_no_key_decides_it(key):
    stage = Stage(20, 4)
    stage.blocked("203.0.113.9")
    stage.key("d")
    commands = list(stage.commands)
    stage.blocked(LONG)
    stage.key(key)
    assert stage.commands == commands and len(stage.ids()) == 1
    assert "too small" in " ".join(stage.text.split())
    stage.resize(80, 24)
    stage.key("a")
    assert stage.commands[-1] == "allow c1 " + LONG


@pytest.mark.parametrize("label", ["x): shield down", "\x1b[2J", "\r\n", "y" * 300, "a b", "\u202eevil", ""])
def test_no_label_imitates_the_line_that_tells_the_shields_state(label):
    watching = Watching("c1", {"project": label, "task": "t-7"}, "up")
    assert notices.greeting_lines([watching], 79) == ["watching c1 (t-7): shield up"]


@pytest.mark.parametrize("width", [19, 39, 79])
def test_labels_never_push_out_the_shields_state(width):
    watching = Watching("c1", {key: key * 24 for key in "abc"}, "up")
    text = " ".join(" ".join(notices.greeting_lines([watching], width)).split())
    assert text.startswith("watching c1") and text.endswith("shield up")


def test_on_a_narrow_screen_no_number_is_cut_for_a_hint():
    stage = Stage(40, 12)
    for number in range(12):
        stage.blocked(f"203.0.113.{number}", port=443)
        stage.key("s")
    stage.key("h")
    assert "12 answered" in stage.text


@pytest.mark.parametrize("width", [27, 30, 40, 80])
def test_a_name_is_broken_before_its_dots_only(width):
    """Whoever chose it chose where a line ends: with `github.com`, so that the next reads `vil.example`."""
    for pad in range(width):
        name = "a" * pad + ".github.com.evil.example.of-a.very-bad.one.example"
        for first, rest in (("  | name      ", "  |           "), ("  | ", "  | "), ("", "    ")):
            rows = layout.folded(name, width, first, rest)
            assert rows[0].startswith(first) and all(row.startswith(rest) for row in rows[1:])
            parts = [rows[0][len(first) :], *(row[len(rest) :] for row in rows[1:])]
            assert "".join(parts) == name
            cuts = [len("".join(parts[:n])) for n in range(1, len(parts))]
            assert all(name[cut] == "." or cut < pad for cut in cuts), rows
            assert all(len(row) <= width for row in rows)


# --- floods


def many_addresses(number):
    """A stage where so many wait."""
    stage = Stage(emulate=False)
    stage.auto = False
    for index in range(number):
        Bench.blocked(stage, "198.18.%d.%d" % (index // 256, index % 256), names=["x.example.com"])
    stage.refresh()
    return stage


def allow_all(stage):
    for request_id in stage.ids():
        Bench.answer(stage, "allow", request_id)
    stage.refresh()


def allowing_all(number):
    """As a script may."""
    stage = many_addresses(number)

    def work():
        allow_all(stage)
        assert len(stage.docket.jobs()) == number

    return work


def skipping_all(number):
    stage = many_addresses(number)

    def work():
        for key in "l*s":
            stage.key(key)
        assert stage.docket.open_count() == 0

    return work


def going_on_behind_all_of_them(number):
    stage = many_addresses(number)
    allow_all(stage)
    stage.start()

    def work():
        for index in range(number // 4):
            stage.event("allowed", f"203.0.113.{index % 250}")
            stage.event("pending", f"192.0.2.{index % 250}", port=index + 1)

    return work


def leaving_all_of_them(number):
    stage = many_addresses(number)
    allow_all(stage)
    stage.start()
    return lambda: stage.docket.stop("c1", stage.now)


@pytest.mark.parametrize(
    "what", [allowing_all, skipping_all, going_on_behind_all_of_them, leaving_all_of_them]
)
def test_a_flood_answered_at_once_costs_no_more_than_its_size(what):
    """Work that grows with its square, and whoever is inside freezes the prompt."""
    assert grows_evenly(what, 200)


def test_a_name_learnt_for_thousands_of_requests_is_told_little_by_little_and_to_all():
    bench = Bench(budget=Budget({"ports": 5000}))
    for port in range(1, 5001):
        bench.blocked(ADDRESS, port)
    bench.take()
    known = []
    for number in range(200):
        known.append(name(f"n{number}.evil.example"))
        bench.learn(ADDRESS, *known[-64:])
    assert len(bench.take("names")) <= PER_SECOND
    told = {}
    while bench.docket.deadline() is not None:
        bench.mono = max(bench.docket.deadline(), bench.mono + 0.25)
        bench.docket.tick(bench.now)
        records = bench.take("names")
        assert len(records) <= PER_SECOND
        told.update((record["id"], record) for record in records)
    last = [one.name for one in known[-64:]][:NAMES_TOLD]
    late = [record for record in told.values() if record["names"] == last]
    assert len(late) >= 4000 and {record["more_names"] for record in late} == {64 - NAMES_TOLD}
    assert set(told) <= set(bench.ids())


def keys_are_answered_during(work, t):
    """`work(over)` goes on in a thread until the event `over` is set."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,))
    thread.start()
    try:
        for _ in range(3):
            t.send("i")
            t.expect("uid inside")
            t.expect(KEYS)
    finally:
        over.set()
        thread.join()


def test_thousands_of_ports_and_a_storm_of_look_ups_freeze_no_key(desk, tmp_path, rounds):
    t = desk.sit("--log", str(tmp_path / "log"))
    desk.block()
    desk.lab.python(
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for port in range(1, %d):\n"
        "    try: s.sendto(b'?', ('%s', port))\n"
        "    except OSError: pass\n" % (rounds(20_000), ADDRESS)
    )

    def storm(over):
        number = 0
        while not over.wait(0.01):
            for _ in range(4):
                desk.c1.looks_up("n%d.evil.example" % number, ADDRESS)
                number += 1

    keys_are_answered_during(storm, t)
    t.send("\x03")
    desk.ends(5)


def test_a_log_that_grows_faster_than_it_is_read_freezes_no_key(desk):
    t = desk.sit()
    desk.block()
    head = time.strftime("%b %e %H:%M:%S") + " dnsmasq[17816]: "
    line = head + "query[A] " + "x" * 900 + " from 127.0.0.1\n" + head + "reply a.example is 203.0.113.99\n"
    junk = (line * 2000).encode()

    def write(over):
        written = 0
        while not over.is_set() and written < 1 << 30:
            desk.c1.append("dnsmasq.log", junk)
            written += len(junk)

    keys_are_answered_during(write, t)
    t.send("\x03")
    desk.ends(5)


# --- the moment of a key


def test_what_is_typed_while_the_session_is_stopped_decides_nothing(desk):
    t = desk.sit()
    desk.wait_for_keys(desk.block())
    t.kill(signal.SIGSTOP)
    eventually(lambda: state(t.pid) == "T", what="it is stopped")
    t.send("a")
    eventually(lambda: t.unread, what="the key has arrived")
    t.kill(signal.SIGCONT)
    t.expect("what was typed while this was stopped: ignored")
    t.expect(KEYS)  # painted anew
    t.quiet(0.3)
    assert desk.host.verdicts() == []
    t.send("\x03")
    desk.ends(5)


# --- files under the session


def replaced(path, how):
    """Puts something else in a file's place."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        os.mkdir(path)
    elif how == "link":
        os.symlink("/dev/zero", path)
    elif how == "loop":
        os.symlink(path, path)
    elif how == "huge":
        with open(path, "w") as file:
            file.truncate(1 << 40)


HOW = ["fifo", "folder", "link", "loop", "huge"]


def test_a_log_in_whose_place_there_is_something_else_holds_up_nothing(desk):
    t = desk.sit()
    asked = desk.block("203.0.113.1")
    for number, how in enumerate(HOW):
        for file in ("dnsmasq.log", "audit.jsonl"):
            replaced(desk.c1.path(file), how)
        address = "203.0.113.%d" % (number + 2)
        assert desk.lab.connect(address, 443) != "connected"
        if how == "huge":  # what there is to read keeps it busy for as long as one likes
            endtoend.lists(t, 2)
            break
        desk.press("s", asked)
        t.expect(address)
        asked = t.expect(KEYS)
    t.send("\x03")
    desk.ends(5)


TRAPS = ("policy/live", "live.allowed", "deny.list", "ruleset.nft", "dns.tier", "reader.pid")


@pytest.mark.parametrize("hows", [HOW, *thorough(*([how] for how in HOW))], ids="+".join)
def test_a_state_directory_full_of_traps_holds_up_no_start(desk, hows):
    for number, file in enumerate(TRAPS):
        replaced(desk.c1.path(file), hows[number % len(hows)])
    desk.sit()
    desk.quit()


def test_a_state_directory_that_goes_away_takes_nothing_with_it(desk):
    t = desk.sit()
    asked = desk.block()
    shutil.move(desk.c1.state_dir, desk.c1.state_dir + ".away")
    desk.press("s", asked)
    t.expect("s not now\n")
    desk.press("s", desk.block("203.0.113.11"))
    t.expect("s not now\n")
    desk.quit()


# --- processes


def test_a_reader_that_somebody_has_stopped_ends_with_the_session(desk):
    t = desk.sit()
    asked = desk.block()
    os.kill(desk.reader(), signal.SIGSTOP)
    desk.press("a", asked)
    t.expect("a allow %s ... done in" % ADDRESS)
    desk.quit()


def test_a_verdict_command_that_lies_and_never_ends_talking_paints_only_what_is_an_address(desk, tmp_path):
    fake = tmp_path / "shield"
    fake.write_text(
        "#!/bin/sh\n"
        "printf '\\033[2J\\033]0;x\\007Allowed www.example.com -> 0.0.0.0/0 for c1\\n'\n"
        "echo 'Allowed www.example.com -> 203.0.113.10, ::ffff:203.0.113.11, 10.0.0.1 for c1'\n"
        "printf 'c1  203.0.113.99  tcp 443\\r\\033[A' >&2\n"
        "yes 'Allowed x -> 203.0.113.98 for c1' | head -c 20000000\n"
    )
    fake.chmod(0o755)
    desk.c1.looks_up("www.example.com", ADDRESS)
    t = desk.sit("--shield", str(fake))
    desk.press("A", desk.block())
    desk.press("y", t.expect("any other key: no"), own=True)
    t.expect("A allow www.example.com ... done in")
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", bytes(t.raw)).count(b"\x1b") == 0
    assert "0.0.0.0" not in t.text() and "203.0.113.99" not in t.text()
    assert "10.0.0.1" in t.text(), "what it says it opened is told, whatever it is"
    desk.quit()
