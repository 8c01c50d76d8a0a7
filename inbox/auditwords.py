"""The audit log in words: a sentence for each fact, with the names of today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from config.language import _, n_, words
from hub.deskchange import thing

TOPIC_WORDS = words({
    "sign-in": "Signing in", "people": "People and roles", "tokens": "API tokens", "settings": "Settings",
    "work": "Agents and queues", "data": "Contacts and receipts",
})  # fmt: skip
ICONS = {
    "SignedIn": "right", "SignInsEnded": "out", "SignInStopped": "alert", "PasswordChanged": "pen",
    "PasswordResetAsked": "mail", "SecondStepChanged": "check", "RecoveryCodesMade": "check", "AgentInvited": "mail",
    "AgentChanged": "user", "AgentSwitched": "user", "RoleChanged": "users", "TokenCreated": "plus",
    "TokenRevoked": "close", "SignInRulesChanged": "flag", "DeskChanged": "route", "QueuePaused": "pause",
    "QueueResumed": "play", "ContactsMerged": "merge", "ContactsUnmerged": "merge",
    "ContactsParted": "users",
}  # fmt: skip
ENDINGS = words({
    "signed out": "signed out", "revoked": "was signed out by hand",
    "password changed": "was signed out by a new password", "switched off": "was signed out with the account",
})  # fmt: skip
ALL_ENDED = words({
    "signed out": "signed out", "revoked": "were signed out by hand",
    "password changed": "were signed out by a new password", "switched off": "were signed out with the account",
})  # fmt: skip
ROLE_DID = words({"made": "made", "changed": "changed", "deleted": "deleted"})
STOPPED = words({
    "password": "wrong passwords", "code": "wrong codes", "link": "requests for links",
    "sso": "failed single sign-ons",
})  # fmt: skip

DID = words({
    "added": "added", "changed": "changed", "deleted": "deleted", "removed": "removed", "moved": "moved",
    "taken out": "taken out", "switched on": "switched on", "switched off": "switched off",
    "has a new secret": "has a new secret",
})  # fmt: skip


def told(name: str, data: Mapping[str, Any], names: Mapping[str, str], queues: Mapping[int, str]) -> str:
    """What happened, without who did it."""
    agent = names.get(f"agent:{data.get('agent_id')}", _("somebody"))
    reason = f": “{data['reason']}”" if data.get("reason") else ""
    match name:
        case "SignedIn":
            return _("signed in by {how}", how=data["how"])
        case "SignInsEnded":
            count = data["number"]
            whose = n_("A browser of {agent}", "{count} browsers of {agent}", count, agent=agent)
            return _("{browsers} {ended}", browsers=whose, ended=(ENDINGS if count == 1 else ALL_ENDED)[data["why"]])
        case "SignInStopped":
            what = STOPPED[data["what"]]
            return (
                _("Too many {what} for {agent}", what=what, agent=agent)
                if data["agent_id"]
                else _("Too many {what}", what=what)
            )
        case "PasswordChanged":
            if data["how"] == "reset":
                return _("gave {agent} a new password, by a link for a forgotten one", agent=agent)
            if data["how"] == "invitation":
                return _("gave {agent} a new password, by their invitation", agent=agent)
            return _("gave {agent} a new password", agent=agent)
        case "PasswordResetAsked":
            return _("A link for a new password was sent to {agent}", agent=agent)
        case "SecondStepChanged":
            if data["on"]:
                return _("set up the second step of {agent}", agent=agent)
            return _("took away the second step of {agent}", agent=agent)
        case "RecoveryCodesMade":
            return _("made new recovery codes for {agent}", agent=agent)
        case "AgentInvited":
            return _("invited {agent}", agent=agent)
        case "AgentChanged":
            return _("changed {agent}: {what}", agent=agent, what=", ".join(data["what"]))
        case "AgentSwitched":
            return _("switched {agent} on", agent=agent) if data["on"] else _("switched {agent} off", agent=agent)
        case "RoleChanged":
            return _("{did} the role {role}", did=ROLE_DID.get(data["what"], data["what"]), role=data["role"])
        case "TokenCreated" | "TokenRevoked":
            token = names.get(f"token:{data['token_id']}", _("an API token"))
            return _("made {token}", token=token) if name == "TokenCreated" else _("revoked {token}", token=token)
        case "SignInRulesChanged":
            if data["second_step_required"]:
                return _("Signing in now asks everybody for a second step")
            return _("Signing in no longer asks everybody for a second step")
        case "AgentDrained":
            return _("let {agent} finish and gave nothing new{reason}", agent=agent, reason=reason)
        case "AgentUndrained":
            return _("let work come to {agent} again{reason}", agent=agent, reason=reason)
        case "QueuePaused" | "QueueResumed":
            queue = queues.get(data["queue_id"], _("a queue"))
            if name == "QueuePaused":
                return _("paused {queue}{reason}", queue=queue, reason=reason)
            return _("resumed {queue}{reason}", queue=queue, reason=reason)
        case "ContactsMerged":
            return _(
                "merged contact {other_id} into {contact_id}", other_id=data["other_id"], contact_id=data["contact_id"]
            )
        case "ContactsUnmerged":
            return _(
                "took the merge of contacts {contact_id} and {other_id} back",
                contact_id=data["contact_id"],
                other_id=data["other_id"],
            )
        case "ContactsParted":
            pair = {"contact_id": data["contact_id"], "other_id": data["other_id"]}
            if data["on"]:
                return _("said that contacts {contact_id} and {other_id} are not the same person", **pair)
            return _("took back that contacts {contact_id} and {other_id} are not the same person", **pair)
        case "AddressAllowed":
            return _("allowed an address of contact {contact_id} again", contact_id=data["contact_id"])
        case "ContactBlocked":
            if data["on"]:
                return _("blocked contact {contact_id}", contact_id=data["contact_id"])
            return _("unblocked contact {contact_id}", contact_id=data["contact_id"])
        case "ContactExported":
            return _("downloaded everything about contact {contact_id} as a file", contact_id=data["contact_id"])
        case "ContactErased":
            return _(
                "erased contact {contact_id}: {conversations} conversations",
                contact_id=data["contact_id"],
                conversations=data["conversations"],
            )
        case "ReceiptsReplayed":
            return _("had {number} receipts read again", number=data["number"])
        case "ReceiptLeft":
            return _("left receipt {receipt_id} as it is", receipt_id=data["receipt_id"])
        case __:
            what = str(data.get("what", _("the desk")))
            if counted := re.fullmatch(r"([0-9]+) changes by file", what):
                return n_("applied {count} change by file", "applied {count} changes by file", int(counted[1]))
            what = re.sub(r"agent ([0-9]+)", lambda found: names.get(f"agent:{found[1]}", found[0]), what)
            if done := re.fullmatch(rf"(.+) ({'|'.join(DID)})(: .+)?", what, re.DOTALL):
                return _("changed {thing} {did}", thing=thing(done[1]), did=f"{DID[done[2]]}{done[3] or ''}")
            return _("changed {what}", what=thing(what))
