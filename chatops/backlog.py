"""When conversations come faster than Slack takes messages (about one a second for a channel): what is not posted late.

Source: docs.slack.dev/apis/web-api/rate-limits, posting messages.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from config.settings import Settings
from hub.delivery import deliver
from storage import Tx
from storage.conversations import Conversation

LATE = timedelta(minutes=5)
MANY = 120  # notices that wait: two minutes of Slack's time
_WAITING = "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE state = ? AND sender = 'slack' AND target = ? LIMIT ?) w"


def why_not_posted(tx: Tx, settings: Settings, conversation_id: int, since: datetime) -> str:
    """Why a notice that nobody has seen yet is not worth a message any more; "" when it is.

    What came late because Slack was away is posted, unless it is that much. What came late because there is so much of
    it is told of together, once in `LATE`; a missed target is never left out, whoever has it.
    """
    if tx.now - since < LATE:
        return ""
    conversation = tx.get_one(Conversation, conversation_id)
    if conversation.state == "resolved" or conversation.assignee_id is not None:
        return "somebody has it by now"
    target = f"slack:{settings.slack_channel}"
    if tx.sql(_WAITING, "queued", target, MANY).fetchone()[0] < MANY:
        return ""
    _tell_once(tx, settings, target)
    return "more conversations come than Slack takes messages: told together"


def _tell_once(tx: Tx, settings: Settings, target: str) -> None:
    url, span = f"{settings.base_url}/inbox/unassigned", int(tx.now.timestamp() // LATE.total_seconds())
    text = f"*More conversations come than can be shown here one by one.* What waits: <{url}|Open in hub>"
    deliver(tx, "slack", target, f"backlog:{span}", {"alert": text, "mark": f"{url}#{span}"})
