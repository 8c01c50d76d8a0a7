"""Settings → Channels, for admins: how each one does, its guided set-up, and the test that proves it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from flask import Blueprint, make_response, render_template, request
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from channels import KINDS, open_channel
from channels.base import Channel, NotConfigured
from channels.settings import CHANNEL
from config.language import _
from config.retold import retold, stored
from config.settings import SettingsError
from hub import channeltest
from hub.channelhealth import channels_health
from hub.channelsecrets import must_stay, sealed_in
from hub.channeltest import BAD, WAITS, ChannelTest, Done
from hub.deskedit import Edit, keep_edit, number_of, try_edit
from hub.hub import Hub
from hub.refusals import FieldRefused
from inbox import desksheet
from inbox.answers import fragment
from inbox.channelforms import ABOUT, given_for, groups_for
from inbox.deskform import Entry, all_fields, version_in
from inbox.desksheet import VIEW, Draft, admin, to
from inbox.screen import Place, screen
from inbox.session import Viewer, wants_fragment
from storage import Tx
from storage.access import EVERYTHING, Conflict, Forbidden, NotFound
from storage.desk import ChannelAccount

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SETTING = re.compile(r"[a-z][a-z_]*")
_OF_A_TEST = {  # what goes round with its steps
    "code": re.compile(r"swy-[0-9a-f]{1,20}"), "after": re.compile(r"[0-9]{1,15}"), "at": re.compile(r"[0-9]{1,2}"),
    "began": re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?"),
}  # fmt: skip


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/settings", "settings", view_func=listed)
    add("/inbox/settings/channels", "channels", view_func=listed)
    add("/inbox/settings/channels/new", "channel_kinds", view_func=kinds)
    add("/inbox/settings/channels/new/<kind>", "channel_new", view_func=new)
    add("/inbox/settings/channels/new/<kind>", "channel_add", view_func=save_new, methods=["POST"])
    add("/inbox/settings/channels/<int:number>", "channel", view_func=one)
    add("/inbox/settings/channels/<int:number>", "channel_save", view_func=save, methods=["POST"])
    add("/inbox/settings/channels/<int:number>/switch", "channel_switch", view_func=confirm)
    add("/inbox/settings/channels/<int:number>/switch", "channel_switch_form", view_func=switch, methods=["POST"])
    add("/inbox/settings/channels/<int:number>/test", "channel_test", view_func=test, methods=["POST"])
    add("/inbox/settings/channels/<int:number>/test/step", "channel_test_step", view_func=test_step, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Every channel and how it does."""
    hub, who = admin()
    hub.look_again()
    with hub.store.read() as tx:
        found = channels_health(hub, tx, who.actor)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/channels.html", screen=parts, channels=found))


def kinds() -> ResponseReturnValue:
    """Which kind is it to be?"""
    hub, who = admin()
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/channel_kinds.html", screen=parts, kinds=ABOUT))


def new(kind: str) -> ResponseReturnValue:
    """The empty form of a kind. Mail from before today is nobody's work unless its admin wants it to be."""
    hub, who = admin()
    with hub.store.read() as tx:
        begun: Entry = {"settings": {"since": f"{tx.now:%Y-%m-%d}"}} if kind == "email" else {}
        draft = desksheet.blank(tx, "channels", _groups(tx, kind), begun)
        return _page(hub, tx, who, draft, kind)


def save_new(kind: str) -> ResponseReturnValue:
    """Look at it, try its logins, or keep it."""
    hub, who = admin()
    with hub.store.read() as tx:
        draft = desksheet.sent(hub, tx, "channels", _groups(tx, kind), None, None)
    return _done(hub, who, draft, kind, {})


def one(number: int) -> ResponseReturnValue:
    """A channel in its form, with what the other side needs, and its test."""
    hub, who = admin()
    with hub.store.read() as tx:
        entry = desksheet.stored(tx, who, "channels", number)
        draft = desksheet.opened(tx, "channels", _groups(tx, entry["kind"]), number, _flat(entry))
        return _page(hub, tx, who, draft, entry["kind"])


def save(number: int) -> ResponseReturnValue:
    """Look at the changes, try the logins, or keep them."""
    hub, who = admin()
    with hub.store.read() as tx:
        entry = desksheet.stored(tx, who, "channels", number)
        draft = desksheet.sent(hub, tx, "channels", _groups(tx, entry["kind"]), number, _flat(entry))
    return _done(hub, who, draft, entry["kind"], entry)


def confirm(number: int) -> ResponseReturnValue:
    """What switching it off or on would do, before it is done."""
    hub, who = admin()
    edit, row = _switched(hub, number)
    shown: dict[str, Any] = {"account": row}
    try:
        shown["seen"] = try_edit(hub.store, who.actor, edit)
    except (FieldRefused, Forbidden) as refused:
        shown["problem"] = str(refused)
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/channel_switch.html", screen=parts, **shown))


def switch(number: int) -> ResponseReturnValue:
    """Off or on again."""
    hub, who = admin()
    edit, row = _switched(hub, number)
    with hub.store.write() as tx:
        keep_edit(tx, who.actor, edit, version_in(request.form))
    hub.look_again()
    return to(
        "channels",
        _("{name} is switched off.", name=row.name) if row.active else _("{name} is on again.", name=row.name),
    )


def test(number: int) -> ResponseReturnValue:
    """Begin a test. A browser without scripts gets all that can be told at once, and asks again for the arrival."""
    hub, who = admin()
    opened = channeltest.opened_for_test(hub, who.actor, number)
    with hub.store.read() as tx:
        begun = ChannelTest.begun(tx)
    if wants_fragment():
        return _steps(hub, number, begun, [], 0)
    done: list[Done] = []
    for at in range(len(channeltest.steps_of(hub, opened))):
        done.append(channeltest.take_step(hub, opened, begun, at))
        if done[-1].state == BAD:
            break
    return _steps(hub, number, begun, done, len(done) - 1)


def test_step(number: int) -> ResponseReturnValue:
    """The next step of a test under way."""
    hub, who = admin()
    opened = channeltest.opened_for_test(hub, who.actor, number)
    given = {name: request.form.get(name, "") for name in _OF_A_TEST}
    if not all(form.fullmatch(given[name]) for name, form in _OF_A_TEST.items()):
        raise Conflict(_("This is no test that was begun here: begin one."))
    begun, at = ChannelTest(given["code"], int(given["after"]), float(given["began"])), int(given["at"])
    return _steps(hub, number, begun, [channeltest.take_step(hub, opened, begun, at)], at)


def _steps(hub: Hub, number: int, begun: ChannelTest, done: list[Done], at: int) -> ResponseReturnValue:
    """What was done, and what comes next; `at` is the step that the last of them was."""
    names = channeltest.steps_of(hub, hub.channel(number))
    waits = bool(done) and done[-1].state == WAITS
    bad = bool(done) and done[-1].state == BAD
    following = at if waits or not done else at + 1
    shown: dict[str, Any] = {
        "number": number, "test": begun, "done": done, "at": following, "names": names, "waits": waits,
        "goes_on": not bad and following < len(names),
    }  # fmt: skip
    if wants_fragment():
        return fragment("inbox/_channel_steps.html", **shown)
    __, who = admin()
    with hub.store.read() as tx:
        parts, row = screen(hub, tx, who, Place(VIEW)), tx.get_one(ChannelAccount, number)
    page = render_template("inbox/channel_test.html", screen=parts, account=row, given=_given(hub, row), **shown)
    return make_response(page)


def _done(hub: Hub, who: Viewer, draft: Draft, kind: str, entry: Entry) -> ResponseReturnValue:
    deep = partial(_deep, hub, draft, kind, entry)
    what = request.form.get("do", "look")
    if what == "try" and who.actor.permissions < EVERYTHING:
        raise Forbidden(_("Only an admin tries a channel's logins."))
    if what == "save" and desksheet.keep(hub, who, draft, deep):
        name = draft.was or draft.typed.values["name"].strip()
        with hub.store.read() as tx:
            number = number_of(tx, "channels", name)
        return to("channel", _("{name} is kept. Now test it.", name=name), number=number)
    if what != "save" and (edit := desksheet.look(hub, who, draft, deep)) and what == "try" and edit.entry:
        draft.tried = channeltest.logins(_rehearsed(hub, draft, edit.entry))
    with hub.store.read() as tx:
        return _page(hub, tx, who, draft, kind)


def _page(hub: Hub, tx: Tx, who: Viewer, draft: Draft, kind: str) -> ResponseReturnValue:
    row = tx.get(ChannelAccount, draft.number) if draft.number else None
    return desksheet.page(
        hub, tx, who, "inbox/channel.html", draft, kind=kind, account=row, about=ABOUT[kind],
        given=_given(hub, row) if row else [], steps=[],
    )  # fmt: skip


def _given(hub: Hub, row: ChannelAccount) -> list[Any]:
    return given_for(hub.settings, row)


def _groups(tx: Tx, kind: str) -> list[Any]:
    if kind not in KINDS:
        raise NotFound(_("There is no kind of channel called {kind}.", kind=repr(kind)))
    return groups_for(tx, kind)


def _flat(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name != "kind"}


def _deep(hub: Hub, draft: Draft, kind: str, before: Entry, typed: Entry) -> Entry:
    """The entry of desk.yaml, once its channel could be opened. Raises FieldRefused."""
    name = str(before.get("name") or typed.get("name", ""))
    if not _NAME.fullmatch(name) and not before:
        raise FieldRefused("name", _("Use letters, digits, dots and dashes: the name stands in addresses."))
    entry: Entry = {"name": name, "kind": kind, "address": typed.get("address", "")}
    entry |= {"settings": typed.get("settings") or {}}
    if extra := [key for key in typed if key not in ("name", "address", "settings")]:
        raise FieldRefused(
            "more", _("{extra} is nothing that a channel has: write it under settings.", extra=repr(extra[0]))
        )
    with hub.store.read() as tx:
        others = tx.exec(select(ChannelAccount).where(col(ChannelAccount.name) != name)).all()
    elsewhere = {secret for each in others for secret in sealed_in(each.settings)}
    must_stay(before.get("settings") or {}, entry["settings"], elsewhere)
    _rehearsed(hub, draft, entry)
    return entry


def _rehearsed(hub: Hub, draft: Draft, entry: Entry) -> Channel:
    """The channel that an entry describes; nothing is connected. Raises FieldRefused."""
    account = ChannelAccount(**entry, created_at=hub.store.clock())
    try:
        settings = hub.settings_of(account)
        return open_channel(account.kind, account.name, account.address, settings)
    except (NotConfigured, SettingsError) as error:
        told = str(error).removeprefix(stored(CHANNEL, name=repr(account.name), why=""))
        asked = {each.path for each in all_fields(draft.groups)} | {f"settings.{each}" for each in account.settings}
        named = (f"settings.{word}" for word in _SETTING.findall(told))
        place = next((each for each in named if each in asked), "form")
        said = retold(told)
        raise FieldRefused(place, said[:1].upper() + said[1:]) from None


def _switched(hub: Hub, number: int) -> tuple[Edit, ChannelAccount]:
    """Taking it out of the desk, or putting it back as it was."""
    with hub.store.read() as tx:
        row = tx.get(ChannelAccount, number)
        if row is None:
            raise NotFound(_("There is no channel {number}.", number=number))
    if row.active:
        return Edit("channels", row.name, None), row
    back = {"name": row.name, "kind": row.kind, "address": row.address, "settings": row.settings}
    return Edit("channels", None, back), row
