"""Many verdicts at once on the screen: a line that counts, ESC, a line that sums up, one `u`."""

from __future__ import annotations

import re

import pytest
from stage import Stage


@pytest.fixture
def stage():
    return begun(Stage())


def begun(stage, number=12):
    """All but the last of so many are allowed by the list; nothing runs by itself from then on."""
    for last in range(1, number + 1):
        stage.blocked(f"198.51.100.{last}")
    for key in "l*":
        stage.key(key)
    stage.key("a")
    for digit in str(number):
        stage.key(digit)
    stage.auto = False
    stage.key("\r")
    return stage


def finish(stage, *results):
    """The next verdicts come to that; the screen is brought up to date."""
    for result in results:
        (job,) = stage.start()
        stage.mono += 0.6
        stage.finish(job, result, error="Error: busy" if result == "failed" else "")
        stage.refresh()
    stage.wait(1.1)


def test_one_line_counts_and_one_sums_up(stage):
    assert stage.shown[-1] == "  a allow 0 of 12 ...   ESC ends the rest"
    before = stage.text.count("\n")
    finish(stage, *["applied"] * 5)
    assert stage.shown[-1] == "  a allow 5 of 12 ...   ESC ends the rest"
    assert stage.text.count("\n") == before, "rewritten, not repeated"
    finish(stage, "failed", "applied", "unknown")
    assert stage.shown[-2] == "  a allow 8 of 12 ... 2 failed   ESC ends the rest"
    finish(stage, *["applied"] * 4)
    stage.wait(2)
    one = "  a allow 12 addresses ... 10 done, 1 FAILED (h), 1 with no answer in time (h): 2 wait again"
    assert " ".join(one.split()) in " ".join(stage.text.split())
    assert "ESC ends" not in stage.text and "Error: busy" not in stage.text
    assert stage.shown[-1].endswith("i l ? q"), "what failed is asked"


def test_all_done_is_said_in_one_line(stage):
    finish(stage, *["applied"] * 12)
    assert stage.text.split("\n")[-2:] == ["  a allow 12 addresses ... done in 7.4 s", ""]


def test_esc_ends_the_rest_which_waits_again(stage):
    finish(stage, "applied", "failed", "applied")
    (runs,) = stage.start()
    stage.key("\x1b")
    assert stage.docket.jobs() == [runs]
    stage.finish(runs)
    stage.refresh()
    stage.wait(3)
    assert "  a allow 12 addresses ... 3 done, 1 FAILED (h), 8 not run: 9 wait again" in stage.text.split(
        "\n"
    )
    assert len(stage.ids()) == 9
    assert stage.docket.summary()["failed"] == 1


def test_while_it_runs_what_waits_is_asked_and_answered_first(stage):
    stage.blocked("203.0.113.10")
    assert stage.shown[-4].startswith("c1  203.0.113.10  tcp 443 https ")
    assert stage.shown[-2:] == [
        "  a allow 0 of 12 ...   ESC ends the rest",
        "a allow 203.0.113.10   s not now  m this session  d deny                i l ? q",
    ]
    finish(stage, "applied")
    assert stage.shown[-2] == "  a allow 1 of 12 ...   ESC ends the rest"
    stage.key("d")
    assert stage.shown[-2:] == ["  d deny 203.0.113.10 ...", "  a allow 1 of 12 ...   ESC ends the rest"]
    finish(stage, "applied")
    assert stage.shown[-2].startswith("  d deny 203.0.113.10 ... done in")
    assert stage.shown[-1] == "  a allow 1 of 12 ...   ESC ends the rest"
    stage.key("\x1b")
    assert len(stage.ids()) == 11


def test_esc_with_a_question_standing_ends_the_rest(stage):
    stage.blocked("203.0.113.10")
    finish(stage, "applied")
    stage.key("\x1b")
    assert len(stage.ids()) == 12 and "ESC is no key" not in stage.text
    stage.wait(3)
    assert "  a allow 12 addresses ... 1 done, 11 not run: 11 wait again" in stage.text.split("\n")
    assert stage.shown[-1].endswith("+11 wait  i l ? q")
    stage.key("\x1b")
    assert "ESC is no key here" in stage.text


def test_esc_takes_back_what_was_announced_before_anything_else(stage):
    stage.blocked("203.0.113.10")
    stage.wait(1.3)
    stage.type("a")
    stage.wait(0.1)
    stage.type("\x1b")
    stage.wait(1.5)
    assert "a allow 203.0.113.10: taken back" in stage.text and stage.docket.batches


def test_where_nothing_is_rewritten_it_is_said_once():
    stage = begun(Stage(dumb=True))
    finish(stage, *["applied"] * 5)
    assert stage.text.split("\n")[-2:] == ["  a allow 12 addresses ... ESC ends the rest", ""]
    stage.key("\x1b")
    stage.wait(3)
    assert "  a allow 12 addresses ... 5 done, 7 not run: 7 wait again" in stage.text.split("\n")


@pytest.mark.parametrize("width", [20, 30, 40, 100])
def test_the_question_and_the_count_fit_every_width(width):
    stage = Stage(80, 12)
    begun(stage)
    stage.resize(width, 12)
    finish(stage, "failed")
    stage.blocked("203.0.113.10")
    stage.wait(2)
    assert "1 of 12" in " ".join(stage.shown[-5:]) and len(stage.shown) <= 12


def test_failures_stand_first_in_the_history(stage):
    finish(stage, "applied", "applied", "failed", *["applied"] * 9)
    stage.key("h")
    assert stage.shown[-10].split()[-2:] == ["198.51.100.3", "failed"]
    assert stage.shown[-9].split()[-2:] == ["198.51.100.12", "applied"]


def test_u_tells_all_of_it_and_undoes_it_as_one(stage):
    finish(stage, *["applied"] * 11, "failed")
    stage.key("s")
    stage.key("u")
    shown = " ".join(" ".join(stage.shown).split())
    assert "198.51.100.10 198.51.100.11 u undoes `allow` of these 11 addresses, of 17:32:" in shown
    assert (
        "no neutral un-allow, so each is denied, one after the other; connections that stand are not cut"
        in shown
    )
    assert stage.keys == "y deny 11 addresses   any other key: no"
    stage.wait(1.3)
    stage.type("y")
    stage.wait(0.1)
    assert stage.keys == "  u deny 11 addresses - any key takes it back"
    assert stage.docket.jobs() == []
    stage.wait(1)
    assert stage.shown[-1] == "  u deny 0 of 11 ...   ESC ends the rest"
    finish(stage, *["applied"] * 2)
    stage.key("\x1b")
    assert "  u deny 11 addresses ... 2 done, 9 not run: what was not done stands (u)" in stage.text.split(
        "\n"
    )
    stage.key("u")
    assert "these 9 addresses" in " ".join(stage.shown)
    stage.key("n")
    assert stage.docket.jobs() == []


def test_what_u_undoes_stands_together_with_it_whatever_is_told_or_how_wide_the_window_is(stage):
    finish(stage, *["applied"] * 12)
    stage.key("u")
    stage.docket.shields.state("c1", "down", stage.now)
    stage.wait(10)
    told = next(at for at, line in enumerate(stage.shown) if "the shield is down" in line)
    assert addresses("\n".join(stage.shown[told:])) == [f"198.51.100.{last}" for last in range(1, 13)]
    stage.resize(50, 24)
    assert addresses("\n".join(stage.shown[-9:])) == [f"198.51.100.{last}" for last in range(1, 13)]
    stage.key("y")
    assert stage.docket.jobs()[0].target == "198.51.100.1"


def addresses(text):
    return re.findall(r"198\.51\.100\.\d+", text)


def test_u_waits_until_it_is_through(stage):
    finish(stage, "applied", "applied")
    stage.key("u")
    assert "u undoes all of them once they are through: ESC ends the rest" in stage.text
    stage.key("\x1b")
    stage.key("u")
    assert "these 2 addresses" in " ".join(stage.shown)


def test_q_says_how_many_verdicts_are_not_run_then(stage):
    stage.start()
    stage.key("q")
    shown = " ".join(" ".join(stage.shown).split())
    assert "11 requests are open: stopping leaves them unanswered, and 11 verdicts not run" in shown


def test_the_end_counts_what_was_not_run_in_a_line_of_its_own(stage):
    finish(stage, "applied", "failed")
    stage.prompt.stop(["allow 198.51.100.3"])
    stage.docket.call_off(stage.docket.jobs(), stage.now)
    stage.refresh()
    stage.prompt.end()
    stage.flush()
    assert stage.shown[-3:] == [
        "stopping: waits for `allow 198.51.100.3` (Ctrl-C leaves it)",
        "  a allow 2 of 12 ... 1 failed",
        "! 10 verdicts not run: what they were for is unanswered",
    ]
