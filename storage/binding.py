"""Values and marks as the two drivers want them: `?` in statements, moments, documents and arrays in values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from storage.columns import sqlite_moment

BARE = (int, type(None), bool, float)  # what psycopg binds as it is
PLAIN = (str, int, type(None), bytes, float)  # what sqlite3 binds as it is


def sqlite_value(value: Any) -> Any:
    """A value that is not PLAIN, as the columns expect it."""
    if isinstance(value, datetime):
        return sqlite_moment(value) if value.tzinfo else _naive(value)
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value


def psycopg_values(values: Sequence[Any]) -> list[Any]:
    """Values as the columns expect them; PostgreSQL's text can't hold NUL."""
    return [value if type(value) in BARE else _psycopg_value(value) for value in values]


def _psycopg_value(value: Any) -> Any:
    if type(value) is str:
        return value.replace("\x00", "") if "\x00" in value else value
    if type(value) in (dict, list):
        return json.dumps(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        return _naive(value)
    return value


@lru_cache(1000)  # a list of values makes another statement for each of its lengths: without an end it would grow
def psycopg_statement(statement: str) -> str:
    """The statement with psycopg's marks."""
    return statement.replace("%", "%%").replace("?", "%s")


def _naive(value: datetime) -> Any:
    raise ValueError(f"a moment without a time zone can't be stored: {value!r}")
