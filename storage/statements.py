"""Conditions of the ORM in the words of a statement, for those who ask by `tx.sql`."""

from __future__ import annotations

from sqlalchemy import ColumnElement
from sqlalchemy.dialects import postgresql, sqlite

_DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}  # type: ignore[no-untyped-call]


def spelled_out(condition: ColumnElement[bool], dialect: str) -> str:
    """With its values spelled out: only for those that come from us, such as ids and states."""
    return str(condition.compile(dialect=_DIALECTS[dialect], compile_kwargs={"literal_binds": True}))
