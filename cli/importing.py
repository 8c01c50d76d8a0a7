"""Bringing rules over from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

from config import SettingsError
from config.settings import read_text
from hub.taskrouter import WorkflowError, import_workflow


def taskrouter(workflow: Path, queues: Path | None, fields: list[str]) -> int:
    """Print a TaskRouter workflow as the rules of a desk file, with what could not be translated below."""
    named = dict(_named(each) for each in fields)
    try:
        done = import_workflow(read_text(workflow), read_text(queues) if queues else "", named)
    except WorkflowError as error:
        raise SettingsError(f"{workflow}: {error}") from None
    sys.stdout.write(done.text)
    return 0


def _named(given: str) -> tuple[str, str]:
    attribute, _, name = given.partition("=")
    if not attribute.strip() or not name.strip():
        raise SettingsError(f"--field {given}: write ATTRIBUTE=FIELD, such as customer_tier=contact.tier")
    return attribute.strip(), name.strip()
