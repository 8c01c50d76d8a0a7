"""Agents who answer a notice by mail: what proves that it is them, what of the mail goes out, and what doesn't.

An answer counts only with the signed token of a notice, from the address of the agent whom that notice went to, and
unless its domain says that the mail is not from there. Everything else with a token is kept in the conversation, says
why it was not sent, and never goes to the customer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from channels.base import Inbound, Strength
from channels.mail.headers import normalised
from config.language import LANGUAGES, N_, _, speaking
from config.retold import stored
from hub.attached import StoredFile
from hub.history import is_history
from hub.hub import Hub
from hub.lifecycle import resolve
from hub.notices import MARK, tell_refusal
from hub.replies import attach, note, reply
from hub.tokens import Tokens
from storage import Tx
from storage.access import ANSWER, Actor, Conflict, actor_for
from storage.automatic import MailNotice
from storage.conversations import Conversation, Message, now_in
from storage.people import Agent

VALID_FOR = timedelta(days=30)
BY_MAIL, UNSENT = "by_mail", "answer_not_sent"  # flags of the agent's message
IGNORED = N_("an agent's answering machine, or a report on a mail to an agent")
# Flags of a mail that has a notice's token and is no answer of its agent.
OTHER_SENDER, UNPROVED, EXPIRED, CLOSED, NO_ACCESS = (
    f"notice_{each}" for each in ("other_sender", "unproved", "expired", "closed", "no_access")
)
TELL = {
    EXPIRED: stored("The mail that you answered is older than {days} days.", days=VALID_FOR.days),
    NO_ACCESS: N_("This conversation is in a queue that you don't serve."),
}
MIXED = N_(
    "Your answer could not be told from what it quotes: write all of it above the line, at the top of your mail."
)
# As other help desks have it: "@note" (Help Scout), "#note" and "#solved" (Zendesk). Never a bare word: an answer may
# well begin with "Note:".
COMMAND = re.compile(r"\s*[@#](note|closed?|resolved?|solved)\b[ \t]*:?", re.I)
TAGGED = re.compile(r"\+([a-z2-7]{20,40})@", re.I)
INTRODUCES = re.compile(r"[:：]\s*$|@")  # of a line that introduces what is quoted


@dataclass(frozen=True, slots=True)
class Refused:
    """No answer of the agent: the conversation whose token it has, and the flag that says why."""

    conversation_id: int
    flag: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of an agent's mail."""

    state: str
    conversation_id: int
    message_id: int | None = None


@dataclass(frozen=True, slots=True)
class NoticeAnswer:
    """A mail with the token of a notice, before anybody has looked whose it is."""

    hub: Hub
    notice_id: int
    inbound: Inbound
    files: Sequence[StoredFile]

    def filed(self, tx: Tx, receipt_id: int) -> Answered | Refused | None:
        """Send it on as the agent's answer, or say why not. None when the notice is not there any more."""
        notice = tx.get(MailNotice, self.notice_id)
        if notice is None:
            return None
        agent, conversation_id = tx.get_one(Agent, notice.agent_id), now_in(tx, notice.conversation_id)
        if self.inbound.automatic:
            tx.sql("UPDATE receipt SET state = 'ignored', why = ? WHERE id = ?", IGNORED, receipt_id)
            return Answered("ignored", conversation_id)
        if flag := self._objection(tx, notice, agent, conversation_id):
            if flag in TELL:
                tell_refusal(self.hub, tx, agent, conversation_id, TELL[flag])
            return Refused(conversation_id, flag)
        message = self._answer(tx, agent, actor_for(tx, agent), conversation_id)
        if message is not None:
            message.receipt_id = receipt_id
            tx.add(message)
            tx.flush()
        return Answered("accepted", conversation_id, message.id if message else None)

    def _objection(self, tx: Tx, notice: MailNotice, agent: Agent, conversation_id: int) -> str:
        point = self.inbound.sender.points[0]
        if point.kind != "email" or point.value != normalised(agent.email):
            return OTHER_SENDER
        known = self.inbound.authenticity
        disowned = known.verdict == "fail" or (known.spf == "fail" and known.verdict != "pass")
        if disowned or point.strength < Strength.MAIL or "multi_from" in self.inbound.flags:
            return UNPROVED
        if not (agent.active and agent.mail_notices):
            return CLOSED
        if tx.now - notice.created_at > VALID_FOR:
            return EXPIRED
        conversation = tx.get_one(Conversation, conversation_id)
        actor = actor_for(tx, agent)
        may = actor.may(ANSWER) and actor.sees(conversation.queue_id, conversation.assignee_id)
        return "" if may else NO_ACCESS

    def _answer(self, tx: Tx, agent: Agent, actor: Actor, conversation_id: int) -> Message | None:
        """The reply or the note that was made of it; None where it only closes the matter."""
        commands, text = taken_apart(self.inbound, self.hub.tokens)
        closing = "resolve" if commands - {"note"} else ""
        files = self._attached(tx, actor)
        try:
            if text is None:
                raise Conflict(MIXED)
            if "note" in commands and (text or files):
                message = note(tx, actor, conversation_id, text or "(files)", keep_draft=True)
                _keep(tx, message, files)
            elif closing and not text and not files:
                message = None
            else:
                message = reply(
                    tx, actor, conversation_id, text=text, tokens=self.hub.tokens, attachment_ids=files,
                    undo_seconds=self.hub.settings.undo_seconds, keep_draft=True,
                )  # fmt: skip
        except Conflict as refused:
            return self._unsent(tx, agent, actor, conversation_id, str(refused), files)
        if closing:
            resolve(tx, actor, conversation_id)
        if message is not None:
            message.flags = [BY_MAIL]
        return message

    def _unsent(
        self, tx: Tx, agent: Agent, actor: Actor, conversation_id: int, why: str, files: Sequence[int]
    ) -> Message:
        """Nothing that somebody wrote is lost: it is a note that says why it did not go out."""
        message = note(tx, actor, conversation_id, _visible(self.inbound).strip() or "(no text)", keep_draft=True)
        message.flags, message.state_why = [UNSENT], why
        _keep(tx, message, files)
        tell_refusal(self.hub, tx, agent, conversation_id, why)
        return message

    def _attached(self, tx: Tx, actor: Actor) -> list[int]:
        """Its files, without the pictures of a signature."""
        html, numbers = self.inbound.html, []
        for each in self.files:
            file = each.file
            if not (file.cid and f"cid:{file.cid}" in html):
                kept = attach(tx, actor, file.name, file.content_type, len(file.data), each.sha256)
                numbers.append(kept.id or 0)
        return numbers


def answer_to_notice(hub: Hub, inbound: Inbound, files: Sequence[StoredFile]) -> NoticeAnswer | None:
    """The mail as a possible answer of an agent, where it has the token of a notice; old mail never is one."""
    if not inbound.sender.points or is_history(inbound):
        return None
    numbers = [hub.tokens.noticed(token) for token in inbound.tokens]
    numbers += [hub.tokens.notice_of(each) for each in inbound.references if each.startswith("<sy.")]
    found = next((number for number in numbers if number is not None), None)
    return None if found is None else NoticeAnswer(hub, found, inbound, files)


def taken_apart(inbound: Inbound, tokens: Tokens) -> tuple[set[str], str | None]:
    """The commands that a mail begins with, and what goes to the customer.

    None where something of the notice is still in it: an answer below or between what it quotes. Nothing with a token
    ever goes out: whoever had it could not be told from an address book.
    """
    text = _visible(inbound)
    at = min((place for mark in _marks() if (place := text.find(mark)) >= 0), default=-1)
    line_start = text.rfind("\n", 0, at) + 1 if at >= 0 else len(text)
    text = _without_introduction(text[:line_start]) if at >= 0 else text.strip()
    commands: set[str] = set()
    while found := COMMAND.match(text):
        commands.add(found.group(1).lower())
        text = text[found.end() :].lstrip()
    leaks = any(tokens.noticed(each) is not None for each in TAGGED.findall(text))
    return commands, None if leaks or (at >= 0 and not text and not commands) else text


@cache
def _marks() -> tuple[str, ...]:
    """The line that is answered above, in every language that a notice may have been written in."""
    marks = []
    for code in LANGUAGES:
        with speaking(code):
            marks.append(_(MARK))
    return tuple(marks)


def _visible(inbound: Inbound) -> str:
    return inbound.text[: inbound.quoted_at if inbound.signature_at is None else inbound.signature_at]


def _keep(tx: Tx, message: Message, files: Sequence[int]) -> None:
    for number in files:
        tx.sql("UPDATE attachment SET message_id = ? WHERE id = ?", message.id, number)


def _without_introduction(text: str) -> str:
    """Without the line or two by which a mail program introduces the notice, where nobody has recognised them."""
    lines = text.rstrip().split("\n")
    for __ in range(3):
        if lines and (not lines[-1].strip(" >") or INTRODUCES.search(lines[-1])):
            lines.pop()
    return "\n".join(lines).strip()
