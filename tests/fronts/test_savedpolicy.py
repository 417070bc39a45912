"""What the operator answered becomes rules of a file, whole or not at all, each once."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys

import pytest
from stage import Bench
from support import ROOT

from simple_clearance import arguments
from simple_clearance.base.errors import Refused
from simple_clearance.docket.policy import last_section, parse
from simple_clearance.fronts.savedpolicy import SavedPolicy


class Keeper(Bench):
    """A docket whose records go into a saved policy."""

    def __init__(self, path, several=False):
        super().__init__()
        self.told = []
        self.path = path
        self.saved = SavedPolicy(str(path), self.told.append, several)

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


def answered(
    keeper, action, dest="203.0.113.10", names=(), name="", result="applied", container="c1", **more
):
    keeper.blocked(dest, names=names, container=container)
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
    "text, action, before",
    [
        ("ask 203.0.113.0/24", "deny", "ask 203.0.113.0/24"),
        ("ask 203.0.113.0/24", "allow", "ask 203.0.113.0/24"),
        ("allow 203.0.113.0/24 port 443", "deny", "allow 203.0.113.0/24 port 443"),
        ("deny 203.0.113.10", "deny", ""),
        ("skip * port 25", "deny", ""),
    ],
)
def test_that_an_answer_would_be_no_rule_behind_those_of_the_file_is_told(path, text, action, before):
    path.write_text(text + "\n")
    keeper = Keeper(path)
    answered(keeper, action)
    (told,) = keeper.told or [""]
    assert told.endswith("`%s 203.0.113.10` is not added: `%s` stands before it" % (action, before)) is bool(
        before
    )
    assert (keeper.rules() == [text]) is (bool(before) or text == action + " 203.0.113.10")


@pytest.mark.parametrize(
    "text, action, name, behind",
    [
        ("skip *.example.com", "allow", "", "skip *.example.com"),
        ("ask www.example.com", "deny", "", "ask www.example.com"),
        ("ask 203.0.113.0/24", "allow", "www.example.com", "ask 203.0.113.0/24"),
        ("ask 203.0.113.0/24", "mute", "", "ask 203.0.113.0/24"),
        ("allow *.example.com", "allow", "", ""),
        ("skip *.example.org", "allow", "", ""),
        ("skip *.example.com port 80", "allow", "", ""),
    ],
)
def test_that_another_rule_decides_what_was_answered_is_told_and_it_is_added(
    path, text, action, name, behind
):
    path.write_text(text + "\n")
    keeper = Keeper(path)
    answered(keeper, action, names=["www.example.com"], name=name, opened=["203.0.113.10"])
    assert len(keeper.rules()) == 2
    rule = keeper.rules()[1]
    told = "`%s` is added behind `%s`, which decides first where both match" % (rule, behind)
    assert [words.partition(": ")[2] for words in keeper.told] == ([told] if behind else [])


def test_a_name_that_was_learnt_later_counts_too(path):
    path.write_text("skip *.example.com\n")
    keeper = Keeper(path)
    keeper.blocked("203.0.113.10")
    keeper.keep()
    keeper.learn("203.0.113.10", "www.example.com")
    keeper.keep()
    keeper.answer("allow", "r1")
    keeper.run()
    assert "is added behind `skip *.example.com`" in " ".join(keeper.told)


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
    assert keeper.rules() == []
    assert path.read_text() == "# allow 203.0.113.10 # 1970-01-01T17:32:05.300Z c1\n", "as a person leaves it"


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


# --- whose rule it is


@pytest.mark.parametrize(
    "words, several",
    [
        (["c1"], False),
        (["--follow", "c1"], False),
        (["c1", "c2"], True),
        (["--all"], True),
        (["--host", "web"], True),
        (["--host", "web/c1", "c1"], True),
        (["--join", "web=true", "c1"], True),
    ],
)
def test_only_a_session_about_one_container_alone_needs_no_section(words, several):
    assert arguments.parse(["--json", "--save-policy", "rules", *words]).several is several


@pytest.fixture
def several(path):
    keeper = Keeper(path, several=True)
    keeper.docket.add_container("c2", 18, {})
    return keeper


def outline(path):
    """The file's lines without what is written behind them."""
    return [re.split(" +# [0-9]", line)[0] for line in path.read_text().splitlines()]


def test_where_there_are_several_containers_each_answer_stands_in_a_section_of_its_own(several, path):
    answered(several, "allow", "203.0.113.1")
    answered(several, "deny", "203.0.113.2")
    answered(several, "mute", "203.0.113.1", container="c2")
    answered(several, "allow", "203.0.113.3")
    assert outline(path) == [
        *("[c1]", "allow 203.0.113.1", "deny 203.0.113.2"),
        *("[c2]", "skip 203.0.113.1"),
        *("[c1]", "allow 203.0.113.3"),
    ]
    assert several.told == []


def test_what_was_answered_for_one_container_decides_for_no_other(several, path):
    answered(several, "deny", "203.0.113.2", container="c2")
    later = Bench()
    later.docket.add_container("c2", 18, {})
    later.docket.set_policy(parse(path.read_bytes(), "rules"), later.now)
    for container in ("c1", "c2"):
        later.blocked("203.0.113.2", container=container)
    assert later.run() == ["deny c2 203.0.113.2"] and later.ids() == ["r1"]


ALL = ["", "ask 198.51.100.1\n", "ask 198.51.100.1   # [c1]\nwrong"]
"""Files in which a rule at the end holds for all."""


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(
    "text, header",
    [
        *((text, None) for text in ALL),
        ("[c1]\n", False),
        ("[c1]   # ours\nask 198.51.100.1\nwrong", False),
        ("[c1]\nask 198.51.100.1\n[web]\n", True),
        ("[c*]\n", True),
        ("[*]\nask 198.51.100.1", True),
        ("[c1", True),
        ("[c1]\nask [::1]\n", True),
        ("[c1]\n[c2] skip *\n", True),
        ("wrong\n" * 60 + "[web]\n", True),
    ],
)
def test_a_rule_is_never_put_into_another_ones_section(path, text, header, more):
    """`header`: whether a line of its own has to come before it; None: where there are several containers."""
    path.write_text(text)
    keeper = Keeper(path, several=more)
    answered(keeper, "allow")
    added = outline(path)[len(text.splitlines()) :]
    header = more if header is None else header
    assert added == ["[c1]"] * header + ["allow 203.0.113.10"]
    assert path.read_text().startswith(text)
    before = path.read_bytes().partition(b"allow 203.0.113.10")[0]
    assert last_section(before) == ("" if text in ALL and not more else "c1")
    assert keeper.told == []


def test_what_another_containers_rules_decide_is_added_all_the_same(several, path):
    path.write_text("[c2]\nallow 203.0.113.10\n")
    answered(several, "allow")
    answered(several, "allow", container="c2")
    assert outline(path) == ["[c2]", "allow 203.0.113.10", "[c1]", "allow 203.0.113.10"]


def test_what_is_taken_back_is_the_rule_of_that_container(several, path):
    answered(several, "allow", container="c1")
    answered(several, "allow", container="c2")
    answered(several, "mute", "203.0.113.11", container="c1")
    answered(several, "mute", "203.0.113.11", container="c2")
    for answer in several.docket.history[:]:
        if answer.container == "c1" and answer.action == "allow":
            several.docket.undo([answer], "operator", several.now)
            several.run()
        elif answer.container == "c2" and answer.action == "mute":
            several.docket.ask_again(answer, several.now)
            several.keep()
    assert several.rules() == ["[c2] allow 203.0.113.10", "[c1] skip 203.0.113.11"]


def test_a_section_goes_on_behind_a_rule_that_was_taken_back(several, path):
    answered(several, "allow")
    several.docket.undo([several.docket.last_verdict()], "operator", several.now)
    several.run()
    answered(several, "deny", "203.0.113.2")
    assert outline(path) == ["[c1]", "# allow 203.0.113.10", "deny 203.0.113.2"]


def test_a_section_that_was_added_or_taken_out_by_hand_counts(keeper, path):
    answered(keeper, "allow", "203.0.113.1")
    with open(path, "a") as file:
        file.write("[web]\nskip *")
    answered(keeper, "allow", "203.0.113.2")
    answered(keeper, "allow", "203.0.113.3")
    assert outline(path) == [
        *("allow 203.0.113.1", "[web]", "skip *"),
        *("[c1]", "allow 203.0.113.2", "allow 203.0.113.3"),
    ]
    os.rename(path, path.parent / "rotated")
    answered(keeper, "allow", "203.0.113.4")
    assert outline(path) == ["allow 203.0.113.4"]


@pytest.mark.parametrize(
    "was, becomes, kept",
    [
        pytest.param("ask 198.51.100.1", "[c2] # .51.100.1", False, id="a section before it, in its place"),
        pytest.param("ask 198.51.100.1", "#sk 198.51.100.1", True, id="no section"),
        pytest.param("# allow", "\\n# allow", False, id="it stands elsewhere"),
        pytest.param("c1\\n", "c1\\n[c2]\\n", True, id="a section behind it"),
    ],
)
def test_a_section_that_comes_in_between_keeps_the_rule_a_comment(path, was, becomes, kept):
    """Somebody else writes after the file was read: nobody can lock an editor out."""
    path.write_text("ask 198.51.100.1\n")
    code = (
        "import os, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.fronts.savedpolicy import SavedPolicy\n"
        "from simple_clearance.base.moment import Now\n"
        "told = []; saved = SavedPolicy(%r, told.append, several=False)\n"
        "def other(event, arguments):\n"
        "    if event == 'open' and arguments[2] & os.O_APPEND and not done:\n"
        "        done.append(1)\n"
        "    elif event == 'open' and done == [1]:\n"
        "        done.append(2)\n"
        "        data = open(%r).read()\n"
        "        open(%r, 'w').write(data.replace('%s', '%s'))\n"
        "done = []; sys.addaudithook(other)\n"
        "verdict = {'type': 'verdict', 'result': 'applied', 'by': 'operator', 'action': 'allow',\n"
        "           'undo': False, 'ids': [], 'target': '203.0.113.100', 'container': 'c1'}\n"
        "saved.record(verdict, Now(0, 0))\n"
        "print(len(told), bool(saved.failed))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code % (ROOT, *3 * [str(path)], was, becomes)],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode() == ("0 False\n" if kept else "1 True\n")
    assert becomes.replace("\\n", "\n").replace("# allow", "") in path.read_text(), "it did come in between"
    assert ("allow 203.0.113.100" in outline(path)) is kept
    assert ("# allow 203.0.113.100" in outline(path)) is not kept


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("room", [0, 1, 5, 6, 10, 17, 18, 30, 50])
def test_on_a_full_disk_a_rule_is_there_whole_or_not_at_all(path, room, several):
    path.write_text("ask 198.51.100.1\n")
    code = (
        "import resource, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.fronts.savedpolicy import SavedPolicy\n"
        "from simple_clearance.base.moment import Now\n"
        "told = []; saved = SavedPolicy(%r, told.append, several=%r)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (%d, %d))\n"
        "verdict = {'type': 'verdict', 'result': 'applied', 'by': 'operator', 'action': 'allow',\n"
        "           'undo': False, 'ids': [], 'target': '203.0.113.100', 'container': 'c1'}\n"
        "for _ in range(2): saved.record(verdict, Now(0, 0))\n"
        "print(len(told), bool(saved.failed))\n"
    )
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    size = path.stat().st_size + room
    done = subprocess.run(
        [sys.executable, "-c", code % (ROOT, str(path), several, size, hard)],
        stdout=subprocess.PIPE,
        check=True,
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
        SavedPolicy(str(place), print, several=False)
    assert refused.value.code == 3 and refused.value.hints
