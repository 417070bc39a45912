"""What reaches the verdict command, and what its exit code and its words mean.

The texts are those of the real command; each with journald too, where the warnings go there.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_clearance.docket.verdict import APPLIED, FAILED, UNKNOWN, command, outcome

NFT = (
    "2026-11-24 23:36:21,671 WARNING terok_shield: allow_ip failed for 198.51.100.30 on c1: "
    "['podman', 'unshare', '/usr/bin/nsenter', '-t', '12029', '-n', '/usr/sbin/nft', 'add', 'element', "
    "'inet', 'terok_shield', 't40_project_allow_v4', '{ 198.51.100.30 timeout 0s }'] failed (rc=1): "
)
ELEMENT = "add element inet terok_shield t40_project_allow_v4 { 198.51.100.30 timeout 0s }\n"
NO_IPS = "Error: No IPs allowed for c1\n"


# --- what reaches it


def test_a_verdict_is_the_command_the_action_the_container_and_one_target():
    assert command(["sudo", "terok-shield"], "allow", "c1", "203.0.113.10") == [
        *("sudo", "terok-shield", "allow", "c1", "203.0.113.10")
    ]
    assert command(["terok-shield"], "deny", "c1", "www.example.com")[1:] == ["deny", "c1", "www.example.com"]


@pytest.mark.parametrize(
    "target",
    [
        "0.0.0.0/0",
        "203.0.113.0/24",
        "::/0",
        "203.0.113.10:443",
        "-h",
        "--",
        "",
        " ",
        "localhost",
        "example",
        "nosuch.example.",
        "a b.example",
        "203.0.113.10 ",
        "203.0.113.010",
        "2001:DB8::1",
        "::ffff:203.0.113.10",
        "http://www.example.com",
        "_dmarc.example.com",
        "*.example.com",
        "www.example.com\n",
        "-x.example.com",
        "a.example/24",
        "1.2.3",
        "fe80::1%eth0",
        "all",
        "www..example.com",
        ".example.com",
        "\u0435xample.com",
    ],
)
def test_nothing_but_one_plain_address_or_checked_name_ever_becomes_a_target(target):
    with pytest.raises(ValueError):
        command(["terok-shield"], "allow", "c1", target)


@pytest.mark.parametrize("action", ["", "up", "down", "skip", "mute", "ALLOW", "allow-all", "quarantine"])
def test_there_are_two_actions(action):
    with pytest.raises(ValueError):
        command(["terok-shield"], action, "c1", "203.0.113.10")


# Names, addresses and what would break out of them; of all of Unicode a table would have to be made first.
ODD = "abz019AZ.:-_/%@'\"\\$&;|<>(){}*? \t\r\n\0\x07\x1b\x7f\x85\u00e4\u0430\u2028\u202e\ufeff\ud800"


@given(st.text(ODD, max_size=40))
def test_any_text_is_a_whole_target_or_refused(target):
    try:
        argv = command(["terok-shield"], "allow", "c1", target)
    except ValueError:
        return
    assert argv[-1] == target and set(target) <= set(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:-"
    )
    assert target[0] not in "-." and "/" not in target


# --- what it means


def test_an_allowed_address_is_what_was_opened():
    found = outcome("allow", "198.51.100.1", 0, "Allowed 198.51.100.1 -> 198.51.100.1 for c1\n", "", 0.4)
    assert (found.result, found.reason, found.opened, found.seconds) == (APPLIED, "", ("198.51.100.1",), 0.4)


def test_an_allowed_name_opened_what_the_command_printed():
    out = "Allowed blocked.example -> 198.51.100.1, 2001:db8:1::1 for c1\n"
    found = outcome("allow", "blocked.example", 0, out, "", 0.6)
    assert found.opened == ("198.51.100.1", "2001:db8:1::1")


@pytest.mark.parametrize(
    "out",
    [
        "",
        "usage: terok-shield [-h] ...\n",
        "Allowed blocked.example -> for c1\n",
        "Allowed\n",
        "x" * 100_000,
        "\xff\x00",
        "note: Allowed blocked.example -> 198.51.100.1 for c1\n",
        "Allowed blocked.example -> 198.51.100.0/24 for c1\n",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_was_not_printed_was_not_opened_by_name(out):
    found = outcome("allow", "blocked.example", 0, out, "", 0.6)
    assert (found.result, found.opened) == (APPLIED, ())


def test_a_denied_address_opens_nothing():
    found = outcome("deny", "198.51.100.3", 0, "Denied 198.51.100.3 (198.51.100.3) for c1\n", "", 0.45)
    assert (found.result, found.opened) == (APPLIED, ())


def test_warnings_of_a_command_that_succeeded_do_not_make_it_fail():
    err = "2026-11-24 WARNING terok_shield.dns.dnsmasq: generate_config: skipping invalid domain entry\n"
    assert (
        outcome("allow", "198.51.100.1", 0, "Allowed 198.51.100.1 -> 198.51.100.1 for c1\n", err, 1).result
        == APPLIED
    )


def test_overlaps_means_that_it_is_open_already():
    err = NFT + "Error: interval overlaps with an existing one\n" + ELEMENT + NO_IPS
    found = outcome("allow", "198.51.100.30", 1, "", err, 0.4)
    assert (found.result, found.reason, found.opened) == (APPLIED, "already-open", ("198.51.100.30",))


def test_overlaps_means_of_a_deny_that_it_is_denied_already():
    err = NFT + "Error: interval overlaps with an existing one\n"
    found = outcome("deny", "198.51.100.30", 1, "", err, 0.4)
    assert (found.result, found.reason, found.opened) == (APPLIED, "already-denied", ())


@pytest.mark.parametrize(
    "err, reason",
    [
        pytest.param(
            "No address for nosuch.example.\n" + NO_IPS, "no-address", id="a name that resolves to nothing"
        ),
        pytest.param(
            NFT + "Error: No such file or directory\n" + ELEMENT + "   ^^^^^^^^^^\n" + NO_IPS,
            "quarantine",
            id="quarantine",
        ),
        pytest.param(
            NFT + "nsenter: neither filename nor target pid supplied for ns/net\n" + NO_IPS,
            "not-running",
            id="stopped",
        ),
        pytest.param(
            "2026 WARNING terok_shield.container: podman inspect nosuch returned 125: Error: "
            'inspecting object: no such object: "nosuch"\n'
            "container 'nosuch' has no 'terok.shield.state_dir' annotation \u2014 was it launched "
            "through shield.pre_start()? Pass --state-dir=<root> if you know where its state lives.\n",
            "no-container",
            id="missing",
        ),
        pytest.param(
            "container 'plain' has no 'terok.shield.state_dir' annotation \u2014 was it launched through "
            "shield.pre_start()? Pass --state-dir=<root> if you know where its state lives.\n",
            "not-shielded",
            id="not shielded",
        ),
        pytest.param(NO_IPS, "exit", id="with journald nothing is left to tell"),
        pytest.param("Error: No IPs allowed for quarantine\n", "exit", id="a container of that name"),
        pytest.param("No address for quarantine.example.\n", "no-address", id="a name with that word"),
        pytest.param("", "exit", id="not a word"),
        pytest.param("Error: line 1: invalid target\n", "exit", id="something else"),
    ],
)
def test_a_failure_is_told_with_its_reason(err, reason):
    found = outcome("allow", "198.51.100.30", 1, "", err, 0.2)
    assert (found.result, found.reason, found.opened) == (FAILED, reason, ())
    assert found.error and "\n" not in found.error


def test_a_failure_without_a_word_is_told_by_its_exit_code():
    assert outcome("deny", "198.51.100.30", 7, "", " \n\n", 0.2).error == "exit code 7"


def test_the_last_words_are_kept_in_one_line():
    found = outcome("allow", "198.51.100.30", 1, "", "one\ntwo\n\nthree\r\n  four  \n", 0.2)
    assert found.error == "two / three / four"


def test_a_command_that_a_signal_ended_has_done_nobody_knows_what():
    found = outcome(
        "allow", "198.51.100.30", None, "Allowed 198.51.100.30 -> 198.51.100.30 for c1\n", "", 3.0
    )
    assert (found.result, found.reason, found.opened) == (UNKNOWN, "ended", ())


@given(st.sampled_from(["allow", "deny"]), st.sampled_from([0, 1, 2, None]), st.text(ODD), st.text(ODD))
def test_whatever_a_command_says_is_an_outcome(action, status, out, err):
    found = outcome(action, "203.0.113.10", status, out, err, 0.1)
    assert found.result in (APPLIED, FAILED, UNKNOWN)
    assert found.opened in ((), ("203.0.113.10",)) or action == "allow"
