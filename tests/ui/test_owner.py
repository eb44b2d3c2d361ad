"""Who counts as one visitor when the device is shared out."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from ui.owner import owner_of

EVENT = "the call's own id"


@pytest.fixture(autouse=True)
def call() -> Iterator[None]:
    token = LocalContext.event_id.set(EVENT)
    yield
    LocalContext.event_id.reset(token)


def client(host: str, session: str | None, name: str | None = None, **headers: str) -> Any:
    return SimpleNamespace(client=SimpleNamespace(host=host), session_hash=session, username=name, headers=headers)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.16.4.2", "8.8.8.8", "::1", ""])
def test_calls_without_a_session_count_as_one_visitor(host: str) -> None:
    assert owner_of(client(host, EVENT)) == owner_of(client(host, None)) == f"address {host}"


@pytest.mark.parametrize("host", ["8.8.8.8", "2001:4860:4860::8888"])
def test_on_the_internet_an_address_is_one_visitor_however_many_pages_it_opens(host: str) -> None:
    assert owner_of(client(host, "a page")) == owner_of(client(host, "another")) == owner_of(client(host, EVENT))
    assert owner_of(client(host, "a page")) != owner_of(client("9.9.9.9", "a page"))


@pytest.mark.parametrize("host", ["127.0.0.1", "10.16.4.2", "172.17.0.1", "::1", ""])
def test_behind_a_proxy_pages_are_told_apart(host: str) -> None:
    assert owner_of(client(host, "a page")) != owner_of(client(host, "another"))


def test_a_login_is_one_visitor_wherever_it_comes_from() -> None:
    assert owner_of(client("8.8.8.8", "a page", "me")) == owner_of(client("127.0.0.1", EVENT, "me"))
    assert owner_of(client("8.8.8.8", "a page", "me")) != owner_of(client("8.8.8.8", "a page", "you"))


def test_a_header_makes_no_other_visitor() -> None:
    forged = client("8.8.8.8", EVENT, **{"x-forwarded-for": "1.1.1.1"})
    assert owner_of(forged) == owner_of(client("8.8.8.8", EVENT))


def test_a_socket_without_an_address_has_an_owner() -> None:
    nobody = client("", EVENT)
    nobody.client = None
    assert owner_of(nobody) == "address "
