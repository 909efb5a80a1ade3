"""Plain ssh hosts as machines."""

from __future__ import annotations

import pytest

from gpuctl.errors import UsageError
from gpuctl.models import Address
from gpuctl.providers.host import HostProvider, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("root@198.51.100.7:2222", Address("198.51.100.7", 2222, "root")),
        ("me@box.example", Address("box.example", 22, "me")),
        ("box", Address("box", 22, "root")),
        ("me@[2001:db8::1]:2200", Address("2001:db8::1", 2200, "me")),
    ],
)
def test_an_address_is_read_in_every_form(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize("text", ["", "a@b@c", "box:99999", "box:0", "two words", "box:ssh"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"user@host\[:port\]"):
        parse(text)


def test_a_host_is_a_running_machine_that_costs_nothing_known() -> None:
    machine = HostProvider().get("me@box:2200")
    assert (machine.id, machine.name, machine.status) == ("me@box:2200", "box:2200", "RUNNING")
    assert machine.price_usd_h is None


def test_a_host_is_never_ended_by_gpuctl() -> None:
    with pytest.raises(UsageError, match="not terminated by gpuctl"):
        HostProvider().terminate("box")
