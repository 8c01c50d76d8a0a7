"""The way out of mail to many: one click, for one person and channel, and answers still arrive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from hub.delivery import deliver
from hub.unsubscribe import unsubscribe_url
from storage.conversations import Message
from tests.desk import MARA_MAIL, Desk
from tests.doors import compose
from tests.support.smtp import Sink, smtp_sink
from tests.test_sending import answer, connect, courier, now


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink() as running:
        yield running


def to_many(desk: Desk, first: Message) -> Message:
    """A mail to many for the person of an earlier answer."""
    with desk.hub.store.write() as tx:
        made = Message(
            conversation_id=first.conversation_id, kind="outbound", channel_id=first.channel_id, channel="email",
            identity_id=first.identity_id, to_address=first.to_address, subject="Closed on Monday", text="See you.",
            automatic="bulk", state="queued", uuid=f"0000000{desk.clock().second}-0000-4000-8000-000000000000",
            created_at=tx.now,
        )  # fmt: skip
        tx.add(made)
        tx.flush()
        deliver(tx, "channel", f"channel:{made.channel_id}", made.uuid or "", {"message_id": made.id},
                message_id=made.id)  # fmt: skip
        return made


def link_in(mail: bytes) -> str:
    folded = mail.replace(b"\r\n ", b" ").partition(b"List-Unsubscribe: ")[2].split(b"\r\n")[0].decode()
    return folded.strip().strip("<>")


def visit(desk: Desk) -> FlaskClient:
    return compose(desk.hub).test_client()


def test_one_click_ends_mail_to_many_and_no_answer(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    first = answer(desk)
    made = to_many(desk, first)
    courier(desk).run_once()
    bulk = next(each.data for each in sink.taken if b"Closed on Monday" in each.data)
    others = [each.data for each in sink.taken if b"Closed on Monday" not in each.data]
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in bulk
    assert not any(b"List-Unsubscribe" in each for each in others)
    link = link_in(bulk)
    assert link == unsubscribe_url(desk.hub, made.identity_id or 0, made.channel_id or 0)
    path = link.removeprefix("https://desk.example")
    client = visit(desk)

    page = client.get(path)
    assert page.status_code == 200
    assert MARA_MAIL in page.text
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM unsubscription").fetchone()[0] == 0, "looking changes nothing"

    for _ in range(2):
        clicked = client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert clicked.status_code == 200
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM unsubscription").fetchone()[0] == 1
        assert tx.sql("SELECT count(*) FROM fact WHERE name = 'OptOutChanged'").fetchone()[0] == 1

    desk.clock.forward(seconds=1)
    again, human = to_many(desk, first), answer(desk, first.conversation_id)
    courier(desk).run_once()
    assert (now(desk, again).state, now(desk, human).state) == ("failed", "sent")
    assert "unsubscribed" in now(desk, again).state_why


def test_a_link_that_we_never_issued_tells_and_changes_nothing(desk: Desk) -> None:
    number = desk.mail("Lamp", "?").conversation_id or 0
    client, tokens = visit(desk), desk.hub.tokens
    good = tokens.issue_unsubscribe(1, 1)
    foreign = [
        good[:-1] + ("a" if good[-1] != "a" else "b"),
        "x",
        "ü" * 40,
        tokens.issue(number),
        tokens.issue_bounce(1),
    ]
    for token in [*foreign, tokens.issue(number, 1), tokens.issue_unsubscribe(99, 1)]:
        for answered in (client.get(f"/webhooks/unsubscribe/{token}"), client.post(f"/webhooks/unsubscribe/{token}")):
            assert answered.status_code == 404
            assert "not complete" in answered.text
    assert tokens.read(good) is None, "nor is it a reply token"
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM unsubscription").fetchone()[0] == 0
