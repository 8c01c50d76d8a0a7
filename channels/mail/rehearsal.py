"""One small mail that needs everything: read once, so that all it stands on is loaded."""

from __future__ import annotations

from channels.base import Raw
from channels.mail.parse import parse
from channels.mail.seals import verified

MAIL = b"""\
From: =?utf-8?q?M=C3=A5ra?= <mara@example.com>
To: support@example.com
Date: Sun, 22 Nov 2026 10:00:00 +0100
Content-Type: multipart/mixed; boundary=B

--B
Content-Type: text/html; charset=utf-8

<p style="color:red">The lamp that came on Monday is broken, and one cable is missing.</p>
--B--
"""


def rehearse() -> None:
    """Read it, and look for signatures."""
    raw = Raw("rehearsal", MAIL, "message/rfc822")
    parse(raw)
    verified(raw, "signatures", {})
