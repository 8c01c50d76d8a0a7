"""The sandbox page: one browser plays every customer, through the same doors that real ones knock on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hub import Hub, tongue
from hub.web import hub_here
from sandbox.cast import (
    CUSTOMERS,
    MAILBOX,
    MAILBOXES,
    MEMBERS,
    NOTICES,
    OUR_NUMBER,
    PARTNER,
    PASSWORD,
    PHONES,
    Persona,
)
from sandbox.look import Letter, drawn, letter
from sandbox.papers import picture
from storage import Tx
from storage.columns import moment

if TYPE_CHECKING:
    from sandbox.demo import Doubles

SHOWN = 40  # messages of a thread
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FIRST_TEXT = "Thanks! Can it arrive before Friday? We are moving out that morning."


_attached: WeakKeyDictionary[Hub, Doubles] = WeakKeyDictionary()


def attach(hub: Hub, doubles: Doubles) -> None:
    """Let the page of this hub play with these doubles."""
    _attached[hub] = doubles


def create_blueprint() -> Blueprint:
    """The page under /sandbox. There is no sign-in: whoever reaches a demo may play."""
    blueprint = Blueprint(
        "sandbox", __name__, url_prefix="/sandbox", template_folder="templates", static_folder="static"
    )
    blueprint.before_request(_refuse_other_sites)
    tongue.register(blueprint)
    blueprint.after_request(_harden)
    blueprint.get("")(tongue.as_asked(show))
    blueprint.get("/live")(tongue.as_asked(live))
    blueprint.post("/text")(send_text)
    blueprint.post("/mail")(send_mail)
    blueprint.post("/slack/say")(say_in_slack)
    blueprint.post("/slack/press")(press_in_slack)
    return blueprint


def show() -> ResponseReturnValue:
    """The whole page; works without scripts, then it shows news when it is loaded again."""
    doubles = _doubles()
    return render_template(
        "sandbox/page.html",
        parts=_parts(doubles),
        phones=PHONES,
        mailboxes=MAILBOXES,
        members=MEMBERS,
        partner=PARTNER,
        chosen=_chosen(),
        first_text=FIRST_TEXT,
        password=PASSWORD,
        number=OUR_NUMBER,
    )


def live() -> ResponseReturnValue:
    """Everything that changes, as HTML by its place on the page."""
    body = json.dumps(_parts(_doubles()))
    response = Response(body, mimetype="application/json")
    response.set_etag(hashlib.sha256(body.encode()).hexdigest()[:32])
    return response.make_conditional(request)


def send_text() -> ResponseReturnValue:
    """A phone texts our number: Twilio posts a signed webhook."""
    sender = _persona(PHONES, "phone")
    return _done(_doubles().twilio.text_in(sender.address, OUR_NUMBER, _typed("text", 1600)), "phone")


def send_mail() -> ResponseReturnValue:
    """A mail arrives in our mailbox: the hub hears of it by IMAP IDLE and fetches it."""
    sender = _persona(MAILBOXES, "mailbox")
    mail = EmailMessage(policy=SMTP.clone(max_line_length=998))
    mail["From"] = f"{sender.name} <{sender.address}>"
    mail["To"] = MAILBOX
    mail["Subject"] = _line(request.form.get("subject", ""))[:200] or "Hello"
    mail["Date"] = format_datetime(hub_here().store.clock())
    mail["Message-ID"] = make_msgid(domain=sender.address.partition("@")[2])
    if answers := _line(request.form.get("answers", ""))[:500]:
        mail["In-Reply-To"] = mail["References"] = answers
    mail.set_content(_typed("text", 100_000))
    if request.form.get("photo"):
        mail.add_attachment(picture(), maintype="image", subtype="png", filename="photo.png")
    _doubles().mail.deliver(MAILBOX, mail.as_bytes())
    return _done(200, "mail")


def say_in_slack() -> ResponseReturnValue:
    """A partner writes in a shared channel: Slack posts a signed event."""
    thread = request.form.get("thread", "")
    return _done(_doubles().slack.say(CUSTOMERS, PARTNER.address, _typed("text", 3000), thread), "slack")


def press_in_slack() -> ResponseReturnValue:
    """Somebody on the team presses a button of a notice: Slack posts a signed action."""
    form, member = request.form, _persona(MEMBERS, "member")
    told = [form.get(name, "")[:100] for name in ("action", "value")]
    where = [form.get(name, "")[:100] for name in ("channel", "ts")]
    return _done(_doubles().slack.press(told[0], told[1], member.address, where[0], where[1]), "slack")


def _parts(doubles: Doubles) -> dict[str, str]:
    chosen = _chosen()
    phone, mailbox, member = (chosen[name].address for name in ("phone", "mailbox", "member"))
    posts = [post for post in list(doubles.slack.messages) if post.only_for in ("", member)]
    notices = [drawn(post) for post in posts if post.channel == NOTICES]
    threads = [drawn(post) for post in posts if post.channel == CUSTOMERS]
    return {
        "guide": render_template("sandbox/guide.html", steps=_steps(doubles)),
        "phone": render_template("sandbox/phone.html", texts=doubles.twilio.phone(phone)[-SHOWN:], number=phone),
        "mail": render_template("sandbox/mail.html", letters=_letters(doubles, mailbox)),
        "notices": render_template("sandbox/notices.html", posts=notices[-12:], member=chosen["member"]),
        "partners": render_template("sandbox/partners.html", posts=threads[-SHOWN:], partner=PARTNER),
    }


def _letters(doubles: Doubles, address: str) -> list[Letter]:
    """What this customer got and wrote, the newest last."""
    got = [letter(mail, "got") for mail in doubles.mail.inbox_of(address)[-SHOWN:]]
    wrote = [letter(mail, "wrote") for mail in doubles.mail.inbox_of(MAILBOX)[-200:]]
    mine = [each for each in wrote if each.address == address]
    return sorted([*got, *mine], key=lambda each: each.at)[-SHOWN:]


def _steps(doubles: Doubles) -> list[bool]:
    """Which of the four steps of the first minute are done."""
    ours = doubles.twilio.phone(PHONES[0].address)
    asked = next((text.created for text in ours if text.direction == "inbound"), None)
    with hub_here().store.read() as tx:
        signed_in = tx.sql("SELECT 1 FROM sign_in LIMIT 1").fetchone() is not None
        answered = asked is not None and _answered_since(tx, asked)
    arrived = any(text.direction == "outbound-api" for text in ours)
    return [asked is not None, signed_in, answered or arrived, arrived]


def _answered_since(tx: Tx, asked: datetime) -> bool:
    row = tx.sql("SELECT max(created_at) FROM message WHERE kind = 'outbound' AND channel = 'sms'").fetchone()
    last = moment(row[0])
    return last is not None and last >= asked


def _doubles() -> Doubles:
    doubles = _attached.get(hub_here())
    if doubles is None:
        abort(404, "The sandbox belongs to `python app.py demo`.")
    return doubles


def _chosen() -> Mapping[str, Persona]:
    """Whom each panel plays, as the address says."""
    return {
        name: next((each for each in known if each.key == request.args.get(name)), known[0])
        for name, known in (("phone", PHONES), ("mailbox", MAILBOXES), ("member", MEMBERS))
    }


def _persona(known: tuple[Persona, ...], field: str) -> Persona:
    found = next((each for each in known if each.key == request.form.get(field)), None)
    return found or abort(400, f"Choose who it is: {', '.join(each.key for each in known)}.")


def _typed(field: str, most: int) -> str:
    text = request.form.get(field, "").strip()
    return text[:most] if text else abort(400, "Write something first.")


def _line(text: str) -> str:
    return " ".join(text.split())


def _done(status: int, place: str) -> ResponseReturnValue:
    """Back to the page, or to its script, with what the hub answered."""
    if request.headers.get("X-Requested-With") == "sandbox":
        told: dict[str, Any] = {"answer": status}
        return told, 200 if status == 200 else 502
    played = {name: request.form[name] for name in ("phone", "mailbox", "member") if name in request.form}
    return redirect(f"{url_for('.show')}?{urlencode(played)}#{place}", 303)


def _refuse_other_sites() -> None:
    """There is no sign-in to protect, but other sites' pages must not play with somebody's demo either."""
    if (
        request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        and request.endpoint != "sandbox.static"
    ):
        abort(403, "The sandbox is played from its own page only.")


def _harden(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint != "sandbox.static":
        response.headers["Cache-Control"] = "no-cache"
    return response
