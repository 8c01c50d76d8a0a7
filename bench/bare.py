"""The baseline: a Flask handler that does one durable INSERT per request, each in a transaction of its own."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Any

import psycopg
from flask import Flask, request

TABLE = "CREATE TABLE IF NOT EXISTS bare(dedupe_key TEXT PRIMARY KEY, payload TEXT NOT NULL)"


def create_app() -> Flask:
    """Reads BARE_DATABASE: a SQLite path or a PostgreSQL URL."""
    app = Flask(__name__)
    place = os.environ["BARE_DATABASE"]
    mine = threading.local()
    one_at_a_time = threading.Lock()  # SQLite's own waiting would make the baseline slower than it needs to be

    def connection() -> Any:
        if not hasattr(mine, "connection"):
            mine.connection = _connect(place)
        return mine.connection

    def on_sqlite(values: tuple[str, str]) -> None:
        with one_at_a_time:
            connection().execute("INSERT INTO bare VALUES(?, ?)", values)

    def on_postgres(values: tuple[str, str]) -> None:
        connection().execute("INSERT INTO bare VALUES(%s, %s)", values)

    insert = on_postgres if place.startswith("postgres") else on_sqlite
    _connect(place).execute(TABLE)

    @app.post("/webhooks/twilio/messages")
    def take() -> str:
        payload = request.get_data(as_text=True)  # before the form is read, which would leave nothing
        insert((request.form["MessageSid"], payload))
        return "<Response/>"

    return app


def _connect(place: str) -> Any:
    if place.startswith("postgres"):
        return psycopg.connect(place.replace("+psycopg", ""), autocommit=True)
    connection = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection
