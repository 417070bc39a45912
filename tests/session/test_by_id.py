"""A container that is given by its id, or the beginning of it: it goes by its name from then on."""

from __future__ import annotations

import json
import signal

import endtoend
import pytest
import scripting
from lab import Lab

desk = endtoend.desk
script, bare = scripting.script, scripting.bare

ONE, OTHER = "198.51.100.1", "198.51.100.2"


@pytest.mark.parametrize("digits", [64, 12, 5])
def test_rules_records_and_verdicts_go_by_its_name(script, host, tmp_path, digits):
    c1 = host.containers["c1"]
    rules, saved = tmp_path / "rules", tmp_path / "saved"
    rules.write_text("[%s*]\ndeny %s\n[c1]\nallow %s\n" % (c1.id[:5], ONE, ONE))
    words = ["--json", "--policy", str(rules), "--save-policy", str(saved)]
    it = script(*words, c1.id[:digits], names=())
    (told,) = it.until("session")["containers"]
    assert (told["name"], told["id"]) == ("c1", c1.id)
    it.block(ONE, OTHER)
    assert it.until("verdict", by="policy")["action"] == "allow"
    it.say("deny %s\n" % it.until("pending", dest=OTHER)["id"])
    it.until("verdict", by="script")
    it.ends(0)
    assert {record["container"] for record in it.records if "container" in record} == {"c1"}
    assert [call.argv for call in host.verdicts()] == [["allow", "c1", ONE], ["deny", "c1", OTHER]]
    assert c1.id[:5] not in saved.read_text() and "c1" in saved.read_text()


def test_one_that_is_followed_is_taken_up_again_by_its_name(bare, host, lab):
    """As it is when it was named: removed and made anew it has another id."""
    c2 = host.container("c2", lab)
    it = bare("--json", "--follow", c2.sid, names=(), reader=False)
    assert [one["name"] for one in it.until("session")["containers"]] == ["c2"]
    c2.stop()
    it.until("container", container="c2", state="stopped")
    with Lab() as other:
        c2.start(other, new=True)
        assert it.until("container", container="c2", state="started")["id"] == c2.id
        it.signal(signal.SIGTERM)
        it.ends(0)


def test_one_that_does_not_run_yet_is_awaited_by_its_name(desk):
    desk.c1.stop()
    done = desk.run("--answer", "skip", "--follow", "--for", "0.2", desk.c1.sid)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"waiting for the start of c1\n")


def test_a_check_goes_by_its_name_too(desk, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("[c1]\nallow %s\n[c2]\nallow %s\n" % (ONE, ONE))
    done = desk.run("--check", "--json", "--policy", str(rules), desk.c1.id[:5])
    told = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0
    assert told["policy"]["message"] == "%s: 2 rules, of which 1 for c1" % rules
    assert told["container"]["message"].startswith("c1 runs, ")
    assert {line["container"] for line in told.values()} == {None, "c1"}


@pytest.mark.parametrize("words", [["--json"], ["--check"], ["--json", "--follow"]], ids=" ".join)
def test_by_its_name_and_its_id_it_is_named_twice(desk, words):
    done = desk.run(*words, "c1", desk.c1.sid)
    said = b"c1 is named twice, here as %s" % desk.c1.sid.encode()
    assert done.returncode == 2
    assert said in (done.stdout if "--check" in words else done.stderr)
    assert b"hint: name each container once" in done.stdout + done.stderr
    desk.nothing_is_left()


def test_the_beginning_of_two_ids_is_none(desk):
    digit = desk.c1.id[0]
    others = (desk.host.container("d%d" % number) for number in range(100))
    assert any(one.id.startswith(digit) for one in others)
    for words in (["--json"], ["--check"]):
        done = desk.run(*words, digit)
        assert done.returncode == 3
        assert b"more than one result for container ID %s" % digit.encode() in done.stdout + done.stderr
        assert b"hint: give more of its id, or its name" in done.stdout + done.stderr
