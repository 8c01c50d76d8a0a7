"""Who may send for a domain, by the standard's own test suite, and which machine it was that sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from channels.base import NotConfigured
from channels.mail.lookups import Lookups
from channels.mail.relays import Client, client_of, read_relays
from channels.mail.settings import read_settings
from channels.mail.spf import check_host
from tests.support.nameserver import NameServer, name_server, quoted

SUITE = list(yaml.safe_load_all((Path(__file__).parent / "spf" / "rfc7208-tests.yml").read_text("utf-8")))


@pytest.fixture
def names() -> Iterator[NameServer]:
    with name_server() as server:
        yield server


def zone(written: dict[str, list[Any]]) -> dict[str, list[tuple[str, str]]]:
    """The suite's data as records: where a name has SPF but no TXT records, they are the same."""
    made: dict[str, list[tuple[str, str]]] = {}
    for name, entries in written.items():
        records = made.setdefault(name.lower().rstrip("."), [])
        kinds = {kind for entry in entries if isinstance(entry, dict) for kind in entry}
        for entry in entries:
            kind, content = next(iter(entry.items())) if isinstance(entry, dict) else ("TIMEOUT", "")
            if kind == "SPF" and "TXT" not in kinds:
                kind = "TXT"
            if content == "TIMEOUT":
                records.append(("TIMEOUT", ""))
            elif kind == "TXT" and content != "NONE":
                records.append((kind, quoted("".join(content))))
            elif kind == "MX":
                records.append((kind, f"{content[0]} {content[1].rstrip('.')}."))
            elif kind in ("PTR", "CNAME"):
                records.append((kind, f"{content.rstrip('.')}."))
            elif kind in ("A", "AAAA", "TIMEOUT"):
                records.append((kind, content))
        if not records:
            records.append(("HINFO", ""))  # it exists, and has nothing that is asked for
    return made


@pytest.mark.parametrize("section", SUITE, ids=lambda section: section["description"])
def test_the_suite_of_the_standard_agrees(names: NameServer, section: dict[str, Any]) -> None:
    names.zone = zone(section["zonedata"])
    misses = {}
    for name, case in section["tests"].items():
        lookups = Lookups(names.address, 0.5)
        found = check_host(lookups, case["host"], case.get("mailfrom") or "", case["helo"])
        wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
        if found not in wanted:
            misses[name] = (found, wanted)
    assert misses == {}


def test_a_record_that_asks_for_too_much_time_ends(names: NameServer) -> None:
    names.texts["a.example.com"] = "v=spf1 exists:b.example.com ip4:192.0.2.1 -all"
    moments = iter((0.0, 1.0, 30.0))
    assert check_host(Lookups(names.address), "192.0.2.1", "x@a.example.com", "h", lambda: next(moments)) == "temperror"


@given(st.text("v=spf1 +-~?aimxlptrncude:/%{}.0123468_=,\x80", max_size=80))
def test_no_record_breaks_the_evaluation(record: str) -> None:
    class Fixed(Lookups):
        def records(self, name: str, kind: Any) -> list[str]:
            return [f"v=spf1 {record}"] if kind == "TXT" else []

    result = check_host(Fixed("127.0.0.1:9"), "192.0.2.1", "x@example.com", "mail.example.com")
    assert result in ("pass", "fail", "softfail", "neutral", "permerror")


OURS = read_relays(["mx.desk.example", "store.desk.example", "192.0.2.0/28", "2001:db8:1::/48"])
LMTP = "Received: from mx.desk.example by store.desk.example with LMTP id 7; Mon, 23 Nov 2026 08:00:02 +0000\n"
POSTFIX = (
    "Received: from mail.example.com (host.example.com [198.51.100.7])\n\tby mx.desk.example (Postfix) with ESMTPS\n"
    "\tfor <support@desk.example>; Mon, 23 Nov 2026 08:00:01 +0000 (UTC)\n"
)
FORGED = "Received: from mail.bank.example ([203.0.113.99]) by mx.desk.example with ESMTP; x\n"


@pytest.mark.parametrize(
    ("head", "client"),
    [
        (POSTFIX, Client("198.51.100.7", "mail.example.com", None)),
        (f"Return-Path: <mara@Example.com>\n{LMTP}{POSTFIX}{FORGED}", ("198.51.100.7", "mara@example.com")),
        (f"Return-Path: <>\n{POSTFIX}", ("198.51.100.7", "")),
        (f"{POSTFIX}Return-Path: <boss@bank.example>\n", ("198.51.100.7", None)),  # the sender wrote that one
        (f"Received: by mx.desk.example; x\n{POSTFIX}", ("198.51.100.7", None)),
        (
            f"Received: from relay (r.desk.example [192.0.2.3]) by store.desk.example with ESMTP; x\n{POSTFIX}",
            ("198.51.100.7", None),
        ),
        (f"Received: from localhost ([127.0.0.1]) by store.desk.example; x\n{POSTFIX}", ("198.51.100.7", None)),
        (f"Received: from mail.other.example ([203.0.113.9]) by mx.other.example; x\n{POSTFIX}", None),
        (f"Received: from 10.0.0.1 (unknown [10.0.0.1]) by mx.desk.example; x\n{FORGED}", ("10.0.0.1", None)),
        (f"Received: from mx.desk.example (evil [203.0.113.5]) by mx.desk.example; x\n{FORGED}", ("203.0.113.5", None)),
        (f"Received: from [192.0.2.1] (unknown [203.0.113.5]) by mx.desk.example; x\n{FORGED}", ("203.0.113.5", None)),
        (f"Received: from who.knows by mx.desk.example with SMTP; x\n{FORGED}", None),
        (f"Received: from a ([198.51.100.7] [203.0.113.5]) by mx.desk.example; x\n{FORGED}", None),
        (
            "Received: from [198.51.100.7] (helo=[203.0.113.5])\n by mx.desk.example with esmtp (Exim 4.97)\n"
            " (envelope-from <mara@example.com>) id 1; x\n",
            ("198.51.100.7", "mara@example.com"),
        ),
        (
            "Received: from unknown (HELO mail.example.com) (198.51.100.7)\n  by mx.desk.example with SMTP; x\n",
            Client("198.51.100.7", "mail.example.com", None),
        ),
        (
            "Received: from out.example.com (2001:db8:ffff::7) by mx.desk.example (2001:db8:1::1) with Microsoft; x\n",
            ("2001:db8:ffff::7", None),
        ),
        ("Received: from x (y [IPv6:2001:db8:ffff::7]) by MX.desk.example; x\n", ("2001:db8:ffff::7", None)),
        ("Subject: x\n", None),
        ("", None),
    ],
)
def test_only_what_our_own_servers_wrote_tells_who_connected(
    head: str, client: Client | tuple[str, str | None] | None
) -> None:
    found = client_of(head.encode(), OURS)
    assert (found if isinstance(client, Client) or found is None else (found.address, found.mail_from)) == client


@given(st.binary(max_size=300))
def test_no_header_breaks_the_reading_of_received_fields(noise: bytes) -> None:
    client_of(b"Received: from " + noise + b" by mx.desk.example; x\n", OURS)
    client_of(noise, OURS)


def test_settings_that_can_not_be_meant_are_named() -> None:
    base = {"imap_host": "imap.x", "smtp_host": "smtp.x", "username": "u", "password": "p"}
    read = read_settings("mail", {**base, "trusted_relays": ["mx.desk.example", "10.0.0.0/8"]}, "a@desk.example")
    assert read.trusted_relays.names == {"mx.desk.example"}
    for wrong, sentence in (
        (["mx desk"], "neither a host name nor an address"),
        (["300.0.0.1"], "trusted_relays"),
        (["10.0.0.0/8"], "addresses but no name"),
    ):
        with pytest.raises(NotConfigured, match=sentence):
            read_settings("mail", {**base, "trusted_relays": wrong}, "a@desk.example")
