"""The files that the shield keeps: what its rules say, and what may stand at their names."""

from __future__ import annotations

import os

import pytest

from simple_clearance.containers import kept

RULES = """table inet terok_shield {
  chain output {
    type filter hook output priority filter; policy drop;
    oifname "lo" accept
%s    log group 100 prefix "TEROK_SHIELD_BLOCKED: " counter reject with icmpx type admin-prohibited
  }
}
"""


@pytest.mark.parametrize(
    "rule, stopped",
    [
        pytest.param("", True, id="none lets it out"),
        pytest.param("    meta l4proto ipv6-icmp accept\n", False, id="ipv6-icmp"),
        pytest.param("    icmpv6 type { nd-neighbor-solicit } accept\n", False, id="icmpv6"),
        pytest.param("    meta l4proto 58 accept\n", False, id="58"),
    ],
)
def test_without_neighbour_discovery_no_ipv6_address_answers(tmp_path, rule, stopped):
    (tmp_path / kept.RULES).write_text(RULES % rule)
    assert kept.stops_ipv6(str(tmp_path)) is stopped


def test_of_unknown_rules_nothing_is_said(tmp_path):
    assert not kept.stops_ipv6(str(tmp_path))
    (tmp_path / kept.RULES).write_text("")
    assert not kept.stops_ipv6(str(tmp_path))


@pytest.mark.parametrize("trap", ["folder", "fifo", "link"])
def test_what_is_no_file_is_not_read(tmp_path, trap):
    path = str(tmp_path / kept.RULES)
    if trap == "folder":
        os.mkdir(path)
    elif trap == "fifo":
        os.mkfifo(path)
    else:
        (tmp_path / "other").write_text("text")
        os.symlink("other", path)
    assert kept.read(path) == ("", 0.0)
