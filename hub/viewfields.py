"""What a saved view asks of conversations: the condition tree of the rules over its own fields, as one SQL condition.

As in rules, what is missing is neither equal nor unequal to anything; below a `not` it counts as not holding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, String, and_, case, cast, exists, false, func, not_, or_, true
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from config.language import N_
from routing.conditions import Condition, ConditionError, Leaf, Node, read_condition
from routing.fields import LONGEST_NAME, Field, Kind, nearest
from routing.operands import EACH
from storage.conversations import Attachment, Conversation, Message, Reading
from storage.mentions import Mention
from storage.people import Contact, persons_called
from storage.search import STATES, written
from storage.tags import ConversationTag, Tag

SOON = timedelta(minutes=30)
ME, NOBODY = "me", "nobody"
DUE = ("late", "soon", "later", "never")
LARGEST = 2**53  # what JSON, both databases and a floating point number all hold exactly
_NO_NAME = re.compile(r'["\\\x00-\x1f\x7f]')  # SQLite has no way to write them in a path
_NUMBER = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$"

FIELDS = (
    Field("state", Kind.TEXT, N_("State"), choices=STATES),
    Field("queue", Kind.ANY, N_("Queue")),
    Field("agent", Kind.ANY, N_("Agent")),
    Field("channel", Kind.TEXT, N_("Channel")),
    Field("tag", Kind.WORDS, N_("Tag")),
    Field("due", Kind.TEXT, N_("Answer is due"), choices=DUE),
    Field("waiting", Kind.SPAN, N_("Customer waits for")),
    Field("quiet", Kind.SPAN, N_("Nothing happened for")),
    Field("age", Kind.SPAN, N_("Is there for")),
    Field("priority", Kind.NUMBER, N_("Priority")),
    Field("escalated", Kind.FLAG, N_("Escalated")),
    Field("unread", Kind.FLAG, N_("Unread by me")),
    Field("mentioned", Kind.FLAG, N_("I was mentioned")),
    Field("files", Kind.FLAG, N_("Has files")),
    Field("messages", Kind.NUMBER, N_("Number of messages")),
    Field("subject", Kind.TEXT, N_("Subject")),
    Field("text", Kind.WORDS, N_("Words in messages")),
    Field("language", Kind.TEXT, N_("Language of the last message")),
    Field("person", Kind.TEXT, N_("Customer's name or address")),
    Field("contact.company", Kind.TEXT, N_("Customer's company")),
    Field("contact.language", Kind.TEXT, N_("Customer's language")),
    Field(
        "contact.<attribute>", Kind.ANY, N_("Known about the customer"), rf"contact\.\S(?:.{{0,{LONGEST_NAME - 2}}}\S)?"
    ),
)
EXACT = {field.name: field for field in FIELDS if not field.pattern}
ATTRIBUTE = FIELDS[-1]


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks, and when: `me` is their agent, "postgresql" or "sqlite" the dialect."""

    now: datetime
    dialect: str
    me: int | None = None


Sql = ColumnElement[bool]
_ANYBODY = Look(datetime(2000, 1, 1, tzinfo=UTC), "sqlite")  # for whom a condition is only read


def field_named(name: object) -> Field:
    """The field of a name. Raises ValueError with the nearest known one."""
    if isinstance(name, str):
        if (exact := EXACT.get(name)) is not None:
            return exact
        if name.startswith("contact.") and 0 < len(name.removeprefix("contact.").strip()) <= LONGEST_NAME:
            if _NO_NAME.search(name):
                raise ValueError("the name of an attribute has no quotation mark, backslash or control character here")
            return ATTRIBUTE
    raise ValueError(f"{str(name)[:80]!r} is no field; {nearest(str(name), [field.name for field in FIELDS])}")


def read(condition: Any) -> Condition:
    """Check a condition. Raises ConditionError with its path."""
    compiled = read_condition(condition, field_named)
    for leaf in compiled.leaves:
        if leaf.other:
            raise ConditionError(f"{leaf.path}.value" if leaf.path else "value", "must be a value, not another field")
        _leaf(leaf, _ANYBODY)
    return compiled


def as_sql(condition: Mapping[str, Any], look: Look) -> Sql:
    """Which conversations it has; the empty one has all."""
    root = read_condition(dict(condition), field_named).root
    return true() if root is None else _node(root, look, denied=False)


def states_of(condition: Mapping[str, Any]) -> tuple[str, ...]:
    """The states that its conversations can have."""
    root = read_condition(dict(condition), field_named).root
    found = frozenset(STATES) if root is None else _states(root)
    return tuple(state for state in STATES if state in found)


def asks_of_me(condition: Mapping[str, Any]) -> bool:
    """Whether two people who see the same conversations may find different ones."""
    leaves = read_condition(dict(condition), field_named).leaves
    return any(
        leaf.field in ("unread", "mentioned") or (leaf.field == "agent" and ME in _values(leaf)) for leaf in leaves
    )


def _states(node: Node) -> frozenset[str]:
    """No state is missing here that the node may hold for."""
    if isinstance(node, Leaf):
        if node.field != "state" or node.op not in ("eq", "in", "ne", "not_in"):
            return frozenset(STATES)
        named = frozenset(map(str, _values(node)))
        return named if node.op in ("eq", "in") else frozenset(STATES) - named
    if node.name == "not":
        denied = [
            part for part in node.parts if isinstance(part, Leaf) and part.field == "state" and part.op in ("eq", "in")
        ]
        return frozenset(STATES).difference(*(map(str, _values(part)) for part in denied))
    parts = [_states(part) for part in node.parts]
    return frozenset.intersection(*parts) if node.name == "all" else frozenset.union(*parts)


def _node(node: Node, look: Look, *, denied: bool) -> Sql:
    if isinstance(node, Leaf):
        sql = _leaf(node, look)
        return sql.is_(true()) if denied else sql  # NOT of what is not known would not be known either
    if node.name == "not":
        return not_(or_(*(_node(part, look, denied=True) for part in node.parts)))
    join = and_ if node.name == "all" else or_
    return join(*(_node(part, look, denied=denied) for part in node.parts))


def _leaf(leaf: Leaf, look: Look) -> Sql:
    try:
        if any(isinstance(value, int | float) and not abs(value) <= LARGEST for value in _values(leaf)):
            raise ValueError(f"must be a number up to {LARGEST:,}")
        if leaf.field in _SPECIAL:
            return _SPECIAL[leaf.field](leaf, look)
        if leaf.field.startswith("contact."):
            return _contact(leaf)
        return _column(leaf, _COLUMNS[leaf.field])
    except ConditionError:
        raise
    except ValueError as error:
        raise ConditionError(f"{leaf.path}.value" if leaf.path else "value", str(error)) from None


def _values(leaf: Leaf) -> list[Any]:
    return leaf.value if isinstance(leaf.value, list) else [leaf.value]


def _unknown(leaf: Leaf) -> ConditionError:
    return ConditionError(f"{leaf.path}.op" if leaf.path else "op", f"a view can't ask {leaf.op} of {leaf.field}")


def _column(leaf: Leaf, column: Any) -> Sql:
    """A comparison with a column, or with something made of columns."""
    value = leaf.value
    if leaf.op == "exists":
        written_there = leaf.kind in (Kind.TEXT, Kind.ANY)
        return _there(func.nullif(column, "") if written_there else column, value)
    simple: dict[str, Callable[[], Sql]] = {
        "eq": lambda: column == value, "ne": lambda: column != value,
        "in": lambda: column.in_(value), "not_in": lambda: column.not_in(value),
        "gt": lambda: column > value, "lt": lambda: column < value,
        "gte": lambda: column >= value, "lte": lambda: column <= value,
        "between": lambda: column.between(*value),
        "contains": lambda: column.icontains(value.strip(), autoescape=True),
        "prefix": lambda: column.istartswith(value.strip(), autoescape=True),
    }  # fmt: skip
    if leaf.op not in simple:
        raise _unknown(leaf)
    return simple[leaf.op]()


def _there(column: Any, wanted: bool) -> Sql:
    there: Sql = column.is_not(None)
    return there if wanted else not_(there)


def _reference(column: Any) -> Callable[[Leaf, Look], Sql]:
    """A queue or an agent by its number; "me" and "nobody" are words for two."""

    def compared(leaf: Leaf, look: Look) -> Sql:
        if leaf.op == "exists":
            return _there(column, leaf.value)
        if leaf.op not in ("eq", "ne", "in", "not_in"):
            raise _unknown(leaf)
        found = or_(*(_is(column, value, look) for value in _values(leaf)))
        return found if leaf.op in ("eq", "in") else not_(found)

    return compared


def _is(column: Any, value: Any, look: Look) -> Any:
    if value == NOBODY:
        return column.is_(None)
    if value == ME:
        return column == look.me if look.me is not None else false()
    if isinstance(value, bool) or not str(value).isdecimal() or len(str(value)) > 18:
        raise ValueError("must be one of those that are offered")
    return and_(column.is_not(None), column == int(value))


def _tag(leaf: Leaf, look: Look) -> Sql:
    named = [str(value).strip().lower() for value in _values(leaf)]
    tagged = select(ConversationTag.tag_id).where(ConversationTag.conversation_id == Conversation.id)
    if leaf.op == "exists":
        return exists(tagged) if leaf.value else not_(exists(tagged))
    return exists(tagged.join(Tag, col(Tag.id) == col(ConversationTag.tag_id)).where(col(Tag.name).in_(named)))


def _span(column: Any) -> Callable[[Leaf, Look], Sql]:
    """Longer or shorter ago than that."""

    def compared(leaf: Leaf, look: Look) -> Sql:
        if leaf.op == "exists":
            return _there(column, leaf.value)
        since = look.now - timedelta(seconds=EACH[Kind.SPAN].read(leaf.value))
        longer: Sql = column < since
        return longer if leaf.op == "gt" else not_(longer)

    return compared


def _due(leaf: Leaf, look: Look) -> Sql:
    due = col(Conversation.due_at)
    soon = look.now + SOON
    are = {
        "late": due <= look.now,
        "soon": and_(due > look.now, due <= soon),
        "later": due > soon,
        "never": due.is_(None),
    }
    if leaf.op == "exists":
        return _there(due, leaf.value)
    if leaf.op not in ("eq", "ne", "in", "not_in"):
        raise _unknown(leaf)
    found = or_(*(are[value].is_(true()) for value in _values(leaf)))
    return found if leaf.op in ("eq", "in") else not_(found)


def _flag(there: Callable[[Look], Sql]) -> Callable[[Leaf, Look], Sql]:
    def compared(leaf: Leaf, look: Look) -> Sql:
        wanted = leaf.value is not (leaf.op == "ne")
        return there(look) if wanted else not_(there(look))

    return compared


def _unread(look: Look) -> Sql:
    read = select(Reading.message_id).where(Reading.agent_id == look.me, Reading.conversation_id == Conversation.id)
    seen = func.coalesce(read.scalar_subquery(), 0)
    return and_(col(Conversation.waiting_since).is_not(None), col(Conversation.last_inbound_id) > seen)


def _mentioned(look: Look) -> Sql:
    return exists(select(Mention.id).where(Mention.agent_id == look.me, Mention.conversation_id == Conversation.id))


def _files(look: Look) -> Sql:
    return exists(
        select(Attachment.id)
        .join(Message, col(Message.id) == col(Attachment.message_id))
        .where(Message.conversation_id == Conversation.id)
    )


def _text(leaf: Leaf, look: Look) -> Sql:
    if leaf.op not in ("has", "has_any"):
        raise _unknown(leaf)
    return or_(*(written(look.dialect, value) for value in _values(leaf)))


def _person(leaf: Leaf, look: Look) -> Sql:
    """In the name or in an address, over merged records."""
    if leaf.op != "contains":
        raise _unknown(leaf)
    records = select(Contact.id).where(col(Contact.person_id).in_(persons_called(look.dialect, leaf.value.strip())))
    return col(Conversation.contact_id).in_(records)


def _language(leaf: Leaf, look: Look) -> Sql:
    last = select(Message.language).where(Message.id == Conversation.last_inbound_id)
    return _column(leaf, last.scalar_subquery())


def _contact(leaf: Leaf) -> Sql:
    """Asked of the record that stands for the whole person."""
    record, person = aliased(Contact), aliased(Contact)
    name = leaf.field.removeprefix("contact.")
    if name in ("company", "language"):
        value: Any = col(getattr(person, name))
    else:
        value = cast(col(person.attributes)[name].as_string(), String)
    missing = leaf.op == "exists" and leaf.value is False
    test = value.is_not(None) & (value != "") if missing else _known(leaf, value)
    found = exists(
        select(record.id)
        .join(person, col(person.id) == col(record.person_id))
        .where(col(record.id) == col(Conversation.contact_id), test)
    )
    return not_(found) if missing else found


def _known(leaf: Leaf, value: Any) -> Sql:
    """Imports deliver numbers as text and as numbers."""
    if leaf.kind is not Kind.ANY:
        return _column(leaf, value)
    if leaf.op in ("gt", "lt", "gte", "lte", "between"):
        return _column(leaf, case((value.regexp_match(_NUMBER), cast(value, Float))))
    if leaf.op in ("eq", "ne", "in", "not_in"):
        found: Sql = value.in_([form for one in _values(leaf) for form in _forms(one)])
        return found if leaf.op in ("eq", "in") else not_(found)
    if leaf.op in ("has", "has_any", "includes"):
        return or_(*(value.icontains(str(one).strip(), autoescape=True) for one in _values(leaf)))
    return _column(leaf, value)


def _forms(value: Any) -> list[str]:
    """How a value may stand in JSON once it is text: SQLite says 1 for true."""
    if isinstance(value, bool):
        return ["true", "1"] if value else ["false", "0"]
    return [str(value)]


_COLUMNS: dict[str, Any] = {
    "state": col(Conversation.state), "channel": col(Conversation.channel), "priority": col(Conversation.priority),
    "messages": col(Conversation.message_count), "subject": col(Conversation.subject),
}  # fmt: skip
_SPECIAL: dict[str, Callable[[Leaf, Look], Sql]] = {
    "queue": _reference(col(Conversation.queue_id)),
    "agent": _reference(col(Conversation.assignee_id)),
    "tag": _tag,
    "due": _due,
    "waiting": _span(col(Conversation.waiting_since)),
    "quiet": _span(col(Conversation.last_at)),
    "age": _span(col(Conversation.created_at)),
    "escalated": _flag(lambda look: col(Conversation.escalated_at).is_not(None)),
    "unread": _flag(_unread),
    "mentioned": _flag(_mentioned),
    "files": _flag(_files),
    "text": _text,
    "language": _language,
    "person": _person,
}
