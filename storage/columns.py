"""Column types and naming shared by every table, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from json import loads
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

# Without names SQLite can't alter a constraint and PostgreSQL can't downgrade; set before any table is declared.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
# Rows come from the database or from our own code and are never validated: making sixty validators would only take a
# tenth of the start.
SQLModel.model_config["defer_build"] = True


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC; refuses naive values. `timestamptz` on PostgreSQL, ISO text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment without a time zone can't be stored: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BigId = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB(), "postgresql")


def sqlite_moment(value: datetime) -> str:
    """The text that SQLite keeps of an aware moment: `strftime` takes twice as long and loses noughts of years."""
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]  # without the offset


def moment(value: Any) -> datetime | None:
    """What a driver handed back for a UtcDateTime column, as an aware datetime (SQLite gives text)."""
    if value is None:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    assert isinstance(value, datetime)
    return value.astimezone(UTC)


def read_json(value: Any) -> Any:
    """What a driver handed back for a JSON column, read (SQLite gives text)."""
    return loads(value) if isinstance(value, str) else value


def key() -> Any:
    """A primary key given by the database."""
    return Field(default=None, primary_key=True, sa_type=BigId)


def ref(target: str, *, index: bool = False, nullable: bool = False, unique: bool = False) -> Any:
    """A foreign key to `target` ("contact.id")."""
    default: Any = None if nullable else ...
    return Field(default, foreign_key=target, index=index, nullable=nullable, unique=unique, sa_type=BigId)


def utc(*, nullable: bool = False, index: bool = False) -> Any:
    """A moment in UTC."""
    default: Any = None if nullable else ...
    return Field(default, sa_type=UtcDateTime, nullable=nullable, index=index)


def json(default: type[dict[str, Any]] | type[list[Any]] = dict, *, added: bool = False) -> Any:
    """A JSON document that is never null. One that was `added` later is empty in the rows that were there before."""
    options = {"server_default": "{}" if default is dict else "[]"} if added else {}
    return Field(default_factory=default, sa_type=Json, nullable=False, sa_column_kwargs=options)
