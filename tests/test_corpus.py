"""Other people's mails and damaged ones, in short forms; `make prove` runs the long ones."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import Unreadable
from channels.mail.charset import decode
from channels.mail.forwarded import original_sender
from channels.mail.headers import text
from channels.mail.invitation import invitation
from channels.mail.quotes import cut
from channels.mail.sanitise import clean
from channels.mail.tnef import opened
from tests.prove import corpus, fuzz
from tests.support.mails import mail, multipart, parsed, part

# A little below what the whole corpus scores, so that a sample of it passes and a step back does not.
GATES: dict[Callable[[int], corpus.Score], float] = {
    corpus.trimmed_replies: 0.7,
    corpus.replies_kept: 1.0,
    corpus.forwarded_senders: 0.95,
    corpus.decoded_parts: 0.9,
    corpus.headers_as_the_library_reads_them: 0.98,
    corpus.attachment_names: 0.98,
    corpus.charsets: 0.99,
}
SAMPLE = 12


@pytest.mark.parametrize("score", GATES, ids=lambda score: score.__name__)
def test_what_other_people_expect_of_their_mails_holds(score: Callable[[int], corpus.Score]) -> None:
    every = 1 if score in (corpus.trimmed_replies, corpus.forwarded_senders, corpus.decoded_parts) else SAMPLE
    reached = score(every)
    print(f"{reached.name}: {reached.right} of {reached.total}; not {reached.misses}")
    assert reached.total >= 5
    assert reached.share >= GATES[score], reached.misses


def test_every_mail_of_a_sample_becomes_visible() -> None:
    passage = corpus.through_the_hub(corpus.mails(SAMPLE * 2))
    assert (passage.invisible, passage.died) == ([], [])
    assert passage.slowest[0] < 15
    assert sum(passage.states.values()) > 50


def test_damaged_mails_are_read_within_their_caps() -> None:
    figures = fuzz.fuzz_mails(400)
    print(figures)
    assert figures.failed == []
    assert sum(figures.outcomes.values()) == 400


def test_damaged_requests_are_read_or_refused() -> None:
    figures = fuzz.fuzz_bodies(3000)
    print(figures)
    assert figures.failed == []
    assert figures.slowest < 20  # nothing hangs; how fast it is is for a benchmark to say


HEADER = st.binary(max_size=200).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b"\r\n "))
KINDS = st.sampled_from((b"text/plain", b"text/html", b"text/calendar", b"message/rfc822", b"application/ms-tnef"))
CHARSETS = st.sampled_from((b"utf-8", b"utf-7", b"iso-2022-jp", b"hz", b"gb2312", b"big5", b"hex", b"\xff", b"utf-16"))
CODINGS = st.sampled_from((b"base64", b"quoted-printable", b"8bit", b"x-uuencode", b"base64 ", b"\x00"))
PARTS = st.builds(
    lambda kind, charset, coding, content: part(
        b"Content-Type: " + kind + b"; charset=" + charset, b"Content-Transfer-Encoding: " + coding, content=content
    ),
    KINDS, CHARSETS, CODINGS, st.binary(max_size=300),
)  # fmt: skip
WHOLE = st.one_of(
    st.builds(lambda parts: multipart(*parts), st.lists(PARTS, max_size=4)),
    st.builds(lambda subject, sender, body: mail(body, Subject=subject, From=sender), HEADER, HEADER, PARTS),
    st.binary(max_size=500),
)
often = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@often
@given(WHOLE)
def test_whatever_is_put_together_is_read_or_refused(body: bytes) -> None:
    try:
        inbound = parsed(body)
    except Unreadable:
        return
    assert fuzz.is_sound(inbound)


@often
@given(st.text(max_size=600), st.text(max_size=60))
def test_no_text_confuses_the_marks(content: str, subject: str) -> None:
    found = cut(content)
    assert 0 <= found.new <= found.quoted <= len(content)
    assert content[: found.new].strip() or not content.strip()
    original_sender(content, subject)


@often
@given(st.binary(max_size=600), CHARSETS)
def test_no_bytes_break_what_decodes_them(data: bytes, charset: bytes) -> None:
    for shown in (decode(data, charset.decode("latin-1")), text(data), clean(decode(data)) or ""):
        assert fuzz.is_storable(shown)
    assert opened(b"\x78\x9f\x3e\x22" + data) is None or data
    assert all(map(fuzz.is_storable, invitation(b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n" + data).values()))


@pytest.mark.prove
def test_the_whole_corpus() -> None:
    passage, scores = corpus.through_the_hub(corpus.mails()), [score(1) for score in corpus.SCORES]
    corpus.report(passage, scores)
    assert (passage.invisible, passage.died) == ([], [])
    assert passage.slowest[0] < 20
    assert all(score.share >= GATES.get(judge, 0.0) for judge, score in zip(corpus.SCORES, scores, strict=True))


@pytest.mark.prove
def test_many_damaged_mails_and_requests() -> None:
    """PROVE_MAILS=1000000 for the longest form."""
    count = int(os.environ.get("PROVE_MAILS", "20000"))
    for figures in (fuzz.fuzz_mails(count), fuzz.fuzz_bodies(count)):
        print(figures)
        assert figures.failed == []
