"""Is a mail from a person, or which machine wrote it (RFC 3834, RFC 3464, and what mailers really send)."""

from __future__ import annotations

import re
from email.message import Message

from channels.mail.headers import parameter, text, token, value, values

LOOP_HEADER = "X-Switchyard-Loop"
DAEMON = re.compile(
    r"(mailer-daemon|mail-daemon|mdaemon|post_?master|bounces?|mailerdaemon|mail\.?delivery|maildelivery|"
    r"microsoftexchange[0-9a-f]{32}|failed_mail|undeliverable)([+._\-=].*)?@"
)
NOBODY = re.compile(r"(do[._\-]?not[._\-]?reply|no[._\-]?reply|noreply)([+._\-].*)?@")
REPORTS = {"delivery-status": "bounce", "feedback-report": "report", "disposition-notification": "report"}
VACATION_HEADERS = ("X-Autoreply", "X-Auto-Reply", "X-Autorespond", "X-Autoresponse", "X-AutoReply-From")
LIST_HEADERS = ("List-Id", "List-Unsubscribe", "List-Post", "List-Help")
SILENCES = frozenset(("all", "oof", "autoreply"))  # what X-Auto-Response-Suppress says on machines' mail
DELIVERY_NAME = re.compile(r"(?i)mail(er)?[- ]?(delivery|daemon)|postmaster|mail administrator|delivery (sub)?system")
# How subjects of delivery reports begin. Believed only from a sender whose name says that it delivers mail.
RETURNED = re.compile(
    r"(?i)(undeliver|delivery (status|failure|has failed|report|notification)|returned mail|failure notice|"
    r"mail delivery|delivery .{0,20}(fail|delay)|warning: could not send|error sending|non.?remis|unzustellbar|"
    r"não entregue|配信|退信|送信できません)"
)
# How out-of-office answers begin where nothing else tells them apart. A person's answer to one begins with "Re:".
AWAY = re.compile(
    r"(?i)\s*(\[?auto(matic(al)?)?[- ]?(reply|response|answer)\]?\b|out[- ]of[- ](the[- ])?office( reply)?\s*(:|$)|"
    r"vacation (reply|response|notice)|automatische (antwort|antwoord)|automatisch antwoord|"
    r"abwesenheits(notiz|meldung|nachricht)|réponse automatique|absence du bureau|"
    r"respuesta automática|fuera de (la )?oficina\s*(:|$)|resposta automática|ausência (temporária|do escritório)|"
    r"risposta automatica|fuori (sede|ufficio)\s*(:|$)|auto(matisk)?[- ]?svar|automatiskt svar|"
    r"automaattinen vastaus|automatická odpov|autoodpowied|automatyczna odpowied|automatikus válasz|"
    r"otomatik yanıt|автоответ|自動(応答|返信)|自动(答复|回复)|自動回覆|자동 ?(회신|응답))"
)


def automatic(message: Message, sender: str) -> str:
    """ "" for a person's mail, else bounce, report, vacation, bulk or generated.

    `sender` is the normalised From address. Such mail is shown, but starts no clock and is never answered by a machine.
    """
    if _submitted(message) == "no" and not _is_report(message):
        return _bulk(message)  # its sender took the trouble to say that a person wrote it (RFC 3834 section 5)
    return _report(message, sender) or _vacation(message) or _bulk(message) or _generated(message, sender)


def wants_no_answer(message: Message) -> bool:
    """Whether it asks machines not to answer it, also where a person wrote it (Microsoft's MS-OXCMAIL)."""
    return _silenced(message)


def marks(message: Message) -> tuple[str, ...]:
    """What the mail says is our mark. Anybody can write one: only the hub can tell whether it is ours."""
    return tuple(each[:100].decode("ascii", "replace") for each in values(message, LOOP_HEADER)[:3])


def _is_report(message: Message) -> bool:
    return message.get_content_type() == "multipart/report" or bool(values(message, "X-Failed-Recipients"))


def _report(message: Message, sender: str) -> str:
    kind = parameter(value(message, "content-type"), "report-type").lower()
    if message.get_content_type() == "multipart/report":
        return REPORTS.get(kind, "bounce" if _null_return_path(message) else "report")
    if values(message, "X-Failed-Recipients"):
        return "bounce"
    subject, sent_by = text(value(message, "subject")), text(value(message, "from"))
    if _away(message, subject):  # also with an empty return path, and from whatever address
        return ""
    if DAEMON.match(sender) or sent_by == "<>" or (DELIVERY_NAME.search(sent_by) and RETURNED.search(subject)):
        return "bounce"
    if _null_return_path(message) and _submitted(message) in ("", "no") and not _silenced(message):
        return "bounce"
    return ""


def _vacation(message: Message) -> str:
    replied = _submitted(message).startswith("auto-replied")
    return "vacation" if replied or _away(message, text(value(message, "subject"))) else ""


def _away(message: Message, subject: str) -> bool:
    """Somebody's answering machine says so itself, or writes as Exchange's rules and mailers' assistants do."""
    marked = any(_says_yes(message, name) for name in VACATION_HEADERS) or token(message, "precedence") == "auto_reply"
    by_rule = _says_yes(message, "X-MS-Exchange-Inbox-Rules-Loop") and _silenced(message)
    return marked or by_rule or AWAY.match(subject) is not None


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
