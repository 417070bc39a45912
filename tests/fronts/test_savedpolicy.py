"""What the operator answered becomes rules of a file, whole or not at all, each once."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest
from stage import Bench
from support import ROOT

from simple_clearance.base.errors import Refused
from simple_clearance.docket.policy import parse
from simple_clearance.fronts.savedpolicy import SavedPolicy


class Keeper(Bench):
    """A docket whose records go into a saved policy."""

    def __init__(self, path):
        super().__init__()
        self.told = []
        self.path = path
        self.saved = SavedPolicy(str(path), self.told.append)

    def run(self, *args, **more):
        commands = super().run(*args, **more)
        self.keep()
        return commands

    def keep(self):
        for record in self.take():
            self.saved.record(record, self.now)

    def rules(self):
        return [rule.text for rule in parse(self.path.read_bytes(), "rules").rules]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rules"


@pytest.fixture
def keeper(path):
    return Keeper(path)


def answered(keeper, action, dest="203.0.113.10", names=(), name="", result="applied", **more):
    keeper.blocked(dest, names=names)
    assert keeper.answer(action, keeper.ids()[-1], name=name)
    keeper.run(result, **more)


def test_each_answer_is_a_rule_with_when_and_which_container(keeper, path):
    answered(keeper, "allow", "203.0.113.1")
    answered(keeper, "deny", "203.0.113.2")
    answered(keeper, "mute", "203.0.113.3")
    answered(keeper, "mute", "203.0.113.4", ["www.example.org"])
    answered(keeper, "allow", "203.0.113.5", ["www.example.com"], "www.example.com", opened=["203.0.113.5"])
    answered(keeper, "skip", "203.0.113.6")
    assert keeper.rules() == [
        "allow 203.0.113.1",
        "deny 203.0.113.2",
        "skip 203.0.113.3",
        "skip www.example.org",
        "allow www.example.com",
    ]
    assert path.read_text().splitlines()[0] == "allow 203.0.113.1   # 1970-01-01T17:32:05.300Z c1"
    assert keeper.told == []


def test_what_was_answered_is_decided_by_the_file_in_a_later_session(keeper, path):
    answered(keeper, "deny", "203.0.113.2")
    later = Bench()
    later.docket.set_policy(parse(path.read_bytes(), "rules"), later.now)
    later.blocked("203.0.113.2")
    assert later.run() == ["deny c1 203.0.113.2"]


@pytest.mark.parametrize("result", ["failed", "unknown", "dry-run"])
def test_what_was_not_applied_is_no_rule(keeper, result):
    answered(keeper, "allow", result=result)
    assert keeper.rules() == []


@pytest.mark.parametrize("text, answer", [("allow 203.0.113.0/24 port 443", ""), ("", "deny")])
def test_what_was_decided_without_asking_is_no_rule(path, text, answer):
    keeper = Keeper(path)
    keeper.docket.rules.answer = answer
    keeper.docket.set_policy(parse(text.encode(), "rules"), keeper.now)
    keeper.blocked()
    assert len(keeper.run()) == 1
    assert keeper.rules() == []


def test_the_same_answer_again_is_no_second_rule(keeper):
    answered(keeper, "mute", "198.51.100.1", ["www.example.org"])
    for last in range(3):
        keeper.blocked("198.51.100.%d" % last, names=["www.example.org"])
        answered(keeper, "allow")
        keeper.mono += 61
    assert keeper.rules() == ["skip www.example.org", "allow 203.0.113.10"]


def test_a_mute_that_is_taken_back_takes_its_rule_back(keeper):
    answered(keeper, "mute", "198.51.100.1", ["www.example.org"])
    keeper.docket.ask_again(keeper.docket.history[-1], keeper.now)
    keeper.keep()
    assert keeper.rules() == []
    keeper.answer("mute", *keeper.ids())
    keeper.keep()
    assert keeper.rules() == ["skip www.example.org"], "and once more"


@pytest.mark.parametrize(
    "text, kept",
    [
        ("allow 203.0.113.10", False),
        ("ask 203.0.113.0/24", False),
        ("skip *", False),
        ("allow 203.0.113.10 port 443", True),
        ("skip * udp", True),
        ("allow *.example.com", True),
        ("# allow 203.0.113.10", True),
    ],
)
def test_what_the_rules_of_the_file_decide_already_is_not_added(path, text, kept):
    path.write_text(text + "\n")
    keeper = Keeper(path)
    answered(keeper, "allow")
    assert path.read_text().startswith(text + "\n")
    assert ("allow 203.0.113.10   #" in path.read_text()) is kept


@pytest.mark.parametrize(
    "text, kept", [("allow *.example.com", False), ("skip www.example.com port 80", True)]
)
def test_a_name_that_the_rules_of_the_file_decide_already_is_not_added(path, text, kept):
    path.write_text(text + "\n")
    keeper = Keeper(path)
    answered(keeper, "allow", names=["www.example.com"], name="www.example.com", opened=["203.0.113.10"])
    assert ("allow www.example.com   #" in path.read_text()) is kept


def test_a_guarded_address_is_kept_by_its_address_and_decided_by_that_rule(path):
    path.write_text("allow 168.0.0.0/6\n")
    keeper = Keeper(path)
    answered(keeper, "allow", "168.63.129.16", ["www.example.com"])
    answered(keeper, "mute", "100.100.100.200", ["www.example.com"])
    assert keeper.rules() == ["allow 168.0.0.0/6", "allow 168.63.129.16", "skip 100.100.100.200"]


def test_an_undo_takes_the_rule_back_and_adds_none(keeper, path):
    answered(keeper, "allow")
    keeper.docket.undo([keeper.docket.last_verdict()], "operator", keeper.now)
    assert keeper.run() == ["deny c1 203.0.113.10"]
    assert keeper.rules() == [] and path.read_text().startswith("#llow 203.0.113.10   # ")


def test_another_answer_takes_the_place_of_the_one_before(keeper):
    answered(keeper, "allow")
    keeper.docket.ask_again(keeper.docket.history[-1], keeper.now)
    keeper.answer("deny", *keeper.ids())
    keeper.run()
    assert keeper.rules() == ["deny 203.0.113.10"]


def test_a_last_line_without_its_end_stays_what_it_was(path):
    path.write_bytes(b"ask 198.51.100.1")
    keeper = Keeper(path)
    answered(keeper, "allow")
    assert keeper.rules() == ["ask 198.51.100.1", "allow 203.0.113.10"]


def test_an_editor_may_replace_the_file_or_write_it_anew(keeper, path):
    answered(keeper, "allow", "203.0.113.1")
    (path.parent / "new").write_text("ask 198.51.100.1\n")
    os.replace(path.parent / "new", path)
    answered(keeper, "allow", "203.0.113.2")
    assert keeper.rules() == ["ask 198.51.100.1", "allow 203.0.113.2"]
    text = path.read_text()
    path.write_text("# by hand\n" + text)
    keeper.docket.undo([keeper.docket.last_verdict()], "operator", keeper.now)
    keeper.run()
    assert keeper.rules() == ["ask 198.51.100.1"], "it is found wherever it stands by now"
    path.unlink()
    answered(keeper, "allow", "203.0.113.3")
    assert keeper.rules() == ["allow 203.0.113.3"]
    assert keeper.told == []


@pytest.mark.parametrize("room", [0, 1, 10, 17, 18, 30, 50])
def test_on_a_full_disk_a_rule_is_there_whole_or_not_at_all(path, room):
    path.write_text("ask 198.51.100.1\n")
    code = (
        "import resource, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.fronts.savedpolicy import SavedPolicy\n"
        "from simple_clearance.base.moment import Now\n"
        "told = []; saved = SavedPolicy(%r, told.append)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (%d, %d))\n"
        "verdict = {'type': 'verdict', 'result': 'applied', 'by': 'operator', 'action': 'allow',\n"
        "           'undo': False, 'target': '203.0.113.100', 'container': 'c1'}\n"
        "for _ in range(2): saved.record(verdict, Now(0, 0))\n"
        "print(len(told), bool(saved.failed))\n"
    )
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    size = path.stat().st_size + room
    done = subprocess.run(
        [sys.executable, "-c", code % (ROOT, str(path), size, hard)], stdout=subprocess.PIPE, check=True
    )
    assert done.stdout.decode() == "1 True\n"
    assert [rule.text for rule in parse(path.read_bytes(), "rules").rules] == ["ask 198.51.100.1"]


@pytest.mark.parametrize("what", ["folder", "missing", "fifo"])
def test_what_can_not_be_written_is_refused_with_the_remedy(tmp_path, what):
    place = tmp_path / what
    if what == "folder":
        place.mkdir()
    elif what == "fifo":
        os.mkfifo(place)
    else:
        place = place / "rules"
    with pytest.raises(Refused) as refused:
        SavedPolicy(str(place), print)
    assert refused.value.code == 3 and refused.value.hints
