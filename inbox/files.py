"""What came from outside, given to a browser so that it can do no harm: mail HTML, pictures, files, raw bytes."""

from __future__ import annotations

import hashlib

import requests
from flask import Blueprint, Response, current_app, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlmodel import select
from ssrfguard import Policy, SSRFGuardError
from ssrfguard.requests import Session

from hub.receipts import raw_bytes
from hub.web import harmless, hub_here
from inbox.mailhtml import cleaned_html, page, pictured
from inbox.session import viewer
from inbox.thread import PREVIEWED
from storage import Tx
from storage.access import NotFound, conversation_for, receipt_for
from storage.conversations import Attachment, Message
from storage.receipts import Receipt

PICTURE_SECONDS = 3600  # how long an address of a picture inside a mail stays good
PICTURE_BYTES = 5_000_000
FETCH_SECONDS = 8


def register(blueprint: Blueprint) -> None:
    """Add the downloads."""
    add = blueprint.add_url_rule
    add("/inbox/files/<int:number>", view_func=attachment)
    add("/inbox/m/<int:number>/html", view_func=mail_html)
    add("/inbox/picture/<token>", view_func=picture)
    add("/inbox/receipts/<int:number>/raw", view_func=raw)
    add("/inbox/m/<int:number>/raw", view_func=message_raw)


def attachment(number: int) -> ResponseReturnValue:
    """A file to save; with `preview` a raster picture to look at."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        file = tx.get(Attachment, number)
        if file is None:
            raise NotFound("There is no such file.")
        if file.message_id is not None:
            _message_for(tx, file.message_id)
        elif file.uploaded_by != who.id:
            raise NotFound("There is no such file.")
    if not file.sha256:
        raise NotFound("This file is still being fetched from the provider; try again in a minute.")
    try:
        data = hub.blobs.get(file.sha256)
    except FileNotFoundError:
        raise NotFound("The bytes of this file are missing from the data directory.") from None
    if request.args.get("preview") and file.content_type in PREVIEWED:
        return harmless(data, file.content_type, "inline", file.name)
    return harmless(data, "application/octet-stream", "attachment", file.name)


def mail_html(number: int) -> ResponseReturnValue:
    """A mail as its author formatted it, for a sandboxed frame; pictures from elsewhere only with `images`."""
    with hub_here().store.read() as tx:
        message = _message_for(tx, number)
        inline = tx.exec(select(Attachment).where(Attachment.message_id == number)).all()
    pictures = {
        file.cid: _picture_url({"file": file.id}) for file in inline if file.cid and file.content_type in PREVIEWED
    }
    remote = (lambda address: _picture_url({"url": address})) if request.args.get("images") else None
    body = pictured(cleaned_html(message), pictures, remote)
    response = Response(page(body, message.text), mimetype="text/html")
    # The frame's origin is opaque, so 'self' would mean nothing in it.
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; img-src {request.host_url.rstrip('/')} data:; style-src 'unsafe-inline'; "
        "frame-ancestors 'self'; form-action 'none'; base-uri 'none'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    )
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def picture(token: str) -> ResponseReturnValue:
    """A picture inside a mail. The frame it is shown in has no cookie, so the address itself is signed and ends."""
    try:
        wanted = _signer().loads(token, max_age=PICTURE_SECONDS)
    except BadSignature:
        raise NotFound("This picture's address has run out; open the mail again.") from None
    if "file" in wanted:
        with hub_here().store.read() as tx:
            file = tx.get(Attachment, int(wanted["file"]))
        if file is None or file.content_type not in PREVIEWED or not file.sha256:
            raise NotFound("There is no such picture.")
        return harmless(hub_here().blobs.get(file.sha256), file.content_type, "inline", file.name)
    content_type, data = _fetched(str(wanted["url"]))
    return harmless(data, content_type, "inline", "picture")


def raw(number: int) -> ResponseReturnValue:
    """What arrived, exactly as it arrived, as a file to save."""
    hub = hub_here()
    with hub.store.read() as tx:
        receipt = receipt_for(tx, viewer().actor, number)
    return harmless(raw_bytes(hub, receipt), "application/octet-stream", "attachment", f"receipt-{number}.txt")


def message_raw(number: int) -> ResponseReturnValue:
    """The bytes a message was made from."""
    hub = hub_here()
    with hub.store.read() as tx:
        message = _message_for(tx, number)
        receipt = tx.get(Receipt, message.receipt_id) if message.receipt_id else None
    if receipt is None:
        raise NotFound("This message was not received from outside.")
    return harmless(raw_bytes(hub, receipt), "text/plain", "attachment", f"message-{number}.txt")


def _message_for(tx: Tx, number: int) -> Message:
    message = tx.get(Message, number)
    if message is None:
        raise NotFound(f"There is no message {number}.")
    conversation_for(tx, viewer().actor, message.conversation_id)
    return message


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(hub_here().settings.secret_key, salt="picture in a mail")


def _picture_url(wanted: dict[str, object]) -> str:
    return url_for("inbox.picture", token=_signer().dumps(wanted))


def _fetched(address: str) -> tuple[str, bytes]:
    """A picture from elsewhere, fetched by us so that its owner learns neither who looks nor from where.

    ssrfguard refuses private addresses and connects to the one it checked. Raises NotFound.
    """
    try:
        with Session(policy=Policy()) as session:
            answer = session.get(address, timeout=FETCH_SECONDS, stream=True, headers={"Accept": "image/*"})
            content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if answer.status_code != 200 or content_type not in PREVIEWED:
                raise NotFound("This picture can't be shown.")
            data = b""
            for chunk in answer.iter_content(65536):
                data += chunk
                if len(data) > PICTURE_BYTES:
                    raise NotFound("This picture is too large.")
    except (requests.RequestException, SSRFGuardError, OSError) as error:
        digest = hashlib.sha256(address.encode()).hexdigest()[:12]
        current_app.logger.info("picture %s could not be fetched: %s", digest, type(error).__name__)
        raise NotFound("This picture can't be reached.") from None
    return content_type, data
