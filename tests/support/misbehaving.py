"""A mail channel whose reading does what the mail's subject says: hang, burn, eat, crash, break or kill."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping

from channels.base import Inbound, Raw, Unreadable
from channels.mail import EmailChannel
from channels.seals import Seals

EVILS = ("hang", "burn", "eat", "crash", "crash in C")


class Misbehaving(EmailChannel):
    """What no parser should do, and one day does."""

    @staticmethod
    def verify(raw: Raw, question: str, keys: Mapping[str, str | None]) -> Seals:
        match Misbehaving.parse(raw).subject:
            case "crash to verify":
                os._exit(0)
            case "bug to verify":
                raise KeyError("something new")
        return EmailChannel.verify(raw, question, keys)

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        inbound = EmailChannel.parse(raw)
        match inbound.subject:
            case "hang":
                time.sleep(3600)
            case "burn":
                while True:
                    pass
            case "eat":
                return [bytearray(1 << 26) for _ in range(1000)]  # type: ignore[return-value]
            case "crash":
                os._exit(0)
            case "crash in C":
                ctypes.string_at(0)
            case "bug":
                raise KeyError("something new")
            case "unreadable":
                raise Unreadable("There is nothing in it.")
            case "where":
                return Inbound(inbound.sender, f"{os.getpid()} {sorted(os.environ)} {os.sched_getaffinity(0)}")
        return inbound
