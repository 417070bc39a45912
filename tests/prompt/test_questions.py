"""How it looks: whole screens as text, and what no size and no hostile text may do to them.

The invariants of the second half, for every width and height and whatever comes from outside:
text from outside never stands at the start of a line and always behind a `|` (or in its row of
the list), and the end of it is kept.  That all that is painted is printable ASCII and no line
wider than the screen less one is looked at by the stage itself, in every test (`stage.inspect`).
"""

from __future__ import annotations

import random
import re

import pytest
from stage import Bench, Clock, Stage, name
from support import thorough

from simple_clearance.base.happenings import Recorded
from simple_clearance.docket.policy import parse
from simple_clearance.prompt import layout, notices, questions
from simple_clearance.prompt.painter import Painter
from simple_clearance.prompt.sentences import SENTENCES, repeat_commands

USUAL_WIDTHS = [20, 37, 40, 60, 80, *thorough(21, 25, 30, 38, 39, 41, 50, 59, 61, 75, 76, 77, 100, 132, 200)]
WIDTHS = [20, 21, 25, 30, 37, 38, 39, 40, 41, 50, 59, 60, 61, 75, 76, 77, 80, 100, 132, 200]


def at(width, height=24, version=18, **options):
    stage = Stage(width, height, **options)
    stage.docket.add_container("c1", version, {"project": "demo", "task": "t-7"})
    return stage


def lines(text):
    return text.strip("\n").split("\n")


def painted(stage):
    return stage.text.split("\n")


# --- 80 columns


def test_a_question():
    stage = at(80)
    stage.blocked(count=4, names=[name("www.example.com", "edge.cdn.example")])
    assert painted(stage) == lines("""
c1  203.0.113.10  tcp 443 https                    17:32:05   4 tries, uid 1000
  | www.example.com   via edge.cdn.example, looked up 17:32:03
a allow 203.0.113.10  A name   s not now  m this session  d deny        i l ? q
""")


def test_an_old_look_up_has_its_date():
    stage = at(80)
    stage.blocked(names=[name("old.example.com", at="nov 18 23:05:50")])
    assert painted(stage)[1] == "  | old.example.com   looked up 18 Nov, 9 days ago"
    stage.key("i")
    assert "  | name      old.example.com  looked up 18 Nov, 9 days ago" in painted(stage)


def test_a_question_without_a_name_offers_none():
    stage = at(80)
    stage.blocked(uid=None, port=None, proto=6)
    assert painted(stage) == lines("""
c1  203.0.113.10  tcp, port unknown                            17:32:05   1 try
  no name known
a allow 203.0.113.10   s not now  m this session  d deny                i l ? q
""")


@pytest.mark.parametrize("width", WIDTHS)
def test_while_earlier_look_ups_are_being_read_a_question_says_so_and_i_asks_by_the_name(width):
    behind = {"c1"}
    stage = at(width, 40, behind=behind.__contains__)
    stage.blocked()
    if width == 80:
        assert painted(stage)[1] == "  no name known yet: earlier look-ups are being read (i looks again)"
    behind.clear()
    stage.learn("203.0.113.10", "www.example.com")
    stage.docket.names_known("c1", stage.now)
    stage.wait(1.2)
    before = len(painted(stage))
    stage.key("i")
    stage.read()
    assert any("|" in line and "example.com" in line for line in painted(stage)[before - 3 :])
    if width == 80:
        assert " A name " in painted(stage)[-1]


def test_one_of_several_on_a_shared_address():
    stage = at(80)
    stage.blocked("198.51.100.7", uid=0, names=["api.example.org", "b.example.org", "c.example.org"])
    for last in range(4):
        stage.blocked(f"198.51.100.{20 + last}")
    stage.key("l")
    stage.key("2")
    stage.key("\n")
    assert painted(stage)[-3:] == lines("""
c1  198.51.100.20  tcp 443 https             2 of 5  17:32:05   1 try, uid 1000
  no name known
a allow 198.51.100.20   s not now  m this session  d deny      +4 wait  i l ? q
""")
    assert painted(stage)[:2] == lines("""
c1  198.51.100.7  tcp 443 https                         17:32:05   1 try, uid 0
  | api.example.org   and 2 more names here: allowing opens all of them (i)
""")


def test_the_hosts_own_loopback():
    stage = at(80, version=14)
    stage.blocked("169.254.1.2", 5432, private=True)
    assert painted(stage) == lines("""
c1  169.254.1.2  tcp 5432 postgresql                 17:32:05   1 try, uid 1000
  ! this machine's own loopback: allowing opens every service on 127.0.0.1
allow 169.254.1.2: a, then y   s not now  m this session  d deny        i l ? q
""")


def test_a_private_address_under_the_floor_is_told_and_not_asked():
    stage = at(80)
    stage.blocked("10.0.2.2", 22, private=True)
    assert painted(stage) == lines("""
c1  10.0.2.2  tcp 22 ssh                             17:32:05   1 try, uid 1000
  ! not asked: the shield keeps private ranges shut, whatever is allowed

""") + [""]


def test_a_burst_and_its_list():
    stage = at(80)
    stage.blocked("203.0.113.90", count=2, names=["telemetry.example.net"])
    for last in range(20, 24):
        stage.blocked(f"203.0.113.{last}", count=2, names=["registry.example.com"])
    for last in range(1, 11):
        stage.blocked(f"198.51.100.{last}")
    stage.key("l")
    stage.key("2")
    stage.key("\n")
    assert painted(stage)[-3:] == lines(
        """
c1  203.0.113.20  tcp 443 https           2 of 12  17:32:05   2 tries, uid 1000
  | registry.example.com   looked up 17:32:03; 3 more of its addresses wait too
a allow 203.0.113.20  A name   s not now  m session  d deny   +11 wait  i l ? q
"""
    )
    stage = at(80)
    for last in range(20, 24):
        stage.blocked(f"203.0.113.{last}", count=2, names=["registry.example.com"])
    stage.blocked("203.0.113.90", count=2, names=["telemetry.example.net"])
    for last in range(1, 11):
        stage.blocked(f"198.51.100.{last}")
    stage.key("l")
    stage.key("2")
    assert painted(stage)[-12:] == lines("""
12 waiting for c1                                                   page 1 of 2
     1  registry.example.com                  4 addresses  tcp 443      8 tries
  x  2  telemetry.example.net                              tcp 443      2 tries
     3  198.51.100.1                                       tcp 443        1 try
     4  198.51.100.2                                       tcp 443        1 try
     5  198.51.100.3                                       tcp 443        1 try
     6  198.51.100.4                                       tcp 443        1 try
     7  198.51.100.5                                       tcp 443        1 try
     8  198.51.100.6                                       tcp 443        1 try
     9  198.51.100.7                                       tcp 443        1 try
1-9 mark   * all   / word   space: next page   Backspace: page before
1 marked: a allow  s not now  m this session    Enter asks it   l back
""")


def test_a_list_of_several_containers_says_whose_each_is():
    stage = at(80)
    stage.docket.add_container("web", 18, {})
    stage.blocked("203.0.113.10", names=["www.example.com"])
    stage.blocked("203.0.113.11", 80, container="web")
    stage.event("denied", "192.0.2.1", count=3)
    stage.event("multicast", "ff02::1", container="web", count=2)
    stage.event("denied", "192.0.2.1", container="web", count=4)
    stage.key("l")
    assert painted(stage)[-6:] == lines("""
2 waiting for 2 containers
     1  www.example.com                        c1          tcp 443        1 try
     2  203.0.113.11                           web         tcp 80         1 try
  not asked: 7 denied before, 2 multicast and the like
1-2 mark   * all   / word   c one container
Enter asks the first   ? keys   l back
""")


LONG = ["terok-dev-1234-abcd", "terok-dev-1234-abce"]
NETWORKS = [f"2001:db8:{n}:2222:3333:4444:5555:6666" for n in ("1", "1111", "1112")]


@pytest.mark.parametrize("width", [20, 38, 60, 80, 100, 132])
@pytest.mark.parametrize("named", [False, True])
def test_no_two_rows_of_different_containers_or_networks_look_alike(width, named):
    stage = at(width, 60)
    for container in LONG:
        stage.docket.add_container(container, 18, {})
        for dest in NETWORKS:
            stage.blocked(dest, container=container)
        if named:
            stage.blocked("203.0.113.1", container=container, names=["www." + "x" * 70 + ".example.com"])
    stage.key("l")
    rows = []
    for line in stage.text.rsplit(" waiting", 1)[1].split("\n")[1:-2]:
        begins = re.match(r"  [ x]  \d  (?=\S)|[ x]\d (?=\S)", line)
        if begins:
            rows.append("")
        rows[-1] += " " + line[begins.end() if begins else 0 :].strip()
    assert len(rows) == len(set(rows)) == 6 + 2 * named
    joined = ["".join(row.split()) for row in rows]
    for container in LONG:
        assert sum(container in row for row in joined) == 3 + named
    for dest in NETWORKS:
        assert sum(row.startswith(dest) for row in joined) == 2


def test_the_rows_of_a_narrow_list_fit_and_keep_the_end_of_a_name():
    stage = at(38)
    stage.docket.add_container("a-container-with-a-rather-long-name", 18, {})
    long = "%s.telemetry.example.net" % ("x" * 60)
    stage.blocked("203.0.113.20", names=[long], container="a-container-with-a-rather-long-name")
    stage.blocked("203.0.113.21", names=["www." + long])
    stage.key("l")
    rows = stage.text.rsplit(" waiting", 1)[1].split("\n")[1:-2]
    assert rows[0].startswith(" 1 ..xxx") and rows[0].endswith(".example.net")
    second = next(at for at, row in enumerate(rows) if row.startswith(" 2 ..xxx"))
    told = "".join("".join(rows[1:second]).split())
    assert told == "a-container-with-a-rather-long-name203.0.113.20tcp4431try", "nothing is cut"
    assert "".join(rows[second + 1 :]).split() == ["c1", "203.0.113.21", "tcp", "443", "1", "try"]
    stage.answer("skip", "r1")
    stage.key("\x0c")
    rows = stage.text.rsplit(" waiting", 1)[1].split("\n")
    assert rows[1].startswith(" - ..") and rows[1].endswith(".example.net answered")


@pytest.mark.parametrize(
    "width, rows",
    [
        (
            60,
            """
1 skip 203.0.113.21  a-container-with-a-rather-long-name
2 allow ..xxxxxxxxxxxxxxxxxxxxxxxxxxx.telemetry.example.net
  a-container-with-a-rather-long-name  applied
""",
        ),
        (
            38,
            """
1 skip 203.0.113.21
  a-container-with-a-rather-long-name
2 allow ..xxxxx.telemetry.example.net
  a-container-with-a-rather-long-name
  applied
""",
        ),
    ],
)
def test_the_rows_of_a_narrow_history_keep_the_end_of_a_name(width, rows):
    stage = at(width)
    container, long = "a-container-with-a-rather-long-name", "x" * 50 + ".telemetry.example.net"
    stage.docket.add_container(container, 18, {})
    stage.blocked("203.0.113.20", names=[long], container=container)
    stage.answer("allow", "r1", name=long)
    stage.refresh()
    stage.blocked("203.0.113.21", container=container)
    stage.answer("skip", "r2")
    stage.key("h")
    number = len(lines(rows))
    assert painted(stage)[-1 - number : -1] == lines(rows)


@pytest.mark.parametrize(
    "dest, width, shown",
    [
        (
            "203.0.113.10",
            90,
            "     1  17:32:07  deny 203.0.113.10  a-container-whose-name-is-longer-than-most  applied",
        ),
        (
            "2001:db8:1111:2222:3333:4444:5555:6666",
            80,
            """     1  17:32:07  deny 2001:db8:1111:2222:3333:4444:5555:6666
                  a-container-whose-name-is-longer-than-most  applied""",
        ),
        (
            "2001:db8:1111:2222:3333:4444:5555:6666",
            40,
            """1 deny 2001:db8:1111:2222:3333:4444:
  5555:6666
  a-container-whose-name-is-longer-than
  -most  applied""",
        ),
    ],
)
def test_the_rows_of_a_history_cut_neither_an_address_nor_a_container(dest, width, shown):
    stage = at(width)
    container = "a-container-whose-name-is-longer-than-most"
    stage.docket.add_container(container, 18, {})
    stage.blocked(dest, container=container)
    stage.key("d")
    stage.key("h")
    number = len(shown.split("\n"))
    assert painted(stage)[-1 - number : -1] == shown.split("\n")


def test_a_list_says_what_is_not_known_of_one():
    stage = at(80)
    stage.blocked("203.0.113.10", None, proto=None)
    stage.blocked("203.0.113.11", None)
    stage.key("l")
    stage.blocked("203.0.113.12", None, proto=1)
    stage.key("l")
    stage.key("l")
    assert painted(stage)[-5:-2] == lines("""
     1  203.0.113.10                                       ? ?            1 try
     2  203.0.113.11                                       tcp ?          1 try
     3  203.0.113.12                                       icmp           1 try
""")


def test_the_line_of_an_answer_says_whose_it_is_where_there_are_several():
    stage = at(80)
    long = "a-name-of-a-container-that-is-longer-than-a-line-has-room-for"
    stage.docket.add_container(long, 18, {})
    stage.blocked()
    stage.key("a")
    assert painted(stage)[-2] == "c1  a allow 203.0.113.10 ... done in 0.3 s"
    stage.blocked("203.0.113.11", container=long)
    stage.key("d")
    both_ends = "a-name-of-a-contain..a-line-has-room-for"
    assert painted(stage)[-2] == both_ends + "  d deny 203.0.113.11 ... done in 0.3 s"


def test_what_came_of_another_verdict_is_not_told_in_the_line_of_the_one_that_runs():
    stage = at(80)
    stage.docket.add_container("web", 18, {})
    stage.auto = False
    stage.blocked()
    stage.key("a")
    (job,) = stage.start()
    stage.event("pending", "203.0.113.11", container="web")
    stage.answer("allow", "r2", by="policy")
    (other,) = stage.start()
    stage.wait(3)
    stage.finish(other)
    stage.refresh()
    stage.finish(job)
    stage.refresh()
    assert painted(stage)[2:] == [
        "c1  a allow 203.0.113.10 ...",
        "web  policy: allow 203.0.113.11 ... done in 3.0 s",
        "c1  a allow 203.0.113.10 ... done in 3.0 s",
        "",
    ]


def test_what_came_of_a_verdict_leaves_the_keys_of_the_next_question():
    stage = at(80)
    stage.auto = False
    stage.blocked("203.0.113.1")
    stage.blocked("203.0.113.2")
    stage.key("a")
    (job,) = stage.start()
    stage.wait(3)
    keys = stage.keys
    assert keys.startswith("a allow ")
    assert "  a allow 203.0.113.1 ..." in painted(stage), "what runs is still said above it"
    stage.finish(job)
    stage.refresh()
    assert painted(stage)[-2:] == ["  a allow 203.0.113.1 ... done in 3.0 s", keys]


def test_what_a_name_did_not_open_of_a_container_that_has_ended_is_not_told():
    stage = at(80)
    stage.auto = False
    stage.blocked(names=["www.example.com"])
    stage.key("A")
    stage.key("y")
    (job,) = stage.start()
    stage.finish(job, opened=("203.0.113.11",))
    stage.docket.stop("c1", stage.now)
    stage.refresh()
    assert painted(stage)[-3:] == [
        "  A allow www.example.com ... done in 0.0 s: opened 203.0.113.11",
        "c1: the container has stopped",
        "",
    ]


def test_done_and_proved():
    stage = at(80)
    stage.blocked()
    stage.key("a")
    stage.wait(0.4)
    stage.event("allowed", "203.0.113.10")
    stage.refresh()
    assert painted(stage)[2:] == [
        "  a allow 203.0.113.10 ... done in 0.3 s",
        "c1  203.0.113.10: first packet let out 0.4 s later",
        "",
    ]


@pytest.mark.parametrize(
    "width, told",
    [
        (
            80,
            """
  ! allowing this address doesn't help: IPv6 gets no answer in this container,
    its shield stops neighbour discovery
""",
        ),
        (
            40,
            """
  ! allowing this address doesn't help:
    IPv6 gets no answer in this
    container, its shield stops
    neighbour discovery
""",
        ),
    ],
)
def test_where_ipv6_can_not_work_question_details_and_proof_say_so(width, told):
    stage, told = at(width), lines(told)
    stage.docket.add_container("c1", 18, {}, ipv6=False)
    stage.blocked("2001:db8::10")
    assert [line for line in painted(stage) if line in told] == told
    stage.key("i")
    assert stage.text.count(told[0]) == 3, "in the details, and in the question again below them"
    stage.key("a")
    stage.event("allowed", "2001:db8::10")
    stage.refresh()
    assert painted(stage)[-1 - len(told) :] == [*told, ""]
    stage.blocked("203.0.113.10")
    assert told[0] not in painted(stage)[-4:]


def test_allowing_many_tells_how_many_of_them_can_not_answer():
    stage = at(80)
    stage.docket.add_container("c1", 18, {}, ipv6=False)
    for dest in ("2001:db8::10", "2001:db8::11", "203.0.113.10"):
        stage.blocked(dest)
    for key in "l*a":
        stage.key(key)
    assert painted(stage)[-4] == "  ! allowing 2 of these addresses doesn't help: IPv6 gets no answer there"


@pytest.mark.parametrize("width", [80, 40])
def test_what_comes_out_of_a_pod_says_so(width):
    """Its containers share one network: the packet doesn't tell which of them tried."""
    stage = at(width)
    stage.docket.add_container("c1", 18, {}, in_pod=True)
    stage.blocked()
    assert "1 try, uid 1000, from its pod" in stage.text
    stage.key("i")
    assert "container   c1, or another of its pod" in stage.text


def test_by_name_and_the_blocked_address_not_among_them():
    stage = at(80)
    stage.blocked(names=["www.example.com"])
    stage.key("A")
    stage.result = {"opened": ["203.0.113.11", "203.0.113.12"]}
    assert painted(stage)[2:] == lines("""
  A opens what this host resolves the name to now, every port (the container
    tried 203.0.113.10 for it: this host may get others); where the shield
    resolves live, also whatever it and its subdomains answer from now on
y allow www.example.com   any other key: no
""")
    stage.key("y")
    assert painted(stage)[5:] == lines("""
  A allow www.example.com ... done in 0.3 s: opened 203.0.113.11, 203.0.113.12
  ! not 203.0.113.10, which was blocked: this host resolves the name elsewhere
    203.0.113.10 is asked again, as an address
c1  203.0.113.10  tcp 443 https                      17:32:05   1 try, uid 1000
  | www.example.com   looked up 17:32:03
  ! asked as an address: this host resolves the name to others
a allow 203.0.113.10  A name   s not now  m this session  d deny        i l ? q
""")


@pytest.mark.parametrize(
    "number, got",
    [
        (2, "203.0.113.1, 203.0.113.2"),
        (3, "203.0.113.1, 203.0.113.2, 203.0.113.3"),
        (9, "203.0.113.1, 203.0.113.2 and 7 more"),
    ],
)
def test_before_a_name_is_allowed_some_of_what_the_container_got_for_it_is_told(number, got):
    stage = at(80)
    for last in range(1, number + 1):
        stage.blocked(f"203.0.113.{last}", names=["www.example.com"])
    for key in "llA":  # painted anew with all of them
        stage.key(key)
    told = " ".join(" ".join(painted(stage)[-5:]).split())
    assert f"(the container tried {got} for it: this host may get others)" in told


def test_a_window_without_room_for_them_has_the_rest_of_what_allowing_a_name_opens():
    stage = at(40, 8)
    stage.blocked(names=["www.example.com"])
    stage.key("A")
    told = " ".join(" ".join(painted(stage)).split())
    assert "every port; where the shield resolves live" in told and stage.keys == "any other key: no"


def test_failed():
    stage = at(80)
    stage.blocked()
    stage.result = {"result": "failed", "error": "Error: No IPs allowed for c1", "reason": "exit"}
    stage.key("a")
    assert painted(stage)[2:6] == lines("""
  a allow 203.0.113.10 ... FAILED after 0.3 s, still waiting
  ! it may have opened something all the same
  | terok-shield: Error: No IPs allowed for c1
c1  203.0.113.10  tcp 443 https                      17:32:05   1 try, uid 1000
""")


def test_what_was_not_run_has_no_words_of_the_shields():
    stage = at(80)
    stage.blocked()
    stage.result = {"result": "failed", "error": "pid 7 still runs a verdict for c1", "reason": "not-started"}
    stage.key("a")
    assert painted(stage)[2:5] == lines("""
  a allow 203.0.113.10 ... FAILED, not run, still waiting
  ! pid 7 still runs a verdict for c1
c1  203.0.113.10  tcp 443 https                      17:32:05   1 try, uid 1000
""")


def test_in_a_quarantine_question_and_details_say_that_no_allow_works_and_so_does_what_failed():
    stage, told = at(80), "the shield is in quarantine: no allow works until it is up again"
    stage.docket.shields.state("c1", "quarantine", stage.now)
    stage.blocked()
    assert "  ! " + told in painted(stage)
    stage.key("i")
    assert stage.text.count("\n  ! " + told) == 3, "in the details, and in the question again below them"
    stage.result = {"result": "failed", "error": "Error", "reason": "quarantine"}
    stage.key("a")
    stage.wait(2)
    question = "\n".join(painted(stage)[-6:])
    assert "! the last answer failed: the shield is in quarantine" in question
    assert question.count("in quarantine") == 1, "the same is not said twice"


def test_of_many_addresses_that_a_name_opened_four_are_told():
    stage = at(120)
    stage.blocked("203.0.113.1", names=["www.example.com"])
    stage.result = {"opened": [f"203.0.113.{last}" for last in range(1, 7)]}
    stage.key("A")
    stage.key("y")
    assert painted(stage)[5:7] == lines("""
  A allow www.example.com ... done in 0.3 s: opened 203.0.113.1, 203.0.113.2, 203.0.113.3,
    203.0.113.4 and 2 more
""")


@pytest.mark.parametrize(
    "reason, note",
    [
        ("quarantine", "! the shield is in quarantine: no allow works until it is up again"),
        ("no-address", "! this host resolves the name to nothing"),
        ("", "! it may have opened something all the same"),
    ],
)
def test_why_it_failed_is_said_in_words(reason, note):
    stage = at(80)
    stage.blocked()
    stage.result = {"result": "failed", "error": "at first / Error: in the end", "reason": reason}
    stage.key("a")
    said = "at first / Error: in the end" if not reason else "Error: in the end"
    assert painted(stage)[3:5] == ["  " + note, "  | terok-shield: " + said]


def test_unknown():
    stage = at(80)
    stage.auto = False
    stage.blocked()
    stage.key("a")
    (job,) = stage.start()
    stage.mono += 30
    stage.docket.overdue(job, stage.now)
    stage.refresh()
    assert painted(stage)[2] == "  a allow 203.0.113.10 ... no answer in 30 s: it may or may not be open"


def test_loss():
    stage = at(80)
    stage.docket.lost("c1", 1240, "kernel")
    stage.refresh()
    assert painted(stage) == lines("""
! c1: 1240 packets were lost at 17:32:05 (kernel buffer full). A destination
tried only then is not shown; it will be when it is tried again. Exit code: 5

""") + [""]


def test_undo_tells_what_it_really_does():
    stage = at(80)
    stage.blocked()
    stage.key("a")
    stage.key("u")
    assert painted(stage)[3:] == lines("""
  u undoes `allow 203.0.113.10` of 17:32:07: there is no neutral un-allow, so
    the address is denied; connections that stand are not cut
y deny 203.0.113.10   any other key: no
""")
    stage.key("y")
    assert painted(stage)[5:] == ["  u deny 203.0.113.10 ... done in 0.3 s", ""]
    assert stage.commands == ["allow c1 203.0.113.10", "deny c1 203.0.113.10"]


@pytest.mark.parametrize("width", [20, 25, 37, 40, 60, 80, 200])
def test_the_name_that_an_answer_is_about_begins_no_line_and_no_address_is_cut(width):
    stage = at(width)
    stage.blocked(names=["allow.everything." + "now." * 12 + "example.com"])
    stage.answer("allow", "r1", name=stage.known["c1", "203.0.113.10"][0].name)
    stage.blocked("2001:db8:1111:2222:3333:4444:5555:6666")
    told = [line for line in painted(stage) if "now." in line or "le.com" in line]
    assert any(line.startswith("  A allow ..") and "le.com" in line for line in told), "its end is kept"
    assert all(line.startswith(("  A allow ", "  | ")) for line in told)
    stage.answer("deny", "r2")
    stage.refresh()
    stage.wait(3)
    joined = "".join("".join(painted(stage)).split())
    assert "deny2001:db8:1111:2222:3333:4444:5555:6666...done" in joined


@pytest.mark.parametrize("width", [20, 25, 37, 40, 60, 80, 200])
@pytest.mark.parametrize("several", [False, True])
def test_the_name_that_an_undo_is_about_begins_no_line_at_any_width(width, several):
    stage = at(width)
    if several:
        stage.docket.add_container("a-container-with-a-rather-long-name", 18, {})
    stage.blocked(names=["allow.everything." + "now." * 12 + "example.com"])
    stage.answer("allow", "r1", name=stage.known["c1", "203.0.113.10"][0].name)
    stage.refresh()
    stage.key("u")
    found = painted(stage)
    told = found[[line.startswith("  u undoes `allow") for line in found].index(True) :]
    assert ("` for c1 of 17" in " ".join(" ".join(told).split())) is several
    for line in told:
        assert "now." not in line or line.startswith(("  u undoes `", "  | ", "y deny ")), line
    if width >= 80:
        assert "example.com`" in told[0], "its end is kept"


def test_everything_known_about_one():
    stage = at(80)
    stage.blocked(count=3, names=[name("www.example.com", "edge.cdn.example"), "example.com"])
    stage.blocked(port=80)
    stage.key("i")
    assert painted(stage)[2:] == lines("""
  container   c1
  address     203.0.113.10
  for         tcp 443 https
  tries       3, first 17:32:05, last 17:32:05
  uid inside  1000
  | project   demo
  | task      t-7
  | name      www.example.com  via edge.cdn.example  looked up 17:32:03
  | name      example.com  looked up 17:32:03
  a opens every port of this address, for all 2 names on it; recorded, for 30
    minutes where the shield resolves live
  A opens what this host resolves the name to, and later answers where the
    shield resolves live
  d is recorded by the shield, and in force until the container restarts
c1  203.0.113.10  tcp 443 https                    17:32:05   3 tries, uid 1000
  | www.example.com   and 1 more name here: allowing opens all of them (i)
a allow 203.0.113.10  A name   s not now  m this session  d deny        i l ? q
""")


@pytest.mark.parametrize(
    "dest, known, why",
    [
        ("203.0.113.10", "under_score.example", "a name with an underscore is no host name"),
        ("203.0.113.10", "intranet", "a name without a dot may be that of any host"),
        ("203.0.113.10", "api.localhost", "names under localhost are this machine's own"),
        ("169.254.169.254", "www.example.com", "what has such a warning is allowed as an address only"),
        ("203.0.113.10", "", "no name is known"),
    ],
)
def test_where_there_is_no_allowing_by_name_it_is_said_why(dest, known, why):
    stage = at(80)
    stage.blocked(dest, names=[known] if known else [])
    hinted = [line for line in painted(stage) if line.endswith("   no A (i)")]
    assert len(hinted) == (known not in ("", "www.example.com"))
    stage.key("A")
    assert f"  A is no key here: {why}" in painted(stage)
    stage.key("i")
    told = " ".join(stage.text.split("container  ")[-1].partition("  d is recorded")[0].split())
    assert (f"A is no key here: {why}" in told) is bool(known)


def test_a_hint_at_why_there_is_no_allowing_by_name_needs_room_of_its_own():
    stage = at(40)
    stage.blocked(names=["under_score.example"])
    assert painted(stage)[2:4] == ["  | under_score.example", "    looked up 17:32:03"]
    stage.learn("203.0.113.10", "www.example.com")
    stage.key("A")
    stage.key("i")
    assert "a allow 203.0.113.10  A name" in painted(stage)
    stage = at(80)
    stage.blocked()
    stage.learn("203.0.113.10", "www.example.com")
    stage.key("A")
    assert "  A is no key here, but a name is known by now: i shows it" in painted(stage)


def test_what_is_known_about_one_is_what_was_decided_before():
    """By a hub, by hand or in another session; and by a rule of this one."""
    stage = at(80)
    here = ("c1", "203.0.113.10")
    stage.recorded[here] = Recorded("allow", here[1], "www.example.com", "1970-01-01T17:20:00Z")
    stage.docket.set_policy(parse(b"skip 203.0.113.0/24 port 80", "rules"), stage.now)
    stage.blocked(port=80)
    stage.blocked()
    stage.key("i")
    known = stage.text
    assert "\n  recorded by the shield: allow 17:20:00, as www.example.com\n" in known
    assert "\n  answered 17:32:05: skip 203.0.113.10 by `skip 203.0.113.0/24 port 80`\n" in known


def test_what_is_known_about_one_are_its_other_ports_and_the_other_addresses_of_its_name():
    stage = at(100)
    stage.blocked("203.0.113.1", names=["www.example.com"])
    stage.blocked("203.0.113.1", 80)
    for last in range(2, 10):
        stage.blocked(f"203.0.113.{last}", names=["www.example.com"])
    stage.key("l")
    stage.key("l")  # painted anew, all in it
    assert "  | www.example.com   looked up 17:32:03; 8 more of its addresses wait too" in painted(stage)
    stage.key("i")
    told = " ".join(stage.text.split("container  ")[-1].partition("a opens")[0].split())
    assert "also on this address: tcp 80 http" in told
    every = ", ".join(f"203.0.113.{last}" for last in range(2, 8))
    assert f"its other addresses: {every}, .." in told


def test_names_that_are_no_longer_known_are_not_counted_as_none():
    stage = at(80)
    names = [name(f"n{number}.example.org") for number in range(36)]
    names[-1].forgot = True
    stage.blocked(names=names)
    assert painted(stage)[1:3] == lines("""
  | n0.example.org
    and at least 35 more names here: allowing opens all of them (i)
""")
    stage.key("i")
    text = " ".join(stage.text.split())
    assert "and at least 30 more names" in text
    assert "for all names on it, at least 36" in text
    stage = at(100)
    one = name("www.example.org")
    one.forgot = True
    stage.blocked(names=[one])
    assert "  | www.example.org   and maybe more names here: allowing opens all of them (i)" in stage.text


# --- more than a hundred columns


def test_a_wide_terminal_is_used_up_to_a_hundred_columns():
    stage = at(132)
    stage.blocked(names=["www.example.com"])
    asked = stage.text
    stage.resize(200, 60)
    for key in "il?":
        stage.key(key)
    assert asked.split("\n")[0].endswith("17:32:05   1 try, uid 1000") and len(asked.split("\n")[0]) == 100
    assert max(map(len, painted(stage))) == 100


# --- 40 columns


def test_a_question_at_40_columns():
    stage = at(40)
    stage.blocked(count=4, names=[name("www.example.com", "edge.cdn.example", "")])
    assert painted(stage) == lines("""
c1  tcp 443 https     4 tries, uid 1000
  203.0.113.10               17:32:05
  | www.example.com
  | via edge.cdn.example
a allow 203.0.113.10  A name
s not now  m session  d deny    i l ? q
""")


def test_a_long_address_and_a_long_name_at_40_columns():
    stage = at(40)
    stage.blocked(
        "2001:db8:5:1234:5678:9abc:def0:1234",
        names=[name("www.bank.example." * 5 + "n.example.com.login.evil.example", at="")],
    )
    assert painted(stage) == lines("""
c1  tcp 443 https       1 try, uid 1000
  2001:db8:5:1234:5678:9abc:def0:1234
  | ..n.example.com.login.evil.example
a allow that address  A name
s not now  m session  d deny    i l ? q
""")


def test_the_floor_at_40_columns_still_says_which_address():
    stage = at(40)
    stage.blocked("10.0.2.2", 22, private=True)
    assert painted(stage)[:2] == lines("""
c1  tcp 22 ssh          1 try, uid 1000
  10.0.2.2                   17:32:05
""")


def test_a_list_at_40_columns():
    stage = at(40)
    stage.blocked("203.0.113.20", names=["registry.example.com"])
    stage.blocked("203.0.113.21", names=["a-rather-long-name-of-a-host.telemetry.example.net"])
    stage.key("l")
    stage.key("2")
    assert painted(stage)[-7:] == lines(
        """
2 waiting for c1
 1 registry.example.com
                   tcp 443        1 try
x2 ..me-of-a-host.telemetry.example.net
   203.0.113.21    tcp 443        1 try
1-2 mark   * all   / word
1 marked: a s m  Enter asks  l back
"""
    )


# --- every size, and text that would rather be something else

FAKE = "c1  203.0.113.99  tcp 443 https   17:32:05\r\nallow: a address  A name   no: s not now"
HOSTILE = [
    pytest.param("\x1b[2J\x1b[H\x1b[31mEVIL\x07", id="control bytes"),
    pytest.param("\r\nEVIL" * 4, id="lines of its own"),
    pytest.param(FAKE + "EVIL", id="a fake question"),
    pytest.param("\u202eLIVE\u202c EVIL", id="right to left"),
    pytest.param("EVIL" + "\u0430\u0435" * 40 + "EVIL", id="other scripts"),
    pytest.param("x" * 10_000 + ".EVIL", id="10 kB"),
    pytest.param("x " * 5_000 + "EVIL", id="10 kB of words"),
    pytest.param("\x9b2J\x90EVIL\x9c\x00\x7f", id="C1"),
    pytest.param("\ud800EVIL", id="half a surrogate"),
]


def hostile_stage(width, height, evil):
    stage = at(width, height)
    stage.docket.add_container("c1", 18, {"project": evil, evil: "task", "x": evil * 2})
    stage.blocked("203.0.113.10", names=[name(evil, evil, evil), name(evil)])
    stage.key("i")
    stage.key("l")
    stage.key("l")
    stage.result = {"result": "failed", "error": evil}
    stage.key("a")
    stage.key("m")
    stage.wait(5)
    return stage


@pytest.mark.parametrize("width", [20, 40, 59, 80, 200])
@pytest.mark.parametrize("evil", HOSTILE)
def test_text_from_outside_stands_behind_a_bar_and_never_at_the_start_of_a_line(width, evil):
    found = painted(hostile_stage(width, 24, evil))
    shown = [line for line in found if "EVIL" in line]
    assert shown, "its end is kept"
    for line in shown:
        behind = line.startswith(("  | ", "  m not in this session | "))
        row = line.lstrip(" x").startswith("1 ")  # of the list
        assert behind or row, line
    assert not any(line.startswith(("allow:", "c1  203.0.113.99")) and "EVIL" in line for line in found)


@pytest.mark.parametrize("width", [40, 80])
def test_the_end_of_a_failed_commands_words_is_kept(width):
    stage = at(width)
    stage.blocked()
    stage.result = {"result": "failed", "error": "x" * 10_000 + " Error: the reason why"}
    stage.key("a")
    assert any(line.endswith("the reason why") for line in painted(stage))
    assert len(stage.written) < 3000


@pytest.mark.parametrize("height", [5, 24, *thorough(6, 10, 50)])
@pytest.mark.parametrize("width", USUAL_WIDTHS)
def test_every_view_fits_every_size(width, height):
    stage = at(width, height, version=14)
    many = [name("%s.example.com" % ("n" * n), "edge%d.cdn.example" % n) for n in range(1, 60, 7)]
    stage.blocked("203.0.113.10", count=1234567, uid=4294967295, names=many[:1])
    stage.blocked("203.0.113.10", 65535, proto=136)
    stage.blocked("2001:db8:1111:2222:3333:4444:5555:6666", None, proto=None, names=many)
    stage.blocked("10.0.2.2", 22, private=True)
    stage.blocked("169.254.169.254", 80, private=True)
    for last in range(1, 30):
        stage.blocked(f"198.51.100.{last}", last * 2000, names=["%s.example.org" % ("x" * last)])
    stage.event("denied", "192.0.2.1", count=10**9)
    stage.event("multicast", "ff02::1", count=10**9)
    stage.event("bypass", "192.0.2.1", count=10**9)
    for keys in (
        "i",
        "l1 2*m",
        "l",
        "a",
        "u",
        "n",
        "A",
        "y",
        "h",
        " 1",
        "sd",
        "\x0c",
        "?",
        "q",
        "x",
        "d",
        "l3a1\n",
        "l*a",
        "33\n",
        "z",
    ):
        for key in keys:
            stage.key(key)
    stage.docket.lost("c1", 10**12, "kernel")
    stage.docket.lost("c1", 1, "reader")
    stage.wait(5)
    stage.resize(20, 5)
    stage.key("l")
    stage.resize(width, height)
    stage.key("q")
    stage.key("q")


@pytest.mark.parametrize("width", [20, 38, 40, 60, 76, 80, 200])
def test_what_a_question_is_about_is_never_cut(width):
    stage = at(width, 50)
    stage.docket.add_container("a-container-with-a-rather-long-name", 14, {})
    for dest, port, proto, spelled in (
        ("2001:db8:1111:2222:3333:4444:5555:6666", 65535, 6, "tcp 65535"),
        ("203.0.113.10", 5432, 6, "tcp 5432 postgresql"),
        ("10.0.2.2", None, None, "protocol unknown"),
    ):
        stage.blocked(
            dest,
            port,
            proto=proto,
            private=dest == "10.0.2.2",
            container="a-container-with-a-rather-long-name",
        )
        group = stage.prompt.groups.of(stage.ids()[0])
        joined = "".join("".join(questions.question(stage.docket, group, width - 1, 50, Clock())).split())
        assert dest in joined
        assert spelled.replace(" ", "") in joined
        assert "a-cont" in joined
        stage.answer("mute", *stage.ids())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [5, 6, 8, 24])
def test_a_question_and_its_keys_fit_the_screen_whole_unless_its_address_alone_does_not(width, height):
    stage = at(width, height, version=14)
    stage.blocked("169.254.169.254", 80, private=True, names=["a.example.com", "b.example.com"])
    for port in range(1, 9):
        stage.blocked("169.254.169.254", port, private=True)
    group = stage.prompt.groups.of(stage.ids()[0])
    question = questions.question(stage.docket, group, width - 1, height, Clock())
    assert len(question) + len(questions.key_line(group.lead.dest, True, False, width - 1)) <= height
    assert len(stage.shown) <= height
    assert stage.shown[0].startswith("c1  ")


def test_random_sizes_while_everything_happens(rounds):
    rng = random.Random(11)
    for _ in range(rounds(40)):
        width, height = rng.randrange(20, 200), rng.randrange(5, 50)
        stage = at(width, height, colour=rng.random() < 0.5)
        for step in range(40):
            stage.blocked(
                f"203.0.113.{step}",
                names=["%s.example.com" % ("y" * rng.randrange(1, 60))] * rng.randrange(2),
            )
            stage.key(rng.choice("aAsmdulhi?q19* \n"))
            if rng.random() < 0.2:
                stage.resize(rng.randrange(20, width + 1), rng.randrange(5, 50))
            if stage.prompt.quit:
                break


def test_with_a_dumb_terminal_nothing_is_rewritten():
    stage = at(80, dumb=True)
    stage.blocked(names=["www.example.com"])
    for key in "lix?hu1asq":
        stage.key(key)
    assert b"\r" not in stage.written.replace(b"\r\n", b"")
    assert b"\x1b" not in stage.written


def test_colour_is_never_the_only_carrier_of_a_meaning():
    plain, coloured = at(80), at(80, colour=True)
    for stage in (plain, coloured):
        stage.blocked(names=["www.example.com"])
        for key in "lix?hAyuyq":
            stage.key(key)
        stage.docket.lost("c1", 3, "kernel")
        stage.wait(3)
    assert b"\x1b[" in coloured.written
    assert coloured.text == plain.text


def test_a_questions_first_line_is_found_at_a_glance_whatever_the_background():
    """Reversed, and nothing else is: so it stands out among what was told before, dark on light or not."""
    stage = at(80, colour=True)
    stage.blocked(names=["www.example.com"])
    stage.key("a")
    stage.event("allowed", "203.0.113.10")
    stage.docket.lost("c1", 3, "kernel")
    stage.blocked("169.254.169.254", private=True)
    stage.wait(3)
    reversed_ones = re.findall(rb"\x1b\[1;7m(.*?)\x1b\[0m", stage.written)
    assert [line.split()[:2] for line in reversed_ones] == [[b"c1", b"203.0.113.10"]]
    assert {SGR for SGR in re.findall(rb"\x1b\[([0-9;]*)m", stage.written)} == {b"1;7", b"1", b"0"}


def test_the_bell_rings_on_a_new_question_and_for_no_other_reason():
    stage = at(80, bell=True)
    stage.blocked("203.0.113.1")
    assert stage.written.count(b"\a") == 1
    stage.blocked("203.0.113.2")
    stage.wait(2)
    assert stage.written.count(b"\a") == 2, "the queue grows from the one that stands"
    stage.blocked("203.0.113.3")
    stage.wait(2)
    assert stage.written.count(b"\a") == 2, "once"
    for _ in range(3):
        stage.key("s")
    assert stage.written.count(b"\a") == 2, "the operator's own key brought them up"
    stage.wait(60)
    stage.blocked("203.0.113.4")
    assert stage.written.count(b"\a") == 3
    stage = at(80)
    stage.blocked()
    assert b"\a" not in stage.written, "not asked for"


def test_what_somebody_forgot_to_escape_is_escaped_at_the_last_moment():
    painter = Painter(40, 24)
    painter.lines(["\x1b[2J\u202eok\n"])
    painter.keys(["\x07" * 30])
    assert painter.take() == rb"\x1b[2J\u202eok\x0a" + b"\r\n" + rb"\x07" * 9 + b"\\.."


# --- rows and words


@pytest.mark.parametrize(
    "summary, text",
    [
        ({}, "stopped: nothing blocked was seen; exit code 0"),
        (
            {"allowed": 3, "skipped": 1, "open": 2, "exit": 5},
            "stopped: 3 allowed, 1 skipped, 2 unanswered; exit code 5",
        ),
        (
            {"floor": 2, "let_out": 1},
            "stopped: 2 kept shut, 1 let out without a verdict from here; exit code 0",
        ),
    ],
)
def test_the_end_says_what_is_not_zero(summary, text):
    every = ("allowed", "denied", "skipped", "muted", "failed", "unknown", "open", "lost", "untold")
    told = SENTENCES["summary"]({**dict.fromkeys(every, 0), "exit": 0, **summary})
    assert notices.laid_out(told, 79) == [text]


def test_the_commands_that_would_repeat_it_have_the_last_word_on_each_target():
    stage = at(80)
    stage.blocked("203.0.113.1")
    stage.key("a")
    stage.blocked("203.0.113.2")
    stage.key("d")
    stage.blocked("203.0.113.3")
    stage.result = {"result": "failed"}
    stage.key("a")
    stage.key("s")
    stage.result = {}
    stage.key("u")
    stage.key("y")
    assert repeat_commands(stage.docket.tally.last_words(), "terok-shield") == [
        "terok-shield allow c1 203.0.113.1",
        "terok-shield allow c1 203.0.113.2",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_never_touch_nor_overflow(width):
    for left in range(0, 250, 7):
        for right in range(0, 60, 7):
            line = layout.columns("l" * left, "r" * right, width)
            assert len(line) <= width
            assert not right or "lr" not in line


def test_a_port_scan_is_one_question_with_the_number_of_its_ports():
    stage = at(80)
    for port in range(1, 65536):
        Bench.blocked(stage, port=port)
    stage.refresh()
    assert painted(stage)[2] == "  also on this address: tcp 2, tcp 3, tcp 4 and 65531 more"
    stage.key("l")
    assert any(line.split()[:4] == ["1", "203.0.113.10", "65k", "ports"] for line in stage.shown)
    stage.key("l")
    stage.answer("skip", *stage.ids()[:64])
    stage.refresh()
    stage.wait(2)
    assert stage.shown[-3].startswith("c1  203.0.113.10  65471 more ports ")
    stage.key("i")
    assert "  for         65471 more ports" in stage.text
    stage.key("d")
    assert stage.commands == ["deny c1 203.0.113.10"]
