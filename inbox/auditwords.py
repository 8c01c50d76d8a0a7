"""The audit log in words: a sentence for each fact, with the names of today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TOPIC_WORDS = {
    "sign-in": "Signing in", "people": "People and roles", "tokens": "API tokens", "settings": "Settings",
    "work": "Agents and queues", "data": "Contacts and receipts",
}  # fmt: skip
ICONS = {
    "SignedIn": "right", "SignInsEnded": "out", "SignInStopped": "alert", "PasswordChanged": "pen",
    "PasswordResetAsked": "mail", "SecondStepChanged": "check", "RecoveryCodesMade": "check", "AgentInvited": "mail",
    "AgentChanged": "user", "AgentSwitched": "user", "RoleChanged": "users", "TokenCreated": "plus",
    "TokenRevoked": "close", "SignInRulesChanged": "flag", "DeskChanged": "route", "QueuePaused": "pause",
    "QueueResumed": "play", "ContactsMerged": "merge", "ContactsUnmerged": "merge",
}  # fmt: skip
ENDINGS = {
    "signed out": "signed out", "revoked": "was signed out by hand",
    "password changed": "was signed out by a new password", "switched off": "was signed out with the account",
}  # fmt: skip
STOPPED = {
    "password": "wrong passwords", "code": "wrong codes", "link": "requests for links",
    "sso": "failed single sign-ons",
}  # fmt: skip


def told(name: str, data: Mapping[str, Any], names: Mapping[str, str], queues: Mapping[int, str]) -> str:
    """What happened, without who did it."""
    agent = names.get(f"agent:{data.get('agent_id')}", "somebody")
    reason = f": “{data['reason']}”" if data.get("reason") else ""
    match name:
        case "SignedIn":
            return f"signed in by {data['how']}"
        case "SignInsEnded":
            count = data["number"]
            whose = f"{count} browsers of {agent}" if count != 1 else f"A browser of {agent}"
            ending = ENDINGS.get(data["why"], data["why"])
            return f"{whose} {ending.replace('was', 'were') if count != 1 else ending}"
        case "SignInStopped":
            what = STOPPED[data["what"]]
            return f"Too many {what}" + (f" for {agent}" if data["agent_id"] else "")
        case "PasswordChanged":
            how = {"reset": ", by a link for a forgotten one", "invitation": ", by their invitation"}
            return f"gave {agent} a new password{how.get(data['how'], '')}"
        case "PasswordResetAsked":
            return f"A link for a new password was sent to {agent}"
        case "SecondStepChanged":
            return f"{'set up' if data['on'] else 'took away'} the second step of {agent}"
        case "RecoveryCodesMade":
            return f"made new recovery codes for {agent}"
        case "AgentInvited":
            return f"invited {agent}"
        case "AgentChanged":
            return f"changed {agent}: {', '.join(data['what'])}"
        case "AgentSwitched":
            return f"switched {agent} {'on' if data['on'] else 'off'}"
        case "RoleChanged":
            return f"{data['what']} the role {data['role']}"
        case "TokenCreated" | "TokenRevoked":
            token = names.get(f"token:{data['token_id']}", "an API token")
            return f"{'made' if name == 'TokenCreated' else 'revoked'} {token}"
        case "SignInRulesChanged":
            asked = "now asks everybody" if data["second_step_required"] else "no longer asks everybody"
            return f"Signing in {asked} for a second step"
        case "AgentDrained":
            return f"let {agent} finish and gave nothing new{reason}"
        case "AgentUndrained":
            return f"let work come to {agent} again{reason}"
        case "QueuePaused" | "QueueResumed":
            queue = queues.get(data["queue_id"], "a queue")
            return f"{'paused' if name == 'QueuePaused' else 'resumed'} {queue}{reason}"
        case "ContactsMerged":
            return f"merged contact {data['other_id']} into {data['contact_id']}"
        case "ContactsUnmerged":
            return f"took the merge of contacts {data['contact_id']} and {data['other_id']} back"
        case "AddressAllowed":
            return f"allowed an address of contact {data['contact_id']} again"
        case "ContactBlocked":
            return f"{'blocked' if data['on'] else 'unblocked'} contact {data['contact_id']}"
        case "ContactExported":
            return f"downloaded everything about contact {data['contact_id']} as a file"
        case "ContactErased":
            return f"erased contact {data['contact_id']}: {data['conversations']} conversations"
        case "ReceiptsReplayed":
            return f"had {data['number']} receipts read again"
        case "ReceiptLeft":
            return f"left receipt {data['receipt_id']} as it is"
        case _:
            what = str(data.get("what", "the desk"))
            if what.endswith(" by file"):
                return f"applied {what}"
            return f"changed {re.sub(r'agent ([0-9]+)', lambda found: names.get(f'agent:{found[1]}', found[0]), what)}"
