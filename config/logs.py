"""How the program logs: one line an event to standard error, ids only; JSON where a collector reads it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from config.settings import Settings


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "where": record.name,
            "what": record.getMessage(),
        }
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        return json.dumps(document)


def set_up_logging(settings: Settings, is_news: Callable[[logging.LogRecord], bool]) -> None:
    """Called once per process, before anything logs. What is no news is left out."""
    output = logging.StreamHandler()
    output.addFilter(is_news)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    output.setFormatter(JsonLines() if settings.log_json else plain)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[output], force=True)
    for noisy in ("apscheduler", "urllib3", "twilio", "slack_sdk", "imapclient", "alembic", "mail.log", "pymap"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)  # a slow duty's skipped turns are no matter
