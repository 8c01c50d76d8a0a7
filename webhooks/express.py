"""The doors that are knocked on most, answered before Flask, whose contexts and hooks cost more than storing a text.

Only the plain way is taken here, by the same functions as the views'. Whatever goes wrong is raised again by the view,
so that there is one place that says no.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

from flask import Flask

from hub.web import signed_as
from webhooks import twilio

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MOST_BYTES = 64 * 1024  # a text is a few hundred; what is larger is read piece by piece and capped by the view
DOORS = {"/webhooks/twilio/messages": twilio.HEARD, "/webhooks/twilio/status": twilio.NOTED}


class Express:
    """WSGI (PEP 3333) in front of an application: `app.wsgi_app = Express(app)`, after its blueprints."""

    def __init__(self, app: Flask):
        self._flask = app.wsgi_app
        self._hub = app.extensions["hub"]
        self._took = app.extensions["durations"]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = DOORS.get(environ["PATH_INFO"])
        length = environ.get("CONTENT_LENGTH", "")
        if answer is None or environ["REQUEST_METHOD"] != "POST" or not (length.isdecimal() and length.isascii()):
            return self._flask(environ, start_response)
        if int(length) > MOST_BYTES or "RAW_URI" not in environ:
            return self._flask(environ, start_response)
        began = time.perf_counter()
        body = environ["wsgi.input"].read(int(length))
        try:
            twilio.take(self._hub, signed_as(self._hub, environ, body))
        except Exception as error:
            environ["wsgi.input"] = BytesIO(body)
            environ[twilio.REFUSED] = error
            return self._flask(environ, start_response)
        start_response(answer.status, answer.headers)
        self._took(environ["PATH_INFO"], int(answer.status[:3]), time.perf_counter() - began)
        return answer.body
