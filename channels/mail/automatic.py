"""Is a mail from a person, or which machine wrote it (RFC 3834, RFC 3464, and what mailers really send)."""

from __future__ import annotations

import re
from email.message import Message

from channels.mail.headers import parameter, token, value, values

LOOP_HEADER = "X-Switchyard-Loop"
DAEMON = re.compile(r"(mailer-daemon|mail-daemon|mdaemon|postmaster|bounces?|mailerdaemon)([+._\-=].*)?@")
NOBODY = re.compile(r"(do[._\-]?not[._\-]?reply|no[._\-]?reply|noreply)([+._\-].*)?@")
REPORTS = {"delivery-status": "bounce", "feedback-report": "report", "disposition-notification": "report"}
VACATION_HEADERS = ("X-Autoreply", "X-Auto-Reply", "X-Autorespond", "X-Autoresponse", "X-AutoReply-From")
LIST_HEADERS = ("List-Id", "List-Unsubscribe", "List-Post", "List-Help")
SILENCES = frozenset(("all", "oof", "autoreply"))  # what X-Auto-Response-Suppress says on machines' mail


def automatic(message: Message, sender: str) -> str:
    """ "" for a person's mail, else bounce, report, vacation, bulk or generated.

    `sender` is the normalised From address. Such mail is shown, but starts no clock and is never answered by a machine.
    """
    return _report(message, sender) or _vacation(message) or _bulk(message) or _generated(message, sender)


def marks(message: Message) -> tuple[str, ...]:
    """What the mail says is our mark. Anybody can write one: only the hub can tell whether it is ours."""
    return tuple(each[:100].decode("ascii", "replace") for each in values(message, LOOP_HEADER)[:3])


def _report(message: Message, sender: str) -> str:
    kind = parameter(value(message, "content-type"), "report-type").lower()
    if message.get_content_type() == "multipart/report":
        return REPORTS.get(kind, "bounce" if _null_return_path(message) else "report")
    if values(message, "X-Failed-Recipients") or DAEMON.match(sender):
        return "bounce"
    if _null_return_path(message) and _submitted(message) in ("", "no") and not _silenced(message):
        return "bounce"
    return ""


def _vacation(message: Message) -> str:
    marked = any(_says_yes(message, name) for name in VACATION_HEADERS) or token(message, "precedence") == "auto_reply"
    return "vacation" if marked or _submitted(message).startswith("auto-replied") else ""


def _says_yes(message: Message, name: str) -> bool:
    return any(each.strip().lower() not in (b"", b"no", b"false", b"0") for each in values(message, name))


def _bulk(message: Message) -> str:
    bulk = token(message, "precedence") in ("bulk", "junk", "list") or any(
        values(message, name) for name in LIST_HEADERS
    )
    return "bulk" if bulk else ""


def _generated(message: Message, sender: str) -> str:
    generated = _submitted(message) not in ("", "no") or _silenced(message) or NOBODY.match(sender)
    return "generated" if generated else ""


def _submitted(message: Message) -> str:
    return token(message, "auto-submitted")


def _silenced(message: Message) -> bool:
    return bool(SILENCES & {each.strip() for each in token(message, "x-auto-response-suppress").split(",")})


def _null_return_path(message: Message) -> bool:
    return any(each.strip() == b"<>" for each in values(message, "return-path"))
