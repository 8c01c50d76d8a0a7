"""`python app.py channel authorise NAME`: a person lets the hub into a mail account, whatever became of old tokens."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable

from channels.mail.oauth import (
    Grant,
    OAuthClient,
    TokenTrouble,
    ask_device,
    begin_device,
    consent_address,
    redeemed,
)
from config import Settings, SettingsError
from hub import Hub
from storage.access import Conflict, NotFound
from storage.migrations import is_current

Say = Callable[[str], object]
Read = Callable[[], str]


def _line() -> str:
    return sys.stdin.readline()


def authorise(settings: Settings, name: str, *, paste: bool, say: Say = print, read: Read = _line) -> int:
    """By a code for any device where the provider has that, else by pasting where the browser ended."""
    hub = Hub(settings)
    try:
        if not is_current(hub.store):
            raise NotFound("The database is empty or old: run `python app.py db upgrade` first.")
        opened = hub.channel_named(name)
        channel = opened.must()
        client = getattr(channel, "oauth", None)
        if opened.keeper is None or client is None:
            raise Conflict(f"Channel {name!r} logs in with a password: set oauth in its settings first.")
        try:
            by_code = client.device_url and not paste
            opened.keeper.keep(_by_device(client, say) if by_code else _by_pasting(client, say, read))
        except TokenTrouble as trouble:
            print(trouble, file=sys.stderr)
            return 1
    finally:
        hub.stop()
    print(f"{name} is authorised; running processes use it at their next login. Try `channel check {name}`.")
    return 0


def _by_device(client: OAuthClient, say: Say) -> Grant:
    device = begin_device(client)
    say(f"Open {device.address} on any device, sign in as the mailbox, and type {device.user_code}")
    deadline = time.monotonic() + device.seconds
    wait = device.interval
    while time.monotonic() < deadline:
        time.sleep(wait)
        answer = ask_device(client, device)
        if isinstance(answer, Grant):
            return answer
        wait = answer
    raise TokenTrouble("Nobody typed the code in time. Begin again.", dead=True)


def _by_pasting(client: OAuthClient, say: Say, read: Read) -> Grant:
    if not client.authorise_url:
        raise SettingsError("Set authorise_url or device_url in the channel's settings first.")
    state, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(48)
    say(f"Open this address and sign in as the mailbox:\n\n{consent_address(client, state, verifier)}\n")
    say("The browser ends at a page that can't be shown. Paste its whole address here:")
    pasted = read().strip()
    if not pasted:
        raise SettingsError("Nothing was pasted, nothing was changed.")
    return redeemed(client, pasted, state, verifier)
