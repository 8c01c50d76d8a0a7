"""What an agent has typed and not sent: kept as it is typed, for each conversation, channel and kind, on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import col, select

from channels.mail.richtext import html_of
from storage import Tx
from storage.batches import batches, placeholders
from storage.columns import read_json
from storage.conversations import Attachment, Conversation, Draft, Message

REPLY, NOTE = "reply", "note"
KEEP = (
    "INSERT INTO draft(agent_id, conversation_id, kind, text, html, channel_id, copies, files, aside, "
    "saved_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent_id, conversation_id, kind) DO UPDATE SET "
    "text = excluded.text, html = excluded.html, channel_id = excluded.channel_id, copies = excluded.copies, "
    "files = excluded.files, aside = excluded.aside, saved_at = excluded.saved_at"
)
BEGUN = (
    "SELECT conversation_id, text, aside, files FROM draft WHERE agent_id = ? AND conversation_id IN ({}) ORDER BY kind"
)
FORGET = "DELETE FROM draft WHERE agent_id = ? AND conversation_id = ? AND kind = ?"


@dataclass(frozen=True, slots=True)
class Typed:
    """A composer's content. `copies` are cc and bcc as typed; `aside` is text for other channels, by their number."""

    text: str = ""
    channel_id: int | None = None
    copies: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[int] = ()
    aside: Mapping[str, str] = field(default_factory=dict)
    html: str = ""  # harmless; the text with its formatting

    @property
    def is_empty(self) -> bool:
        return not (self.text.strip() or self.files or self.aside)


def keep(tx: Tx, agent_id: int, conversation_id: int, kind: str, typed: Typed) -> None:
    """Remember what is typed so far instead of what was; nothing typed forgets it."""
    if typed.is_empty:
        tx.sql(FORGET, agent_id, conversation_id, kind)
        return
    tx.sql(
        KEEP, agent_id, conversation_id, kind, typed.text, typed.html, typed.channel_id, dict(typed.copies),
        list(typed.files), dict(typed.aside), tx.now,
    )  # fmt: skip


def used(tx: Tx, agent_id: int, conversation_id: int, kind: str) -> None:
    """It was sent or kept as a note; what is begun on other channels stays."""
    tx.flush()
    begun = tx.get(Draft, (agent_id, conversation_id, kind))
    if begun is not None:
        keep(tx, agent_id, conversation_id, kind, Typed(aside=begun.aside))
        tx.expire(begun)


def take_back(tx: Tx, agent_id: int, message: Message) -> None:
    """A reply becomes a draft again, before what its author has typed since; its files wait to be sent again."""
    files = list(tx.exec(select(Attachment.id).where(Attachment.message_id == message.id).order_by(col(Attachment.id))))
    tx.sql("UPDATE attachment SET message_id = NULL, uploaded_by = ? WHERE message_id = ?", agent_id, message.id)
    begun = tx.get(Draft, (agent_id, message.conversation_id, REPLY))
    html = message.html
    text, aside, numbers = message.text, dict(begun.aside) if begun else {}, [number or 0 for number in files]
    if begun is not None:
        numbers += begun.files
        if begun.text.strip() and begun.channel_id not in (None, message.channel_id):
            aside[str(begun.channel_id)] = begun.text
        elif begun.text.strip():
            text = f"{text}\n\n{begun.text.strip()}"
            html += html_of(begun.text.strip()) if html else ""
    aside.pop(str(message.channel_id), None)
    copies = {"cc": ", ".join(message.cc), "bcc": ", ".join(message.bcc)}
    keep(tx, agent_id, message.conversation_id, REPLY, Typed(text, message.channel_id, copies, numbers, aside, html))
    if begun is not None:
        tx.expire(begun)


def join(tx: Tx, from_id: int, to_id: int) -> None:
    """What is begun in a conversation that goes into another one is begun there, behind what its author has there.

    The first keeps its own as well, out of sight: `part` knows by it what came along.
    """
    for draft in _begun_in(tx, from_id):
        there = tx.get(Draft, (draft.agent_id, to_id, draft.kind))
        keep(tx, draft.agent_id, to_id, draft.kind, _behind(there, draft) if there else _typed(draft))
        if there is not None:
            tx.expire(there)


def part(tx: Tx, from_id: int, to_id: int, at: datetime) -> None:
    """Take a `join` of that moment back. What was sent or rewritten there since stays there, and only there."""
    for draft in _begun_in(tx, from_id):
        if draft.saved_at > at:  # on a page that was open all the while: the newest there is
            continue
        there = tx.get(Draft, (draft.agent_id, to_id, draft.kind))
        rest = _without(there, draft) if there is not None else None
        if there is not None and rest is not None:
            keep(tx, draft.agent_id, to_id, draft.kind, rest)
            tx.expire(there)
        else:
            keep(tx, draft.agent_id, from_id, draft.kind, Typed())
            tx.expire(draft)


def take_out(tx: Tx, conversation_ids: Sequence[int]) -> None:
    """What is begun in these conversations is begun nowhere any more: also not where it came along to, in so far as it
    is there as it came."""
    begun = [
        (_after(tx, draft.conversation_id), draft.agent_id, draft.kind, _typed(draft))
        for batch in batches(conversation_ids)
        for draft in tx.exec(select(Draft).where(col(Draft.conversation_id).in_(batch))).all()
    ]
    # What came along twice lies in one piece where it is now, so the nearest to there goes first.
    for after, agent_id, kind, typed in sorted(begun, key=lambda each: len(each[0])):
        for there_id in after:
            there = tx.get(Draft, (agent_id, there_id, kind))
            rest = _without(there, typed) if there is not None else None
            if there is not None and rest is not None:
                keep(tx, agent_id, there_id, kind, rest)
                tx.expire(there)
    for batch in batches(conversation_ids):
        tx.sql(f"DELETE FROM draft WHERE conversation_id IN ({placeholders(batch)})", *batch)


def drafts_of(tx: Tx, agent_id: int, conversation_id: int) -> dict[str, Draft]:
    """What this agent has begun in a conversation, by kind."""
    query = select(Draft).where(Draft.agent_id == agent_id, Draft.conversation_id == conversation_id)
    return {draft.kind: draft for draft in tx.exec(query)}


def files_of(tx: Tx, draft: Draft | None) -> list[Attachment]:
    """The files that wait in a draft and are still its author's to send."""
    if draft is None or not draft.files:
        return []
    waiting = select(Attachment).where(
        col(Attachment.id).in_(draft.files),
        Attachment.uploaded_by == draft.agent_id,
        col(Attachment.message_id).is_(None),
    )
    return list(tx.exec(waiting.order_by(col(Attachment.id))))


def first_words(tx: Tx, agent_id: int, conversation_ids: Sequence[int]) -> dict[int, str]:
    """How each conversation's draft begins, for the list; an answer goes before a note."""
    rows = tx.sql(BEGUN.format(placeholders(conversation_ids)), agent_id, *conversation_ids).fetchall()
    return {
        number: words
        for number, text, aside, files in rows
        if (words := next((one for one in (text, *read_json(aside).values()) if one.strip()), ""))
        or (words := "a file" if read_json(files) else "")
    }


def _after(tx: Tx, conversation_id: int) -> list[int]:
    """The conversations that it went into, one after the other."""
    there = tx.get_one(Conversation, conversation_id).merged_into_id
    return [] if there is None else [there, *_after(tx, there)]


def _begun_in(tx: Tx, conversation_id: int) -> list[Draft]:
    return list(tx.exec(select(Draft).where(Draft.conversation_id == conversation_id)))


def _typed(draft: Draft) -> Typed:
    return Typed(draft.text, draft.channel_id, draft.copies, draft.files, draft.aside, draft.html)


def _behind(mine: Draft, theirs: Draft) -> Typed:
    """Both; the first one's channel and copies."""
    text = _both(mine.text, theirs.text)
    html = _html(mine) + _html(theirs) if mine.html or theirs.html else ""
    aside = {number: _both(mine.aside.get(number, ""), words) for number, words in theirs.aside.items()}
    return Typed(text, mine.channel_id, mine.copies, [*mine.files, *theirs.files], {**mine.aside, **aside}, html)


def _without(both: Draft, theirs: Draft | Typed) -> Typed | None:
    """What is left without what `_behind` has brought; None where that is not all there any more."""
    text = _cut(both.text, theirs.text)
    html = _cut(both.html, _html(theirs), "") if both.html else ""
    aside = {number: _cut(both.aside.get(number, ""), words) for number, words in theirs.aside.items()}
    if text is None or html is None or None in aside.values() or not set(theirs.files) <= set(both.files):
        return None
    kept = {number: words for number, words in {**both.aside, **aside}.items() if words}
    files = [number for number in both.files if number not in theirs.files]
    return Typed(text, both.channel_id, both.copies, files, kept, "" if html == html_of(text) else html)


def _html(draft: Draft | Typed) -> str:
    return draft.html or html_of(draft.text)


def _both(first: str, then: str) -> str:
    return "\n\n".join(words for words in (first, then) if words.strip())


def _cut(both: str, words: str, between: str = "\n\n") -> str | None:
    """Without these words and what parts them from others; None where they are not there as they came."""
    if not words.strip():
        return both
    before, found, after = f"{between}{both}{between}".rpartition(f"{between}{words}{between}")
    return f"{before}{between}{after}".removeprefix(between).removesuffix(between) if found else None
