"""What a key does to what stands on the screen, and what may not move under the operator's hand."""

from __future__ import annotations

import pytest
from stage import Bench, Stage, name, tables
from support import thorough

from simple_clearance.base.errors import Refused
from simple_clearance.docket.policy import parse
from simple_clearance.prompt.prompt import NOTICE_LINES

LONG = 1.05  # a little more than a question that came by itself has to stand
SHORT = 0.45  # the same for one that the operator's own key brought up


@pytest.fixture
def stage():
    return Stage()


def counts(stage, key="m"):
    """Presses `key` now; whether it decided something."""
    before = len(stage.docket.history)
    stage.type(key)
    stage.settle(0.15)
    return len(stage.docket.history) > before


# --- the wait


def test_a_question_that_came_by_itself_stands_a_second_before_keys_count(stage):
    stage.blocked()
    stage.wait(0.95)
    assert not counts(stage)
    stage = Stage()
    stage.blocked()
    stage.wait(LONG)
    assert counts(stage)


def test_a_question_that_the_operators_own_key_brought_up_stands_0_4_seconds(stage):
    stage.blocked("203.0.113.1")
    stage.blocked("203.0.113.2")
    stage.key("s")  # brings up the second, 0.04 s later; then 0.2 s pass
    stage.wait(0.1)
    assert not counts(stage)
    stage.wait(0.4)
    assert counts(stage)


def test_a_list_that_the_operators_own_key_marked_in_stands_0_4_seconds(stage):
    stage.blocked()
    stage.key("l")
    stage.wait(1)
    stage.type("1")
    stage.wait(SHORT)
    assert counts(stage, "s")


def test_what_comes_by_itself_after_an_own_key_stands_a_second_too(stage):
    stage.blocked("203.0.113.1")
    stage.key("s")
    stage.wait(30)
    stage.blocked("203.0.113.2")
    stage.wait(0.6)
    assert not counts(stage)
    stage.wait(0.6)
    assert counts(stage)


def test_what_comes_by_itself_after_keys_that_do_nothing_stands_a_second_too(stage):
    for key in "?ilhx":
        stage.key(key)
    stage.key("h")
    stage.blocked()
    stage.wait(0.6)
    assert not counts(stage)


def test_what_failed_goes_behind_what_was_not_asked_yet(stage):
    for last in (1, 2, 3):
        stage.blocked(f"203.0.113.{last}")
    stage.result = {"result": "failed", "error": "Error: busy"}
    stage.key("a")
    for last in (2, 3, 1):
        stage.wait(3)
        assert f"a allow 203.0.113.{last}  " in stage.keys
        stage.key("s")
    assert stage.keys == ""


def test_keys_at_two_a_second_are_all_taken(stage):
    """With what a terminal and a packet take in between."""
    for last in range(1, 61):
        stage.blocked(f"203.0.113.{last}")
    stage.wait(1.3)
    for _ in range(60):
        stage.stalled = False
        stage.type("s")
        stage.wait(0.12)
        stage.stalled = True
        stage.wait(0.03)
        stage.stalled = False
        stage.refresh()
        stage.wait(0.35)
    assert stage.docket.summary()["skipped"] == 60 and "ignored" not in stage.text


def test_a_question_asked_again_after_a_failed_verdict_came_by_itself(stage):
    stage.auto = False
    stage.blocked()
    stage.key("a")
    (job,) = stage.start()
    stage.wait(5)
    stage.finish(job, "failed")
    stage.refresh()
    stage.wait(0.6)
    assert not counts(stage)
    stage.wait(0.6)
    assert counts(stage)


@pytest.mark.parametrize("gap", [0.05, 0.1])
def test_a_key_that_decided_must_come_well_alone_the_next_time(stage, gap):
    """Leaning on a key: the first decides, the repeats never do, not even slow ones."""
    for last in range(5):
        stage.blocked(f"203.0.113.{last}")
    stage.wait(LONG)
    for step in range(100):
        stage.type("s")
        stage.wait(0.5 if step == 0 else gap)
    assert stage.ids() == ["r2", "r3", "r4", "r5"]


def test_a_key_held_down_decides_nothing_and_its_release_does_not_either(stage):
    stage.blocked()
    stage.wait(LONG)
    for _ in range(30):  # auto-repeat
        stage.type("a")
        stage.wait(0.033)
    stage.wait(3)
    assert stage.commands == [] and stage.ids() == ["r1"]
    assert counts(stage, "a")


def test_keys_typed_all_around_the_moment_in_which_a_question_appears_decide_nothing(stage):
    for step in range(80):
        stage.type("ad"[step % 2])
        if step == 10:
            stage.blocked()
        stage.wait(0.03)
    stage.wait(0.1)
    assert stage.commands == [] and stage.ids() == ["r1"]
    stage.wait(0.4)
    assert counts(stage, "a")


def test_a_key_typed_while_the_session_was_busy_counts_for_what_stood_there_then(stage):
    """Keys are read late then, several rounds of events apart: `since` is what may be believed."""
    stage.blocked()
    stage.wait(0.8)
    busy_since = stage.mono
    stage.wait(0.5)
    stage.prompt.input(b"a", stage.now, busy_since)
    stage.wait(1)
    assert stage.commands == []
    assert counts(stage, "a")


def test_nothing_counts_while_the_question_has_not_gone_out_whole(stage):
    stage.stalled = True
    stage.blocked()
    stage.wait(30)
    assert not counts(stage)
    stage.stalled = False
    stage.flush()
    stage.wait(0.9)
    assert not counts(stage)
    stage.wait(0.4)
    assert counts(stage)


def test_a_second_question_is_not_asked_behind_a_stopped_screen(stage):
    stage.blocked("203.0.113.1")
    stage.wait(LONG)
    stage.stalled = True
    assert counts(stage), "what stands there is still asked"
    stage.blocked("203.0.113.2")
    stage.wait(10)
    assert not counts(stage)
    stage.stalled = False
    stage.flush()
    stage.refresh()
    stage.wait(0.9)
    assert not counts(stage)
    stage.wait(0.4)
    assert counts(stage)


def test_a_rising_count_does_not_start_the_wait_again(stage):
    stage.blocked()
    for _ in range(10):
        stage.wait(0.1)
        stage.blocked()
    before = stage.written
    stage.wait(0.06)
    assert counts(stage)
    assert b"tries" not in stage.written[: len(before)]


def test_a_dropped_key_is_told_each_time_but_once_a_second_at_most(stage):
    stage.blocked()
    for _ in range(5):
        stage.type("a")
        stage.wait(0.15)
    assert stage.text.count("a came before one could read this: ignored, wait a moment, press it again") == 1
    stage.wait(0.3)
    assert stage.text.count("ignored, wait a moment, press it again") == 2, "not silently"
    stage.wait(1)
    stage.type("d")
    stage.type("d")
    stage.wait(3)
    assert stage.text.count("more than one key at once: ignored, press one alone") == 1
    assert stage.commands == []


@pytest.mark.parametrize("data", ["\x1b[A", "\x1ba", "aaaa", "a\n", "allow\n", "y\r\n"])
def test_arrows_and_pastes_change_nothing_and_say_so(stage, data):
    stage.blocked()
    stage.wait(LONG)
    stage.type(data)
    stage.wait(3)
    assert "ignored" in stage.text or "is no key here" in stage.text
    assert stage.commands == [] and stage.ids() == ["r1"]
    assert stage.keys.startswith("a allow ")


@pytest.mark.parametrize("key", ["\r", "\n", " ", "y", "n", "1", "\x04", "\x7f", "z", "\xe9"])
def test_any_other_key_changes_nothing_and_says_so(stage, key):
    stage.blocked()
    stage.key(key)
    assert "is no key here" in stage.text
    assert stage.commands == [] and stage.ids() == ["r1"]


# --- what is painted is frozen


def test_names_learnt_later_are_not_painted_over_the_question(stage):
    stage.blocked()
    stage.learn("203.0.113.10", name("www.example.com"))
    stage.refresh()
    assert "www.example.com" not in stage.text
    stage.key("A")
    assert stage.commands == []
    assert "A is no key here" in stage.text
    stage.key("i")
    assert "  | name      www.example.com" in stage.text


def test_the_name_that_a_key_allows_is_the_one_that_was_painted(stage):
    stage.blocked(names=["www.example.com"])
    stage.learn("203.0.113.10", name("evil.example"), name("www.example.com"))
    stage.key("A")
    assert stage.keys.startswith("y allow www.example.com ")
    stage.key("y")
    assert stage.commands == ["allow c1 www.example.com"]


def test_no_notice_changes_which_name_a_key_allows(stage):
    stage.blocked(names=["www.example.com"])
    stage.learn("203.0.113.10", "late.example.net")
    fill(stage)
    stage.key("A")
    assert stage.keys.startswith("y allow www.example.com ")


def test_painted_anew_for_another_size_the_name_that_stands_there_is_the_one_allowed(stage):
    stage.blocked(names=["www.example.com"])
    stage.learn("203.0.113.10", name("cdn.example"), name("www.example.com"))
    stage.resize(100, 24)
    stage.key("A")
    assert stage.keys.startswith("y allow cdn.example ")
    stage.key("y")
    assert stage.commands == ["allow c1 cdn.example"]


def test_a_painted_question_that_gains_a_name_by_a_new_size_gains_its_key_too(stage):
    stage.blocked()
    stage.learn("203.0.113.10", name("www.example.com"))
    stage.resize(100, 24)
    assert "A name" in stage.keys
    stage.key("A")
    stage.key("y")
    assert stage.commands == ["allow c1 www.example.com"]


def test_a_question_answered_otherwise_closes_its_line_and_takes_no_key(stage):
    stage.blocked("203.0.113.1")
    stage.wait(LONG)
    stage.type("a")  # held back for what may follow it
    stage.answer("mute", "r1")
    stage.refresh()
    stage.wait(1)
    assert "answered meanwhile" in stage.text
    assert stage.commands == []


def test_the_key_meant_for_a_question_that_vanished_never_decides_the_next(stage):
    stage.blocked("203.0.113.1")
    stage.blocked("203.0.113.2")
    stage.wait(LONG)
    stage.answer("mute", "r1")
    stage.refresh()
    assert "203.0.113.2" in stage.text
    assert not counts(stage, "a")
    stage.wait(0.5)
    assert not counts(stage, "a")
    assert stage.commands == []


def test_the_key_meant_for_a_question_whose_container_stops_decides_nothing(stage):
    stage.blocked()
    stage.wait(LONG)
    stage.type("a")  # held back for what may follow it
    stage.docket.stop("c1", stage.now)
    stage.refresh()
    stage.wait(1)
    assert stage.commands == []
    assert "the container has stopped" in stage.text


def test_a_question_whose_address_is_let_out_meanwhile_says_so_and_takes_no_key(stage):
    stage.blocked("203.0.113.10")
    stage.blocked("203.0.113.11")
    stage.wait(2)
    stage.type("a")  # held back for what may follow it
    stage.event("allowed", "203.0.113.10")
    stage.refresh()
    stage.wait(0.9)
    assert stage.commands == []
    assert "let out meanwhile, without a verdict from here: no key needed" in " ".join(stage.text.split())
    stage.key("a")
    assert stage.commands == ["allow c1 203.0.113.11"]


def test_a_question_whose_link_is_lost_says_so(stage):
    stage.blocked()
    stage.docket.relay({"type": "container", "host": "web", "state": "lost", "reason": "Connection closed."})
    stage.docket.lost("", 1, "link")
    stage.docket.stop("c1", stage.now, told=False)
    stage.refresh()
    assert "the link to its machine was lost: no key needed" in stage.text
    told = " ".join((stage.text + batch(stage)).split())
    assert "! web: the link was lost and is tried again (Connection closed). A destination" in told
    assert "1 event" not in told, "once"


def test_a_question_whose_container_is_not_watched_any_more_says_so(stage):
    stage.blocked()
    stage.docket.stop("c1", stage.now, Refused(4, "its reader ended"))
    stage.refresh()
    assert "the container is not watched any more: no key needed" in " ".join(stage.text.split())


def test_a_container_that_stops_is_not_why_the_question_of_another_vanishes(stage):
    stage.docket.add_container("c2", 18, {})
    stage.blocked()
    stage.docket.stop("c2", stage.now)
    stage.refresh()
    stage.answer("mute", "r1")
    stage.refresh()
    assert "answered meanwhile: no key needed" in stage.text


@pytest.mark.parametrize(
    "key, line, left",
    [
        ("s", "  s not now (2 requests)", ["r3"]),
        ("m", "  m not in this session (3 requests) | www.example.com", []),
    ],
)
def test_skip_answers_the_painted_group_and_mute_what_joined_it_later_too(stage, key, line, left):
    stage.blocked("203.0.113.1", names=["www.example.com"])
    stage.blocked("203.0.113.2", names=["www.example.com"])
    stage.key("l")
    stage.key("l")  # painted anew, both in it
    stage.blocked("203.0.113.3", names=["www.example.com"])
    stage.key(key)
    assert line in stage.text.split("\n")
    assert stage.ids() == left


def test_what_of_the_painted_group_was_answered_meanwhile_is_not_counted_with_the_rest(stage):
    for last in (1, 2):
        stage.blocked(f"203.0.113.{last}", names=["www.example.com"])
    stage.key("l")
    stage.key("l")  # painted anew, both in it
    stage.answer("skip", "r2")
    stage.key("m")
    assert stage.ids() == []
    assert "  m not in this session | www.example.com" in stage.text.split("\n")
    assert stage.docket.history[-1].action == "mute" and len(stage.docket.history) == 2


def test_a_name_is_allowed_for_all_of_the_group(stage):
    for last in (1, 2):
        stage.blocked(f"203.0.113.{last}", names=["www.example.com"])
    stage.key("l")
    stage.key("l")  # painted anew, both in it
    stage.auto = False
    stage.key("A")
    stage.key("y")
    assert stage.ids() == [] and stage.keys == "  A allow www.example.com ..."


def test_the_line_of_an_answer_tells_its_own_verdict_not_the_one_before_it(stage):
    stage.auto = False
    Bench.blocked(stage, "203.0.113.1")
    stage.answer("deny", "r1", by="policy")
    stage.blocked("203.0.113.2")
    stage.key("a")
    assert stage.keys == "  a allow 203.0.113.2 ..."


def test_a_request_reopened_under_a_new_id_behind_a_stopped_screen_is_asked_anew(stage):
    stage.blocked()
    stage.wait(LONG)
    stage.stalled = True
    stage.prompt.say(["something that does not get out"])
    stage.flush()
    stage.answer("skip", "r1")
    stage.wait(61)
    stage.blocked()
    assert stage.ids() == ["r2"]
    assert not counts(stage), "r1 stands there, r2 does not"


# --- notices


def fill(stage, number=1):
    for last in range(number):
        stage.event("pending", f"10.0.0.{last}", 22, private=True)
    stage.refresh()


def test_a_notice_takes_the_place_of_the_line_of_keys_and_does_not_start_the_wait(stage):
    stage.blocked()
    stage.wait(0.9)
    fill(stage)
    assert stage.keys.startswith("a allow ")
    assert stage.text.count("m this session") == 1, "rewritten, not repeated"
    stage.wait(0.2)
    assert counts(stage)


def test_the_line_of_keys_names_the_address_and_how_many_wait_beside_it(stage):
    stage.blocked("203.0.113.1", names=["www.example.com"])
    assert stage.keys.startswith("a allow 203.0.113.1  A name   s not now") and "wait" not in stage.keys
    for last in range(2, 105):
        stage.blocked(f"203.0.113.{last}")
        stage.wait(0.05)
    stage.wait(1)
    assert stage.keys.startswith("a allow 203.0.113.1  A name ") and "  +103 wait  " in stage.keys
    assert stage.text.count("i l ? q") == 1, "rewritten"
    stage.answer("skip", *stage.ids()[1:])
    stage.refresh()
    stage.wait(1)
    assert "wait" not in stage.keys
    assert counts(stage), "nothing of it started the wait again"


def test_the_number_that_waits_is_rewritten_once_a_second_at_most(stage):
    stage.blocked()
    for step in range(200):
        stage.blocked(f"198.51.100.{step}")
        stage.wait(0.05)
    assert 9 <= stage.written.count(b"i l ? q") <= 12


def test_after_eight_lines_of_notices_the_question_is_painted_anew_and_waits_its_second():
    stage = Stage(80, 50)
    stage.blocked()
    stage.wait(3)
    for number in range(3):  # of two lines each
        stage.event("pending", f"10.0.0.{number}", 22, private=True)
        stage.refresh()
        stage.wait(2.1)
    assert stage.text.count("c1  203.0.113.10") == 1
    stage.event("pending", "10.0.0.9", 22, private=True)
    stage.refresh()
    assert stage.text.count("c1  203.0.113.10") == 2
    assert stage.shown[-3].startswith("c1  203.0.113.10")
    stage.wait(0.9)
    assert not counts(stage)
    stage.wait(0.4)
    assert counts(stage)


def test_no_notice_comes_between_an_announcement_and_its_verdict(stage):
    stage.blocked()
    stage.wait(3)
    stage.type("a")
    stage.wait(0.1)
    fill(stage, 5)
    assert stage.keys == "  a allow 203.0.113.10 - any key takes it back"
    stage.wait(0.5)
    assert stage.commands == ["allow c1 203.0.113.10"]
    stage.wait(2)
    assert "10.0.0.1" in stage.text


# --- a verdict is announced, and any key takes it back


def test_a_verdict_is_announced_and_run_half_a_second_later(stage):
    stage.blocked()
    stage.wait(3)
    stage.type("a")
    stage.wait(0.04)
    assert stage.keys == "  a allow 203.0.113.10 - any key takes it back"
    stage.wait(0.49)
    assert stage.commands == []
    stage.wait(0.02)
    assert stage.commands == ["allow c1 203.0.113.10"]
    assert "takes it back" not in stage.text


@pytest.mark.parametrize("other", ["a", "d", "l", "q", "x", "\r", "\x1b", "\x1b[A", "\u0444"])
def test_any_key_takes_an_announced_verdict_back_and_does_nothing_else(stage, other):
    stage.blocked()
    stage.wait(3)
    stage.type("a")
    stage.wait(0.3)
    stage.type(other.encode())
    stage.wait(3)
    assert stage.commands == [] and not stage.prompt.quit
    assert stage.shown[-2:-1] == ["  a allow 203.0.113.10: taken back"]
    assert stage.keys.startswith("a allow 203.0.113.10   s not now")
    stage.key("a")
    assert stage.commands == ["allow c1 203.0.113.10"]


@pytest.mark.parametrize("what", ["resize", "suspend", "vanish", "stop", "stall"])
def test_whatever_else_happens_meanwhile_an_announced_verdict_does_not_run_unseen(stage, what):
    stage.blocked()
    stage.wait(3)
    stage.type("d")
    if what == "stall":
        stage.stalled = True
    stage.wait(0.2)
    if what == "resize":
        stage.resize(100, 30)
    elif what == "suspend":
        stage.prompt.leave_line()
    elif what == "vanish":
        stage.answer("mute", "r1")
        stage.refresh()
    elif what == "stop":
        stage.prompt.stop(["allow 203.0.113.99"])
    stage.wait(5)
    assert stage.commands == []
    assert what in ("vanish", "stall") or "  d deny 203.0.113.10: taken back" in stage.text.split("\n")


def test_each_kind_of_verdict_is_announced(stage):
    stage.blocked("203.0.113.1", names=["www.example.com"])
    stage.blocked("203.0.113.2")
    stage.blocked("203.0.113.3")
    for keys, told in (
        ("Ay", "  A allow www.example.com - any key takes it back"),
        ("uy", "  u deny www.example.com - any key takes it back"),
        ("l*a2\r", "  a allow 2 addresses - any key takes it back"),
    ):
        for key in keys[:-1]:
            stage.key(key)
        stage.wait(1.3)
        stage.type(keys[-1])
        stage.wait(0.2)
        assert stage.keys == told
        stage.wait(1)
    assert len(stage.commands) == 4


def test_two_skips_a_second_lose_none(stage):
    for last in range(20):
        stage.blocked(f"203.0.113.{last}")
    stage.wait(LONG)
    for _ in range(20):
        stage.type("s")
        stage.wait(0.5)
    assert stage.ids() == []


# --- the end


def test_while_it_stops_it_says_what_it_waits_for_and_takes_no_key_but_ctrl_c(stage):
    stage.auto = False
    stage.blocked("203.0.113.1")
    stage.blocked("203.0.113.2")
    stage.key("a")
    stage.prompt.stop(["allow 203.0.113.1"])
    stage.prompt.stop(["allow 203.0.113.1"])
    stage.refresh()
    assert stage.shown[-1] == "stopping: waits for `allow 203.0.113.1` (Ctrl-C leaves it)"
    assert stage.text.count("stopping") == 1 and "i l ? q" not in stage.text
    for key in "al?iq\x1bx":
        stage.key(key)
    stage.blocked("203.0.113.3")
    assert stage.shown[-1].startswith("stopping: waits for") and stage.ids() == ["r2", "r3"]
    assert stage.prompt.interrupts == ""
    stage.type("\x03")
    assert stage.prompt.interrupts == "\x03"


@pytest.mark.parametrize(
    "number, waits, told",
    [
        (55, [], "55 verdicts not run: what they were for is unanswered"),
        (55, ["allow 203.0.113.0"], "55 verdicts not run: what they were for is unanswered"),
        (1, [], "1 verdict not run: what it was for is unanswered"),
    ],
)
def test_verdicts_that_the_end_leaves_in_the_queue_are_one_line(stage, number, waits, told):
    stage.auto = False
    several(stage, number)
    for request_id in stage.ids():
        stage.answer("allow", request_id)
    for record in stage.take():
        stage.prompt.record(record, stage.now)
    stage.prompt.stop(waits)
    stage.docket.call_off(stage.docket.jobs(), stage.now)
    for record in stage.take():
        stage.prompt.record(record, stage.now)
    stage.prompt.end()
    stage.flush()
    assert stage.shown[-1] == "! " + told
    assert "FAILED" not in stage.text and stage.text.count("not run") == 1
    assert (stage.docket.summary()["failed"], stage.docket.summary()["open"]) == (0, number)


def test_esc_is_the_way_back_from_everything(stage):
    stage.blocked(names=["www.example.com"])
    for keys in ("l", "h", "A", "q", "l1a\x1b", "l/w", "l/w\r"):
        for key in keys:
            stage.key(key)
        assert not stage.keys.startswith("a allow ")
        stage.key("\x1b")
        if "/" in keys:
            assert stage.keys.endswith("l back")
            stage.key("\x1b")
        assert stage.keys.startswith("a allow 203.0.113.10")
    stage.key("\x1b")
    assert "ESC is no key here" in stage.text


def test_a_letter_of_another_alphabet_is_told_as_what_it_is(stage):
    stage.blocked()
    stage.key("\u0444".encode())
    assert "CYRILLIC SMALL LETTER EF is no key here: ? shows the keys" in stage.text


def test_a_notice_leaves_the_line_of_a_verdict_that_runs(stage):
    stage.auto = False
    stage.blocked()
    stage.key("a")
    fill(stage)
    assert "  a allow 203.0.113.10 ...\nc1  10.0.0.0  tcp 22 ssh" in stage.text


def test_notices_come_in_at_most_one_batch_in_two_seconds(stage):
    stage.blocked()
    sizes = []
    for step in range(200):
        before = len(stage.written)
        stage.event("pending", f"10.0.{step >> 8}.{step & 255}", 22, private=True)
        stage.refresh()
        sizes.append(len(stage.written) - before)
        stage.wait(0.05)
    batches = [step for step, size in enumerate(sizes) if size]
    assert len(batches) <= 10 / 2 + 1
    assert all(later - earlier >= 39 for earlier, later in zip(batches, batches[1:]))


@pytest.mark.parametrize("kind", ["notice", "loss"])
def test_what_waits_for_the_next_batch_wakes_the_session_then_and_not_before(stage, kind):
    fill(stage)
    told_at = stage.mono
    stage.wait(0.5)
    if kind == "loss":
        stage.docket.lost("c1", 1, "kernel")
    else:
        stage.event("pending", "10.0.1.1", 22, private=True)
    stage.refresh()
    assert stage.prompt.deadline() == told_at + 2
    stage.stalled = True
    stage.resize(81, 24)
    stage.type("x")
    assert stage.prompt.deadline() is None, "nobody is woken for a screen that takes no more"


@pytest.mark.parametrize("asked", [True, False])
def test_a_flood_of_notices_paints_little_and_counts_the_rest(stage, asked):
    if asked:
        stage.blocked()
    for step in range(3000):
        stage.event("pending", f"10.{step >> 8}.{step & 255}.1", 22, private=True)
        if step % 10 == 0:
            stage.refresh()
            stage.wait(0.01)
    stage.wait(5)
    assert len(stage.written) < 6000
    assert "more notices like these" in stage.text


def test_the_same_words_twice_in_one_batch_are_told_once(stage):
    fill(stage)
    for _ in range(3):
        stage.prompt.record({"type": "error", "message": "a mishap"}, stage.now)
    stage.wait(2.1)
    assert stage.text.count("! a mishap") == 1


def test_no_flood_of_notices_hides_what_came_of_a_verdict(stage):
    stage.auto = False
    stage.blocked("203.0.113.1")
    stage.blocked("203.0.113.2")
    stage.key("a")
    (job,) = stage.start()
    fill(stage, 1)  # told at once, so that the others have to wait
    fill(stage, 500)
    stage.finish(job, "failed", error="Error: No IPs allowed for c1")
    fill(stage, 500)
    stage.wait(2.1)
    assert "a allow 203.0.113.1 ... FAILED" in stage.text


@pytest.fixture
def two(stage):
    """The same with a second container; so much of c1 has been told just now that all else has to wait."""
    stage.docket.add_container("c2", 18, {})
    fill(stage)
    return stage


def batch(stage):
    """The next batch of notices."""
    before = len(stage.text)
    stage.wait(2.1)
    return stage.text[before:]


def test_one_containers_flood_of_notices_takes_no_place_of_anothers(two):
    fill(two, 500)
    two.event("pending", "10.7.7.7", 22, private=True, container="c2")
    fill(two, 500)
    told = batch(two)
    assert "10.7.7.7" in told and "10.0.0.1" in told, "they take turns"
    assert "more notices like these" in told


def test_where_many_containers_have_something_to_tell_each_has_its_turn(two):
    names = ["c%d" % number for number in range(3, 15)]
    for container in names:
        two.docket.add_container(container, 18, {})
    told = ""
    for turn in range(4):
        fill(two, 50)
        for container in names if turn == 0 else ():
            two.event("pending", "10.7.7.7", 22, private=True, container=container)
        told += batch(two)
    assert [one for one in names if one + "  10.7.7.7" not in told] == []


def test_one_containers_verdicts_of_rules_leave_the_outcomes_of_anothers_their_place():
    stage = Stage(answer="deny")
    stage.auto = False
    stage.docket.add_container("c2", 18, {})
    for number in range(20):
        Bench.blocked(stage, f"198.18.0.{number}")
    Bench.blocked(stage, "198.18.0.99", container="c2")
    Bench.run(stage, took=0.0)
    stage.refresh()
    assert "c2  answer: deny 198.18.0.99 ... done" in stage.text and "198.18.0.19" not in stage.text


def test_what_was_lost_is_told_by_container(two):
    two.docket.lost("c1", 3, "kernel")
    two.docket.lost("c2", 5, "kernel")
    two.docket.lost("c1", 4, "kernel")
    two.docket.lost("c2", 1, "reader")
    two.docket.lost("", 2, "stdout")
    two.refresh()
    told = " ".join((batch(two) + batch(two)).split())
    for words in ("! c1: 7 packets were", "! c2: 5 packets were", "! c2: 1 packet was", "! 2 events were"):
        assert words in told


def test_what_came_of_a_verdict_is_told_though_it_is_longer_than_one_batch():
    stage = Stage(20, 24)
    Bench.blocked(stage, "2001:db8:1111:2222:3333:4444:5555:6666")
    stage.answer("allow", *stage.ids(), by="policy")
    stage.run("failed", error="Error: " + "the reason why " * 9)
    stage.refresh()
    told = stage.text.split("\nc1")[0].split("\n")
    assert len(told) > NOTICE_LINES and "reason" in told[-1]


def test_a_notice_that_pushes_the_question_out_brings_it_back_and_the_wait_too():
    stage = Stage(80, 8)
    stage.blocked()
    stage.wait(3)
    fill(stage, 3)
    assert stage.shown[-3].startswith("c1  203.0.113.10")
    assert len(stage.shown) <= 8
    stage.wait(0.9)
    assert not counts(stage)
    stage.wait(0.4)
    assert counts(stage)


def test_keys_that_say_something_push_no_question_out_that_they_could_decide():
    stage = Stage(80, 8)
    stage.blocked()
    stage.wait(3)
    for _ in range(12):
        stage.type("x")
        stage.wait(0.16)
        assert any(line.startswith("c1  203.0.113.10") for line in stage.shown)


def test_no_answer_to_keys_piles_up_behind_a_stopped_screen(stage):
    stage.blocked()
    stage.wait(LONG)
    stage.stalled = True
    stage.type("x")
    for _ in range(5000):
        stage.type("x")
        stage.type("\x1b[A")
        stage.type("zz")
    assert len(stage.waiting_to_go) < 1000


def test_nothing_piles_up_behind_a_stopped_screen_whatever_comes_and_goes(stage):
    stage.blocked("203.0.113.1")
    stage.stalled = True
    stage.resize(81, 24)
    for number in range(500):
        stage.blocked(f"198.51.{number >> 8}.{number & 255}")
        fill(stage, number % 20)
        stage.answer("skip", *stage.ids())
        stage.refresh()
        stage.wait(0.1)
    assert len(stage.waiting_to_go) < 1000


@pytest.mark.parametrize("stalled", [False, True])
def test_what_the_prompt_keeps_has_a_bound_whatever_comes(stage, stalled):
    """For hours, on a screen that goes on and on one that is stopped."""
    stage.blocked("203.0.113.1")
    stage.stalled = stalled
    for step in range(1000):
        stage.event("pending", f"10.{step >> 8}.{step & 255}.1", 22, private=True)
        Bench.blocked(stage, f"198.51.{step >> 8}.{step & 255}")
        stage.answer("allow", stage.ids()[-1])
        stage.docket.lost("c1", 1, "kernel")
        stage.docket.warn("a mishap, number %d" % step)
        stage.refresh()
        stage.wait(0.01)
    assert len(stage.commands) == 1000
    kept = sum(map(len, tables(stage.prompt))) - sum(map(len, tables(stage.docket)))
    assert kept < 500


def test_everything_is_told_at_the_end_and_nothing_is_asked(stage):
    stage.blocked()
    fill(stage)
    stage.wait(0.1)
    stage.docket.lost("c1", 3, "kernel")
    stage.event("pending", "10.9.9.9", 22, private=True)
    for record in stage.take():
        stage.prompt.record(record, stage.now)
    stage.prompt.end()
    stage.flush()
    assert "10.9.9.9" in stage.text and "3 packets were lost" in stage.text
    assert stage.keys == ""
    assert "i l ? q" not in stage.text


def test_a_notice_that_needs_more_lines_than_there_is_room_for_is_counted():
    stage = Stage(9, 2)
    stage.event("pending", "10.9.9.9", 22, private=True, uid=1000)
    stage.refresh()
    stage.wait(3)
    assert "1morenotice" in "".join(stage.text.split())


@pytest.mark.parametrize("kind", ["notice", "loss", "outcomes"])
def test_one_kind_of_news_alone_is_told_at_the_end(stage, kind):
    fill(stage)  # told at once, so that the others have to wait
    if kind == "loss":
        stage.docket.lost("c1", 3, "kernel")
    elif kind == "notice":
        stage.event("pending", "10.9.9.9", 22, private=True)
    else:
        for last in range(12):  # more lines than one batch has
            Bench.blocked(stage, f"203.0.113.{last}")
        for request_id in stage.ids():
            stage.answer("allow", request_id, by="policy")
        stage.run("failed", error="Error: No IPs allowed")
    for record in stage.take():
        stage.prompt.record(record, stage.now)
    stage.prompt.end()
    stage.flush()
    told = {"loss": "3 packets were lost", "notice": "10.9.9.9", "outcomes": "203.0.113.11 ... FAILED"}
    assert told[kind] in stage.text


# --- undo, quit, second thoughts


def test_undo_works_when_nothing_is_asked(stage):
    stage.blocked()
    stage.key("a")
    stage.key("u")
    assert stage.keys == "y deny 203.0.113.10   any other key: no"
    stage.key("y")
    assert stage.commands == ["allow c1 203.0.113.10", "deny c1 203.0.113.10"]


def test_undo_right_at_the_start_says_that_there_is_nothing_to_undo(stage):
    stage.key("u")
    assert "there is no verdict to undo" in stage.text


@pytest.mark.parametrize("keys", ["", "ll"])
def test_undo_works_when_nothing_is_asked_after_a_resize_and_a_list(stage, keys):
    stage.blocked()
    stage.key("a")
    stage.resize(60, 20)
    for key in keys:
        stage.key(key)
    stage.key("u")
    assert stage.keys.startswith("y deny 203.0.113.10")


def test_an_undo_for_a_container_that_has_ended_is_said_not_to_be_done(stage):
    stage.docket.add_container("c2", 18, {})
    stage.blocked()
    stage.key("a")
    stage.blocked("203.0.113.11", container="c2")
    stage.key("u")
    stage.docket.stop("c1", stage.now)
    stage.wait(LONG)  # that is told, and what is asked stands below it
    stage.key("y")
    assert "not undone: c1 has ended" in stage.text
    assert stage.commands == ["allow c1 203.0.113.10"]
    assert stage.text.count("c2  203.0.113.11") == 2, "what was asked is asked again"


def test_the_question_stands_again_below_the_help(stage):
    stage.blocked()
    stage.key("?")
    told, _, question = stage.text.rpartition("c1  203.0.113.10")
    assert "deny the address" in told and stage.keys.startswith("a allow ")


def test_undo_is_a_deciding_key(stage):
    stage.blocked("203.0.113.1")
    stage.key("a")
    stage.blocked("203.0.113.2")
    stage.type("u")
    stage.wait(1)
    assert "u undoes" not in stage.text
    stage.key("u")
    assert "u undoes" in stage.text


@pytest.mark.parametrize("key", ["n", "a", "\n", "\r", " ", "l", "q", "s", "d", "Y"])
def test_a_second_thought_takes_anything_but_y_for_no(stage, key):
    stage.docket.add_container("c1", 14, {})
    stage.blocked("169.254.1.2", 5432, private=True)
    stage.key("a")
    assert stage.keys.startswith("y allow 169.254.1.2")
    stage.key(key)
    assert stage.text.split("\n")[-4] == "  no"
    assert stage.commands == [] and stage.ids() == ["r1"]
    assert stage.keys.startswith("allow 169.254.1.2: a, then y")


@pytest.mark.parametrize("data", ["yy", "y\n", "ay", "\x1by"])
def test_a_second_thought_takes_no_paste(stage, data):
    stage.docket.add_container("c1", 14, {})
    stage.blocked("169.254.169.254", 80, private=True)
    stage.key("a")
    stage.wait(1)
    stage.type(data)
    stage.wait(2)
    assert stage.commands == []


def test_a_second_thought_about_what_was_answered_meanwhile_vanishes(stage):
    stage.docket.add_container("c1", 14, {})
    stage.blocked("169.254.1.2", 5432, private=True)
    stage.key("a")
    stage.wait(1)
    stage.answer("skip", "r1")
    stage.type("y")
    stage.wait(1)
    assert stage.commands == []
    assert "answered meanwhile" in stage.text


def test_q_stops_at_once_when_nothing_is_open(stage):
    stage.type("q")
    assert stage.prompt.quit
    assert "stopping" not in stage.text


def test_q_with_requests_open_says_how_many_and_wants_a_second_one_alone(stage):
    stage.blocked("203.0.113.1")
    stage.blocked("203.0.113.2")
    stage.type("q")
    assert "2 requests are open" in stage.text
    for _ in range(60):  # leaning on it
        stage.wait(0.05)
        stage.type("q")
        assert not stage.prompt.quit
    stage.type("qq")
    stage.wait(1)
    assert not stage.prompt.quit
    stage.key("q")
    assert stage.prompt.quit
    assert stage.commands == []


def test_q_asks_nothing_for_what_runs_which_is_waited_for(stage):
    stage.auto = False
    stage.blocked()
    stage.key("a")
    (job,) = stage.start()
    stage.blocked("203.0.113.11", container="c2")
    stage.docket.stop("c1", stage.now)  # its request is closed
    stage.key("q")
    assert "1 request is open: stopping leaves it unanswered" in stage.text and not stage.prompt.quit
    stage.key("n")
    stage.key("s")
    stage.key("q")
    assert stage.prompt.quit and job.state == "running"


def test_q_and_another_key_goes_back_to_the_question(stage):
    stage.blocked()
    stage.key("q")
    assert "1 request is open: stopping leaves it unanswered" in stage.text
    stage.key("n")
    assert not stage.prompt.quit
    assert stage.keys.startswith("a allow ")
    stage.key("a")
    assert stage.commands == ["allow c1 203.0.113.10"]


def test_a_no_goes_back_to_the_question_it_was_about_not_to_the_first(stage):
    for last in range(3):
        stage.blocked(f"203.0.113.{last}")
    for key in "l2\nqn":
        stage.key(key)
    assert stage.text.count("c1  203.0.113.1  ") == 2, "asked, and asked again"
    stage.key("a")
    assert stage.commands == ["allow c1 203.0.113.1"]


@pytest.mark.parametrize("dumb", [False, True])
@pytest.mark.parametrize("keys", ["q", "A", "u", "l*a"])
def test_what_a_second_thought_asks_stands_together_with_its_keys(keys, dumb):
    """Whatever is told meanwhile stands above both."""
    stage = Stage(dumb=dumb)
    stage.blocked("203.0.113.10")
    stage.key("d")
    stage.blocked("203.0.113.11", names=["www.example.com"])
    for key in keys:
        stage.key(key)
    view = stage.prompt._view
    asked = [line.rstrip() for line in (*view.lines(), *view.key_lines())]
    assert len(asked) > 1 and stage.text.splitlines()[-len(asked) :] == asked
    stage.docket.shields.state("c1", "down", stage.now)
    stage.wait(2.5)
    lines = stage.text.splitlines()
    assert "the shield is down" in "".join(lines) and lines[-len(asked) :] == asked


@pytest.mark.parametrize("dumb", [False, True])
@pytest.mark.parametrize(
    ("key", "then", "command"),
    [
        ("A", "y", "allow c1 www.example.com"),
        ("u", "y", "allow c1 203.0.113.10"),
        ("l*a", "1\n", "allow c1 203.0.113.11"),
        ("q", "q", None),
    ],
)
@pytest.mark.parametrize("phase", range(8))
def test_a_second_thought_can_be_answered_at_every_moment_however_much_is_told(
    key, then, command, phase, dumb
):
    """A program inside can bring about that something is told, four times a second.

    What is asked is then painted anew every ten seconds, as otherwise every two.
    """
    stage = Stage(dumb=dumb)
    stage.blocked("203.0.113.10")
    stage.key("d")
    stage.blocked("203.0.113.11", names=["www.example.com"])
    for one in key:
        stage.key(one)

    def told(quarters):
        for quarter in range(quarters):
            stage.docket.shields.state("c1", "up" if quarter % 2 else "down", stage.now)
            stage.wait(0.25)

    told(80 + 5 * phase)
    for one in then:
        stage.type(one)
        told(4)
    assert 1 < stage.text.count("the shield is down") < 5
    assert stage.prompt.quit if command is None else stage.commands[1:] == [command]


# --- the list


def several(stage, number=12):
    for last in range(1, number + 1):
        stage.blocked(f"198.51.100.{last}")


def test_the_marked_ones_are_answered_together(stage):
    several(stage)
    for key in "l13":
        stage.key(key)
    stage.key("m")
    assert stage.docket.summary()["muted"] == 2
    assert "  m not in this session (2 requests)" in stage.text.split("\n")
    assert "r1" not in stage.ids() and "r3" not in stage.ids() and len(stage.ids()) == 10


def test_a_digit_marks_on_the_page_that_stands_there(stage):
    several(stage)
    for key in "l 2s":
        stage.key(key)
    assert stage.docket.history[-1].target == "198.51.100.11"


def test_a_digit_marks_nothing_that_is_not_on_the_screen():
    stage = Stage(80, 8)
    several(stage)
    for key in "l56789":
        stage.key(key)
    assert stage.keys.startswith("Enter asks the first")
    stage.key("4")
    assert stage.keys.startswith("1 marked")


def test_what_is_not_asked_takes_no_room_from_the_list():
    """A list that is not on the screen whole could not be answered."""
    stage = Stage(40, 8)
    several(stage, 5)
    stage.event("denied", "192.0.2.1", count=3)
    stage.event("multicast", "ff02::1", count=2)
    for key in "l1m":
        stage.key(key)
    assert stage.docket.summary()["muted"] == 1


def test_what_a_verdict_is_under_way_for_does_not_wait_in_the_list(stage):
    several(stage, 3)
    stage.auto = False
    stage.key("l")
    stage.answer("allow", "r1", by="policy")
    stage.refresh()
    stage.key("*")
    assert "2 waiting for c1" in stage.text and stage.keys.startswith("2 marked")


def test_when_all_that_was_marked_is_answered_the_keys_say_so(stage):
    several(stage, 3)
    for key in "l1":
        stage.key(key)
    stage.answer("skip", "r1")
    stage.key("s")
    assert "nothing marked waits any more" in stage.text
    assert len(stage.docket.history) == 1


def test_star_marks_all_and_again_none(stage):
    several(stage)
    stage.key("l")
    stage.key("*")
    assert stage.keys.startswith("12 marked")
    stage.key("*")
    assert stage.keys.startswith("Enter asks the first")
    stage.key("*")
    stage.key("s")
    assert stage.ids() == []
    assert stage.docket.summary()["skipped"] == 12


def test_to_allow_many_their_number_is_typed_and_then_enter(stage):
    several(stage)
    for key in "l*a":
        stage.key(key)
    assert "allowing 12 addresses, every port of each:" in stage.text
    for key in "12\n":
        stage.key(key)
    assert sorted(stage.commands) == sorted(f"allow c1 198.51.100.{n}" for n in range(1, 13))


@pytest.mark.parametrize("typed", ["\n", "1\n", "11\n", "123\n", "12x", "12\x7f\n", "y", "a", "q", "\x1b"])
def test_another_number_allows_nothing(stage, typed):
    several(stage)
    for key in "l*a":
        stage.key(key)
    for key in typed:
        stage.key(key)
    assert stage.commands == []
    assert len(stage.ids()) == 12


def test_each_address_that_is_opened_stands_there_whole_before_the_number_is_typed():
    stage = Stage(80, 24)
    long = "2001:db8:5:1234:5678:9abc:def0:1234"
    for dest, host in (("203.0.113.20", "registry"), ("203.0.113.21", "registry"), (long, "api")):
        stage.blocked(dest, names=[host + ".example.org"])
    for key in "l*a":
        stage.key(key)
    assert stage.shown[-4:] == [
        "allowing 3 addresses, every port of each:",
        "  203.0.113.20  203.0.113.21  registry.example.org",
        f"  {long}  api.example.org",
        "type 3, then Enter; ESC: no  number:",
    ]


def test_of_several_containers_it_says_whose_each_is(stage):
    stage.docket.add_container("c2", 18, {})
    stage.blocked("203.0.113.20")
    stage.blocked("203.0.113.20", container="c2")
    for key in "l*a":
        stage.key(key)
    assert stage.shown[-3:-1] == ["  c1: 203.0.113.20", "  c2: 203.0.113.20"]


@pytest.mark.parametrize("width, height", [(80, 6), (40, 24), (80, 24)])
def test_what_has_no_room_on_the_screen_is_not_allowed_at_once(width, height):
    stage = Stage(width, height)
    number = height * width // 13
    for last in range(number):
        stage.blocked(f"198.51.{100 + last // 200}.{20 + last % 200}")
    for key in "l*a":
        stage.key(key)
    assert f"{number} addresses have no room on this screen" in said(stage)
    assert f"{number} marked" in stage.text and "allowing" not in stage.text
    for key in f"{number}\r":
        stage.key(key)
    stage.wait(3)
    assert stage.commands == []


def test_the_number_and_enter_pasted_allow_nothing(stage):
    several(stage)
    for key in "l*a":
        stage.key(key)
    stage.wait(2)
    stage.type("12\n")
    stage.wait(2)
    assert stage.commands == []


def test_the_number_is_that_of_addresses_not_of_requests(stage):
    for port in (443, 80, 22):
        stage.blocked("203.0.113.10", port)
    stage.blocked("203.0.113.11", names=["www.example.com"])
    stage.blocked("203.0.113.12", names=["www.example.com"])
    for key in "l*a":
        stage.key(key)
    assert "allowing 3 addresses, every port of each:" in stage.text
    for key in "3\n":
        stage.key(key)
    assert sorted(stage.commands) == [f"allow c1 203.0.113.1{n}" for n in range(3)]


def test_a_number_is_no_longer_than_six_digits_and_gone_when_it_counted(stage):
    several(stage, 2)
    for key in "l*a" + "9" * 20:
        stage.key(key)
    assert stage.keys == "type 2, then Enter; ESC: no  number: 999999"
    for key in "\x7f" * 6 + "2\r":
        stage.key(key)
    assert len(stage.commands) == 2 and stage.keys == ""
    assert "  a allow 2 addresses ... done in 0.6 s" in stage.text.split("\n")
    assert "left out" not in stage.text


def test_after_another_number_the_list_stands_there_again_with_its_marks(stage):
    several(stage, 2)
    for key in "l*a1\r":
        stage.key(key)
    assert "not that number: nothing is allowed" in stage.text
    assert stage.keys.startswith("2 marked: a allow ") and stage.text.count("  x  ") == 2
    for key in "a2\r":
        stage.key(key)
    assert len(stage.commands) == 2


def test_private_addresses_are_left_out_of_an_allow_of_many(stage):
    stage.docket.add_container("c1", 14, {})
    stage.blocked("10.0.2.2", 22, private=True)
    stage.blocked("203.0.113.1")
    for key in "l*a1\n":
        stage.key(key)
    assert "1 private address is left out" in stage.text
    assert stage.commands == ["allow c1 203.0.113.1"]


def test_what_was_answered_while_the_list_stood_is_not_answered_again(stage):
    several(stage, 3)
    for key in "l*":
        stage.key(key)
    stage.answer("skip", "r2")
    stage.wait(61)
    stage.blocked("198.51.100.2")
    assert stage.ids() == ["r1", "r3", "r4"]
    stage.key("m")
    assert stage.ids() == ["r4"], "it came up again under another id, which was not marked"


def test_enter_in_the_list_asks_and_decides_nothing(stage):
    several(stage, 3)
    for key in "l3\n":
        stage.key(key)
    assert stage.text.split("\n")[-3].startswith("c1  198.51.100.3  tcp 443 https              3 of 3")
    assert stage.commands == []
    stage.key("l")
    stage.key("\r")
    assert stage.text.split("\n")[-3].startswith("c1  198.51.100.1 ")


def test_the_list_of_nothing_goes_back_too(stage):
    stage.key("l")
    assert stage.keys == "l back"
    stage.key("l")
    assert stage.keys == ""
    stage.blocked()
    assert stage.keys.startswith("a allow ")


def test_the_list_fits_a_screen_that_became_smaller_and_pages_on():
    stage = Stage(80, 24)
    several(stage, 20)
    for key in "l  ":
        stage.key(key)
    stage.resize(80, 7)
    assert "198.51.100.19 " in stage.shown[-4] and "198.51.100.20 " in stage.shown[-3], "where it began"
    assert "page 7 of 7" in stage.shown[-5]
    seen = []
    for _ in range(7):
        stage.key(" ")
        page = stage.text.rsplit("20 waiting", 1)[1].split("\n")
        seen += [row.split()[1] for row in page if row.endswith(" 1 try")]
    assert seen == [f"198.51.100.{n}" for n in range(1, 21)]
    for _ in range(6):
        stage.key("\x7f")
    assert "198.51.100.1 " in stage.shown[-5], "and back"


# --- the history


def test_the_history_is_newest_first_and_a_digit_asks_that_one_again(stage):
    several(stage, 3)
    for _ in range(3):
        stage.key("m")
    stage.key("h")
    rows = [line for line in stage.text.split("\n") if " mute 198" in line]
    assert [row.split()[-1] for row in rows] == ["198.51.100.3", "198.51.100.2", "198.51.100.1"]
    stage.key("2")
    assert stage.text.split("\n")[-3].startswith("c1  198.51.100.2 ")
    stage.key("a")
    assert stage.commands == ["allow c1 198.51.100.2"]


def test_the_history_says_which_rule_has_decided():
    stage = Stage(width=100)
    stage.docket.set_policy(parse(b"skip 198.51.100.1 port 443 tcp", "rules"), stage.now)
    stage.blocked("198.51.100.1")
    stage.blocked("198.51.100.2")
    stage.wait(1.2)
    stage.key("m")
    stage.key("h")
    rows = [line.split(None, 2)[2] for line in stage.shown[-3:-1]]
    assert rows == ["mute 198.51.100.2", "skip 198.51.100.1  by `skip 198.51.100.1 port 443 tcp`"]


def test_a_history_of_nothing_says_so(stage):
    stage.key("h")
    assert stage.shown == ["  nothing was answered in this session"[2:], "h back"]


def test_every_page_of_the_history_has_its_answers(stage):
    several(stage, 20)
    for _ in range(20):
        stage.key("m")
    seen = []
    stage.key("h")
    for _ in range(3):
        text = stage.text.rsplit("20 answered", 1)[1]
        seen += [line.split()[-1] for line in text.split("\n") if " mute " in line]
        stage.key(" ")
    assert seen == [f"198.51.100.{n}" for n in range(20, 0, -1)]
    assert "198.51.100.20" in stage.text.rsplit("20 answered", 1)[1], "and round again"


def test_a_digit_without_a_row_does_nothing(stage):
    stage.blocked()
    stage.key("m")
    stage.key("h")
    stage.key("7")
    assert "no row has a 7" in stage.text
    stage.key("h")
    assert stage.keys == ""


# --- sizes, and others on the terminal


def test_another_size_paints_the_question_anew_and_waits_a_second(stage):
    stage.blocked()
    stage.wait(3)
    stage.resize(40, 24)
    assert stage.shown[-5].startswith("c1  tcp 443 https")
    stage.wait(0.9)
    assert not counts(stage)
    stage.wait(0.4)
    assert counts(stage)


def test_a_window_that_is_dragged_paints_the_question_once_and_takes_no_key_meanwhile(stage):
    stage.blocked()
    stage.wait(3)
    stage.type("a")
    stage.wait(0.1)
    for step in range(40):
        stage.screen.resize(24, 81 + step)
        stage.prompt.resize(81 + step, 24, stage.now)
        stage.refresh()
        stage.wait(0.05)
        assert not counts(stage) if step == 20 else True
    assert stage.text.count("c1  203.0.113.10") == 1
    stage.wait(0.3)
    assert stage.text.count("c1  203.0.113.10") == 2 and stage.commands == []
    stage.wait(0.5)
    assert not counts(stage)
    stage.wait(0.5)
    assert counts(stage)


def test_ctrl_l_paints_it_anew_and_waits_less(stage):
    stage.blocked()
    stage.key("\x0c")
    assert stage.text.count("c1  203.0.113.10") == 2
    stage.wait(SHORT)
    assert counts(stage)


def test_painted_anew_it_stands_below_all_that_stood_there(stage):
    stage.blocked()
    stage.key("\x0c")
    assert stage.text.count("i l ? q") == 2


def test_the_same_size_again_had_another_one_in_between_and_is_painted_anew(stage):
    stage.blocked()
    stage.wait(LONG)
    stage.resize(80, 24)
    assert stage.text.count("i l ? q") == 2
    assert not counts(stage)
    stage.wait(LONG)
    assert counts(stage)


def test_a_key_right_before_the_terminal_is_given_back_decides_nothing(stage):
    stage.blocked()
    stage.wait(LONG)
    stage.prompt.input(b"a", stage.now)
    stage.prompt.leave_line()
    stage.wait(3)
    assert stage.commands == [] and stage.ids() == ["r1"]


def test_given_back_and_taken_again_the_question_is_painted_anew(stage):
    stage.blocked()
    stage.wait(3)
    stage.prompt.leave_line()
    stage.flush()
    assert stage.keys == ""
    stage.prompt.repaint()
    stage.flush()
    assert stage.text.count("c1  203.0.113.10") == 2
    stage.wait(0.9)
    assert not counts(stage)
    stage.wait(0.4)
    assert counts(stage)


# --- rules beside a prompt


def test_no_rule_decides_what_stands_there_until_it_is_left(stage):
    stage.blocked("203.0.113.1")
    stage.blocked("203.0.113.2")
    stage.docket.set_policy(parse(b"deny 203.0.113.0/24", "rules"), stage.now)
    stage.refresh()
    assert stage.commands == ["deny c1 203.0.113.2"]
    stage.key("a")
    assert stage.commands[1:] == ["allow c1 203.0.113.1"]


def test_rules_decide_what_was_left_of_a_group_though_the_screen_is_stopped(stage):
    for last in (1, 2):
        stage.blocked(f"203.0.113.{last}", names=["www.example.com"])
    stage.key("l")
    stage.key("l")  # painted anew, both in it
    stage.wait(LONG)
    stage.type("a")
    stage.wait(0.2)
    stage.stalled = True
    stage.prompt.say(["something that does not get out"])
    stage.flush()
    stage.wait(0.5)
    stage.docket.set_policy(parse(b"deny 203.0.113.2", "rules"), stage.now)
    stage.refresh()
    assert stage.commands == ["allow c1 203.0.113.1", "deny c1 203.0.113.2"]


def test_the_keys_of_a_question_are_no_keys_when_nothing_is_asked(stage):
    for key in "aAdsmy":
        stage.key(key)
    assert stage.commands == []
    assert stage.text.count("nothing is asked") == 6


# --- what a screen has no room for

NAMED = "login.bank.example.very-evil-corporation.example"
SMALL = "this window is too small to show what you would decide"


def said(stage):
    return " ".join(stage.text.split())


@pytest.mark.parametrize("name", [NAMED, "www.example.com", "a." * 100 + "example.com"])
@pytest.mark.parametrize("width", [12, 20, 38, 80, *thorough(16, 24, 30, 37, 40, 60)])
@pytest.mark.parametrize("height", [1, 3, 4, 12, *thorough(2, 5, 8, 30)])
def test_no_name_is_allowed_that_was_not_on_the_screen(width, height, name):
    stage = Stage(width, height, emulate=False)
    stage.blocked(names=[name])
    question = stage.text.split("\n")
    stage.key("A")
    asked = stage.text.split("\n")[len(question) - 1 :]
    stage.key("y")
    if not stage.commands:
        assert "A is no key here" in said(stage) or SMALL in said(stage)
        return
    end = ".".join(name.split(".")[-2:])
    assert len(question) <= height and any(line.startswith("  | ") and end in line for line in question)
    assert len(asked) <= height
    assert "".join(line[4:] for line in asked if line.startswith("  | ")) == name or any(
        line.startswith(f"y allow {name}") for line in asked
    )
    assert stage.commands == [f"allow c1 {name}"]


@pytest.mark.parametrize(
    "width, height, name, offered",
    [
        *((20, 3, NAMED, 0), (80, 2, NAMED, 0), (40, 4, NAMED, 0), (80, 3, NAMED, 1), (40, 10, NAMED, 1)),
        pytest.param(40, 6, NAMED, 0, id="its second thought has no room"),
        pytest.param(60, 24, "n" * 63 + ".example", 0, id="only the second thought would show it"),
    ],
)
def test_the_key_of_the_name_is_offered_where_it_would_count(width, height, name, offered):
    stage = Stage(width, height)
    stage.blocked(names=[name])
    assert any("A name" in line or line.startswith("a A ") for line in stage.shown) == offered
    stage.key("A")
    assert ("y allow" in stage.text) == offered
    assert offered or "A is no key here: this window is too small" in said(stage)


def test_the_name_that_a_key_allows_is_the_one_on_the_screen_though_a_later_one_can_not_be_allowed():
    stage = Stage()
    stage.blocked(names=["_dmarc.example.org", "www.example.com"])
    assert "  | www.example.com   and 1 more name here" in stage.text
    stage.key("A")
    assert stage.keys.startswith("y allow www.example.com ")


@pytest.mark.parametrize("key, dest", [("a", "10.0.2.2"), ("A", "203.0.113.10"), ("u", "203.0.113.10")])
@pytest.mark.parametrize("width, height", [(12, 1), (24, 2), (20, 3), (80, 1)])
def test_a_second_thought_that_is_not_whole_on_the_screen_takes_no_y(width, height, key, dest):
    stage = Stage(emulate=False)
    stage.docket.add_container("c1", 14, {})
    if key == "u":
        stage.blocked("203.0.113.10")
        stage.key("a")
    else:
        stage.blocked(dest, private=dest == "10.0.2.2", names=["www.example.com"])
    stage.key(key)
    before = list(stage.commands)
    stage.resize(width, height)
    stage.key("y")
    assert stage.commands == before
    assert SMALL in said(stage)
    stage.resize(80, 24)
    stage.key("y")
    assert len(stage.commands) == len(before) + 1, "it still stands there"


def test_a_window_that_is_too_small_keeps_nobody_from_stopping():
    stage = Stage(12, 1, emulate=False)
    stage.blocked()
    stage.key("q")
    stage.key("q")
    assert stage.prompt.quit


def test_marked_rows_and_a_number_that_are_not_on_the_screen_are_not_answered():
    stage = Stage(emulate=False)
    several(stage, 3)
    for key in "l*":
        stage.key(key)
    stage.resize(80, 3)
    for key in "asm":
        stage.key(key)
    assert len(stage.ids()) == 3 and SMALL in said(stage)
    stage.resize(80, 24)
    for key in "a3":
        stage.key(key)
    stage.resize(20, 3)
    stage.key("\n")
    assert stage.commands == []


# --- lines of keys


def test_both_lines_of_keys_give_their_place_to_what_is_told():
    stage = Stage(40, 24)
    stage.blocked()
    for key in "xyz":
        stage.key(key)
    for shown in (stage.text.split("\n"), stage.shown):
        assert [line for line in shown if line.startswith(("a allow", "s not"))] == shown[-2:]
    stage.key("s")
    assert "a allow" not in stage.text and "d deny" not in stage.text
    assert stage.shown[-1] == "  s not now"


def test_nothing_of_a_second_thoughts_keys_stays_and_they_break_between_the_phrases():
    stage = Stage(40, 24)
    stage.blocked(names=["registry.production.example.com"])
    stage.key("A")
    assert stage.shown[-2:] == ["y allow registry.production.example.com", "any other key: no"]
    stage.key("n")
    assert "y allow" not in stage.text and "any" not in stage.text.split()
    stage.key("A")
    stage.key("y")
    assert "y allow" not in stage.text and "any" not in stage.text.split()


def test_on_a_dumb_terminal_two_lines_of_keys_stay():
    stage = Stage(40, 24, dumb=True)
    stage.blocked()
    stage.key("x")
    assert b"\x1b" not in stage.written
    assert stage.text.count("a allow 203.0.113.10\ns not now") == 2


# --- what is said why


def test_enter_right_after_the_number_is_told_to_have_come_right_after_it():
    stage = Stage()
    several(stage)
    for key in "l*a":
        stage.key(key)
    stage.wait(1)
    for key in "12\r":
        stage.type(key)
        stage.wait(0.12)
    assert stage.commands == []
    assert "Enter came right after another key: ignored, wait a moment, press it again" in said(stage)
    assert "stood for a moment" not in said(stage)
    assert stage.keys == "type 12, then Enter; ESC: no  number: 12"
    stage.key("\r")
    assert len(stage.commands) == 12


def test_what_was_typed_while_it_was_stopped_is_told():
    stage = Stage()
    stage.blocked()
    stage.prompt.repaint()
    stage.flush()
    assert "ignored" not in stage.text
    stage.prompt.repaint(unread=True)
    stage.flush()
    assert stage.shown[-4] == "  what was typed while this was stopped: ignored"
    assert stage.keys.startswith("a allow ")


# --- what is painted anew agrees with what is told above it


def test_details_and_the_question_below_them_know_the_same_names():
    stage = Stage()
    stage.blocked()
    stage.learn("203.0.113.10", name("www.example.com"))
    stage.refresh()
    stage.key("i")
    told, _, question = stage.text.rpartition("c1  203.0.113.10")
    assert "A opens" in told and "| www.example.com" in question and "A name" in question
    assert "no name known" not in question
    stage.key("A")
    stage.key("y")
    assert stage.commands == ["allow c1 www.example.com"]


def test_details_say_why_a_key_is_none_here_and_not_what_it_opens():
    stage = Stage(80, 2)
    stage.blocked(names=["www.example.com"])
    stage.key("i")
    told = " ".join(stage.read())
    assert "A opens what" not in told and "A is no key here" in told
    stage = Stage()
    stage.docket.add_container("c1", 14, {})
    stage.blocked("10.0.2.2", private=True, names=["www.example.com"])
    stage.key("i")
    assert "A opens" not in said(stage)
    assert "A is no key here: what has such a warning is allowed as an address only" in said(stage)


def test_the_list_painted_anew_counts_what_still_waits():
    stage = Stage()
    several(stage, 4)
    stage.key("l")
    stage.key("*")
    stage.docket.set_policy(parse(b"deny 198.51.100.2/31", "rules"), stage.now)
    stage.refresh()
    stage.key("\x0c")
    assert stage.shown[-7:] == [
        "2 waiting for c1",
        "  x  1  198.51.100.1                                       tcp 443        1 try",
        "     -  198.51.100.2                                         answered meanwhile",
        "     -  198.51.100.3                                         answered meanwhile",
        "  x  4  198.51.100.4                                       tcp 443        1 try",
        "1,4 mark   * all   / word",
        "2 marked: a allow  s not now  m this session    Enter asks the first   l back",
    ]
    for key in "23":
        stage.key(key)
        assert stage.keys.startswith("2 marked"), "what is answered can't be marked"
    stage.key("a")
    assert "allowing 2 addresses" in stage.text


def test_what_was_marked_and_answered_since_is_told_to_be_left_out():
    stage = Stage()
    several(stage, 4)
    for key in "l123":
        stage.key(key)
    stage.docket.set_policy(parse(b"deny 198.51.100.2/31", "rules"), stage.now)
    stage.refresh()
    stage.key("a")
    assert "answered meanwhile and left out: 2 of the marked" in stage.text
    assert "allowing 1 address, every port of it:\n  198.51.100.1\ntype 1, then Enter; ESC: no" in stage.text


@pytest.mark.parametrize("width", [22, 24, 30, 31, 44])
def test_the_marked_can_be_answered_on_a_narrow_screen(width):
    stage = Stage(width, 14)
    for last in range(3):
        stage.blocked(f"203.0.113.{last}")
    stage.wait(LONG)
    stage.key("l")
    stage.key("1")
    stage.wait(LONG)
    stage.key("m")
    assert stage.docket.open_count() == 2


@pytest.mark.parametrize("height", range(3, 9))
@pytest.mark.parametrize("dumb", [False, True])
def test_what_can_be_answered_stands_on_the_screen(height, dumb):
    stage = Stage(40, height, dumb=dumb)
    stage.blocked("203.0.113.10")
    stage.wait(LONG)
    shown = stage.shown
    stage.key("m")
    assert stage.docket.open_count() == 1 or any("203.0.113.10" in row for row in shown)
    assert stage.docket.open_count() == 1 or any("tcp 443" in row for row in shown)


def test_the_outcome_of_another_containers_verdict_stands_in_a_line_of_its_own(stage):
    stage.docket.add_container("c2", 18, {})
    stage.auto = False
    stage.blocked("203.0.113.1", container="c2")
    Bench.answer(stage, "allow", "r1")
    (other,) = stage.start()
    stage.blocked("203.0.113.1")
    stage.key("a")
    stage.wait(1)
    stage.start()
    stage.finish(other)
    stage.refresh()
    stage.wait(3)
    assert "c1  a allow 203.0.113.1 ..." in stage.text
