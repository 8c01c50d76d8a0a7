"""What is known of a person beside their messages, fetched after the conversation, and the sheets to edit it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import available_timezones

from flask import Blueprint, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from channels.text import storable
from config.language import _
from hub import contactlog
from hub.contactfields import read_value
from hub.contacts import Details, change_details, stamp
from hub.duplicates import suggestions, tell_apart
from hub.localtime import LocalTime
from hub.refusals import FieldRefused
from hub.suppression import Closing, closings
from hub.web import hub_here
from inbox.answers import Toast, changed, fragment, here
from inbox.composerform import number_in
from inbox.panel import Candidate, candidate, conversations_of, person_of
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer, wants_fragment
from inbox.wording import address as shown_address
from storage import Tx
from storage.access import CONTACTS, Conflict, conversation_for
from storage.contactdata import (
    Consent,
    ContactEvent,
    ContactField,
    ContactNote,
    consents_of,
    contact_fields,
    events_of,
    notes_of,
)
from storage.conversations import Conversation
from storage.people import Agent, Contact, Identity, identities_of

EARLIER = 6
WRITTEN_TO = ("email", "phone", "whatsapp")  # kinds whose owners say whether they may be


@dataclass(frozen=True, slots=True)
class Agreed:
    """Where one address, or one purpose, stands: a word, since when, and how we know."""

    what: str
    state: str
    colour: str
    at: datetime | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """Everything below the fold of the panel."""

    person: Contact
    events: list[ContactEvent]
    notes: list[tuple[ContactNote, str, bool]]  # with who wrote it, and whether this agent may take it away
    agreed: list[Agreed]
    earlier: list[Conversation]
    earlier_count: int
    alike: list[tuple[Candidate, str]]  # who they might be the same as, and why


@dataclass
class DetailsForm:
    """A person's details as they are typed; `fields` by the names of the desk's own."""

    name: str = ""
    company: str = ""
    language: str = ""
    zone: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    seen: str = ""
    errors: dict[str, str] = field(default_factory=dict)


def register(blueprint: Blueprint) -> None:
    """Add the part and its sheets."""
    add = blueprint.add_url_rule
    blueprint.add_app_template_filter(apart)
    add("/inbox/c/<int:number>/about", "about", view_func=about)
    add("/inbox/c/<int:number>/details", "details", view_func=details)
    add("/inbox/c/<int:number>/details", "details_form", view_func=save_details, methods=["POST"])
    add("/inbox/c/<int:number>/contact-note", "contact_note", view_func=note_sheet)
    add("/inbox/c/<int:number>/contact-note", "contact_note_form", view_func=add_note, methods=["POST"])
    add("/inbox/c/<int:number>/contact-note/drop", "contact_note_drop", view_func=drop_note, methods=["POST"])
    add("/inbox/c/<int:number>/apart", "apart", view_func=apart_people, methods=["POST"])
    add("/inbox/c/<int:number>/consent", "consent", view_func=consent_sheet)
    add("/inbox/c/<int:number>/consent", "consent_form", view_func=record_consent, methods=["POST"])


def apart(there: LocalTime, now: datetime, zone: tzinfo) -> str:
    """How far their clock is from ours: 2 h ahead of you."""
    minutes = int(there.ahead_of(now.astimezone(zone)).total_seconds() // 60)
    if not minutes:
        return _("same as yours")
    hours, rest = divmod(abs(minutes), 60)
    apart = f"{hours}:{rest:02}" if rest else str(hours)
    return _("{hours} h ahead of you", hours=apart) if minutes > 0 else _("{hours} h behind you", hours=apart)


def about(number: int) -> ResponseReturnValue:
    """Orders, notes, consents and other conversations."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        conversation = conversation_for(tx, who.actor, number)
        shown = {"about": _about(tx, who, conversation), "number": number, "who": who, "now": tx.now}
        if wants_fragment():
            return fragment("inbox/_about.html", place=here(), **shown)
        where = Place(request.args.get("view", "all"), number)
        return make_response(
            render_template("inbox/about.html", screen=screen(hub, tx, who, where), place=where, **shown)
        )


def details(number: int) -> ResponseReturnValue:
    """The form of what is said of the person."""
    who = viewer()
    who.actor.must(CONTACTS)
    with hub_here().store.read() as tx:
        person = _person(tx, who, number)
        form = DetailsForm(person.name, person.company, person.language, person.zone, seen=stamp(person))
        form.fields = {each.name: _typed(person.attributes.get(each.name)) for each in contact_fields(tx)}
    return _details_page(number, form)


def save_details(number: int) -> ResponseReturnValue:
    """Keep what was typed; what can't be kept stays in the form with a sentence beside it."""
    who, given = viewer(), request.form
    with hub_here().store.read() as tx:
        known = contact_fields(tx)
    form = DetailsForm(
        given.get("name", "")[:1000], given.get("company", "")[:1000], given.get("language", "")[:100],
        given.get("zone", "")[:100],
        {each.name: given.get(f"field-{each.name}", "")[:4000] for each in known}, given.get("seen", ""),
    )  # fmt: skip
    try:
        wanted = Details(form.name, form.company, form.language, form.zone, _attributes(known, form))
        with hub_here().store.write() as tx:
            person = _person(tx, who, number)
            if not form.name.strip() and person.name:
                raise FieldRefused("name", _("A person needs a name."))
            change_details(tx, who.actor, person.id or 0, wanted, seen=form.seen)
    except FieldRefused as refused:
        form.errors[refused.field] = refused.sentence
        return _details_page(number, form, 422)
    except Conflict as refused:
        form.errors["form"] = str(refused)
        return _details_page(number, form, 409)
    return changed(number, Toast(_("Saved.")), shuts=True)


def note_sheet(number: int) -> ResponseReturnValue:
    """Where a note about the person is written."""
    who = viewer()
    who.actor.must(CONTACTS)
    with hub_here().store.read() as tx:
        person = _person(tx, who, number)
    return sheet(number, "inbox/_contact_note.html", person=person)


def add_note(number: int) -> ResponseReturnValue:
    """Keep it."""
    who = viewer()
    with hub_here().store.write() as tx:
        contactlog.add_note(tx, who.actor, _person(tx, who, number).id or 0, request.form.get("text", ""))
    return changed(number, Toast(_("The note is beside every conversation with them.")), shuts=True)


def drop_note(number: int) -> ResponseReturnValue:
    """Take one away; it can be put back."""
    who, note = viewer(), request.form.get("note", "")
    with hub_here().store.write() as tx:
        person = _person(tx, who, number).id or 0
        text = contactlog.drop_note(tx, who.actor, person, int(note[:18]) if note.isdecimal() else 0)
    undo = url_for("inbox.contact_note_form", number=number)
    return changed(number, Toast(_("The note is gone."), undo=undo, values={"text": text}))


def apart_people(number: int) -> ResponseReturnValue:
    """Who is suggested is somebody else; or, with `back`, might be the same after all."""
    who, other, on = viewer(), number_in(request.form.get("other", "")), not request.form.get("back")
    with hub_here().store.write() as tx:
        told = tell_apart(tx, who.actor, _person(tx, who, number).id or 0, other, on)
        name = candidate(tx, who, other).name
    if not (on and told):  # a colleague has said so before, and nobody else takes it back by the way
        return changed(number)
    undo = url_for("inbox.apart", number=number)
    toast = Toast(_("{name} is not suggested here any more.", name=name), undo=undo,
                  values={"other": str(other), "back": "1"})  # fmt: skip
    return changed(number, toast)


def consent_sheet(number: int) -> ResponseReturnValue:
    """Where what somebody agreed to is written down."""
    who = viewer()
    who.actor.must(CONTACTS)
    with hub_here().store.read() as tx:
        return _consent_page(tx, who, number, {})


def record_consent(number: int) -> ResponseReturnValue:
    """A line in the ledger."""
    who, given = viewer(), request.form
    identity = given.get("identity", "")
    try:
        with hub_here().store.write() as tx:
            contactlog.record_consent(
                tx, who.actor, _person(tx, who, number).id or 0, purpose=given.get("purpose", ""),
                given=given.get("given") == "yes", source=given.get("source", ""),
                identity_id=int(identity[:18]) if identity.isdecimal() else None,
            )  # fmt: skip
    except FieldRefused as refused:
        with hub_here().store.read() as tx:
            return _consent_page(tx, who, number, {refused.field: refused.sentence})
    return changed(number, Toast(_("Written down.")), shuts=True)


def _about(tx: Tx, who: Viewer, conversation: Conversation) -> About:
    contact = tx.get_one(Contact, conversation.contact_id)
    person = tx.get_one(Contact, contact.person_id or contact.id)
    number = person.id or 0
    others = conversations_of(tx, who, number, conversation.id or 0)
    notes = notes_of(tx, number)
    names = _agents(tx, {note.agent_id for note in notes})
    identities = identities_of(tx, number)
    return About(
        person=person,
        events=events_of(tx, number),
        notes=[
            (note, names.get(note.agent_id, _("A program")), note.agent_id == who.id or who.actor.sees_all)
            for note in notes
        ],
        agreed=[
            *_may_be_written_to(identities, closings(tx, identities)),
            *_by_purpose(consents_of(tx, number), identities),
        ],
        earlier=others[:EARLIER],
        earlier_count=len(others),
        alike=[
            (candidate(tx, who, one.person_id), ", ".join(one.reasons).capitalize())
            for one in suggestions(tx, who.actor, person)
        ],
    )  # fmt: skip


def _may_be_written_to(identities: Iterable[Identity], closed: dict[int, Closing]) -> list[Agreed]:
    told = []
    for identity in identities:
        closing = closed.get(identity.id or 0)
        if identity.kind not in WRITTEN_TO:
            continue
        what = shown_address(identity.shown or identity.value)
        if closing is not None:
            told.append(Agreed(what, closing.words, "red", closing.at, closing.source))
        elif identity.opted_out_at:
            told.append(Agreed(what, _("opted out"), "red", identity.opted_out_at))
        else:
            told.append(Agreed(what, _("may be written to"), ""))
    return told


def _by_purpose(ledger: Iterable[Consent], identities: Iterable[Identity]) -> list[Agreed]:
    """The newest line of each purpose and address."""
    addresses = {one.id: shown_address(one.shown or one.value) for one in identities}
    latest: dict[tuple[str, int | None], Consent] = {}
    for line in ledger:
        latest.setdefault((line.purpose, line.identity_id), line)
    told = []
    for (purpose, identity_id), line in sorted(latest.items(), key=lambda each: (each[0][0], each[0][1] or 0)):
        by = addresses.get(identity_id)
        words = f"{purpose.capitalize()} · {by}" if by else purpose.capitalize()
        told.append(
            Agreed(words, "agreed" if line.given else "withdrawn", "green" if line.given else "red", line.at,
                   line.source)
        )  # fmt: skip
    return told


def _agents(tx: Tx, ids: set[int | None]) -> dict[int | None, str]:
    return dict(tx.exec(select(Agent.id, Agent.name).where(col(Agent.id).in_(ids))).all())


def _person(tx: Tx, who: Viewer, number: int) -> Contact:
    return tx.get_one(Contact, person_of(tx, conversation_for(tx, who.actor, number)))


def _attributes(known: Iterable[ContactField], form: DetailsForm) -> dict[str, Any]:
    return {each.name: read_value(each, storable(form.fields[each.name])) for each in known}


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _details_page(number: int, form: DetailsForm, status: int = 200) -> ResponseReturnValue:
    with hub_here().store.read() as tx:
        known = contact_fields(tx)
    zones = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    return sheet(number, "inbox/_details.html", status, form=form, known=known, zones=zones, errors=form.errors)


def _consent_page(tx: Tx, who: Viewer, number: int, errors: dict[str, str]) -> ResponseReturnValue:
    person = _person(tx, who, number)
    reached = [one for one in identities_of(tx, person.id or 0) if one.kind in WRITTEN_TO]
    purposes = sorted({line.purpose for line in consents_of(tx, person.id or 0)} | {"marketing"})
    return sheet(
        number, "inbox/_consent.html", 422 if errors else 200, errors=errors, reached=reached, purposes=purposes,
        given=request.form, person=person,
    )  # fmt: skip


def sheet(number: int, part: str, status: int = 200, **values: Any) -> ResponseReturnValue:
    """A form in the sheet over the page, or without scripts on a page of its own."""
    hub, who = hub_here(), viewer()
    if wants_fragment():
        return make_response(render_template("inbox/_in_sheet.html", part=part, number=number, **values), status)
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, Place("all"))
    page = render_template("inbox/person_sheet.html", screen=parts, part=part, number=number, **values)
    return make_response(page, status)
