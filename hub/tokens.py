"""Signed references: ids that we issue and recognise, so that a reply finds its conversation without guessing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

MAC_CHARS = 16  # of base32: 80 bits
NUMBER_CHARS = 8  # of base32: 40 bits
_MESSAGE_ID = re.compile(r"<sy\.([0-9a-f-]{36})\.([a-z2-7]+)@", re.ASCII)
_MARK = re.compile(r"([0-9a-f-]{36})\.([a-z2-7]+)", re.ASCII)


class Tokens:
    """Reply tokens carry a conversation's id and a MAC. They allow appending to it; they prove nobody's identity."""

    def __init__(self, secret_key: str):
        self._key = hashlib.sha256(b"switchyard reply token " + secret_key.encode()).digest()

    def issue(self, conversation_id: int, message_id: int | None = None) -> str:
        """A token for a conversation, or for one outgoing message of it.

        Of [a-z2-7] only, because local parts of addresses lose their case on the way.
        """
        numbers = (conversation_id,) if message_id is None else (conversation_id, message_id)
        return self._sealed("".join(_written(number) for number in numbers))

    def read(self, token: str) -> int | None:
        """The conversation a token was issued for, or None when it is not one of ours."""
        numbers = self._opened(token)
        return _number(numbers[:NUMBER_CHARS]) if len(numbers) in (NUMBER_CHARS, 2 * NUMBER_CHARS) else None

    def issue_bounce(self, message_id: int) -> str:
        """What the envelope sender of an outgoing mail carries, so that a bounce names its message (VERP)."""
        return self._sealed(f"b{_written(message_id)}")

    def bounced(self, token: str) -> int | None:
        """The message whose bounce comes to an address with this token, or None when we never issued it."""
        numbers = self._opened(token)
        return _number(numbers[1:]) if len(numbers) == 1 + NUMBER_CHARS and numbers[0] == "b" else None

    def issue_notice(self, notice_id: int) -> str:
        """What answers to a mail to an agent carry."""
        return self._sealed(f"n{_written(notice_id)}")

    def noticed(self, token: str) -> int | None:
        """The notice that an answer with this token is to, or None when we never issued it."""
        numbers = self._opened(token)
        return _number(numbers[1:]) if len(numbers) == 1 + NUMBER_CHARS and numbers[0] == "n" else None

    def issue_unsubscribe(self, identity_id: int, channel_id: int) -> str:
        """What the link out of mail to many carries."""
        return self._sealed(f"u{_written(identity_id)}{_written(channel_id)}")

    def unsubscribes(self, token: str) -> tuple[int, int] | None:
        """The identity and channel of such a link, or None when we never issued it."""
        numbers = self._opened(token)
        if len(numbers) != 1 + 2 * NUMBER_CHARS or numbers[0] != "u":
            return None
        return _number(numbers[1 : 1 + NUMBER_CHARS]), _number(numbers[1 + NUMBER_CHARS :])

    def mark(self, uuid: str) -> str:
        """What our mails carry in a field of their own, so that we know them again when they come back."""
        return f"{uuid}.{self._mac(f'mark {uuid}')}"

    def marked(self, mark: str) -> str | None:
        """The uuid of the message that carries this mark, or None when somebody else wrote it."""
        found = _MARK.fullmatch(mark.strip())
        return found.group(1) if found and hmac.compare_digest(mark.strip(), self.mark(found.group(1))) else None

    def message_id(self, uuid: str, conversation_id: int, domain: str) -> str:
        """The Message-ID (RFC 5322 3.6.4) of an outgoing mail, chosen before the first try."""
        return f"<sy.{uuid}.{self.issue(conversation_id)}@{domain or 'switchyard.invalid'}>"

    def notice_message_id(self, uuid: str, notice_id: int, domain: str) -> str:
        """The Message-ID of a mail to an agent: an answer that lost its address is known by it."""
        return f"<sy.{uuid}.{self.issue_notice(notice_id)}@{domain or 'switchyard.invalid'}>"

    def notice_of(self, message_id: str) -> int | None:
        """The notice that has this Message-ID."""
        found = _MESSAGE_ID.match(message_id.strip())
        return self.noticed(found.group(2)) if found else None

    def conversation_of(self, message_id: str) -> int | None:
        """The conversation of one of our own Message-IDs."""
        found = _MESSAGE_ID.match(message_id.strip())
        return self.read(found.group(2)) if found else None

    def _sealed(self, numbers: str) -> str:
        return numbers + self._mac(numbers)

    def _opened(self, token: str) -> str:
        """What a token of ours says; empty for any other."""
        token = token.lower()
        numbers, mac = token[:-MAC_CHARS], token[-MAC_CHARS:]
        return numbers if hmac.compare_digest(mac.encode("utf-8", "replace"), self._mac(numbers).encode()) else ""

    def _mac(self, number: str) -> str:
        digest = hmac.new(self._key, number.encode("utf-8", "replace"), hashlib.sha256).digest()
        return base64.b32encode(digest[:10]).decode().lower()


def _written(number: int) -> str:
    return base64.b32encode(number.to_bytes(5, "big")).decode().lower()


def _number(written: str) -> int:
    return int.from_bytes(base64.b32decode(written.upper()), "big")
