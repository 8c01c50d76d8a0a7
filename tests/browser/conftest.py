"""The session's browser for every story in it."""

from tests.support.browser import browser

__all__ = ["browser"]
