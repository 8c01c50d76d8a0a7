"""What the pages that edit the desk have in common: a form, what it would do, and keeping it.

Nothing is kept that was not seen: the state of the desk goes round with the form, and somebody else's change in between
refuses it with everything still typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hub.channeltest import Done
from hub.deskedit import Edit, Seen, entry, keep_edit, name_of, try_edit
from hub.hub import Hub
from hub.refusals import FieldRefused
from hub.web import hub_here
from inbox.answers import fragment
from inbox.deskform import Entry, Group, Typed, all_fields, entry_of, typed_in, typed_of
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer, wants_fragment
from storage import Tx
from storage.access import SETTINGS, Conflict, Forbidden, NotFound
from storage.desk import desk_version

VIEW = "settings"  # as the address says it, so that live updates of the navigation agree


@dataclass
class Draft:
    """A form for one entry. `number` is its row, `was` the name it has now; both are missing for a new one."""

    section: str
    groups: Sequence[Group]
    typed: Typed
    number: int | None = None
    was: str | None = None
    seen: Seen | None = None
    entry: Entry | None = None  # what it says, as desk.yaml has it, once that can be told
    tried: list[Done] = field(default_factory=list)
    more: bool = True

    @property
    def errors(self) -> dict[str, str]:
        return self.typed.errors

    def refuse(self, refused: FieldRefused) -> None:
        """Put the sentence where it belongs."""
        self.typed.refuse(refused, self.groups, more=self.more)

    def shows(self, group: Group) -> bool:
        """Whether a folded group is open: something is typed in it, or wrong with it."""
        said = {**self.typed.values, **self.typed.kept}
        return any(said.get(each.path) or each.path in self.errors for each in group.fields)

    def problem(self) -> str:
        """The first thing that is wrong, with its field's label."""
        place, told = next(iter(self.errors.items()), ("", ""))
        label = next((each.label for each in all_fields(self.groups) if each.path == place), "")
        return f"{label}: {told}" if label else told


def admin() -> tuple[Hub, Viewer]:
    """Raises Forbidden for everybody who may not change settings."""
    who = viewer()
    who.actor.must(SETTINGS)
    return hub_here(), who


def stored(tx: Tx, who: Viewer, section: str, number: int) -> Entry:
    """The entry as it is. Raises NotFound."""
    return entry(tx, who.actor, section, number)


def blank(tx: Tx, section: str, groups: Sequence[Group], beginning: Entry, *, more: bool = True) -> Draft:
    """A form for a new entry."""
    return Draft(section, groups, typed_of(beginning, groups, desk_version(tx)), more=more)


def opened(tx: Tx, section: str, groups: Sequence[Group], number: int, shown: Entry) -> Draft:
    """An entry in its form; `shown` is how its fields take it."""
    name = name_of(tx, section, number)
    return Draft(section, groups, typed_of(shown, groups, desk_version(tx)), number, name)


def sent(
    hub: Hub, tx: Tx, section: str, groups: Sequence[Group], number: int | None, shown: Entry | None
) -> Draft:  # fmt: skip
    """The form as the browser sent it; `shown` is the entry as it is, for what a form does not send back."""
    kept = typed_of(shown, groups).kept if shown else {}
    typed = typed_in(request.form, groups, hub.secrets, kept)
    return Draft(section, groups, typed, number, name_of(tx, section, number) if number else None)


def look(hub: Hub, who: Viewer, draft: Draft, deep: Callable[[Entry], Entry]) -> Edit | None:
    """See what it would do; None, with a sentence beside a field, for what can't be kept."""
    try:
        draft.entry = deep(entry_of(draft.typed, draft.groups))
        edit = Edit(draft.section, draft.was, draft.entry)
        draft.seen = try_edit(hub.store, who.actor, edit)
    except FieldRefused as refused:
        draft.refuse(refused)
    except (Forbidden, NotFound) as refused:
        draft.errors["form"] = str(refused)
    else:
        return edit
    return None


def keep(hub: Hub, who: Viewer, draft: Draft, deep: Callable[[Entry], Entry]) -> bool:
    """Make it so; False, with a sentence, when it can't be."""
    edit = look(hub, who, draft, deep)
    if edit is None:
        return False
    try:
        with hub.store.write() as tx:
            keep_edit(tx, who.actor, edit, draft.typed.version)
    except (Conflict, Forbidden) as refused:
        draft.errors["form"] = str(refused)
        return False
    hub.look_again()
    return True


def page(hub: Hub, tx: Tx, who: Viewer, template: str, draft: Draft, **more: Any) -> ResponseReturnValue:
    """The whole page, or for htmx what the form would do."""
    shown = {"draft": draft, "errors": draft.errors, **more}
    if wants_fragment():
        tried = request.form.get("do") == "try"
        return fragment(f"inbox/_desk_{'tried' if tried else 'effect'}.html", fragment=True, **shown)
    body = render_template(template, screen=screen(hub, tx, who, Place(VIEW)), **shown)
    return make_response(body, 422 if draft.errors else 200)


def to(endpoint: str, told: str, **values: Any) -> ResponseReturnValue:
    """On to another page, which says what was done."""
    flash(told)
    return redirect(url_for(f"inbox.{endpoint}", **values), 303)
