"""Card numbers are masked before anything is written, when `redact_cards` says so."""

from __future__ import annotations

import logging
from dataclasses import replace

from channels.base import Inbound, Raw
from channels.cards import masked, masked_words
from hub.hub import Hub

logger = logging.getLogger(__name__)

MASKED = "masked_cards"  # among a receipt's headers: how many were masked in its bytes
FLAG = "masked_cards"  # of a message
MOST_BYTES = 64 * 1024 * 1024  # of a mail that comes as a file; a larger one is kept as it is


def redacted(hub: Hub, raw: Raw) -> Raw:
    """What may be stored of something that arrived. Its key was made of what came, so a re-delivery is still one.

    What was masked keeps the bytes that came in memory, for judging signatures over them.
    """
    if not hub.settings.redact_cards or (raw.file is not None and raw.file_size > MOST_BYTES):
        return raw
    body = raw.body
    if raw.file is not None:
        raw.file.seek(0)
        body = raw.file.read()
    try:
        told, count = masked(body, raw.content_type)
    except Exception:  # of ours, or of the standard library's on odd headers; nothing is lost over it
        logger.exception("what arrived could not be searched for card numbers: it is kept as it came")
        return raw
    if not count:
        return raw
    if raw.file is not None:
        raw.file.close()
    headers = {**raw.headers, MASKED: str(count)}
    return replace(raw, body=told, headers=headers, file=None, file_size=0, original=body)


def as_it_came(raw: Raw) -> Raw | None:
    """With the bytes that signatures were made over; None where they are gone."""
    if raw.original is not None:
        return replace(raw, body=raw.original)
    return None if MASKED in raw.headers else raw


def redacted_message(hub: Hub, raw: Raw, inbound: Inbound) -> Inbound:
    """What the history may hold of it: also numbers that its format hid from us, such as one cut by tags."""
    if not hub.settings.redact_cards:
        return inbound
    found = 0

    def told(words: str) -> str:
        nonlocal found
        made, count = masked_words(words)
        found += count
        return made

    made = replace(
        inbound, text=told(inbound.text), subject=told(inbound.subject), html=told(inbound.html),
        safe_html=told(inbound.safe_html), flags=(*inbound.flags, FLAG),
        fields={name: words if name.startswith("media.") else told(words) for name, words in inbound.fields.items()},
    )  # fmt: skip
    return made if found or MASKED in raw.headers else inbound
