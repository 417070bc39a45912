"""What the query log keeps, for how long, and what it tells of what it keeps no longer."""

from __future__ import annotations

import pytest

from simple_clearance.formats import addressbook
from simple_clearance.formats.dnsmasq import DnsLog

FLIGHT = 60
"""Seconds that a query may be unanswered."""


class Log:
    """A log that is written line by line, at `seconds` after ten."""

    def __init__(self, **options):
        self.log = DnsLog(**options)
        self.seconds = 0

    def write(self, *lines, pid=7, earlier=None):
        stamp = "Nov 23 10:%02d:%02d" % (self.seconds // 60, self.seconds % 60)
        text = "".join("%s dnsmasq[%d]: %s\n" % (stamp, pid, line) for line in lines)
        return (earlier or self.log).feed(text.encode())

    def ask(self, name, kind="A"):
        return self.write("query[%s] %s from 127.0.0.1" % (kind, name))

    def answer(self, name, address="203.0.113.66", **options):
        return self.write("reply %s is %s" % (name, address), **options)

    def chain(self, name="www.good.example", address="203.0.113.66"):
        """Asked for and answered by way of an alias; the names that are shown."""
        self.ask(name)
        self.write("reply %s is <CNAME>" % name, "reply edge.cdn.example is %s" % address)
        return self.names(address)

    def names(self, address="203.0.113.66"):
        return [one.name for one in self.log.names(address)]

    def forgot(self, address="203.0.113.66"):
        return [one.forgot for one in self.log.names(address)]


def numbered(number):
    return "2001:db8::%x" % number


# --- bounds


def test_the_names_of_all_addresses_together_are_bounded():
    log = Log(share=0.01)
    for number in range(50):
        for name in range(64):
            log.answer("n%d.example" % name, numbered(number))
    kept = [len(log.names(numbered(number))) for number in range(50)]
    assert 327 <= sum(kept) <= 655 + 64
    assert kept[-1] == 64


def test_a_log_and_what_stood_before_it_share_the_bounds():
    log = Log(middle=True, share=0.01)
    earlier = log.log.earlier()
    log.log.feed(b"\n")
    for number in range(400):
        log.answer("a.example", numbered(number))
        log.answer("b.example", numbered(1000 + number), earlier=earlier)
    assert 50 <= sum(bool(log.names(numbered(number))) for number in range(400)) <= 100
    assert 50 <= sum(bool(log.names(numbered(1000 + number))) for number in range(400)) <= 100


def test_names_that_were_checked_are_remembered_up_to_a_bound():
    log = Log()
    log.write(*("reply n%d.example is 203.0.113.66" % number for number in range(17_000)))
    assert 0 < len(log.log._shown) <= 16_384


def test_of_a_line_without_an_end_no_more_is_kept_than_dnsmasq_may_write():
    log = Log()
    for _ in range(10):
        log.log.feed(b"a" * 10_000)
        assert len(log.log._text) < 4200


def test_queries_in_flight_are_remembered_up_to_a_bound():
    log = Log()
    log.write(*("query[TXT] n%d.example from 127.0.0.1" % number for number in range(20_000)))
    assert len(log.log._asked) <= 16_384


# --- what is told of names that are known no longer


def test_an_address_that_was_never_forgotten_is_not_told_to_have_had_other_names():
    log = Log(share=0.001)
    log.answer("a.example")
    for number in range(100):
        log.answer("n.example", numbered(number))
        log.answer("a.example")
    assert log.log._book.forgot
    for name in ("b.example", "a.example"):
        log.answer(name)
        assert set(log.forgot()) == {False}


def test_that_names_were_dropped_stays_known_whichever_is_looked_up_again():
    log = Log()
    for number in range(65):
        log.answer("n%d.example" % number)
    for number in (50, 40, 60):
        log.answer("n%d.example" % number)
        assert log.forgot()[-1] and not any(log.forgot()[:-1])


def test_once_addresses_were_forgotten_each_new_one_may_have_been_among_them():
    log = Log(share=0.01)
    for number in range(300):
        log.answer("n.example", numbered(number))
    several = [numbered(1000 + number) for number in range(6)]
    for address in several:
        for name in range(64):
            log.answer("n%d.example" % name, address)
    log.answer("n.example", numbered(2000))
    for address in several:  # all of the old generation
        log.answer("n.example", address)
    log.answer("n.example", numbered(2001))
    assert log.forgot(numbered(2001)) == [True]


def test_names_that_the_log_itself_has_dropped_are_told_beside_those_of_its_history():
    log = Log(middle=True)
    log.answer("old.example", earlier=log.log.earlier())
    log.log.feed(b"\n")
    for number in range(65):
        log.answer("n%d.example" % number)
    assert log.names()[-1] == "old.example" and log.forgot()[-1]


def test_feeding_tells_that_another_name_was_looked_up_last():
    log = Log()
    for name, changed in (("a", True), ("b", True), ("b", False), ("a", True), ("a", False)):
        assert log.answer(name + ".example") == ({"203.0.113.66"} if changed else set())


# --- what a name or a chain is held against


def test_a_chain_that_is_answered_a_second_after_its_query_is_followed():
    log = Log()
    log.ask("www.good.example")
    log.seconds += 1
    log.write("reply www.good.example is <CNAME>")
    log.seconds += 1
    log.write("reply edge.cdn.example is 203.0.113.66")
    assert log.names() == ["www.good.example"]


def test_a_chain_right_behind_another_is_one_of_its_own():
    log = Log()
    log.ask("www.good.example")
    log.ask("api.good.example")
    for name, address in (("www.good.example", "203.0.113.66"), ("api.good.example", "203.0.113.67")):
        log.write("reply %s is <CNAME>" % name, "reply edge.cdn.example is " + address)
    assert log.names("203.0.113.67") == ["api.good.example"]


@pytest.mark.parametrize("between", [[], ["query[A] x.example from 127.0.0.1"]])
@pytest.mark.parametrize("sets", [5, 1030])
def test_a_chain_whose_beginning_is_kept_no_longer_is_followed_no_further(between, sets):
    log = Log()
    log.ask("www.good.example")
    log.write("reply www.good.example is <CNAME>", *between)
    log.write(*["nftset add " + "x" * 24] * sets)  # 64 bytes, so that what is kept begins with a whole line
    log.write("reply edge.cdn.example is 203.0.113.66")
    assert log.names() == ["edge.cdn.example" if between or sets > 5 else "www.good.example"]


def test_the_first_minute_of_a_log_that_begins_in_the_middle_counts_from_its_first_line():
    log = Log(middle=True)
    log.log.feed(b"\n")
    log.answer("a.example", "203.0.113.1")
    log.seconds += FLIGHT - 1
    assert log.chain() == ["edge.cdn.example"]
    log.seconds += 1
    assert log.chain(address="203.0.113.67") == ["www.good.example"]


def test_the_text_of_a_record_does_not_make_a_name_look_younger():
    log = Log()
    log.ask("a.example")
    log.answer("a.example")
    log.seconds += FLIGHT + 1
    log.ask("a.example", "TXT")
    log.answer("a.example")
    assert [one.at for one in log.log.names("203.0.113.66")] == ["nov 23 10:00:00"]


def test_what_can_be_no_text_of_a_record_is_an_answer():
    log = Log()
    log.ask("a.example", "HTTPS")
    log.answer("a.example")
    assert log.names() == ["a.example"]


def test_lines_of_two_processes_out_of_order_are_no_time_that_goes_by():
    log = Log()
    log.seconds = 1
    log.ask("a.example", "TXT")
    for second in [0, 1] * (FLIGHT + 10):
        log.seconds = second
        log.ask("b.example", "HTTPS")
    log.answer("a.example")
    assert log.names() == []


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_rest_of_a_line_is_left_out_in_whatever_pieces_it_comes(size):
    log = DnsLog(middle=True)
    data = b"Nov 23 10:00:00 dnsmasq[7]: reply www.good.example is 203.0.113.66\n"
    for at in range(0, len(data), size):
        log.feed(data[at : at + size])
    assert log.names("203.0.113.66") == []


def test_a_chain_is_followed_as_long_as_its_query_may_be_in_flight():
    log = Log()
    for wait, shown in (
        (0, "www.good.example"),
        (FLIGHT, "www.good.example"),
        (FLIGHT + 1, "edge.cdn.example"),
    ):
        log.ask("www.good.example")
        log.seconds += wait
        log.write("reply www.good.example is <CNAME>", "reply edge.cdn.example is 203.0.113.66")
        assert log.names()[0] == shown
        log.seconds += FLIGHT + 1


def test_an_answer_to_a_query_for_an_address_leaves_the_others_in_flight():
    log = Log()
    log.ask("www.good.example", "CNAME")
    log.ask("www.good.example")
    log.ask("edge.cdn.example")
    log.write("reply www.good.example is <CNAME>", "reply edge.cdn.example is NODATA-IPv4")
    assert log.chain() == ["edge.cdn.example"]


def test_more_answers_than_queries_make_no_later_query_forgotten():
    log = Log()
    log.ask("edge.cdn.example")
    log.ask("www.good.example", "CNAME")
    log.write(*["reply www.good.example is <CNAME>", "reply edge.cdn.example is NODATA"] * 2)
    log.ask("www.good.example", "CNAME")
    assert log.chain() == ["edge.cdn.example"]


def test_a_time_that_is_none_stops_nothing():
    log = Log()
    log.log.feed(b"Nov 23 :::::::: dnsmasq[7]: query[TXT] a.example from 127.0.0.1\n")
    assert log.chain() == ["www.good.example"]


# --- a flood of other queries


def flood(log, number):
    log.write(*("query[TXT] n%d.example from 127.0.0.1" % n for n in range(number)))


def test_as_long_as_all_queries_in_flight_are_known_chains_are_followed():
    log = Log()
    flood(log, 16_000)
    assert log.chain() == ["www.good.example"]


def test_when_too_many_are_in_flight_no_chain_is_followed_until_all_have_landed():
    log = Log()
    flood(log, 16_385)
    assert log.chain() == ["edge.cdn.example"]
    log.seconds += FLIGHT
    assert log.chain(address="203.0.113.67") == ["www.good.example"]


def test_those_that_have_landed_long_ago_keep_no_chain_from_being_followed():
    log = Log()
    flood(log, 16_384)
    log.seconds += FLIGHT + 1
    log.ask("x.example", "TXT")
    assert log.chain() == ["www.good.example"]
    assert len(log.log._asked) == 2


def test_that_names_were_forgotten_is_known_for_good():
    """Also when all of the old generation has been used again, and nothing more is forgotten."""
    book = addressbook.AddressBook(8 / addressbook.MAX_ADDRESSES)
    many = int(8 / addressbook.MAX_ADDRESSES * addressbook.MAX_ALL) // 2  # as many as a generation keeps
    for address in (b"192.0.2.1", b"192.0.2.2"):
        for number in range(many):
            book.enter(address, "n%d.example" % number, "", "")
    book.enter(b"192.0.2.3", "www.example.com", "", "")
    assert book.forgot
    book.enter(b"192.0.2.2", "n0.example", "", "")
    assert not book.old
    book.enter(b"192.0.2.4", "www.example.com", "", "")
    assert book.forgot
