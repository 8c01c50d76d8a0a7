"""Senders who could be taken for somebody else: twins of our people, our addresses, our domain, the customer's."""

from __future__ import annotations

from datetime import UTC

import idna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.shapes import Message as Shown
from channels.mail.lookalikes import LETTERS, PROVIDERS, looks_like, names_of, one_edit, registrable, shown, skeleton
from hub.ours import ours_of
from inbox.session import Viewer
from inbox.thread import Entry, thread
from storage.desk import touch_desk
from storage.people import Contact
from tests.desk import MARA_MAIL, Desk

LABELS = st.text("abcdefghijkmnopqrstuvwxyz023456789", min_size=5, max_size=20)


@pytest.mark.parametrize(
    "domain",
    [
        "lamp-h0use.com",
        "larnp-house.com",
        "iamp-house.com",
        "lamphouse.com",
        "lamp-houses.com",
        "lmap-house.com",
        "lamp-housе.com".encode("idna").decode(),  # a Cyrillic е
        "lámp-house.com".encode("idna").decode(),
        "lamp-house.co",
        "lamp-house.co.uk",
        "mail.lamp-house.net",
        "lamp-house.com.evil.net",
        "lamp-house-com.net",
    ],
)
def test_a_domain_that_a_reader_would_take_for_ours_looks_like_it(domain: str) -> None:
    assert looks_like(domain, "lamp-house.com") and looks_like(domain, "mail.lamp-house.com")


@pytest.mark.parametrize(
    ("domain", "known"),
    [
        ("lamp-house.com", "lamp-house.com"),
        ("mail.lamp-house.com", "lamp-house.com"),
        ("camp-mouse.com", "lamp-house.com"),
        ("house.com", "lamp-house.com"),
        ("ibn.com", "ibm.com"),  # too short: a letter apart says nothing
        ("abc.de", "abc.com"),
        ("hotmail.de", "hotmail.com"),
        ("gmail.com", "ymail.com"),
        ("gmx.net", "gmx.de"),
        ("lamp-houzez.com", "lamp-house.com"),
        ("example.org", "lamp-house.com"),
        ("xn--", "lamp-house.com"),
        ("xn--0", "lamp-house.com"),
        ("", "lamp-house.com"),
        ("localhost", "lamp-house.com"),
        ("[192.0.2.1]", "lamp-house.com"),
        ("co.uk", "com.uk"),
    ],
)
def test_other_peoples_domains_raise_no_alarm(domain: str, known: str) -> None:
    assert not looks_like(domain, known)


@given(LABELS, st.data())
def test_every_twin_letter_is_seen_through_also_as_punycode(label: str, data: st.DataObject) -> None:
    assume(f"{label}.com" not in PROVIDERS)
    place = data.draw(st.integers(0, len(label) - 1))
    twins = [twin for twin, letter in LETTERS.items() if letter == label[place] and twin.islower()]
    assume(twins)
    twin = label[:place] + data.draw(st.sampled_from(twins)) + label[place + 1 :]
    assert skeleton(twin) == skeleton(label)
    assert looks_like(f"xn--{twin.encode('punycode').decode()}.com", f"{label}.com") or not _decodes(twin)


def _decodes(label: str) -> bool:
    encoded = f"xn--{label.encode('punycode').decode()}"
    return shown(encoded) != encoded


@given(LABELS, st.data())
def test_every_single_slip_of_the_hand_is_seen(label: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(label) - 1))
    letter = data.draw(st.sampled_from("abcdefgh"))
    slips = {
        label[:place] + letter + label[place:],
        label[:place] + letter + label[place + 1 :],
        label[:place] + label[place + 1 : place + 2] + label[place] + label[place + 2 :],
    }
    for slip in slips - {label}:
        assert one_edit(slip, label) and one_edit(label, slip)
        assert looks_like(f"{slip}.com", f"{label}.com") or f"{slip}.com" in PROVIDERS


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_the_comparison_and_the_same_look_stays_the_same(one: str, other: str) -> None:
    looks_like(one, other)
    names_of(one)
    assert not looks_like(other, other)
    assert skeleton(skeleton(one)) == skeleton(one) or not one.isascii()
    assert not (one_edit(one, other) and one == other)


def test_what_somebody_owns_is_told_also_for_endings_that_nobody_knows() -> None:
    assert registrable("a.b.example.co.uk") == "example.co.uk"
    assert registrable("mail.desk.example") == "desk.example"
    assert (registrable("localhost"), registrable(""), registrable("co.uk")) == ("", "", "co.uk")


OURS = ours_of(
    ["support@desk.example", "sales@lamp-house.com"],
    [("Jonas Weber", "jonas@desk.example"), ("Tomás Silva", "tomas@desk.example"), ("Mo", "mo@desk.example")],
)


@pytest.mark.parametrize(
    ("name", "address", "flags"),
    [
        ("Jonas Weber", "jonas.weber@gmail.com", ["named_colleague:Jonas Weber"]),
        ("WEBER, Jonas", "x@elsewhere.example", ["named_colleague:Jonas Weber"]),
        ("Jonas M. Weber (Support)", "x@elsewhere.example", ["named_colleague:Jonas Weber"]),
        ("Jоnаs Wеbеr", "x@elsewhere.example", ["named_colleague:Jonas Weber"]),  # Cyrillic о, а, е
        ("ЈОNАS WЕВЕR", "x@elsewhere.example", ["named_colleague:Jonas Weber"]),
        ("Tomas Silva", "x@elsewhere.example", ["named_colleague:Tomás Silva"]),
        ("Jonas Weber, Lamps Ltd", "x@elsewhere.example", ["named_colleague:Jonas Weber"]),
        ("Jonas Weber", "sales@desk.example", ["named_colleague:Jonas Weber"]),
        ("Jonas", "jonas@elsewhere.example", []),
        ("Jonas Weberman", "x@elsewhere.example", []),
        ("Jonas Weber Petersen", "x@elsewhere.example", []),
        ("Weber", "x@elsewhere.example", []),
        ("Mo", "mo@elsewhere.example", []),
        ("", "x@elsewhere.example", []),
        ("Jonas Weber", "jonas@desk.example", []),
        ("Jonas Weber", "jonas+phone@desk.example", []),
        ("Support <SUPPORT@desk.example>", "x@elsewhere.example", ["named_address:support@desk.example"]),
        ("support@desk.example via Lists", "support@desk.example", []),
        ("mysupport@desk.example", "x@elsewhere.example", []),
        ("Mara", "mara@lamp-h0use.com", ["looks_like_us:lamp-house.com"]),
        ("Mara", "mara@lamp-house.com", []),
        (
            "Jonas Weber",
            "jonas@larnp-house.com",
            ["named_colleague:Jonas Weber", "looks_like_us:lamp-house.com"],
        ),
    ],
)
def test_only_a_full_name_an_address_or_a_domain_of_ours_is_suspicious(
    name: str, address: str, flags: list[str]
) -> None:
    assert OURS.suspicions(name, address) == flags


def test_two_domains_of_our_own_are_no_twins_of_each_other() -> None:
    ours = ours_of(["support@lamp-house.com", "support@lamp-house.de"], [])
    assert ours.suspicions("Mara", "mara@lamp-house.de") == []
    assert ours.suspicions("Mara", "mara@lamp-house.fr") == ["looks_like_us:lamp-house.com"]


def test_a_full_name_in_a_script_without_spaces_is_known() -> None:
    ours = ours_of([], [("山田太郎", "yamada@desk.example")])
    assert ours.suspicions("山田太郎", "x@elsewhere.example") == ["named_colleague:山田太郎"]
    assert ours.suspicions("山田花子", "x@elsewhere.example") == []


def remarks(desk: Desk, conversation_id: int) -> list[str]:
    with desk.hub.store.read() as tx:
        [conversation] = [each for each in desk.conversations() if each.id == conversation_id]
        shown_there = thread(tx, Viewer(desk.agent(desk.jonas), desk.jonas, UTC), conversation).entries
    return [said for entry in shown_there if isinstance(entry, Entry) for said in entry.remarks]


def test_the_agent_reads_who_writes_under_a_colleagues_name(desk: Desk) -> None:
    taken = desk.mail("Payment", "Pay this today.", sender="Jonas Weber <ceo@desk-example.net>")
    assert remarks(desk, taken.conversation_id or 0) == [
        "The sender goes by the name of Jonas Weber, who answers here, but ceo@desk-example.net is not their address: "
        "be careful.",
        "The sender's domain desk-example.net looks like our own desk.example, but is another one: be careful.",
    ]
    [message] = desk.messages(taken.conversation_id or 0)
    assert message.flags == ["named_colleague:Jonas Weber", "looks_like_us:desk.example"]
    assert "flags" in Shown.model_fields


def test_a_colleague_who_comes_and_goes_is_known_at_once(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET name = 'Jonas Weber-Lang' WHERE email = 'jonas@desk.example'")
        touch_desk(tx)
    desk.hub.look_again()
    [message] = desk.messages(desk.mail("A", "b", sender="Jonas Weber <a@b.example>").conversation_id or 0)
    assert message.flags == []


def test_a_stranger_who_joins_from_a_twin_of_the_customers_domain_is_named(desk: Desk) -> None:
    first = desk.mail("Invoice", "Where do I pay?", message_id="<invoice@customer.example>")
    token = desk.hub.tokens.message_id("6f1c2c1e-0000-4000-8000-000000000009", first.conversation_id or 0, "x.example")
    twin = idna.encode("exаmple").decode()  # a Cyrillic а
    joined = desk.mail("Re: Invoice", "New account!", sender=f"Mara Lindqvist <mara@{twin}.com>", answers=token)
    honest = desk.mail("Re: Invoice", "I know.", sender="Otto <otto@elsewhere.example>", answers=token)
    assert joined.conversation_id == honest.conversation_id == first.conversation_id
    _, second, third = desk.messages(first.conversation_id or 0)
    assert second.flags == ["looks_like_customer:example.com", "new_participant"]
    assert third.flags == ["new_participant"]
    domain = MARA_MAIL.rpartition("@")[2]
    assert f"The sender's domain exаmple.com looks like the customer's {domain}, but is another one: be careful." in (
        remarks(desk, first.conversation_id or 0)
    )


def test_a_new_sender_with_a_known_name_and_a_twin_of_its_domain_is_named(desk: Desk) -> None:
    desk.mail("Order", "One lamp is missing")
    [twin] = desk.messages(
        desk.mail("Refund", "To here!", sender="Mara Lindqvist <m@examp1e.com>").conversation_id or 0
    )
    assert twin.flags == ["looks_like_contact:example.com"]
    assert remarks(desk, twin.conversation_id) == [
        "The sender's domain examp1e.com looks like example.com, from where somebody of the same name has written, "
        "but is another one: be careful."
    ]
    for honest in ("Mara Lindqvist <mara@work.example>", "Otto Berg <otto@examp1e.com>", "Mara <x@exampie.com>"):
        [message] = desk.messages(desk.mail("Hello", "Hi", sender=honest).conversation_id or 0)
        assert message.flags == []


def test_a_name_without_end_is_cut_where_it_is_stored(desk: Desk) -> None:
    taken = desk.chat("Hello", claims={"name": "x" * 5000, "email": "long@example.com"})
    with desk.hub.store.read() as tx:
        assert len(tx.get_one(Contact, taken.contact_id).name) <= 200
