"""Full text over messages, the same small query language on SQLite (FTS5) and PostgreSQL (tsvector).

`is:open from:mara channel:sms lamp "two words"`: every word must be there, as the beginning of a word. Further words
narrow it down: `agent:me` (or a name, or nobody), `queue:shipping`, `tag:vip`, `has:file`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unicodedata import category

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    column,
    exists,
    false,
    func,
    literal_column,
    table,
    text,
    true,
)
from sqlalchemy.orm import load_only
from sqlmodel import col, select
from sqlmodel.sql.expression import Select

from storage.access import Actor, listed, visible
from storage.conversations import Attachment, Conversation, Message
from storage.desk import Queue
from storage.people import Agent, Contact, persons_called
from storage.store import Store, Tx
from storage.tags import ConversationTag, Tag

STATES = ("open", "snoozed", "resolved")
TEXT_CHARS = 100_000  # of a message that PostgreSQL indexes: a tsvector holds at most 1 MB
BATCH = 500
MAX_WORDS = 12
MOST_ENDINGS = 32  # of all words together, that are named one by one
MESSAGES_EACH = 20  # with a word, that are looked at for each conversation of a page
NEWEST = 5000  # messages with a word, where views ask for it

_SQLITE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS message_search USING fts5("
    "subject, text, content='message', content_rowid='id', tokenize='unicode61', prefix='2 3')",
    # Every word of the index in order (sqlite.org/fts5.html 4.3), which costs nothing to keep.
    "CREATE VIRTUAL TABLE IF NOT EXISTS message_search_words USING fts5vocab('message_search', 'instance')",
)
_POSTGRES = (
    "ALTER TABLE message ADD COLUMN IF NOT EXISTS search tsvector GENERATED ALWAYS AS "
    f"(to_tsvector('simple', left(subject, 1000) || ' ' || left(text, {TEXT_CHARS}))) STORED",
    "CREATE INDEX IF NOT EXISTS ix_message_search ON message USING gin (search)",
)
_NEW = "FROM message WHERE id > (SELECT COALESCE(MAX(id), 0) FROM message_search_docsize) ORDER BY id LIMIT ?"
_INDEX = f"INSERT INTO message_search(rowid, subject, text) SELECT id, subject, text {_NEW}"
_NEXT_WORD = "SELECT term FROM message_search_words WHERE term >= ? LIMIT 1"
_fts = table("message_search", column("rowid"))
_TOKEN = re.compile(r'(\w+):"([^"]*)"|"([^"]*)"|(\S+)')
# Scripts that put no space between words: a run of them is one token, so that only its beginning would be found.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody typed into the search box, taken apart."""

    words: tuple[str, ...] = ()
    state: str = ""
    sender: str = ""
    channel: str = ""
    agent: str = ""
    queue: str = ""
    tag: str = ""
    files: bool = False
    unknown: tuple[str, ...] = field(default=())  # filters nobody knows; shown to the person, not searched for

    @property
    def empty(self) -> bool:
        return self == Query(unknown=self.unknown)


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation and the newest message in it that matches; none when it was found by its contact."""

    conversation: Conversation
    message: Message | None


def create_search(connection: Connection) -> None:
    """Create the index over the existing message table; calling it twice is harmless."""
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES:
        connection.exec_driver_sql(statement)


def drop_search(connection: Connection) -> None:
    """Remove what `create_search` made."""
    if connection.dialect.name == "sqlite":
        for name in ("message_search_words", "message_search"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    else:
        connection.exec_driver_sql("ALTER TABLE message DROP COLUMN IF EXISTS search")


def index_new_messages(store: Store) -> int:
    """Bring the index up to the last message and answer how many were new. PostgreSQL does it by itself.

    Message ids are given in commit order on SQLite, so the last indexed id is all there is to remember.
    """
    if not store.embedded:
        return 0
    total = 0
    while _has_new(store):  # a unit would ring the bell, and whoever indexes at each ring would ring it again
        total += store.submit(lambda tx: tx.sql(_INDEX, BATCH).rowcount)
    return total


def forget(tx: Tx, message_ids: Sequence[int]) -> None:
    """Take messages out of the index for good, while their texts are still there. PostgreSQL follows the texts."""
    if tx.dialect == "postgresql":
        return
    tx.sql(
        "INSERT INTO message_search(message_search, rowid, subject, text) SELECT 'delete', id, subject, text "
        f"FROM message WHERE id IN ({','.join('?' * len(message_ids))}) AND id IN (SELECT id FROM "
        "message_search_docsize)", *message_ids,
    )  # fmt: skip


def settle_index(store: Store, pages: int = 500) -> None:
    """Write the index of SQLite anew, a little at a time: until then words that were taken out stay in its pages.

    Source: sqlite.org/fts5.html 6.8, the merge command: a negative number begins, and less than two changes end it.
    """

    def merge(tx: Tx, rank: int) -> int:
        (before,) = tx.sql("SELECT total_changes()").fetchone()
        tx.sql("INSERT INTO message_search(message_search, rank) VALUES('merge', ?)", rank)
        return int(tx.sql("SELECT total_changes()").fetchone()[0]) - int(before)

    rank = -pages
    while store.embedded and store.submit(partial(merge, rank=rank)) >= 2:
        rank = pages


def _has_new(store: Store) -> bool:
    with store.read() as tx:
        return tx.sql(f"SELECT 1 {_NEW}", 1).fetchone() is not None


def parse_query(typed: str) -> Query:
    """Take a query apart; words beyond the twelfth are dropped."""
    words: list[str] = []
    filters: dict[str, str] = {}
    unknown: list[str] = []
    for name, value, phrase, plain in _TOKEN.findall(typed[:500]):
        if not name and plain.count(":") == 1 and not plain.startswith(":"):
            name, _, value = plain.partition(":")
        name = name.lower()
        if name == "has" and value.lower() in ("file", "files"):
            filters["has"] = value
        elif name in ("is", "from", "channel", "agent", "queue", "tag") and value:
            filters[name] = value
        elif name and name.isalpha() and value and not value.startswith("//"):
            unknown.append(f"{name}:{value}")
        elif term := (phrase or plain).strip().replace("\x00", ""):
            words.append(term)
    state = filters.get("is", "").lower()
    if state and state not in STATES:
        unknown.append(f"is:{state}")
        state = ""
    return Query(
        tuple(words[:MAX_WORDS]), state, filters.get("from", ""), filters.get("channel", "").lower(),
        filters.get("agent", ""), filters.get("queue", ""), filters.get("tag", "").lower(), "has" in filters,
        tuple(unknown),
    )  # fmt: skip


def search(tx: Tx, actor: Actor, query: Query, *, before: int | None = None, limit: int = 50) -> list[Hit]:
    """What this actor may see that matches, newest message first; conversations found by their contact's name follow.

    `before` is the message id of the last hit of the page before. Call `index_new_messages` first.
    """
    if query.empty:
        return []
    if tx.dialect == "postgresql":
        # A generic plan walks the primary key backwards over the whole table: 1 ms becomes a second.
        tx.sql("SET LOCAL plan_cache_mode = force_custom_plan")
    if not query.words:
        return [Hit(found, None) for found in _conversations(tx, actor, query, before, limit)]
    hits = _with_words(tx, actor, query, before, limit)
    if before is None and len(hits) < limit:
        for conversation in _conversations(tx, actor, query, None, limit):
            hits.setdefault(conversation.id or 0, Hit(conversation, None))
    return list(hits.values())[:limit]


def written(dialect: str, typed: str) -> ColumnElement[bool]:
    """Conversations with a message that has all these words; of words that are everywhere the newest messages count."""
    words = typed.split()[:MAX_WORDS]
    spaced = [word for word in words if not _UNSPACED.search(word)]
    conditions: list[ColumnElement[bool]] = [
        exists(select(Message.id).where(_of_it(), col(Message.text).contains(word, autoescape=True)))
        for word in words
        if _UNSPACED.search(word)
    ]
    if spaced and dialect == "sqlite":
        match = literal_column("message_search").op("MATCH")(_fts5(spaced))
        numbers: Any = select(_fts.c.rowid).where(match).order_by(_fts.c.rowid.desc()).limit(NEWEST)
    elif spaced:
        query = func.to_tsquery(literal_column("'simple'"), _tsquery(spaced))
        match = literal_column("message.search").op("@@")(query)
        numbers = select(Message.id).where(match).order_by(col(Message.id).desc()).limit(NEWEST)
    if spaced:
        found = select(Message.conversation_id).where(col(Message.id).in_(numbers), Message.state != "draft")
        conditions.append(col(Conversation.id).in_(found))
    return and_(true(), *conditions)


def _with_words(tx: Tx, actor: Actor, query: Query, before: int | None, limit: int) -> dict[int, Hit]:
    newest: dict[int, int | None] = {}  # message, by conversation
    if not any(map(_is_searchable, query.words)):
        return {}
    for conversation_id, message_id in tx.exec(_by_text(tx, actor, query, before).limit(limit * MESSAGES_EACH)):
        newest.setdefault(conversation_id, message_id)
        if len(newest) == limit:
            break
    if not newest:
        return {}
    conversations = {row.id: row for row in tx.exec(select(Conversation).where(col(Conversation.id).in_(newest)))}
    # A mail's HTML may be large, and nobody asks for it here.
    words = load_only(Message.subject, Message.text)  # type: ignore[arg-type]
    texts = select(Message).where(col(Message.id).in_(newest.values())).options(words)
    messages = {row.id: row for row in tx.exec(texts)}
    return {number: Hit(conversations[number], messages[found]) for number, found in newest.items()}


def _of_it() -> ColumnElement[bool]:
    return col(Message.conversation_id) == col(Conversation.id)


def _by_text(tx: Tx, actor: Actor, query: Query, before: int | None) -> Select[int, int | None]:
    statement = (
        select(Message.conversation_id, Message.id)
        .join(Conversation, col(Message.conversation_id) == col(Conversation.id))
        .where(visible(actor), Message.state != "draft", *_filters(tx, actor, query))
    )
    spaced = [word for word in query.words if not _UNSPACED.search(word) and _is_searchable(word)]
    for word in query.words:
        if _UNSPACED.search(word):
            statement = statement.where(col(Message.text).contains(word, autoescape=True))
    order: Any = col(Message.id)
    if spaced and tx.dialect == "sqlite":
        statement = statement.join(_fts, _fts.c.rowid == Message.id)
        words = " AND ".join(_named(tx, word, MOST_ENDINGS // len(spaced)) for word in spaced)
        statement = statement.where(text("message_search MATCH :words").bindparams(words=words))
        order = _fts.c.rowid
    elif spaced:
        statement = statement.where(
            text("message.search @@ to_tsquery('simple', :words)").bindparams(words=_tsquery(spaced))
        )
    if before is not None:
        statement = statement.where(order < before)
    return statement.order_by(order.desc())


def _conversations(tx: Tx, actor: Actor, query: Query, before: int | None, limit: int) -> list[Conversation]:
    statement = select(Conversation).where(listed(actor), *_filters(tx, actor, query))
    if query.words:
        statement = statement.where(_written_by(tx, " ".join(query.words)))
    if before is not None:
        statement = statement.where(col(Conversation.last_message_id) < before)
    return list(tx.exec(statement.order_by(col(Conversation.last_message_id).desc()).limit(limit)))


def _filters(tx: Tx, actor: Actor, query: Query) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.state:
        conditions.append(col(Conversation.state) == query.state)
    if query.channel:
        conditions.append(col(Conversation.channel) == query.channel)
    if query.sender:
        conditions.append(_written_by(tx, query.sender))
    if query.agent:
        conditions.append(_had_by(actor, query.agent))
    if query.queue:
        named = select(Queue.id).where(col(Queue.name).icontains(query.queue, autoescape=True))
        conditions.append(col(Conversation.queue_id).in_(named))
    if query.tag:
        tagged = select(ConversationTag.conversation_id).join(Tag, col(Tag.id) == col(ConversationTag.tag_id))
        conditions.append(col(Conversation.id).in_(tagged.where(Tag.name == query.tag)))
    if query.files:
        files = select(Attachment.id).join(Message, col(Message.id) == col(Attachment.message_id))
        conditions.append(exists(files.where(_of_it()).correlate(Conversation)))
    return conditions


def _had_by(actor: Actor, typed: str) -> ColumnElement[bool]:
    owner = col(Conversation.assignee_id)
    if typed.lower() == "nobody":
        return owner.is_(None)
    if typed.lower() == "me":
        return owner == actor.agent_id if actor.agent_id is not None else false()
    return owner.in_(select(Agent.id).where(col(Agent.name).icontains(typed, autoescape=True)))


def _written_by(tx: Tx, typed: str) -> ColumnElement[bool]:
    """Conversations of persons with this in their name or in one of their addresses, over merged records."""
    records = select(Contact.id).where(col(Contact.person_id).in_(persons_called(tx.dialect, typed)))
    return col(Conversation.contact_id).in_(records)


def _named(tx: Tx, word: str, most: int) -> str:
    """All words in the index that begin so, for FTS5: it reads whole words from their newest message backwards and
    stops when it has enough, but first gathers every message there is for a beginning."""
    beginning = word.lower()
    if not (beginning.isascii() and beginning.isalnum()):  # else FTS5 may take it apart or write it another way
        return _fts5([word])
    found, following = list[str](), beginning
    while len(found) <= most:
        row = tx.sql(_NEXT_WORD, following).fetchone()
        if row is None or not row[0].startswith(beginning):
            break
        found.append(row[0])
        following = f"{row[0]}\x01"  # "term > ?" would go through all messages with that term
    if not 0 < len(found) <= most:
        return _fts5([word])
    return "(" + " OR ".join(f'"{each}"' for each in found) + ")"


def _is_searchable(word: str) -> bool:
    """Whether an index has anything of it: of signs alone it has nothing (sqlite.org/fts5.html 4.3.1)."""
    return any(category(sign)[0] in "LN" or category(sign) == "Co" for sign in word)


def _fts5(words: list[str]) -> str:
    return " ".join('"' + word.replace('"', '""') + '"*' for word in words)


def _tsquery(words: list[str]) -> str:
    return " & ".join("'" + word.replace("\\", "\\\\").replace("'", "''") + "':*" for word in words)
