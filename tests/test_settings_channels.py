"""Settings → Channels: set up by hand, with secrets that nobody sees again, and proved by what is sent and received."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import yaml
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub.channeltest import HUMAN_PATIENCE, MAIL_PATIENCE, steps_of
from hub.desk import apply, export, read
from hub.mailboxes import Mailbox
from sandbox.twilio import TwilioDouble
from storage.access import SYSTEM
from storage.desk import ChannelAccount
from storage.receipts import Receipt
from tests.browser.room import Browser, attr, words
from tests.desk import OUR_NUMBER, Desk
from tests.office import server, user
from tests.support.dovecot import PASSWORD, Dovecot
from tests.support.mailroom import configure, mailroom
from tests.support.smtp import Sink, smtp_sink

__all__ = ["server", "user"]

CHANNELS = "/inbox/settings/channels"
ADDRESS = "hello@shop.example"


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Takes what the channel under test sends."""
    with smtp_sink() as running:
        yield running


def mailbox(server: Dovecot, sink: Sink, user: str, **changes: Any) -> dict[str, Any]:
    """What Ines types for a mailbox."""
    sink.passwords[user] = PASSWORD
    return {
        "name": "hello-mail", "address": ADDRESS, "settings.username": user, "settings.password": PASSWORD,
        "settings.imap_host": server.host, "settings.imap_port": str(server.imap_port), "settings.imap_tls": "none",
        "settings.smtp_host": sink.host, "settings.smtp_port": str(sink.port), "settings.smtp_tls": "none",
        "settings.since": "2026-11-24",
    } | changes  # fmt: skip


def version(page: Page) -> str:
    return attr(page, "#desk-form input[name=version]", "value")


def row(desk: Desk, name: str) -> ChannelAccount:
    with desk.hub.store.read() as tx:
        return tx.exec(select(ChannelAccount).where(ChannelAccount.name == name)).one()


def add(ines: Browser, kind: str, **typed: Any) -> Any:
    seen = version(ines.page(f"{CHANNELS}/new/{kind}"))
    return ines.post(f"{CHANNELS}/new/{kind}", **({"version": seen, "do": "save"} | typed))


# --- set up -----------------------------------------------------------------------------------------------------------


def test_a_mailbox_is_set_up_tried_and_proved(
    desk: Desk, ines: Browser, server: Dovecot, user: str, sink: Sink
) -> None:
    assert "Email by webhook" in words(ines.page(f"{CHANNELS}/new"), ".kind-card b")
    page = ines.page(f"{CHANNELS}/new/email")
    assert attr(page, "#settings-since", "value") == "2026-11-24", "older mail is nobody's work by itself"
    typed = mailbox(server, sink, user) | {"version": version(page)}

    wrong = Page(ines.post(f"{CHANNELS}/new/email", **typed | {"settings.password": "guess", "do": "try"}).text)
    (told,) = words(wrong, ".test-steps .bad")
    assert "refused the login" in told and "Check username and password" in told
    assert attr(wrong, "#settings-imap_host", "value") == server.host and "guess" not in (wrong.html or "")
    again = {**typed, "settings.password": "", "kept:settings.password": attr(wrong, "[name^='kept:']", "value")}
    assert words(Page(ines.post(f"{CHANNELS}/new/email", **again, do="try").text), ".test-steps .bad"), "it was kept"

    right = Page(ines.post(f"{CHANNELS}/new/email", **typed, do="try").text)
    assert words(right, ".test-steps .good p") == [
        f"Logged in to {server.host} as {user}, and opened INBOX.",
        f"Logged in to {sink.host}.",
    ]
    assert f"+ address: {ADDRESS}" in words(right, "#effect .lines")[0].replace("new: ", "")
    assert "password: (sealed)" in words(right, "#effect .lines")[0]
    desk.hub.look_again()
    assert all(each.account.name != "hello-mail" for each in desk.hub.channels()), "nothing is kept yet"

    kept = ines.post(f"{CHANNELS}/new/email", **typed, do="save")
    assert kept.status_code == 303
    number = row(desk, "hello-mail").id
    assert kept.location == f"{CHANNELS}/{number}"
    prove(desk, ines, server, user, sink, number or 0)


def prove(desk: Desk, ines: Browser, server: Dovecot, user: str, sink: Sink, number: int) -> None:
    """Step by step, as the page's script asks for it: the mail leaves, comes back, and is nobody's work."""
    ines.page(f"{CHANNELS}/{number}")
    begun = ines.post(f"{CHANNELS}/{number}/test", hx=True)
    answers = [following(ines, begun, number)]
    while "Waiting for the mail" not in answers[-1].text:
        answers.append(following(ines, answers[-1], number))
        assert len(answers) < 6, answers[-1].text
    assert [words(Page(each.text), "li.good b")[0].partition(":")[0] for each in answers[:3]] == [
        "Fetch mail (IMAP)", "Hand over mail (SMTP)", "A mail leaves",
    ]  # fmt: skip
    (taken,) = sink.taken
    assert taken.recipients == [ADDRESS]
    server.deliver(user, taken.data)
    with closing(Mailbox(desk.hub, desk.hub.channel_named("hello-mail"), "node 1")) as box:
        box.read_new()
    last = following(ines, answers[-1], number)
    assert "The mail came back after 1 s and is in the ledger." in words(Page(last.text), "li.good")[0]
    assert "hx-post" not in last.text, "the test has ended"
    with desk.hub.store.read() as tx:
        (receipt,) = tx.exec(select(Receipt))
    assert (receipt.state, receipt.why) == ("ignored", "our own mail came back") and desk.conversations() == []
    assert words(ines.page(CHANNELS), ".card-row .pill.green") == ["Works"]


def following(ines: Browser, answer: Any, number: int) -> Any:
    """What the fragment asks for next."""
    inputs = Page(answer.text).css("form[hx-trigger] input")
    fields: dict[str, Any] = {f"{each.attributes['name']}": each.attributes["value"] or "" for each in inputs}
    assert fields, answer.text
    return ines.post(f"{CHANNELS}/{number}/test/step", hx=True, **fields)


def test_what_does_not_come_back_is_told_with_where_to_look(
    desk: Desk, ines: Browser, server: Dovecot, user: str, sink: Sink
) -> None:
    add(ines, "email", **mailbox(server, sink, user))
    number = row(desk, "hello-mail").id or 0
    page = Page(ines.post(f"{CHANNELS}/{number}/test").text)  # without scripts: everything at once
    assert words(page, ".test-steps li.runs b") == ["Something arrives"] and len(words(page, ".test-steps .good")) == 3
    desk.clock.moment += MAIL_PATIENCE + timedelta(seconds=1)
    (told,) = words(again(ines, page, number), ".test-steps .bad")
    assert "has not come back within 90 s" in told and "Nobody reads INBOX: never looked at yet" in told
    assert "has not come back" in words(ines.page(CHANNELS), ".card-row .wrong")[0]

    sink.recipient_answers[ADDRESS] = "550 5.1.1 no such user"
    (told,) = words(Page(ines.post(f"{CHANNELS}/{number}/test").text), ".test-steps .bad")
    assert told.startswith("A mail leaves: does not work") and "no such user" in told
    sink.passwords[user] = "changed meanwhile"
    desk.hub.channel_named("hello-mail").must().__init__(  # type: ignore[misc]  # a kept line would still be logged in
        name="hello-mail", address=ADDRESS, settings=desk.hub.channel_named("hello-mail").settings
    )
    (told,) = words(Page(ines.post(f"{CHANNELS}/{number}/test").text), ".test-steps .bad")
    assert told.startswith("Hand over mail (SMTP): does not work") and "Check username and password" in told


def test_secrets_are_sealed_never_shown_and_go_round_through_the_file(
    desk: Desk, ines: Browser, server: Dovecot, user: str, sink: Sink
) -> None:
    secret = "correct-battery-staple"
    sink.passwords[user] = secret
    add(ines, "email", **mailbox(server, sink, user) | {"settings.password": secret})
    account = row(desk, "hello-mail")
    sealed = account.settings["password"]
    assert sealed.startswith("sealed:") and secret not in str(account.settings)
    assert desk.hub.channel_named("hello-mail").settings["password"] == secret, "and opens"
    shown = ines.get(f"{CHANNELS}/{account.id}").text
    assert secret not in shown and sealed not in shown and "Kept. Type to replace it" in shown

    with desk.hub.store.write() as tx:
        text = export(tx)
        assert secret not in text and apply(tx, SYSTEM, read(text)) == [], "the file says what the page says"
    other = yaml.safe_load(text)
    with desk.hub.store.write() as tx:  # another hub's SECRET_KEY can't open it, and says what to do
        changed = [each for each in other["channels"] if each["name"] == "hello-mail"]
        changed[0]["settings"]["password"] = "sealed:gAAAAnonsense"
        apply(tx, SYSTEM, {"channels": other["channels"]})
    desk.hub.look_again()
    assert "sealed with another SECRET_KEY: type it again" in words(ines.page(CHANNELS), ".card-row .wrong")[0]


def test_a_change_keeps_the_secret_and_says_what_it_does(
    desk: Desk, ines: Browser, server: Dovecot, user: str, sink: Sink
) -> None:
    add(ines, "email", **mailbox(server, sink, user))
    number = row(desk, "hello-mail").id
    before = row(desk, "hello-mail").settings["password"]
    page = ines.page(f"{CHANNELS}/{number}")
    typed = mailbox(server, sink, user) | {"settings.password": "", "settings.from_name": "Nordlicht"}
    looked = Page(ines.post(f"{CHANNELS}/{number}", hx=True, version=version(page), **typed).text)
    assert words(looked, ".lines > span") == ["new: + from_name: Nordlicht"]
    assert row(desk, "hello-mail").settings.get("from_name") is None, "looking changes nothing"
    assert ines.post(f"{CHANNELS}/{number}", version=version(page), do="save", **typed).status_code == 303
    after = row(desk, "hello-mail").settings
    assert (after["from_name"], after["password"]) == ("Nordlicht", before)

    late = ines.post(f"{CHANNELS}/{number}", version=version(page), do="save", **typed | {"settings.from_name": "N"})
    assert late.status_code == 422 and "was changed since" in words(Page(late.text), ".problem")[0]
    assert attr(Page(late.text), "#settings-from_name", "value") == "N", "nothing typed is lost"


@pytest.mark.parametrize(
    ("kind", "typed", "field", "sentence"),
    [
        ("email", {"name": ""}, "name", "Name is missing"),
        ("email", {"name": "hello mail"}, "name", "letters, digits, dots and dashes"),
        ("email", {"name": "support-mail"}, "name", "There is a channel of this name already"),
        ("email", {"settings.imap_host": ""}, "settings.imap_host", "IMAP server is missing"),
        ("email", {"settings.imap_port": "many"}, "settings.imap_port", "use a number above 0"),
        ("email", {"settings.password": ""}, "settings.password", "either password or oauth_token or oauth"),
        ("email", {"settings.since": "yesterday"}, "settings.since", "write a day as"),
        ("email", {"settings.password": "env:SECRET_KEY"}, "settings.password", "read from desk.yaml only"),
        ("email", {"settings.since": "env:SECRET_KEY"}, "settings.since", "read from desk.yaml only"),
        ("email", {"settings.signature": "sealed:gAAAA"}, "settings.signature", "stays where it was sealed"),
        ("email", {"more": "settings: {imap_hots: x}"}, "more", "unknown setting 'imap_hots'"),
        ("email", {"more": "settings: {imap_host: x}"}, "settings.imap_host", "stands below as well"),
        ("email", {"more": "a: ["}, "more", "not valid YAML"),
        ("email", {"more": "active: true"}, "more", "'active' is nothing that a channel has"),
        ("mailhook", {"settings.provider": "mailgun"}, "settings.signing_key", "'signing_key' is missing"),
        ("chat", {"settings.identity_secret": "short"}, "settings.identity_secret", "too short"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    desk: Desk, ines: Browser, kind: str, typed: dict[str, str], field: str, sentence: str
) -> None:
    good = {
        "name": "hello-mail", "address": ADDRESS, "settings.username": "u", "settings.password": "p",
        "settings.imap_host": "127.0.0.1", "settings.smtp_host": "127.0.0.1",
    }  # fmt: skip
    base = good if kind == "email" else {"name": "other", "address": ADDRESS}
    answer = add(ines, kind, **base | typed)
    page = Page(answer.text)
    assert answer.status_code == 422
    told = words(page, ".problem" if field == "form" else f"[id='wrong-{field}']")
    assert told and sentence.lower() in told[0].lower()
    assert attr(page, "#name", "value") == (base | typed)["name"] and len(page.css(".wrong, .problem")) == 1
    looked = ines.post(f"{CHANNELS}/new/{kind}", hx=True, **base | typed)
    assert looked.status_code == 200
    assert sentence.lower() in words(Page(looked.text), "#effect .odd")[0].lower()


# --- the other kinds --------------------------------------------------------------------------------------------------


def test_a_number_is_proved_by_its_account_its_webhook_and_a_text(desk: Desk, ines: Browser) -> None:
    settings = desk.hub.settings
    with TwilioDouble(
        numbers=(OUR_NUMBER,), account_sid=settings.twilio_account_sid, auth_token=settings.twilio_auth_token
    ) as double:
        configure(desk, "support-sms", base_url=double.url)
        number = row(desk, "support-sms").id
        page = ines.page(f"{CHANNELS}/{number}")
        assert words(page, ".copied code")[0] == "https://desk.example/webhooks/twilio/messages"
        (told,) = words(Page(ines.post(f"{CHANNELS}/{number}/test").text), ".test-steps .bad")
        assert "set “A message comes in” to https://desk.example/webhooks/twilio/messages with HTTP POST" in told
        double.sms_url = "https://desk.example/webhooks/twilio/messages"
        page = Page(ines.post(f"{CHANNELS}/{number}/test").text)
        assert len(words(page, ".test-steps .good")) == 2
        (told,) = words(page, ".test-steps .bad")
        assert "https://desk.example does not lead to this hub: set PUBLIC_BASE_URL" in told
    desk.hub.settings = settings.changed(public_base_url="")
    ines.sign_in("ines@desk.example")  # cookies are named after the public address
    page = arrival(desk, ines, number or 0)
    assert "Send a text to +46701740620 from any phone." in words(page, ".runs")[0]
    desk.text("Hello?")
    assert "Something arrived after 1 s" in words(again(ines, page, number or 0), ".test-steps .good")[0]


def arrival(desk: Desk, ines: Browser, number: int) -> Page:
    """A test that has come to its last step, wherever the ones before it led."""
    began = str(desk.clock().timestamp())
    last = len(steps_of(desk.hub, desk.hub.channel(number))) - 1
    fields: dict[str, Any] = {"code": "swy-1", "after": "0", "began": began, "at": f"{last}"}
    return Page(ines.post(f"{CHANNELS}/{number}/test/step", **fields).text)


def again(ines: Browser, page: Page, number: int) -> Page:
    fields: dict[str, Any] = {
        f"{each.attributes['name']}": each.attributes["value"] for each in page.css(".runs input")
    }
    return Page(ines.post(f"{CHANNELS}/{number}/test/step", **fields).text)


def test_a_widget_and_a_form_say_what_to_put_where(desk: Desk, ines: Browser) -> None:
    asked = {"settings.title": "Help", "settings.origins": "https://a.example"}
    assert add(ines, "chat", name="help-chat", **asked).status_code == 303
    chat = row(desk, "help-chat")
    assert chat.settings == {"title": "Help", "origins": ["https://a.example"]}
    page = ines.page(f"{CHANNELS}/{chat.id}")
    assert words(page, ".copied code") == [
        '<script src="https://desk.example/chat/widget.js" data-channel="help-chat" defer></script>',
        "https://desk.example/chat/frame?channel=help-chat",
    ]
    form = row(desk, "contact-form")
    page = ines.page(f"{CHANNELS}/{form.id}")
    assert "https://desk.example/forms/contact-form" in words(page, ".copied code")
    assert attr(page, "#settings-fields-subject", "value") == "topic", "as the file has it"
    desk.hub.settings = desk.hub.settings.changed(public_base_url="")
    ines.sign_in("ines@desk.example")  # cookies are named after the public address
    page = arrival(desk, ines, form.id or 0)
    assert "fill it in and send it" in words(page, ".runs")[0]
    desk.clock.moment += HUMAN_PATIENCE + timedelta(seconds=1)
    assert "Nothing arrived within 10 minutes" in words(again(ines, page, form.id or 0), ".test-steps .bad")[0]


def test_a_message_that_does_not_leave_is_its_channels_problem(desk: Desk, ines: Browser) -> None:
    number = desk.mail("Order", "Where is my lamp?").conversation_id or 0
    with mailroom(desk) as room:
        room.sink.passwords["support"] = "changed meanwhile"
        room.answer(desk.jonas, number)
        told = words(ines.page(CHANNELS), ".card-row .wrong")
        assert told[0].startswith("The newest message has not left yet. SMTP server") and "Check username" in told[0]
        room.sink.passwords["support"] = "secret"
        desk.clock.forward(hours=1)
        room.send()
    assert not words(ines.page(CHANNELS), ".card-row .wrong")
    assert "last left Tue 24 Nov, 11:00" in words(ines.page(CHANNELS), ".card-row p")[0]


def test_a_channel_is_switched_off_and_on_again(desk: Desk, ines: Browser) -> None:
    number = row(desk, "contact-form").id
    for active in (False, True):
        page = ines.page(f"{CHANNELS}/{number}/switch")
        seen = attr(page, "main input[name=version]", "value")
        assert ines.post(f"{CHANNELS}/{number}/switch", version=seen).status_code == 303
        assert row(desk, "contact-form").active is active
    assert row(desk, "contact-form").settings["honeypot"] == "website", "as it was"
    assert ines.get(f"{CHANNELS}/4711").status_code == 404


@pytest.mark.parametrize("wrong", [{"began": "nan"}, {"began": "1e308"}, {"at": "-1"}, {"after": "x"}, {"code": "%"}])
def test_a_test_that_was_never_begun_is_refused(desk: Desk, ines: Browser, wrong: dict[str, Any]) -> None:
    ines.page(CHANNELS)
    fields = {"code": "swy-1", "after": "0", "began": "1764000000.5", "at": "0"} | wrong
    answer = ines.post(f"{CHANNELS}/{row(desk, 'shop-chat').id}/test/step", **fields)
    assert answer.status_code == 409 and "begin one" in answer.text


def test_a_kept_secret_goes_to_no_other_server(
    desk: Desk, ines: Browser, server: Dovecot, user: str, sink: Sink
) -> None:
    typed = mailbox(server, sink, user)
    assert add(ines, "email", **typed).status_code in (302, 303)
    number, kept = row(desk, typed["name"]).id, row(desk, typed["name"]).settings["password"]
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0.1)
        moved = typed | {"settings.password": "", "settings.imap_port": str(stranger.getsockname()[1])}
        for do in ("try", "save"):
            page = ines.page(f"{CHANNELS}/{number}")
            answer = ines.post(f"{CHANNELS}/{number}", version=version(page), do=do, **moved)
            told = words(Page(answer.text), "[id='wrong-settings.password']")
            assert told and "imap_port has changed: write this secret again" in told[0]
        with pytest.raises(TimeoutError):
            stranger.accept()
    assert row(desk, typed["name"]).settings["password"] == kept


def test_a_sealed_secret_of_one_channel_opens_no_other(
    desk: Desk, ines: Browser, server: Dovecot, user: str, sink: Sink
) -> None:
    typed = mailbox(server, sink, user)
    add(ines, "email", **typed)
    sealed = row(desk, typed["name"]).settings["password"]
    other = typed | {"name": "other-mail", "settings.password": "", "kept:settings.password": sealed}
    told = words(Page(add(ines, "email", **other).text), "[id='wrong-settings.password']")
    assert told and "stays where it was sealed" in told[0]


def test_channels_are_an_admins_matter(desk: Desk, jonas: Browser) -> None:
    for path in ("", "/new", "/new/email", "/1"):
        assert jonas.get(f"{CHANNELS}{path}").status_code == 403
    assert jonas.page("/inbox/mine").css("#v-settings") == []
