"""The policy file: what each line means, which rule decides, and what is refused when it is read."""

from __future__ import annotations

import fnmatch
import itertools
import random
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stage import tables
from support import lines_run

from simple_clearance.base.addresses import is_target_name
from simple_clearance.docket import policy, ruleset
from simple_clearance.docket.policy import PolicyError, parse

TCP, UDP = 6, 17

EXAMPLE = """\
# first match wins; what nothing matches is asked
allow  *.example.com               # a name, or *.suffix: runs `allow NAME`
allow  203.0.113.0/24  port 443    # an address or network: allows the blocked address (all its ports)
deny   198.51.100.0/24
skip   *               port 25-26 tcp
ask    203.0.113.9
[agent-*]                          # from here on: for the containers of such a name
allow  registry.example.org
"""


def rules(text):
    return parse(text.encode() if isinstance(text, str) else text, "rules")


def decided(text, dest, port=443, proto=TCP, *, private=False, names=(), after=None, container="c1"):
    """`allow`, `allow www.example.com`, …; "" when nothing matches.  `after` is the number of a rule."""
    policy = rules(text)
    behind = None if after is None else policy.rules[after]
    found = policy.of(container).decide(dest, port, proto, private, names, behind)
    return "" if found is None else f"{found.action} {found.name}".strip()


def mistake(text):
    """The reason and the hint, without the file and the line; it has to be on the last line."""
    with pytest.raises(PolicyError) as caught:
        rules(text)
    where, _, reason = str(caught.value).partition(": ")
    assert where == "rules:%d" % len(text.split("\n" if isinstance(text, str) else b"\n"))
    return reason, caught.value.hint


# --- the first match wins


@pytest.mark.parametrize(
    "dest, port, names, action",
    [
        ("192.0.2.1", 443, ["www.example.com"], "allow www.example.com"),
        ("192.0.2.1", 443, ["example.com"], ""),
        ("203.0.113.9", 443, [], "allow"),
        ("203.0.113.9", 80, [], "ask"),
        ("203.0.113.10", 80, [], ""),
        ("198.51.100.7", 80, [], "deny"),
        ("198.51.100.7", 25, [], "deny"),
        ("192.0.2.1", 25, [], "skip"),
        ("192.0.2.1", 26, [], "skip"),
        ("192.0.2.1", 27, [], ""),
        ("2001:db8::1", 25, [], "skip"),
        ("2001:db8::1", 443, [], ""),
        ("198.51.100.7", 80, ["cdn.example.com"], "allow cdn.example.com"),
    ],
)
def test_the_example_of_the_documentation(dest, port, names, action):
    assert decided(EXAMPLE, dest, port, names=names) == action
    assert decided(EXAMPLE, dest, port, names=names, container="agent-7") == action


def test_the_section_of_the_documentations_example():
    names = ["registry.example.org"]
    assert decided(EXAMPLE, "192.0.2.1", names=names, container="agent-7") == "allow registry.example.org"
    assert decided(EXAMPLE, "192.0.2.1", names=names, container="c1") == ""


def test_the_order_of_the_lines_is_the_order_of_the_rules():
    assert decided("skip 203.0.113.1\ndeny 203.0.113.0/24", "203.0.113.1") == "skip"
    assert decided("deny 203.0.113.0/24\nskip 203.0.113.1", "203.0.113.1") == "deny"


def test_a_request_may_go_on_behind_a_rule():
    text = "allow *.example.com\n# nothing\nskip *"
    assert decided(text, "203.0.113.1", names=["a.example.com"]) == "allow a.example.com"
    assert decided(text, "203.0.113.1", names=["a.example.com"], after=0) == "skip"
    assert decided(text, "203.0.113.1", names=["a.example.com"], after=1) == ""


def test_a_rule_of_another_policy_comes_before_all_of_these():
    text = "allow *.example.com\nskip 203.0.113.0/24"
    other = rules(text).rules[1]
    found = rules(text).of("c1").decide("203.0.113.1", 443, TCP, False, ["a.example.com"], other)
    assert found is not None and found.action == "allow"


def test_a_rule_of_a_longer_policy_comes_before_all_of_these():
    last = rules("skip *\nask *\ndeny *").rules[-1]
    found = rules("deny 203.0.113.9\nskip *").of("c1").decide("203.0.113.9", 443, TCP, False, after=last)
    assert found is not None and found.rule.text == "deny 203.0.113.9"


def test_a_file_without_rules_decides_nothing():
    for text in ("", "\n\n", "  # nothing\n\t\n", b"\xef\xbb\xbf", b"\r\n", "\f\n"):
        assert rules(text).rules == ()
        assert decided(text, "203.0.113.1") == ""


def test_a_rule_is_told_as_it_is_written_without_its_comment_and_its_blanks():
    (rule,) = rules(b"\xef\xbb\xbf \tallow\t203.0.113.0/24   port  443\ttcp  # why\r\n").rules
    assert (rule.text, rule.index) == ("allow 203.0.113.0/24 port 443 tcp", 0)
    assert repr(rule) == "Rule(0, 'allow 203.0.113.0/24 port 443 tcp')"


# --- names


@pytest.mark.parametrize(
    "target, name, matches",
    [
        ("www.example.com", "www.example.com", True),
        ("WWW.Example.COM", "www.example.com", True),
        ("www.example.com", "ww.example.com", False),
        ("www.example.com", "www.example.com.evil.example", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "notexample.com", False),
        ("*.example.com", "www.example.com.evil.example", False),
        ("*.EXAMPLE.com", "www.example.com", True),
    ],
)
def test_a_name_or_a_suffix_matches_whole_labels(target, name, matches):
    assert decided("allow " + target, "203.0.113.1", names=[name]) == ("allow " + name if matches else "")
    assert decided("skip " + target, "203.0.113.1", names=[name]) == ("skip" if matches else "")


def test_of_several_names_the_first_that_matches_is_allowed():
    names = ["evil.example", "b.example.com", "a.example.com"]
    assert decided("allow *.example.com", "203.0.113.1", names=names) == "allow b.example.com"


def test_a_name_rule_looks_at_ports_too():
    assert decided("allow *.example.com port 443", "203.0.113.1", 80, names=["a.example.com"]) == ""


@pytest.mark.parametrize("name", ["_sip.example.com", "a_b.example.com"])
def test_a_name_that_is_no_target_is_never_allowed_but_may_be_skipped(name):
    assert decided("allow *.example.com", "203.0.113.1", names=[name]) == ""
    assert decided("skip *.example.com", "203.0.113.1", names=[name]) == "skip"
    assert decided("skip " + name, "203.0.113.1", names=[name]) == "skip"
    assert (
        decided("allow *.example.com", "203.0.113.1", names=[name, "c.example.com"]) == "allow c.example.com"
    )


def test_a_rule_on_a_name_never_yields_an_address():
    found = rules("allow *.example.com").of("c1").decide("203.0.113.1", 443, TCP, False, ["a.example.com"])
    assert found is not None and found.name == "a.example.com"


# --- addresses and networks


@pytest.mark.parametrize(
    "target, dest, matches",
    [
        ("203.0.113.1", "203.0.113.1", True),
        ("203.0.113.1", "203.0.113.10", False),
        ("203.0.113.0/24", "203.0.113.255", True),
        ("203.0.113.0/24", "203.0.114.0", False),
        ("203.0.113.128/25", "203.0.113.127", False),
        ("203.0.113.1/32", "203.0.113.1", True),
        ("128.0.0.0/1", "203.0.113.1", True),
        ("128.0.0.0/1", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("2001:DB8:0::1", "2001:db8::1", True),
        ("2001:db8::1/128", "2001:db8::1", True),
        ("8000::/1", "203.0.113.1", False),
        ("*", "203.0.113.1", True),
        ("*", "2001:db8::1", True),
    ],
)
def test_what_a_target_matches(target, dest, matches):
    assert decided("skip " + target, dest) == ("skip" if matches else "")


@pytest.mark.parametrize("target, dest", [("::/8", "203.0.113.9"), ("203.0.113.0/24", "::cb00:7109")])
def test_no_network_holds_an_address_of_the_other_kind(target, dest):
    """Their numbers would match."""
    assert decided("deny " + target, dest) == ""


def test_what_is_no_address_is_in_no_network():
    assert decided("deny 128.0.0.0/1\ndeny 0.0.0.0/1\ndeny ::/1", "nowhere") == ""
    assert "203.0.113.9" not in ruleset.Network("203.0.113.0", 24)


@pytest.mark.parametrize("action", ["deny", "skip", "ask"])
def test_a_rule_that_allows_nothing_need_not_lie_in_a_private_range(action):
    assert decided(action + " 0.0.0.0/1", "10.1.2.3", private=True) == action


def test_an_address_rule_allows_the_blocked_address_and_nothing_else():
    found = rules("allow 203.0.113.0/24").of("c1").decide("203.0.113.7", 443, TCP, False, ["a.example.com"])
    assert found is not None and (found.action, found.name) == ("allow", "")


# --- ports and protocols


@pytest.mark.parametrize(
    "words, port, proto, matches",
    [
        ("port 443", 443, TCP, True),
        ("port 443", 443, UDP, True),
        ("port 443", 444, TCP, False),
        ("port 443", None, TCP, False),
        ("port 443", 443, None, True),
        ("port 25-26", 25, TCP, True),
        ("port 25-26", 26, TCP, True),
        ("port 25-26", 24, TCP, False),
        ("port 0-65535", 0, TCP, True),
        ("port 0-65535", None, TCP, False),
        ("tcp", 443, TCP, True),
        ("tcp", 443, UDP, False),
        ("tcp", 443, None, False),
        ("tcp", None, TCP, True),
        ("udp", 53, UDP, True),
        ("udp", None, 1, False),
        ("port 53 udp", 53, UDP, True),
        ("udp port 53", 53, UDP, True),
        ("udp port 53", 53, TCP, False),
        ("", None, None, True),
    ],
)
def test_what_is_unknown_matches_only_a_rule_that_does_not_ask(words, port, proto, matches):
    assert decided("skip * " + words, "203.0.113.1", port, proto) == ("skip" if matches else "")


# --- what stays shut


GUARDED = [
    ("10.0.0.0/8", "10.1.2.3"),
    ("172.16.0.0/12", "172.16.0.1"),
    ("192.168.0.0/16", "192.168.1.1"),
    ("169.254.0.0/16", "169.254.7.7"),
    ("fc00::/7", "fd12::1"),
    ("fe80::/10", "fe80::1"),
]


@pytest.mark.parametrize("network, dest", GUARDED)
@pytest.mark.parametrize("private", [True, False])
def test_only_a_rule_for_that_very_range_allows_a_private_address(network, dest, private):
    wide = "allow 0.0.0.0/1\nallow 128.0.0.0/1\nallow ::/1\nallow 8000::/1\nallow *.example.com"
    assert decided(wide, dest, private=private, names=["a.example.com"]) == ""
    assert decided(wide + "\nallow " + network, dest, private=private) == "allow"
    assert decided("allow " + dest, dest, private=private) == "allow"
    assert decided("deny %s\n" % network + wide, dest, private=private) == "deny"


def test_a_range_that_is_only_partly_private_does_not_do():
    assert decided("allow 10.0.0.0/7", "10.1.2.3") == ""
    assert decided("allow 172.0.0.0/8", "172.16.0.1") == ""
    assert decided("allow 172.16.0.0/16", "172.16.0.1") == "allow"


@pytest.mark.parametrize(
    "dest, around", [
        ("169.254.1.2", "169.254.0.0/16"), ("10.0.2.2", "10.0.2.0/24"), ("fd00::2", "fd00::/8"),
        ("169.254.169.254", "169.254.169.0/24"), ("fd00:ec2::254", "fd00:ec2::/32"),
    ],
)  # fmt: skip
def test_the_hosts_loopback_and_a_metadata_service_have_to_be_named_themselves(dest, around):
    for private in (True, False):
        assert decided("allow " + around, dest, private=private) == ""
        assert decided("allow *.example.com", dest, private=private, names=["a.example.com"]) == ""
        assert decided("allow " + dest, dest, private=private) == "allow"
        assert decided("skip " + around, dest, private=private) == "skip"


def test_an_address_that_only_the_shield_calls_private_has_to_be_named_itself():
    assert decided("allow 203.0.113.0/24", "203.0.113.1", private=True) == ""
    assert decided("allow 203.0.113.1", "203.0.113.1", private=True) == "allow"


def test_an_address_that_others_call_private_is_like_any_other():
    assert decided("allow 198.18.0.0/15", "198.18.0.1") == "allow"
    assert decided("allow 203.0.113.0/24", "203.0.113.1") == "allow"


# --- mistakes


EVERYTHING = "--answer allow --for SECONDS, or * for deny, skip and ask"
TARGET_NAME = "a name with a dot in it, without `_` and not under localhost; else its address"
NETWORKS = "203.0.113.0/24 or 2001:db8::/32"
PORTS = "port 443 or port 8000-8080"
SKIP = "skip, with the same words behind it"


@pytest.mark.parametrize(
    "line, reason, hint",
    [
        ("allow", "no target", policy.SYNTAX),
        ("permit 203.0.113.1", "no such action: permit", "allow, deny, skip or ask"),
        ("ALLOW 203.0.113.1", "no such action: ALLOW", "allow, deny, skip or ask"),
        ("allow *", "allow * would open everything", "--answer allow --for SECONDS"),
        ("allow * port 443", "allow * would open everything", "--answer allow --for SECONDS"),
        ("allow 0.0.0.0/0", "a network of /0 is everything", EVERYTHING),
        ("skip ::/0", "a network of /0 is everything", EVERYTHING),
        ("deny www.example.com", "deny takes an address or a network, not a name", "skip www.example.com"),
        ("deny *.example.com", "deny takes an address or a network, not a name", "skip *.example.com"),
        ("deny 203.0.113.1 port 443", "terok-shield denies whole addresses, not ports", SKIP),
        ("deny 203.0.113.1 tcp", "terok-shield denies whole addresses, not ports", SKIP),
        ("allow 203.0.113.7/24", "203.0.113.7/24 has bits set behind its prefix", "203.0.113.0/24"),
        ("allow 2001:db8::1/32", "2001:db8::1/32 has bits set behind its prefix", "2001:db8::/32"),
        ("allow 203.0.113.0/33", "not a network: 203.0.113.0/33", "the prefix has at most 32 bits"),
        ("allow 203.0.113.0/255.255.255.0", "not a network: 203.0.113.0/255.255.255.0", NETWORKS),
        ("allow 203.0.113.0/", "not a network: 203.0.113.0/", NETWORKS),
        ("allow 203.0.113.0/0024", "not a network: 203.0.113.0/0024", NETWORKS),
        ("allow 203.0.113.0/2\u00b2", "not a network: 203.0.113.0/2\\xb2", NETWORKS),
        ("allow 203.0.113/24", "not a network: 203.0.113/24", NETWORKS),
        ("allow ::ffff:203.0.113.1", "neither a name nor an address: ::ffff:203.0.113.1", policy.TARGETS),
        ("allow 203.0.113.01", "neither a name nor an address: 203.0.113.01", policy.TARGETS),
        ("allow 203.0.113", "neither a name nor an address: 203.0.113", policy.TARGETS),
        ("allow www.example.com.", "neither a name nor an address: www.example.com.", "www.example.com"),
        ("allow http://x.example", "neither a name nor an address: http://x.example", "x.example"),
        ("allow https://x.example:8443/a/b", "neither a name nor an address: https://x.example:8443/a/b",
         "x.example port 8443"),
        ("allow EXAMPLE.COM.", "neither a name nor an address: EXAMPLE.COM.", "example.com"),
        ("allow 203.0.113.1:443", "neither a name nor an address: 203.0.113.1:443", "203.0.113.1 port 443"),
        ("allow [2001:db8::1]:443", "neither a name nor an address: [2001:db8::1]:443",
         "2001:db8::1 port 443"),
        ("allow ://", "neither a name nor an address: ://", policy.TARGETS),
        ("allow www.example.com:443", "neither a name nor an address: www.example.com:443",
         "www.example.com port 443"),
        ("allow -h", "neither a name nor an address: -h", policy.TARGETS),
        ("allow localhost", "not a name that can be allowed: localhost", TARGET_NAME),
        ("allow a_b.example.com", "not a name that can be allowed: a_b.example.com", TARGET_NAME),
        ("allow *.a_b.example.com", "not a name that can be allowed: *.a_b.example.com", TARGET_NAME),
        ("allow *.", "not a suffix: *.", "*.example.com"),
        ("allow *.\u00e9.example", "not a suffix: *.\\xe9.example", "*.example.com"),
        ("allow www.example.com:44\u00b2", "neither a name nor an address: www.example.com:44\\xb2",
         policy.TARGETS),
        ("allow *.*.example.com", "not a suffix: *.*.example.com", "*.example.com"),
        ("allow www.*.com", "neither a name nor an address: www.*.com", policy.TARGETS),
        ("skip * port", "no port after `port`", PORTS),
        ("skip * port https", "not a port: https", PORTS),
        ("skip * port 443,80", "not a port: 443,80", PORTS),
        ("skip * port -1", "not a port: -1", PORTS),
        ("skip * port 000443", "not a port: 000443", PORTS),
        ("skip * port 44\u00b2", "not a port: 44\\xb2", PORTS),
        ("skip * port 65536", "not a range of ports: 65536", "from 0 to 65535, the smaller first"),
        ("skip * port 26-25", "not a range of ports: 26-25", "from 0 to 65535, the smaller first"),
        ("skip * port 1 port 2", "not understood: port", policy.SYNTAX),
        ("skip * tcp udp", "not understood: udp", policy.SYNTAX),
        ("skip * 443", "not understood: 443", policy.SYNTAX),
        ("allow 203.0.113.1 203.0.113.2", "not understood: 203.0.113.2", policy.SYNTAX),
        ("skip *\x0b", "a control character in it", ""),
        ("skip\t*\x1ftcp", "a control character in it", ""),
        ("skip \u2003*", "a control character in it", ""),
        ("skip *\rallow 203.0.113.1", "a control character in it", ""),
        ("skip *\0", "a control character in it", ""),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line_its_reason_and_its_remedy(line, reason, hint):
    assert mistake(line) == (reason, hint)
    assert mistake("# fine\n\nskip *\n" + line) == (reason, hint)


def test_every_mistake_is_told_and_the_other_lines_are_rules():
    found, mistakes = policy.read(b"skip *\nallow *\n# fine\ndeny x.example\nask *\n\xff", "rules")
    assert [rule.text for rule in found.rules] == ["skip *", "ask *"]
    assert [str(mistake).split(" ")[0] for mistake in mistakes] == ["rules:2:", "rules:4:", "rules:6:"]
    assert len(policy.read(b"no\n" * 1000, "rules")[1]) == policy.MISTAKES


def test_what_is_not_text_is_a_mistake():
    assert mistake(b"skip *\n\xff\xfe") == ("not UTF-8 text", "")
    assert mistake("skip *".encode("utf-16")) == ("not UTF-8 text", "")


def test_a_carriage_return_hides_no_rule_behind_a_comment():
    """An editor shows one line of comment there, and it is one."""
    assert rules("# mirrors\rallow 203.0.113.1\nskip *").rules[0].text == "skip *"


def test_a_comment_may_hold_anything_that_is_text():
    assert len(rules("skip * # \x1b[2J \u2014 \0\n#\x7f").rules) == 1


def test_what_is_quoted_is_safe_to_print():
    long, name = "y" * 100_000, ".".join(["x" * 60] * 4)
    for line in (
        "allow \x1b[2J", "\u202eallow *", long, "allow " + long, "allow *." + long,
        "allow 203.0.113.0/" + long, "allow 203.0.113.0/" + "9" * 5000,
        "skip * port " + "9" * 5000, "skip * port " + long, "skip * " + long,
        "allow http://" + name + "/", "deny " + name, "allow a_b." + name,
    ):  # fmt: skip
        with pytest.raises(PolicyError) as caught:
            parse(line.encode(), "r\x1bules\n")
        for text in (str(caught.value), caught.value.hint):
            assert text.isascii() and text.isprintable() and len(text) < 150


def test_a_file_too_large_is_a_mistake_and_not_read_on():
    with pytest.raises(PolicyError, match="^rules: more than 1048576 bytes$"):
        parse(b"#" * (policy.LARGEST + 1), "rules")
    assert parse(b"#" * policy.LARGEST, "rules").rules == ()


# --- sections

SOME_SECTIONS = """\
allow 203.0.113.1           # of all, whatever comes behind
[agent-*]                   # of some
skip  203.0.113.0/24
allow *.example.com
[web]
deny  203.0.113.0/24
  [agent-7]\r
ask   *
"""


@pytest.mark.parametrize(
    "container, dest, names, action",
    [
        ("agent-7", "203.0.113.1", [], "allow"),
        ("web", "203.0.113.1", [], "allow"),
        ("other", "203.0.113.1", [], "allow"),
        ("agent-7", "203.0.113.2", [], "skip"),
        ("agent-8", "203.0.113.2", [], "skip"),
        ("web", "203.0.113.2", [], "deny"),
        ("other", "203.0.113.2", [], ""),
        ("agent-7", "192.0.2.1", [], "ask"),
        ("agent-8", "192.0.2.1", [], ""),
        ("web", "192.0.2.1", ["www.example.com"], ""),
        ("agent-8", "192.0.2.1", ["www.example.com"], "allow www.example.com"),
        ("agent-7", "192.0.2.1", ["www.example.com"], "allow www.example.com"),
    ],
)
def test_rules_of_a_section_hold_for_the_containers_it_names_behind_those_of_all(
    container, dest, names, action
):
    assert decided(SOME_SECTIONS, dest, names=names, container=container) == action


def test_sections_of_one_pattern_keep_the_order_of_the_file():
    text = "[c1]\nask 203.0.113.1\n[c*]\nskip 203.0.113.0/24\n[c1]\ndeny 203.0.113.0/24"
    assert decided(text, "203.0.113.1") == "ask"
    assert decided(text, "203.0.113.2") == "skip"
    assert decided(text, "203.0.113.2", after=1) == "deny"


def test_a_rule_is_told_with_its_section():
    assert [rule.text for rule in rules(SOME_SECTIONS).rules] == [
        "allow 203.0.113.1",
        "[agent-*] skip 203.0.113.0/24",
        "[agent-*] allow *.example.com",
        "[web] deny 203.0.113.0/24",
        "[agent-7] ask *",
    ]


def test_what_is_said_of_the_rules_is_said_of_those_that_hold_for_the_container():
    found = rules(
        "[c1]\nskip *\n[c2]\nallow www.example.com\nallow 203.0.113.1 port 80\nask *.example.org\n"
        "[c4]\nask *.example.org\n[c?]\nask 192.0.2.1"
    )
    one, other, none = (found.of(name) for name in ("c1", "c2", "c3"))
    assert [part.number for part in (one, other, none)] == [2, 4, 1]
    assert [part.first_named for part in (one, other, none)] == [None, 1, None]
    first = [part.before("allow", "203.0.113.1") for part in (one, other, none)]
    assert [rule and rule.action for rule in first] == ["skip", None, None]
    first = [part.before("deny", "203.0.113.1") for part in (one, other, none)]
    assert [rule and rule.action for rule in first] == ["skip", "allow", None], (
        "on a port, of the whole address"
    )
    first = [part.before("allow", "www.example.com") for part in (one, other, none)]
    assert [rule and rule.action for rule in first] == ["skip", "allow", None]
    assert [part.allows("203.0.113.1", False, []) for part in (one, other, none)] == [False, True, False]


def test_of_a_container_without_a_name_each_rule_is_there_once():
    """As of a recording that never says whose it is."""
    part = rules("skip *\n[c1]\nask *\n[*]\nask 203.0.113.1\n[?]\nask *").of("")
    found = part.matching("203.0.113.1", 443, TCP, False)
    assert [each.rule.text for each in found] == ["skip *", "[*] ask 203.0.113.1"] and part.number == 2


@pytest.mark.parametrize(
    "pattern, names, others",
    [
        ("c1", ["c1"], ["c2", "c", "c11", "C1", "xc1", "", "*"]),
        ("*", ["c1", "host/c1", "a.b-c_d"], []),
        ("agent-*", ["agent-", "agent-7", "agent-7/x"], ["agent", "an-agent-7", "host/agent-7"]),
        ("*-agent", ["my-agent", "host/-agent"], ["agent", "my-agent2"]),
        ("c?", ["c1", "c."], ["c", "c11", "c/1"]),
        ("host/*", ["host/c1", "host/other/c1"], ["host", "c1", "otherhost/c1"]),
        ("*/c1", ["host/c1", "a/b/c1"], ["c1", "host/c11"]),
        ("*a*b*", ["ab", "xaxbx", "aab"], ["ba", "a", "b"]),
        ("a**?b", ["axb", "aaab"], ["ab"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_a_pattern_is_about_whole_names(pattern, names, others):
    text = "[%s]\nskip *" % pattern
    assert [name for name in [*names, *others] if decided(text, "203.0.113.1", container=name)] == names


@given(st.text("*?ab-./", max_size=12), st.text("ab-./*?", max_size=12))
@example("*a*a*a*b", "aaaa")
def test_a_pattern_means_what_a_shell_means_by_its_two_signs(pattern, name):
    assert ruleset.is_match(pattern, name) == fnmatch.fnmatchcase(name, pattern)


def test_no_name_and_no_pattern_takes_long():
    """Whoever starts containers chooses their names."""
    for pattern in ("*a" * 100 + "b", "?*" * 100 + "b", "*" * 200 + "b"):
        for number in (50, 200):
            steps = lines_run(lambda n=number, p=pattern: ruleset.is_match(p, "a" * n))
            assert steps < 100 * len(pattern) + 10 * len(pattern) * number


@pytest.mark.parametrize(
    "line, reason",
    [
        ("[", "not a section: ["),
        ("[]", "not a section: []"),
        ("[c1", "not a section: [c1"),
        ("[c1 # ]", "not a section: [c1"),
        ("[c1] skip *", "not understood behind a section: skip *"),
        ("[c1]]", "not understood behind a section: ]"),
        ("[c1][c2]", "not understood behind a section: [c2]"),
        ("[c1 c2]", "no container has a name like this: c1 c2"),
        ("[ c1 ]", "no container has a name like this:  c1 "),
        ("[c1,c2]", "no container has a name like this: c1,c2"),
        ("[[c1]]", "not understood behind a section: ]"),
        ("[-c1]", "no container has a name like this: -c1"),
        ("[.*]", "no container has a name like this: .*"),
        ("[/c1]", "no container has a name like this: /c1"),
        ("[c1/]", "no container has a name like this: c1/"),
        ("[host//c1]", "no container has a name like this: host//c1"),
        ("[host/-*]", "no container has a name like this: host/-*"),
        ("[me@host/c1]", "no container has a name like this: me@host/c1"),
        ("[c!1]", "no container has a name like this: c!1"),
        ("[\u00e4]", "no container has a name like this: \\xe4"),
    ],
)
def test_a_wrong_section_is_a_mistake(line, reason):
    assert mistake("skip *\n" + line) == (reason, mistake(line)[1])
    assert mistake(line)[1] in (policy.SECTIONS, "a line of its own")


@pytest.mark.parametrize(
    "line", ["[c\t1]", "[c1]\x1b", "\x1b[c1]", "[c\x00]", "[c\x7f1]", "[c\u202e1]", "\ufeff[c1]"]
)
def test_a_control_character_is_a_mistake_in_a_section_too(line):
    reason, _ = mistake("skip *\n" + line)
    assert reason in ("a control character in it", "no container has a name like this: c\\x091")


@pytest.mark.parametrize(
    "pattern", ["c1", "*", "?", "*?*", "_x", "*.x", "*-x", "?.-", "*/c1", "?/*", "a/b/c.-", "7"]
)
def test_a_pattern_that_a_name_can_match_is_none(pattern):
    assert rules("[%s]" % pattern).rules == ()


def is_container(name):
    """Of a container here, or of one of another machine."""
    return all(re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_.-]*", part) for part in name.split("/"))


@given(st.text("*?a-./! ", min_size=1, max_size=5))
def test_a_pattern_is_refused_exactly_when_no_name_can_match_it(pattern):
    """Where a sign stands for anything, at most two characters in its place are as good as any number."""
    choices = {"*": ["", "a", ".", "/", "aa", "a/", "/a"], "?": ["a", ".", "/"]}
    places = [choices.get(sign, [sign]) for sign in pattern]
    possible = any(is_container("".join(name)) for name in itertools.product(*places))
    _, mistakes = policy.read(b"[%s]" % pattern.encode(), "rules")
    assert bool(mistakes) is not possible


@pytest.mark.parametrize("line", ["[", "[c1", "[a b]", "[c1] skip *", "\x1b[c1]", b"[c\xff1]"])
def test_rules_of_a_wrong_section_are_nobodys(line):
    """They were meant for some, and are not for all, nor for those of the section before."""
    line = line if isinstance(line, bytes) else line.encode()
    found, mistakes = policy.read(
        b"ask 192.0.2.1\n[c*]\nask 192.0.2.2\n%s\nskip *\nwrong\n[c1]\nask 192.0.2.3" % line, "rules"
    )
    assert [str(each).partition(":")[2][:2] for each in mistakes] == ["4:", "6:"]
    assert [rule.text for rule in found.rules] == [
        "ask 192.0.2.1",
        "[c*] ask 192.0.2.2",
        "[c1] ask 192.0.2.3",
    ]
    assert [rule.index for rule in found.rules] == [0, 1, 2]


@pytest.mark.parametrize(
    "text, section",
    [
        ("", ""),
        ("skip *\n# [c1]\nask * # [c1]\n", ""),
        ("wrong\n\xff\n", ""),
        ("[c1]", "c1"),
        ("\xef\xbb\xbf[c1]\nskip *\n", "c1"),
        ("[c1]\n[c*]  # all\nskip *\nwrong\n# [c2]\n\n", "c*"),
        ("[c1]\n[c2 c3]\n", None),
        ("[c1]\n[\xff]\n", None),
        ("[c1]\nskip [::1]\n", None),
        ("[c1]\nskip [c2]\n", None),
        ("wrong\n" * 60 + "[c1]\n", "c1"),
    ],
)
def test_a_rule_added_at_the_end_stands_in_the_last_section(text, section):
    assert policy.last_section(text.encode("latin-1")) == section


# --- whatever is in it


WORDS = [
    *(
        "allow",
        "deny",
        "skip",
        "ask",
        "*",
        "port",
        "tcp",
        "udp",
        "443",
        "25-26",
        "0-65535",
        "#",
        "\t",
        "\r",
        "\x0b",
    ),
    *("203.0.113.0/24", "203.0.113.9", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "fd00::2", "::", "/", "-"),
    *("[c1]", "[c*]", "[", "[]", "\n[*]\n"),
    *("*.example.com", "www.example.com", "a_b.example.com", "localhost", "\u00e4", "\ufeff", "\0", "9" * 30),
]


def agreeable(data):
    """Parses or raises PolicyError; what parses decides nothing that the interface excludes."""
    try:
        found = parse(data, "rules").of("c1")
    except PolicyError as error:
        assert str(error).isascii() and str(error).startswith("rules")
        return False
    for dest, private in (("203.0.113.9", False), ("10.0.2.2", True), ("fd00::2", True), ("10.1.1.1", True)):
        for names in ([], ["www.example.com", "a_b.example.com"]):
            decision = found.decide(dest, 443, TCP, private, names)
            if decision is None:
                continue
            rule = decision.rule
            assert decision.action in policy.ACTIONS
            assert not decision.name or (decision.action == "allow" and is_target_name(decision.name))
            assert not (rule.action == "deny" and (rule.named or rule.ports or rule.protos))
            if rule.action == "allow":
                assert bool(decision.name) == rule.named
                assert rule.named or rule.network is not None, "never everything"
                assert rule.network is None or rule.network.length > 0
                if private:
                    assert rule.network is not None and rule.network.length >= 7
    return True


def test_any_words_in_any_order_are_rules_or_one_mistake(rounds):
    chance = random.Random(3)
    good = 0
    for _ in range(rounds(20_000)):
        lines = [
            " ".join(chance.choice(WORDS) for _ in range(chance.randrange(6)))
            for _ in range(chance.randrange(1, 3))
        ]
        good += agreeable("\n".join(lines).encode())
    assert good > rounds(500)


def test_a_mutated_file_is_rules_or_one_mistake(rounds):
    chance = random.Random(4)
    good = 0
    for _ in range(rounds(10_000)):
        data = bytearray(EXAMPLE.encode())
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = bytes(
                chance.randrange(256) for _ in range(chance.randrange(3))
            )
        good += agreeable(bytes(data))
    assert good > rounds(500)


@given(st.binary(max_size=200))
def test_any_bytes_are_rules_or_one_mistake(data):
    agreeable(data)


# --- found by what they are about

NETWORKS = [
    "203.0.113.9",
    "203.0.113.8/29",
    "203.0.113.0/24",
    "0.0.0.0/1",
    "2001:db8::9",
    "2001:db8::/32",
    "8000::/1",
]
PLACES = [*NETWORKS, "www.example.com", "example.com", "*.example.com", "*.www.example.com", "*.com", "*"]


def test_a_file_decides_as_its_rules_do_one_by_one(rounds):
    """However they are found: what a rule alone is about, it is about among others, in their order."""
    chance = random.Random(5)
    for _ in range(rounds(2000)):
        lines = ["skip " + chance.choice(PLACES) for _ in range(chance.randrange(12))]
        whole = rules("\n".join(lines))
        dest = chance.choice(["203.0.113.9", "203.0.113.7", "192.0.2.1", "2001:db8::9", "2001:db9::"])
        names = chance.sample(["www.example.com", "a.b.example.com", "example.com", "com.example"], 2)
        found = [one.rule.index for one in whole.of("c1").matching(dest, 443, TCP, False, names)]
        alone = [bool(decided(line, dest, names=names)) for line in lines]
        assert found == [index for index, decides in enumerate(alone) if decides], lines


SECTION_LINES = st.text("*?ab/", min_size=1, max_size=4).filter(
    lambda text: not policy.read(b"[%s]" % text.encode(), "rules")[1]
)
RULE_LINES = st.sampled_from([action + " " + place for action in ("skip", "ask") for place in PLACES])


@given(
    st.lists(st.one_of(RULE_LINES, SECTION_LINES.map("[{}]".format)), max_size=20),
    st.lists(st.text("ab/", min_size=1, max_size=4), min_size=1, max_size=4),
    st.sampled_from(["203.0.113.9", "203.0.113.7", "2001:db8::9"]),
    st.sampled_from([[], ["www.example.com"], ["example.com", "www.example.com"]]),
)
def test_a_file_with_sections_decides_as_the_lines_of_each_container_alone(lines, containers, dest, names):
    """The model: a container's file is the lines that hold for it, with all sections taken out."""
    whole = rules("\n".join(lines))
    for container in containers:
        section, ours, kept = "*", [], []
        for line in lines:
            if line.startswith("["):
                section = line[1:-1]
                continue
            kept.append(line)
            if fnmatch.fnmatchcase(container, section):
                ours.append(len(kept) - 1)
        alone = rules("\n".join(kept[index] for index in ours)).of(container)
        want = [ours[one.rule.index] for one in alone.matching(dest, 443, TCP, False, names)]
        found = whole.of(container)
        assert [one.rule.index for one in found.matching(dest, 443, TCP, False, names)] == want
        assert found.number == len(ours)
        before = [part.before("skip", dest) for part in (found, alone)]
        texts = [rule and rule.text.rpartition("] ")[2] for rule in before]
        assert texts[0] == texts[1]


def test_a_container_finds_its_sections_as_quickly_among_thousands():
    """Those of one name; a pattern has to be looked at, once for each container."""

    def cost(number):
        found = rules("".join("[a%d]\nskip *\n" % index for index in range(number)))
        return lines_run(lambda: found.of("a1"))

    assert cost(20_000) <= cost(20)


def test_what_is_remembered_of_containers_is_bounded():
    """They come and go under ever new names."""
    found = rules("skip 203.0.113.1\n[c?]\nask *")
    sizes = []
    for number in range(3 * ruleset.PARTS):
        assert found.of("c%d" % number).number == (2 if number < 10 else 1)
        sizes.append(max(map(len, tables(found))))
    assert max(sizes) <= ruleset.PARTS
    kept = found.of("c3")
    assert found.of("c4") is not kept and found.of("c3") is kept


@pytest.mark.parametrize(
    "what",
    [
        "deny 198.%d.%d.1",
        "deny 198.%d.%d.0/25",
        "skip n%d-%d.example",
        "skip *.n%d-%d.example",
        "[a%d-%d]\nallow *.example.com",
        "[?%d-%d*]\ndeny 203.0.113.0/24",
    ],
)
def test_deciding_takes_as_long_with_tens_of_thousands_of_rules_as_with_a_few(what):
    """Whoever is inside makes thousands of requests a second, and a list of what to deny may be long."""

    def cost(number):
        found = rules("".join(what % divmod(index, 250) + "\n" for index in range(number))).of("a0-1")
        return lines_run(lambda: found.decide("203.0.113.9", 443, TCP, False, ["www.example.com"]))

    assert cost(20_000) <= cost(20)
