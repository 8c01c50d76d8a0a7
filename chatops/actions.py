"""What people press in Slack: the same verbs as in the inbox, by the agent that the Slack user is."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from sqlmodel import col, select

from channels.base import SendFailed, SignedRequest
from channels.slack import escape
from chatops.blocks import CLAIM, RESOLVE
from chatops.notices import client_of, whisper
from hub import Hub
from hub.lifecycle import resolve
from routing.work import claim
from storage import Tx
from storage.access import Conflict, Forbidden, NotFound, actor_for
from storage.people import Agent, agent_by_email
from storage.receipts import note_press

logger = logging.getLogger(__name__)

LOOKUP_SECONDS = 2.0  # Slack waits three for our answer

VERBS = {CLAIM: claim, RESOLVE: resolve}
DONE = {CLAIM: "You have it now", RESOLVE: "Resolved"}
STRANGER = "Your Slack account belongs to no agent here. Ask an admin to give your agent this account's e-mail address."


class Malformed(Exception):
    """The request is authentic but no press of a button that we know. The sentence says what is missing."""


@dataclass(frozen=True, slots=True)
class Press:
    """One press of one button. `key` is the same when Slack tells us of it twice."""

    action_id: str
    conversation_id: int
    user: str
    channel: str
    outsider: bool  # of another workspace: its profiles are not ours to trust
    key: str
    body: bytes = field(repr=False)


def note_other(hub: Hub, request: SignedRequest, why: str) -> None:
    """Keep a verified request that presses no button of ours, with the reason why nothing comes of it."""
    key = f"sha256:{hashlib.sha256(request.body).hexdigest()}"
    hub.store.submit(lambda tx: note_press(tx, key, request.body, "ignored", why))


def read_press(request: SignedRequest) -> Press | None:
    """The press that a verified request tells of; None for what needs no answer. Raises Malformed.

    Source: docs.slack.dev/reference/interaction-payloads/block_actions-payload
    """
    try:
        payload: Any = json.loads(parse_qs(request.body.decode())["payload"][0])
    except (UnicodeDecodeError, KeyError, ValueError, RecursionError):
        raise Malformed("Send a form with one field called payload that holds JSON.") from None
    if not isinstance(payload, dict) or payload.get("type") != "block_actions":
        return None
    try:
        action, user, channel = payload["actions"][0], payload["user"], payload["channel"]
        if action["action_id"] not in VERBS:
            return None  # "Open in hub" is a link; Slack tells of it all the same
        home = (payload.get("team") or {}).get("id")
        told = f"{action['action_id']}:{action['value']}:{user['id']}:{action.get('action_ts', '')}"
        return Press(
            str(action["action_id"]),
            int(str(action["value"])[:18]),
            str(user["id"]),
            str(channel["id"]),
            bool(home) and user.get("team_id", home) != home,
            f"press:{hashlib.sha256(told.encode()).hexdigest()[:40]}",
            request.body,
        )
    except (KeyError, IndexError, TypeError, ValueError):
        raise Malformed("This press names no action, user, channel or conversation.") from None


def carry_out(hub: Hub, press: Press) -> None:
    """Do what was pressed, once, in the unit that keeps the raw press.

    The notice shows the result; a refusal is whispered to whoever pressed and is the receipt's reason.
    """
    agent_id = None if press.outsider else _agent_behind(hub, press.user)
    if agent_id is None:
        _tell(hub, press, STRANGER)
        return
    try:
        with hub.store.write() as tx:
            _do(tx, hub, press, agent_id)
    except (Conflict, Forbidden, NotFound) as refused:
        _tell(hub, press, str(refused))


def _do(tx: Tx, hub: Hub, press: Press, agent_id: int) -> None:
    if not note_press(tx, press.key, press.body, "accepted"):
        return
    agent = tx.get_one(Agent, agent_id)
    VERBS[press.action_id](tx, actor_for(tx, agent), press.conversation_id)
    url = f"{hub.settings.base_url}/inbox/c/{press.conversation_id}"
    whisper(tx, press.channel, press.user, f"{DONE[press.action_id]}: <{url}|open it in the hub>.", press.key)


def _tell(hub: Hub, press: Press, sentence: str) -> None:
    with hub.store.write() as tx:
        if note_press(tx, press.key, press.body, "ignored", sentence):
            whisper(tx, press.channel, press.user, escape(sentence), press.key)


def _agent_behind(hub: Hub, user: str) -> int | None:
    """The agent who is this Slack user: known from before, else by the e-mail address in the profile, then kept."""
    with hub.store.read() as tx:
        known = tx.exec(select(Agent).where(Agent.slack_user_id == user, col(Agent.active))).first()
    if known is not None:
        return known.id
    try:
        email = client_of(hub.settings, timeout=LOOKUP_SECONDS).email_of(user)
    except SendFailed as error:
        logger.warning("slack user %s could not be looked up: %s", user, error)
        return None
    with hub.store.write() as tx:
        agent = agent_by_email(tx, email) if email else None
        if agent is None:
            return None
        if agent.slack_user_id is None:
            agent.slack_user_id = user
            tx.add(agent)
        return agent.id
