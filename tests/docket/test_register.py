"""What the register finds by address."""

from __future__ import annotations

import pytest

from simple_clearance.base.happenings import Event
from simple_clearance.base.moment import Now
from simple_clearance.docket.budget import Budget
from simple_clearance.docket.register import Register
from simple_clearance.docket.requests import Request

NOW = Now(1000.0, 1000.0)
ADDRESS = "203.0.113.10"


@pytest.fixture
def register():
    return Register(Budget())


def opened(register, dest=ADDRESS, port=443):
    request = Request("c1", Event("pending", dest, port, 6), NOW)
    if register.add(request):
        register.move(request, "blocked", NOW)
    return request


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_address_is_found_as_long_as_any_request_of_it_is_open(register, number):
    requests = [opened(register, port=port) for port in range(number)]
    while requests:
        assert register.any_at("c1", ADDRESS)
        assert register.at("c1", ADDRESS) == requests
        register.move(requests.pop(), "skipped", NOW)
    assert not register.any_at("c1", ADDRESS)
    assert register.at("c1", ADDRESS) == []
