"""Copies of what was sent, in the account's own Sent folder (APPEND of RFC 3501, SPECIAL-USE of RFC 6154)."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from imapclient import SEEN
from imapclient.imapclient import SENT

from channels.base import SendFailed
from channels.mail.imap import LINE_ERRORS, connect
from channels.mail.outgoing import AUTO
from channels.mail.settings import Server, explain
from config.retold import stored


def file_copy(server: Server, folder: str, message_id: str, mail: bytes, at: datetime) -> str:
    """Put `mail` there, read, unless a mail with its Message-ID is there already: so it may be tried again.

    Answers the folder's name: with "auto" none where the server has no such folder. Raises SendFailed: permanent where
    the one that was named does not exist.
    """
    try:
        client = connect(server)
    except LINE_ERRORS as error:
        raise SendFailed(explain(server, error)) from error
    try:
        found = client.find_special_folder(SENT) if folder == AUTO else folder
        if not found or not client.folder_exists(found):
            why = stored(
                "IMAP server {host} has no folder {folder}. Set sent_folder to a name or off.",
                host=server.host, folder=repr(folder),
            )  # fmt: skip
            if folder == AUTO:
                why = stored(
                    "IMAP server {host} has no folder for sent mail. Set sent_folder to a name or off.",
                    host=server.host,
                )
            raise SendFailed(why, permanent=True)
        client.select_folder(found, readonly=True)
        if not client.search(["HEADER", "Message-ID", message_id]):
            client.append(found, mail, (SEEN,), at)
        return str(found)
    except LINE_ERRORS as error:
        raise SendFailed(explain(server, error)) from error
    finally:
        with suppress(*LINE_ERRORS):
            client.logout()
