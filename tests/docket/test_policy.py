"""The policy file: what each line means, which rule decides, and what is refused when it is read."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import lines_run

from simple_clearance.base.addresses import is_target_name
from simple_clearance.docket import policy
from simple_clearance.docket.policy import PolicyError, parse

TCP, UDP = 6, 17

EXAMPLE = """\
# first match wins; what nothing matches is asked
allow  *.example.com               # a name, or *.suffix: runs `allow NAME`
allow  203.0.113.0/24  port 443    # an address or network: allows the blocked address (all its ports)
deny   198.51.100.0/24
skip   *               port 25-26 tcp
ask    203.0.113.9
"""


def rules(text):
    return parse(text.encode() if isinstance(text, str) else text, "rules")


def decided(text, dest, port=443, proto=TCP, *, private=False, names=(), after=None):
    """`allow`, `allow www.example.com`, …; "" when nothing matches.  `after` is the number of a rule."""
    policy = rules(text)
    behind = None if after is None else policy.rules[after]
    found = policy.decide(dest, port, proto, private, names, behind)
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
    assert rules(text).decide("203.0.113.1", 443, TCP, False, ["a.example.com"], other).action == "allow"


def test_a_rule_of_a_longer_policy_comes_before_all_of_these():
    last = rules("skip *\nask *\ndeny *").rules[-1]
    found = rules("deny 203.0.113.9\nskip *").decide("203.0.113.9", 443, TCP, False, after=last)
    assert found is not None and found.rule.text == "deny 203.0.113.9"


def test_a_file_without_rules_decides_nothing():
    for text in ("", "\n\n", "  # nothing\n\t\n", b"\xef\xbb\xbf", b"\r\n"):
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
    found = rules("allow *.example.com").decide("203.0.113.1", 443, TCP, False, ["a.example.com"])
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
    assert "203.0.113.9" not in policy.Network("203.0.113.0", 24)


@pytest.mark.parametrize("action", ["deny", "skip", "ask"])
def test_a_rule_that_allows_nothing_need_not_lie_in_a_private_range(action):
    assert decided(action + " 0.0.0.0/1", "10.1.2.3", private=True) == action


def test_an_address_rule_allows_the_blocked_address_and_nothing_else():
    found = rules("allow 203.0.113.0/24").decide("203.0.113.7", 443, TCP, False, ["a.example.com"])
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
    *("*.example.com", "www.example.com", "a_b.example.com", "localhost", "\u00e4", "\ufeff", "\0", "9" * 30),
]


def agreeable(data):
    """Parses or raises PolicyError; what parses decides nothing that the interface excludes."""
    try:
        found = parse(data, "rules")
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
        found = [one.rule.index for one in whole.matching(dest, 443, TCP, False, names)]
        alone = [bool(decided(line, dest, names=names)) for line in lines]
        assert found == [index for index, decides in enumerate(alone) if decides], lines


@pytest.mark.parametrize(
    "what", ["deny 198.%d.%d.1", "deny 198.%d.%d.0/25", "skip n%d-%d.example", "skip *.n%d-%d.example"]
)
def test_deciding_takes_as_long_with_tens_of_thousands_of_rules_as_with_a_few(what):
    """Whoever is inside makes thousands of requests a second, and a list of what to deny may be long."""

    def cost(number):
        found = rules("".join(what % divmod(index, 250) + "\n" for index in range(number)))
        return lines_run(lambda: found.decide("203.0.113.9", 443, TCP, False, ["www.example.com"]))

    assert cost(20_000) <= cost(20)
