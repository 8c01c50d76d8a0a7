"""What several tests need from the machine: servers, a browser, and a clear word when one is missing."""

from __future__ import annotations

import os

import pytest


def need(present: bool, what: str) -> None:
    """Skip the test when `what` is missing on a private machine; fail it where CI is set, so that no proof goes quiet.

    `what` names the missing part and how to get it: "Dovecot (make system)".
    """
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"missing: {what}", pytrace=False)
    pytest.skip(f"missing: {what}")
