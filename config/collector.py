"""Python's garbage collector in a process that serves for weeks."""

from __future__ import annotations

import gc


def wait_while_loading() -> None:
    """Called before the hub is imported: hardly anything of it is garbage, and looking takes a tenth of the start."""
    gc.disable()


def spare_what_is_loaded() -> None:
    """Called once when everything is loaded: what is there by now stays, so nothing looks through it for garbage again.

    Without this a seventh of the CPU of a request goes into such looks. What little is garbage by then stays as well:
    to find it would take as long as three hundred requests.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 50)
