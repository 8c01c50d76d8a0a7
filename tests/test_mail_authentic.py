"""Who a mail is really from: a trusted server's word or our own look, never a field that anybody can write."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator

import dkim
import dns.resolver
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dkim.canonicalization import Relaxed as Original

from channels.base import Inbound, Raw, Strength
from channels.mail import lookups
from channels.mail.authentic import Trusted, authenticated, read_results
from channels.mail.bounded import Relaxed
from channels.mail.lookups import Lookups, Unanswered
from channels.mail.parse import parse
from channels.mail.relays import read_relays
from channels.mail.seals import key_names, verified
from channels.seals import Authenticity
from inbox.mailwords import proof
from storage.people import identities_of
from tests.desk import MARA_MAIL, Desk
from tests.support.mailroom import configure
from tests.support.nameserver import NameServer, name_server

KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
PLAIN = (
    b"From: Mara Lindqvist <mara.lindqvist@example.com>\r\nTo: support@desk.example\r\n"
    b"Subject: Lamp\r\nDate: Mon, 23 Nov 2026 08:00:00 +0000\r\n\r\none lamp missing\r\n"
)


@pytest.fixture
def names() -> Iterator[NameServer]:
    with name_server() as server:
        server.texts["s1._domainkey.example.com"] = f"v=DKIM1; k=rsa; p={base64.b64encode(PUBLIC).decode()}"
        server.texts["s1._domainkey.elsewhere.net"] = server.texts["s1._domainkey.example.com"]
        server.texts["_dmarc.example.com"] = "v=DMARC1; p=reject"
        yield server


def signed(body: bytes = PLAIN, domain: bytes = b"example.com") -> bytes:
    return bytes(dkim.sign(body, b"s1", domain, PRIVATE, include_headers=[b"from", b"subject"])) + body


def judged(body: bytes, names: NameServer | None, *trusted: str) -> Inbound:
    raw = Raw("x", body)
    return authenticated(raw, parse(raw), Trusted(trusted), Lookups(names.address) if names else None)


def test_a_signature_of_the_senders_domain_proves_the_mail(names: NameServer) -> None:
    inbound = judged(signed(), names)
    assert inbound.authenticity == Authenticity("pass", dkim="pass", dmarc="pass", source="own", domain="example.com")
    assert inbound.sender.points[0].strength == Strength.MAIL_PROVED


def test_a_changed_mail_of_a_domain_that_asks_for_proof_fails(names: NameServer) -> None:
    inbound = judged(signed().replace(b"one lamp", b"ten lamps"), names)
    assert (inbound.authenticity.verdict, inbound.authenticity.dkim) == ("fail", "fail")
    assert inbound.sender.points[0].strength < Strength.MAIL


def test_somebody_elses_signature_proves_nothing(names: NameServer) -> None:
    inbound = judged(signed(domain=b"elsewhere.net"), names)
    assert (inbound.authenticity.verdict, inbound.authenticity.dkim) == ("none", "pass")
    assert inbound.sender.points[0].strength == Strength.MAIL


def test_a_second_sender_line_never_passes(names: NameServer) -> None:
    inbound = judged(b"From: Boss <boss@desk.example>\r\n" + signed(), names)
    assert inbound.authenticity.verdict == "fail"


def test_a_name_server_that_is_silent_leaves_it_open(names: NameServer) -> None:
    names.silent.add("s1._domainkey.example.com")
    inbound = judged(signed(), names)
    assert inbound.authenticity.verdict == "none" and inbound.authenticity.dkim == "temperror"
    assert inbound.sender.points[0].strength == Strength.MAIL


def test_many_silent_name_servers_do_not_hold_up_the_next_mail(names: NameServer) -> None:
    mail = PLAIN
    for number in range(5):
        names.silent.add(f"s1._domainkey.slow{number}.net")
        mail = signed(mail, b"slow%d.net" % number)
    raw = Raw("x", mail)
    found = authenticated(raw, parse(raw), Trusted(), Lookups(names.address, 0.5))
    assert found.authenticity.dkim == "temperror"
    assert len({each for each in names.asked if each.startswith("s1.")}) == 2


@pytest.mark.parametrize(("silence", "again"), [(lookups.SILENCE, False), (0.0, True)])
def test_who_does_not_answer_is_not_asked_again_for_a_while(
    names: NameServer, monkeypatch: pytest.MonkeyPatch, silence: float, again: bool
) -> None:
    monkeypatch.setattr(lookups, "SILENCE", silence)
    names.silent.add("s1._domainkey.slow.net")
    asking = Lookups(names.address, 0.2)
    tries = []
    for _ in range(2):
        with pytest.raises(Unanswered):
            asking.for_one_mail().text("s1._domainkey.slow.net")
        tries.append(len(names.asked))
    assert tries[0] > 0 and (tries[1] > tries[0]) is again


def test_a_machine_without_name_servers_still_reads_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: object, _file: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", missing)
    raw = Raw("x", signed())
    assert authenticated(raw, parse(raw), Trusted(), Lookups()).authenticity.dkim == "temperror"


def test_the_bounds_around_the_library_change_no_verdict() -> None:
    bodies = [
        b"",
        b"\r\n",
        b" \r\n\r\n",
        b"a \t b\t\r\n \r\nc  d",
        b"x \n y\r\n\r\n\r\n",
        b"\t",
        b"a\r b \r\n",
        b"q \r\r\n",
    ]
    for body in bodies:
        assert Relaxed.canonicalize_body(body) == Original.canonicalize_body(body)


@pytest.mark.parametrize(
    "spread",
    ["body", "tag", "field", "lines", "key"],
    ids=["spaces", "odd tag", "long field", "many lines", "huge key"],
)
def test_a_stranger_s_signature_costs_no_more_than_its_size(names: NameServer, spread: str) -> None:
    """With dkimpy alone each of these takes from minutes to days, and the whole process with it."""
    mail = dkim.sign(PLAIN, b"s1", b"example.com", PRIVATE, canonicalize=(b"relaxed", b"relaxed")) + PLAIN
    if spread == "body":
        mail += b" " * 2_000_000 + b"x\r\n"
    elif spread == "tag":
        mail = re.sub(rb"(?<=[\s;])b=", b"b=" + b"\r\n " * 60_000, mail, count=1)
    elif spread == "field":
        mail = re.sub(rb"(?<=[\s;])h=", b"h=" + b"x :" * 60_000, mail, count=1)
    elif spread == "lines":
        mail = b"X: y\r\n" + b" z\r\n" * 80_000 + mail
    else:
        huge = rsa_record((1 << 100_000) - 1, (1 << 100_000) - 3)
        names.texts["s1._domainkey.example.com"] = huge
    assert judged(mail, names).authenticity.dkim != "pass"


def test_what_is_costly_to_verify_costs_the_serving_process_little(desk: Desk, names: NameServer) -> None:
    configure(desk, "support-mail", dns_server=names.address)
    mail = PLAIN + b"one lamp missing, and\t another \r\n" * 100_000
    for _ in range(5):
        mail = dkim.sign(mail, b"s1", b"example.com", PRIVATE, canonicalize=(b"relaxed", b"relaxed")) + mail
    began = time.process_time()
    taken = desk.raw_mail(mail)
    spent = time.process_time() - began
    [message] = desk.messages(taken.conversation_id or 0)
    assert (message.authenticity["verdict"], message.authenticity["dkim"]) == ("pass", "pass")
    began = time.process_time()
    assert len(verified(Raw("x", mail), "signatures", dict(names.texts)).signatures) == 5
    assert spent < (time.process_time() - began) / 2


def test_a_mail_whose_many_records_come_slowly_does_not_hold_up_the_next(names: NameServer) -> None:
    lookups = Lookups(names.address)
    assert lookups.for_one_mail().text("_dmarc.example.com") == "v=DMARC1; p=reject"
    with pytest.raises(Unanswered):
        lookups.for_one_mail(seconds=0).text("s1._domainkey.example.com")
    assert lookups.text("s1._domainkey.example.com")
    assert names.asked == ["_dmarc.example.com", "s1._domainkey.example.com"]


def test_a_key_is_looked_up_where_the_library_asks_for_it(names: NameServer) -> None:
    """Names are read from the header here and by dkimpy there: folded and spaced as mailers write them."""
    written = signed()
    for odd in (
        written,
        written.replace(b"; s=s1;", b";\r\n\ts = s1 ;"),
        written.replace(b"d=example.com", b"d=EXAMPLE.com"),
    ):
        assert key_names(odd) == ["s1._domainkey.example.com"]
        assert verified(Raw("x", odd), "signatures", {}).signatures[0][1] == "temperror"  # it asked, and had no answer


def rsa_record(modulus: int, exponent: int) -> str:
    """A key's record (RFC 6376 3.6.1) that no library of today would write."""
    numbers = b"".join(
        der(0x02, b"\x00" + each.to_bytes((each.bit_length() + 7) // 8, "big")) for each in (modulus, exponent)
    )
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    spki = der(0x30, algorithm + der(0x03, b"\x00" + der(0x30, numbers)))
    return f"v=DKIM1; k=rsa; p={base64.b64encode(spki).decode()}"


def der(tag: int, content: bytes) -> bytes:
    """One element of ASN.1, with a length of four bytes."""
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


RECEIVED = (
    b"Return-Path: <%s>\r\nReceived: from mail.example.com (host.example.com [%s])\r\n"
    b"\tby mx.desk.example (Postfix) with ESMTPS; Mon, 23 Nov 2026 08:00:01 +0000\r\n"
)
OUR_RELAY = read_relays(["mx.desk.example"])


def received(
    names: NameServer, client: bytes, envelope: bytes = b"mara@example.com", body: bytes = PLAIN
) -> Authenticity:
    raw = Raw("x", RECEIVED % (envelope, client) + body)
    return authenticated(raw, parse(raw), Trusted(relays=OUR_RELAY), Lookups(names.address, 0.5)).authenticity


def test_an_unsigned_mail_is_proved_or_disowned_by_the_machine_that_sent_it(names: NameServer) -> None:
    names.texts["example.com"] = "v=spf1 ip4:198.51.100.0/28 -all"
    proved = received(names, b"198.51.100.7")
    assert proved == Authenticity("pass", spf="pass", dmarc="pass", source="own", domain="example.com")
    failed = received(names, b"203.0.113.9")
    assert (failed.verdict, failed.spf, failed.dmarc) == ("fail", "fail", "fail")
    assert received(names, b"203.0.113.9", body=signed()).verdict == "pass"  # a forwarder kept it whole


def test_the_envelope_of_somebody_else_proves_nothing(names: NameServer) -> None:
    names.texts["elsewhere.net"] = "v=spf1 ip4:203.0.113.9 -all"
    found = received(names, b"203.0.113.9", b"bounce@elsewhere.net")
    assert (found.verdict, found.spf) == ("fail", "pass")
    del names.texts["_dmarc.example.com"]  # and who asks for nothing is not failed
    assert received(names, b"203.0.113.9", b"bounce@elsewhere.net").verdict == "none"


def test_an_empty_envelope_is_the_word_of_the_greeting(names: NameServer) -> None:
    names.texts["mail.example.com"] = "v=spf1 a -all"
    names.zone["mail.example.com"] = [("A", "198.51.100.7")]
    assert received(names, b"198.51.100.7", b"").domain == "mail.example.com"


@pytest.mark.parametrize("record", ["v=DMARC1; p=reject; adkim=s; aspf=s", "v=DMARC1;p=none;ADKIM = S ;aspf=s"])
def test_a_domain_that_wants_strict_proof_gets_it(names: NameServer, record: str) -> None:
    names.texts["s1._domainkey.mail.example.com"] = names.texts["s1._domainkey.example.com"]
    names.texts["mail.example.com"] = "v=spf1 ip4:198.51.100.7 -all"
    by_relative = signed(domain=b"mail.example.com")
    assert judged(by_relative, names).authenticity.verdict == "pass"
    assert received(names, b"198.51.100.7", b"x@mail.example.com").verdict == "pass"
    names.texts["_dmarc.example.com"] = record
    assert judged(by_relative, names).authenticity.verdict == "none"
    assert received(names, b"198.51.100.7", b"x@mail.example.com").verdict == "fail"
    assert received(names, b"198.51.100.7", b"x@mail.example.com", by_relative).verdict == "fail"
    assert received(names, b"198.51.100.7", b"x@mail.example.com", signed()).verdict == "pass"


def test_two_policies_are_none_and_a_silent_policy_leaves_it_open(names: NameServer) -> None:
    names.texts["example.com"] = "v=spf1 -all"
    names.zone["_dmarc.example.com"] = [("TXT", '"v=DMARC1; p=none"')]
    assert received(names, b"203.0.113.9").verdict == "none"
    names.silent.add("_dmarc.example.com")
    assert received(names, b"203.0.113.9").verdict == "temperror"


def test_what_can_not_be_looked_up_is_never_a_failure(names: NameServer) -> None:
    names.texts["example.com"] = "v=spf1 include:_spf.example.com -all"
    names.silent.add("_spf.example.com")
    found = received(names, b"203.0.113.9")
    assert (found.spf, found.verdict) == ("temperror", "temperror")


FOOTER = b"-- \r\nsent through the lamps list\r\n"
SAW = b"Authentication-Results: mx.%s; arc=%s; dmarc=%s header.from=example.com\r\n"


def forwarded(names: NameServer, saw: bytes = b"pass", sealer: bytes = b"example.net", mail: bytes = b"") -> bytes:
    """A signed mail that a list changed and sealed."""
    names.texts[f"seal._domainkey.{sealer.decode()}"] = names.texts["s1._domainkey.example.com"]
    changed = SAW % (sealer, b"pass" if mail else b"none", saw) + (mail or signed() + FOOTER)
    return b"".join(dkim.arc_sign(changed, b"seal", sealer, PRIVATE, b"mx." + sealer)) + changed


def through(names: NameServer, mail: bytes, *sealers: str) -> Authenticity:
    raw = Raw("x", mail)
    trusted = Trusted(sealers=frozenset(sealers))
    return authenticated(raw, parse(raw), trusted, Lookups(names.address)).authenticity


def test_a_trusted_forwarders_seal_saves_what_it_changed(names: NameServer) -> None:
    mail = forwarded(names)
    assert through(names, mail).verdict == "fail"
    assert through(names, mail, "other.example").verdict == "fail"
    found = through(names, mail, "example.net")
    assert (found.verdict, found.dmarc, found.arc, found.domain, found.sealer) == (
        ("pass", "fail", "pass", "example.com", "example.net")
    )


def test_a_seal_over_a_failure_or_over_other_words_saves_nothing(names: NameServer) -> None:
    assert through(names, forwarded(names, b"fail"), "example.net").verdict == "fail"
    broken = through(names, forwarded(names).replace(b"one lamp", b"ten lamps"), "example.net")
    assert (broken.verdict, broken.arc) == ("fail", "fail")
    names.texts.pop("seal._domainkey.example.net")
    assert through(names, forwarded(names).replace(b"example.net", b"exemple.net"), "exemple.net").verdict == "fail"


def test_whoever_sealed_after_the_trusted_one_has_to_be_trusted_too(names: NameServer) -> None:
    first = forwarded(names)
    again = forwarded(names, b"fail", b"evil.example", first)
    assert through(names, again, "example.net").verdict == "fail"
    assert through(names, again, "example.net", "evil.example").sealer == "example.net"


@pytest.mark.parametrize("seal", [b"ARC-Seal: i=9999999; x\r\n", b"ARC-Seal: \xff\r\n", b"ARC-Seal: i=1\r\n" * 30])
def test_broken_seals_break_nothing(names: NameServer, seal: bytes) -> None:
    assert through(names, seal + PLAIN, "example.net").verdict == "none"


def test_nobody_is_asked_about_an_unsigned_mail_and_answers_are_kept(names: NameServer) -> None:
    judged(PLAIN, names)
    assert names.asked == []
    lookups = Lookups(names.address)
    assert lookups.text("_dmarc.example.com") == lookups.text("_dmarc.example.com") == "v=DMARC1; p=reject"
    assert names.asked == ["_dmarc.example.com"]


@pytest.mark.parametrize(
    "body", [b"DKIM-Signature: v=1\r\n", b"DKIM-Signature: \xff;;=\r\n", b"dkim-signature:\r\n" * 20]
)
def test_broken_signatures_prove_nothing_and_break_nothing(names: NameServer, body: bytes) -> None:
    assert judged(body + PLAIN, names).authenticity.verdict in ("none", "fail")


PASSED = (
    "mx.desk.example; spf=pass smtp.mailfrom=example.com; dkim=pass header.d=example.com; "
    "dmarc=pass header.from=example.com"
)


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ([PASSED], "pass"),
        ([PASSED.upper()], "pass"),
        (["other.example; dmarc=pass header.from=example.com"], None),
        (
            ["mx.desk.example; dmarc=fail (p=reject dis=none) header.from=example.com", PASSED],
            "fail",
        ),  # the topmost counts
        (["mx.desk.example; dmarc=pass header.from=rival.example"], "none"),
        (["mx.desk.example; dkim=pass (2048-bit key; a (nested) note) header.i=@mail.example.com"], "pass"),
        (["mx.desk.example; dkim=pass header.d=rival.example"], "none"),
        (["mx.desk.example 1; dkim=fail header.d=rival.example; dkim=pass header.d=example.com"], "pass"),
        (["mx.desk.example; spf=softfail (x) smtp.mailfrom=a; dmarc=fail header.from=example.com"], "fail"),
        (["mx.desk.example; none"], "none"),
        (["mx.desk.example"], "none"),
        (["(dmarc=pass) mx.desk.example; dmarc=temperror"], "temperror"),
        (["", ";;;", "mx.desk.example ;dmarc = pass"], "pass"),
    ],
)
def test_only_the_topmost_word_of_a_trusted_server_counts(fields: list[str], verdict: str | None) -> None:
    found = read_results(fields, ["mx.desk.example"], "example.com")
    assert (found.verdict if found else None) == verdict


def test_a_forged_field_is_not_believed_and_a_real_one_saves_the_look() -> None:
    forged = f"Authentication-Results: {PASSED}\r\n".encode() + PLAIN
    assert judged(forged, None).authenticity == Authenticity()
    assert judged(forged, None, "mx.desk.example").authenticity.source == "mx.desk.example"


def test_the_agent_is_told_and_a_spoofed_colleague_is_marked(desk: Desk) -> None:
    configure(desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    proved = desk.raw_mail(f"Authentication-Results: {PASSED}\r\n".encode() + PLAIN)
    [message] = desk.messages(proved.conversation_id or 0)
    assert (message.authenticity["verdict"], message.authenticity["source"]) == ("pass", "mx.desk.example")
    with desk.hub.store.read() as tx:
        [identity] = identities_of(tx, proved.contact_id or 0)
    assert (identity.value, identity.strength) == (MARA_MAIL, Strength.MAIL_PROVED)

    jonas = PLAIN.replace(b"mara.lindqvist@example.com", b"jonas@desk.example")
    [spoofed] = desk.messages(desk.raw_mail(jonas).conversation_id or 0)
    assert "spoofed_colleague" in spoofed.flags
    own = PASSED.replace("example.com", "desk.example").encode()
    [real] = desk.messages(desk.raw_mail(b"Authentication-Results: " + own + b"\r\n" + jonas).conversation_id or 0)
    assert "spoofed_colleague" not in real.flags


def test_the_agent_reads_which_forwarder_vouched(desk: Desk, names: NameServer) -> None:
    configure(desk, "support-mail", trusted_sealers=["example.net"], dns_server=names.address)
    taken = desk.raw_mail(forwarded(names))
    [message] = desk.messages(taken.conversation_id or 0)
    assert message.authenticity["sealer"] == "example.net"
    assert proof(message.authenticity) == [
        "Sender proved: example.net forwarded this mail and says that example.com vouched for it."
    ]


def test_a_mail_that_its_domain_disowns_enters_no_conversation(desk: Desk) -> None:
    configure(desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    first = desk.mail("Lamp", "one lamp missing", message_id="<known@customer.example>")
    failed = b"Authentication-Results: mx.desk.example; dmarc=fail header.from=example.com\r\n"
    forged = desk.raw_mail(failed + b"In-Reply-To: <known@customer.example>\r\n" + PLAIN)
    assert forged.conversation_id != first.conversation_id
    assert desk.messages(forged.conversation_id or 0)[0].authenticity["verdict"] == "fail"
