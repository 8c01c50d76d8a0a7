"""The agents' inbox: server-rendered pages that stay live."""

from __future__ import annotations

from flask import Blueprint

from hub.web import know_ids
from inbox import (
    about,
    account,
    actions,
    answers,
    bulk,
    channels,
    company,
    composer,
    desklists,
    door,
    fieldsettings,
    files,
    firststeps,
    floor,
    lab,
    ledger,
    lines,
    links,
    macros,
    macrosettings,
    notifications,
    pages,
    people,
    privacy,
    roles,
    rules,
    savedreplies,
    session,
    stream,
    suggest,
    tagsettings,
    tokens,
    views,
    webhookpages,
    wording,
)


def create_blueprint() -> Blueprint:
    """Every page and action of the inbox. The application carries the hub as `extensions["hub"]` and the assets."""
    blueprint = Blueprint("inbox", __name__, template_folder="templates")
    wording.register(blueprint)
    session.register(blueprint)
    answers.register(blueprint)
    lines.register(blueprint)
    blueprint.before_request(know_ids)
    for part in (
        door, links, account, notifications, people, roles, tokens, channels, desklists, webhookpages, tagsettings,
        firststeps,
    ):  # fmt: skip
        part.register(blueprint)
    for part in (
        pages, views,
        actions, about, bulk, composer, company, suggest, macros, files, floor, lab, ledger, rules, savedreplies,
        macrosettings, fieldsettings, privacy, stream,
    ):  # fmt: skip
        part.register(blueprint)
    return blueprint
