"""What the register finds by address, and what it keeps of one that nobody asks about any more."""

from __future__ import annotations

import pytest
from stage import name

from simple_clearance.happenings import Event
from simple_clearance.moment import Now
from simple_clearance.register import Register
from simple_clearance.requests import OPEN, SKIPPED, Request

NOW = Now(1000.0, 1000.0)
ADDRESS = "203.0.113.10"


@pytest.fixture
def register():
    return Register()


def opened(register, dest=ADDRESS, port=443):
    request = Request("c1", Event("pending", dest, port, 6), NOW)
    if register.add(request):
        register.enter(request, NOW)
    return request


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_address_is_found_as_long_as_any_request_of_it_is_open(register, number):
    requests = [opened(register, port=port) for port in range(number)]
    while requests:
        assert register.any_at("c1", ADDRESS)
        assert register.at("c1", ADDRESS) == requests
        register.close(requests.pop(), SKIPPED, NOW)
    assert not register.any_at("c1", ADDRESS)
    assert register.at("c1", ADDRESS) == []


def test_names_are_kept_as_long_as_any_request_of_their_address_is_open(register):
    first, second = opened(register, port=443), opened(register, port=80)
    register.set_names("c1", ADDRESS, (name("www.example.com"),))
    register.close(first, SKIPPED, NOW)
    for n in range(20_000):  # until the first is forgotten
        opened(register, f"198.51.{n >> 8}.{n & 255}")
    assert register.get(first.key) is None
    assert register.get(second.key).state == OPEN
    assert [one.name for one in register.names("c1", ADDRESS)] == ["www.example.com"]
