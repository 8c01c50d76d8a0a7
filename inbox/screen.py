"""All that one page shows, gathered in one read: the list, the open conversation and what may be done with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from functools import lru_cache
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import request
from sqlmodel import col, select

from channels.base import Limits, Signs
from config.language import _, weekday
from config.retold import retold
from hub import Hub
from hub.drafts import drafts_of, files_of
from hub.firstrun import is_under_way
from hub.macros import Does, in_words, macros
from hub.onlookers import Seen, others_at
from hub.participants import others_in
from hub.pump import latest_fact
from hub.recipients import MAIL_KINDS, reply_all
from hub.replies import ReplyChoice, reply_choices
from hub.suppression import refusal
from inbox.counts import Counts, counts
from inbox.excerpts import excerpt
from inbox.lists import MOST, PAGE, Group, Listing, listing, names_of, numbers_in, rows_of, view_named
from inbox.panel import Panel, panel
from inbox.session import Viewer
from inbox.thread import Thread, thread
from inbox.wording import full
from routing.promises import WORDS
from routing.rules import rule_book
from storage import Tx
from storage.access import SETTINGS, NotFound, conversation_for, merged_into
from storage.clocks import running_clocks
from storage.conversations import Attachment, Conversation, Draft
from storage.desk import Queue
from storage.macros import Macro
from storage.participants import Participant
from storage.people import Agent, Identity
from storage.search import parse_query, search
from storage.work import Offer, live_offers, wraps_until

MORNING = time(8)


@lru_cache
def _kept(view: str, query: str) -> str:
    return urlencode({name: value for name, value in (("view", view), ("q", query)) if value})


@dataclass(frozen=True, slots=True)
class Place:
    """Where the browser is: which list, which conversation, which search, how many rows it has loaded."""

    view: str = "mine"
    open_id: int | None = None
    query: str = ""
    after: str = ""
    rows: int = PAGE

    def link(self, conversation_id: int) -> str:
        """The address of a conversation within this list."""
        return f"/inbox/c/{conversation_id}?{_kept(self.view, self.query)}"

    @property
    def back(self) -> str:
        """The address of the list."""
        return f"/inbox/{self.view}" + (f"?{urlencode({'q': self.query})}" if self.query else "")


@dataclass(frozen=True, slots=True)
class Ring:
    """An offer that waits for this agent's answer."""

    offer: Offer
    conversation: Conversation
    person: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to answer, with what the composer must know of its channel."""

    reply: ReplyChoice
    limits: Limits
    blocked: str = ""
    signature: str = ""  # what stands under it

    @property
    def key(self) -> str:
        return f"{self.reply.channel_id}:{self.reply.identity_id}"


@dataclass(frozen=True, slots=True)
class ShownMacro:
    """A macro in the menu or waiting in the composer: what it does besides its reply, in words."""

    id: int
    name: str
    does: Does
    words: str


@dataclass(frozen=True, slots=True)
class Composer:
    """What has been typed and where it would go. `problem` is why it was held; nothing typed is ever lost."""

    choices: list[Choice]
    chosen: str
    kind: str = "reply"
    reply: str = ""
    note: str = ""
    html: str = ""  # the reply with its formatting
    seen: int = 0
    files: list[Attachment] = field(default_factory=list)
    problem: str = ""
    cc: str = ""
    bcc: str = ""
    newer: int = 0  # the message that came meanwhile, when that is why
    offered: list[Participant] = field(default_factory=list)  # in the conversation, but in no copy
    aside: Mapping[str, str] = field(default_factory=dict)  # what was begun on other channels, by their number
    macro: ShownMacro | None = None  # what else is done when this is sent
    saved: str = ""  # when the draft was saved that this shows

    @property
    def choice(self) -> Choice | None:
        return next((choice for choice in self.choices if choice.key == self.chosen), None)


@dataclass(frozen=True, slots=True)
class Open:
    """The open conversation."""

    conversation: Conversation
    person: str
    thread: Thread
    panel: Panel
    composer: Composer
    colleagues: list[Agent]
    queues: list[Queue]
    snoozes: list[tuple[str, str, str]]
    macros: list[ShownMacro]
    company: list[Seen]  # who else is here now
    target: str  # what is due next: "first reply"
    opens: str  # when its queue opens again; empty while it is open
    rest: int | None  # of a merged one: where all of it is now, if this agent may see that

    @property
    def id(self) -> int:
        return self.conversation.id or 0


@dataclass(frozen=True, slots=True)
class Screen:
    """A whole page."""

    who: Viewer
    now: datetime
    place: Place
    counts: Counts
    rings: list[Ring]
    wraps_until: datetime | None  # the last of what this agent wraps up
    listing: Listing | None
    open: Open | None
    fact_id: int
    sandbox: str = ""


def place() -> Place:
    """Where the browser is, from the address of its page: for htmx that is HX-Current-URL, not the request's own.

    A form sent without scripts comes from the page that its Referer names.
    """
    own = request.full_path if request.method == "GET" else request.referrer or "/inbox/mine"
    current = request.headers.get("HX-Current-URL", "") or own
    parts = urlsplit(current)
    arguments = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    rows = request.headers.get("X-Rows", "")
    size = min(max(PAGE, int(rows)), MOST) if rows.isdecimal() and len(rows) < 5 else PAGE
    steps = parts.path.strip("/").split("/")
    query = arguments.get("q", "")[:500]
    if steps[:2] == ["inbox", "c"] and len(steps) > 2 and steps[2].isdecimal():
        return Place(arguments.get("view", "all"), int(steps[2][:18]), query, rows=size)
    view = steps[1] if steps[0] == "inbox" and len(steps) > 1 else "mine"
    return Place(view, None, query, arguments.get("after", ""), size)


def screen(
    hub: Hub, tx: Tx, who: Viewer, where: Place, *, composer: Composer | None = None, opens: bool = True
) -> Screen:
    """Gather a page. A conversation this agent may not see (any more) is simply not open; views check before.

    Unless it `opens`, the conversation of the place is marked in the list and not gathered.
    """
    opened = None
    if opens and where.open_id is not None:
        try:
            opened = open_conversation(hub, tx, who, conversation_for(tx, who.actor, where.open_id), composer=composer)
        except NotFound:
            opened = None
    return Screen(
        who=who,
        now=tx.now,
        place=where,
        counts=counts(tx, who),
        rings=rings(tx, who),
        wraps_until=wraps_until(tx, who.id),
        listing=list_for(tx, who, where),
        open=opened,
        fact_id=latest_fact(tx),
        sandbox=_sandbox(hub, tx, who),
    )


def list_for(tx: Tx, who: Viewer, where: Place) -> Listing | None:
    """The list of a place: a view's page or what a search finds; None where the place has no list."""
    if where.view == "search":
        return _found(tx, who, where)
    view = view_named(tx, who, where.view)
    return None if view is None else listing(tx, who, view, after=where.after, limit=where.rows)


def numbers_of(tx: Tx, who: Viewer, where: Place, limit: int) -> list[int]:
    """Which conversations a place lists, in its order."""
    if where.view == "search":
        return [hit.conversation.id or 0 for hit in search(tx, who.actor, parse_query(where.query), limit=limit)]
    view = view_named(tx, who, where.view)
    return [] if view is None else numbers_in(tx, who, view, limit)


def open_conversation(
    hub: Hub, tx: Tx, who: Viewer, conversation: Conversation, *, before: int | None = None,
    composer: Composer | None = None,
) -> Open:  # fmt: skip
    """A conversation that this agent may see, with everything around it."""
    number = conversation.id or 0
    person = names_of(tx, {conversation.contact_id})[conversation.contact_id]
    queues = list(tx.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id))))
    colleagues = list(tx.exec(select(Agent).where(col(Agent.active)).order_by(col(Agent.name))))
    return Open(
        conversation=conversation,
        person=person,
        thread=thread(tx, who, conversation, before=before),
        panel=panel(tx, who, conversation, person),
        composer=composer or new_composer(hub, tx, who, conversation),
        colleagues=colleagues,
        queues=queues,
        snoozes=snoozes(tx.now, who),
        company=open_company(tx, who, number),
        macros=[_shown_macro(row, colleagues, queues) for row in macros(tx)],
        target=_target(tx, number),
        opens=_opens(tx, who, conversation),
        rest=merged_into(tx, who.actor, conversation) if conversation.merged_into_id is not None else None,
    )


def pending_macro(tx: Tx, number: int) -> ShownMacro | None:
    """A macro that is to be run with the reply; None when there is none or it is gone."""
    row = tx.get(Macro, number) if number else None
    return _shown_macro(row, tx.exec(select(Agent)), tx.exec(select(Queue))) if row else None


def _shown_macro(row: Macro, agents: Iterable[Agent], queues: Iterable[Queue]) -> ShownMacro:
    does = Does.model_validate(row.does)
    people, places = {each.id or 0: each.name for each in agents}, {each.id or 0: each.name for each in queues}
    return ShownMacro(row.id or 0, row.name, does, ", ".join(in_words(does, people, places, reply=False)))


def open_company(tx: Tx, who: Viewer, number: int) -> list[Seen]:
    """Who else is at a conversation now."""
    return others_at(tx, who.id, [number]).get(number, [])


def _target(tx: Tx, number: int) -> str:
    due = next((clock for clock in running_clocks(tx, number) if clock.due_at is not None), None)
    return WORDS[due.kind].lower() if due else ""


def _opens(tx: Tx, who: Viewer, conversation: Conversation) -> str:
    terms = rule_book(tx).queues.get(conversation.queue_id or 0)
    if terms is None or terms.calendar.is_open(tx.now):
        return ""
    opening = terms.calendar.next_opening(tx.now)
    return full(opening, who.zone) if opening else ""


def new_composer(hub: Hub, tx: Tx, who: Viewer, conversation: Conversation) -> Composer:
    """The composer with what this agent typed here before."""
    number = conversation.id or 0
    drafts = drafts_of(tx, who.id, number)
    choices = choices_of(hub, tx, who, number)
    copies = _copies(tx, number, choices)
    reply, note = drafts.get("reply"), drafts.get("note")
    wanted = reply.channel_id if reply else None
    ranked = sorted(
        choices, key=lambda choice: (bool(choice.blocked), choice.reply.channel_id != wanted if wanted else False)
    )
    return Composer(
        choices=choices,
        chosen=ranked[0].key if ranked else "",
        kind="note" if note and note.text.strip() and not (reply and reply.text.strip()) else "reply",
        reply=reply.text if reply else "",
        note=note.text if note else "",
        html=reply.html if reply else "",
        seen=conversation.last_message_id,
        files=files_of(tx, reply),
        cc=reply.copies.get("cc", ", ".join(copies)) if reply else ", ".join(copies),
        bcc=reply.copies.get("bcc", "") if reply else "",
        aside=reply.aside if reply else {},
        saved=saved_at(drafts.values()),
        offered=[each for each in others_in(tx, conversation) if _is_open(tx, each.address, copies)],
    )


def saved_at(drafts: Iterable[Draft]) -> str:
    """When the newest of them was saved; empty without any."""
    return max((draft.saved_at.isoformat() for draft in drafts), default="")


def _is_open(tx: Tx, address: str, copies: tuple[str, ...]) -> bool:
    return address not in copies and not refusal(tx, "email", address)


def _copies(tx: Tx, number: int, choices: list[Choice]) -> tuple[str, ...]:
    """Who gets a copy of an answer by mail unless its author says otherwise."""
    by_mail = next((choice.reply for choice in choices if choice.reply.kind in MAIL_KINDS), None)
    return reply_all(tx, number, tx.get_one(Identity, by_mail.identity_id)).cc if by_mail else ()


def choices_of(hub: Hub, tx: Tx, who: Viewer, number: int) -> list[Choice]:
    """Every way to answer with its channel's limits; one whose settings don't work is closed."""
    opened = {channel.id: channel for channel in hub.channels()}
    choices = []
    for reply in reply_choices(tx, number):
        channel = opened.get(reply.channel_id)
        if channel is None or channel.channel is None:
            problem = retold(channel.problem) if channel else _("This channel is switched off.")
            choices.append(Choice(reply, Limits(), reply.blocked or problem))
        else:
            way = channel.channel
            signature = way.signature(who.agent.name, who.agent.signature) if isinstance(way, Signs) else ""
            choices.append(Choice(reply, channel.channel.limits, reply.blocked, signature))
    return choices


def rings(tx: Tx, who: Viewer) -> list[Ring]:
    """What rings at this agent and has not run out."""
    found = []
    for offer in live_offers(tx, who.id):
        conversation = tx.get_one(Conversation, offer.conversation_id)
        if offer.expires_at > tx.now:
            found.append(Ring(offer, conversation, names_of(tx, {conversation.contact_id})[conversation.contact_id]))
    return found


def snoozes(now: datetime, who: Viewer) -> list[tuple[str, str, str]]:
    """The presets of the snooze menu: key, words, and when that is."""
    moments = {name: snooze_until(name, now, who) for name in ("later", "tomorrow", "monday")}
    told = {name: moment.astimezone(who.zone) for name, moment in moments.items() if moment}
    return [
        ("later", _("Later today"), f"{told['later']:%H:%M}"),
        ("tomorrow", _("Tomorrow"), f"{weekday(told['tomorrow'], short=True)} {told['tomorrow']:%H:%M}"),
        ("monday", _("Next week"), f"{weekday(told['monday'], short=True)} {told['monday']:%H:%M}"),
        ("reply", _("Until they reply"), ""),
    ]


def snooze_until(preset: str, now: datetime, who: Viewer) -> datetime | None:
    """The moment a preset means where this agent is; None for "until they reply". Raises NotFound."""
    local = now.astimezone(who.zone)
    if preset == "later":
        return now + timedelta(hours=3)
    if preset == "reply":
        return None
    days = {"tomorrow": 1, "monday": 7 - local.weekday()}.get(preset)
    if days is None:
        raise NotFound(_("There is no snooze preset {preset}.", preset=repr(preset)))
    return datetime.combine(local.date() + timedelta(days=days), MORNING, who.zone)


def _found(tx: Tx, who: Viewer, where: Place) -> Listing:
    query = parse_query(where.query)
    before = int(where.after) if where.after.isdecimal() else None
    hits = search(tx, who.actor, query, before=before, limit=where.rows)
    texts = {hit.conversation.id: f"{hit.message.subject} {hit.message.text}" for hit in hits if hit.message}
    rows = [
        replace(row, found=excerpt(texts.get(row.conversation.id, ""), query.words))
        for row in rows_of(tx, who, [hit.conversation for hit in hits])
    ]
    last = hits[-1] if len(hits) >= where.rows else None
    more = str(last.message.id if last.message else last.conversation.last_message_id) if last else ""
    hint = _("Not understood: {unknown}", unknown=", ".join(query.unknown)) if query.unknown else ""
    return Listing("search", _("Search"), [Group("", rows)] if rows else [], more, where.query, hint)


def _sandbox(hub: Hub, tx: Tx, who: Viewer) -> str:
    if hub.settings.demo:
        return "/sandbox"
    if who.actor.may(SETTINGS) and is_under_way(hub, tx):
        return "start"
    return "" if hub.channels() else "none"
