"""Local doubles of those who receive mail for others: each one's real request, with its real proof.

Shapes follow the pages that channels/mailhook names. `repeat` gives the same request again, as providers do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sandbox.wire import Answer, Call, Wire

FORM = "application/x-www-form-urlencoded"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"


@dataclass(frozen=True, slots=True)
class Post:
    """One request: what is sent, and the headers it goes with."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str]


def basic(user: str, password: str) -> dict[str, str]:
    """RFC 7617."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def multipart(fields: Mapping[str, bytes], files: Mapping[str, tuple[str, str, bytes]] | None = None) -> Post:
    """RFC 7578, with a boundary that differs each time."""
    edge = uuid.uuid4().hex
    blocks = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in fields.items()
    ]
    for name, (filename, kind, data) in (files or {}).items():
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        blocks.append(f"{head}Content-Type: {kind}\r\n\r\n".encode() + data + b"\r\n")
    body = b"".join(blocks) + f"--{edge}--\r\n".encode()
    return Post(body, {"Content-Type": f"multipart/form-data; boundary={edge}"})


class SendGrid:
    """Inbound Parse with a signing security policy."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        """As the policy's page shows it."""
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def raw(self, mail: bytes, to: str, now: datetime, **found: str) -> Post:
        """ "POST the raw, full MIME message"; `found` is what it knows of the sender (dkim, SPF)."""
        fields = {"email": mail, "envelope": json.dumps({"to": [to]}).encode()}
        return self.signed(multipart(fields | {name: said.encode() for name, said in found.items()}), now)

    def told(self, mail: bytes, to: str, now: datetime) -> Post:
        """The parsed form: header block, texts, files."""
        message = _read(mail)
        text, html = _texts(message)
        fields = {"headers": mail.partition(b"\r\n\r\n")[0], "text": text, "envelope": b'{"to":["%s"]}' % to.encode()}
        fields |= {"charsets": b'{"text":"utf-8","html":"utf-8"}'} | ({"html": html} if html else {})
        files = {f"attachment{number}": each for number, each in enumerate(_files(message), 1)}
        ids = {f"attachment{n}": {"content-id": cid} for n, cid in enumerate(_cids(message), 1) if cid}
        return self.signed(multipart({**fields, "attachment-info": json.dumps(ids).encode()}, files), now)

    def signed(self, post: Post, now: datetime) -> Post:
        """ECDSA over the timestamp and the body."""
        stamp = str(int(now.timestamp()))
        signature = self._key.sign(stamp.encode() + post.body, ec.ECDSA(SHA256()))
        proof = {
            "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        }
        return Post(post.body, {**post.headers, **proof})


class Mailgun:
    """Routes that forward: raw (`…/mime`) or parsed."""

    def __init__(self, signing_key: str):
        self._key = signing_key

    def raw(self, mail: bytes, to: str, now: datetime) -> Post:
        """To an address that ends in `mime` Mailgun posts `body-mime`."""
        fields = {"recipient": to.encode(), "body-mime": mail, **self._proof(now)}
        return Post(urlencode(fields).encode(), {"Content-Type": FORM})

    def told(self, mail: bytes, to: str, now: datetime) -> Post:
        """Headers as a list, texts, files and which of them the text shows."""
        message = _read(mail)
        text, html = _texts(message)
        pairs = json.dumps([[name, str(value)] for name, value in message.items()])
        fields = {"recipient": to.encode(), "message-headers": pairs.encode(), "body-plain": text, **self._proof(now)}
        files = {f"attachment-{number}": each for number, each in enumerate(_files(message), 1)}
        ids = {f"<{cid}>": f"attachment-{number}" for number, cid in enumerate(_cids(message), 1) if cid}
        more = {"body-html": html, "content-id-map": json.dumps(ids).encode()}
        return multipart({**fields, **more}, files)

    def _proof(self, now: datetime) -> dict[str, bytes]:
        stamp, token = str(int(now.timestamp())).encode(), uuid.uuid4().hex.encode()
        signature = hmac.new(self._key.encode(), stamp + token, hashlib.sha256).hexdigest()
        return {"timestamp": stamp, "token": token, "signature": signature.encode()}


class Postmark:
    """An inbound stream whose address carries user and password."""

    def __init__(self, user: str, password: str):
        self._headers = {"Content-Type": "application/json", **basic(user, password)}

    def told(self, mail: bytes, to: str, *, raw: bool = False) -> Post:
        """One JSON document; with "Include raw email content" the mail itself is in it too."""
        message = _read(mail)
        text, html = _texts(message)
        name, _, rest = str(message["From"]).rpartition(" <")
        content: dict[str, Any] = {
            "FromFull": {"Name": name.strip('"'), "Email": rest.rstrip(">") or str(message["From"])},
            "From": str(message["From"]),
            "To": str(message["To"]),
            "Subject": str(message["Subject"]),
            "Date": str(message["Date"] or ""),
            "OriginalRecipient": to,
            "MessageID": str(uuid.uuid4()),
            "TextBody": text.decode(),
            "HtmlBody": html.decode(),
            "Headers": [
                {"Name": n, "Value": str(v)} for n, v in message.items() if n.lower() in ("message-id", "references")
            ],
            "Attachments": [
                {"Name": n, "ContentType": kind, "Content": base64.b64encode(data).decode(), "ContentID": cid}
                for (n, kind, data), cid in zip(_files(message), _cids(message), strict=True)
            ],
        }
        if raw:
            content["RawEmail"] = mail.decode("utf-8", "surrogateescape")
        return Post(json.dumps(content).encode(), self._headers)


class Mandrill:
    """Several events in one form field, signed over the address and the fields."""

    def __init__(self, webhook_key: str):
        self._key = webhook_key

    def raw(self, url: str, *mails: bytes, to: str) -> Post:
        """The events of one second."""
        events = [{"event": "inbound", "msg": {"raw_msg": each.decode(), "email": to}} for each in mails]
        document = json.dumps(events)
        digest = hmac.new(self._key.encode(), f"{url}mandrill_events{document}".encode(), hashlib.sha1).digest()
        proof = {"X-Mandrill-Signature": base64.b64encode(digest).decode(), "Content-Type": FORM}
        return Post(urlencode({"mandrill_events": document}).encode(), proof)


class AmazonSns:
    """A topic with its certificate on a server of its own, which also waits for the yes to a subscription."""

    def __init__(self, now: datetime) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = _certificate(self._key, now)
        self.confirmed: list[str] = []
        self.fetched = 0
        self._wire = Wire(self._answer)

    def __enter__(self) -> AmazonSns:
        self._wire.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.stop()

    @property
    def url(self) -> str:
        return self._wire.url

    def mail(
        self, mail: bytes, to: str, *, encoding: str = "BASE64", version: str = "1",
        verdicts: Mapping[str, str] | None = None,
    ) -> Post:  # fmt: skip
        """What SES received, by a receipt rule's SNS action; `verdicts` on the sender by method."""
        content = base64.b64encode(mail).decode() if encoding == "BASE64" else mail.decode()
        receipt: dict[str, Any] = {"recipients": [to], "action": {"type": "SNS", "encoding": encoding}}
        receipt |= {f"{name}Verdict": {"status": status} for name, status in (verdicts or {}).items()}
        told = {"notificationType": "Received", "mail": {}, "receipt": receipt, "content": content}
        return self.notification(json.dumps(told), version=version)

    def notification(self, message: str, *, topic: str = TOPIC, version: str = "1", certificate_at: str = "") -> Post:
        """Signed as SNS signs."""
        told = {"Type": "Notification", "Subject": "Amazon SES Email Receipt Notification", "Message": message}
        return self._signed(told, topic, version, certificate_at)

    def subscription(self) -> Post:
        """What a topic asks before it sends anything."""
        told = {"Type": "SubscriptionConfirmation", "Token": "t0ken", "Message": "You have chosen to subscribe."}
        return self._signed({**told, "SubscribeURL": f"{self.url}/confirm?Token=t0ken"}, TOPIC, "2", "")

    def _signed(self, told: dict[str, str], topic: str, version: str, certificate_at: str) -> Post:
        told |= {"MessageId": str(uuid.uuid4()), "TopicArn": topic, "Timestamp": "2026-11-24T10:00:00.000Z"}
        text = "".join(f"{name}\n{told[name]}\n" for name in sorted(told))
        signature = self._key.sign(text.encode(), PKCS1v15(), SHA256() if version == "2" else SHA1())
        told |= {
            "SignatureVersion": version,
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": certificate_at or f"{self.url}/sns.pem",
        }
        return Post(json.dumps(told).encode(), {"Content-Type": "text/plain; charset=UTF-8"})

    def _answer(self, call: Call) -> Answer:
        if call.path == "/sns.pem":
            self.fetched += 1
            return Answer(200, self.certificate)
        if call.path == "/confirm":
            self.confirmed.append(call.query.get("Token", ""))
            return Answer(200)
        return Answer(404)


def _certificate(key: rsa.RSAPrivateKey, now: datetime) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    day = now.astimezone(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(day - timedelta(days=1))
        .not_valid_after(day + timedelta(days=1))
        .sign(key, SHA256())
    )
    return built.public_bytes(Encoding.PEM)


def _read(mail: bytes) -> Message:
    return BytesParser().parsebytes(mail)


def _texts(message: Message) -> tuple[bytes, bytes]:
    """The first plain and the first HTML text, in UTF-8 as these providers give them."""
    found = {"text/plain": b"", "text/html": b""}
    for part in message.walk():
        kind = part.get_content_type()
        if kind in found and not part.get_filename() and not found[kind]:
            charset = part.get_content_charset("utf-8")
            found[kind] = bytes(part.get_payload(decode=True)).decode(charset, "replace").encode()
    return found["text/plain"], found["text/html"]


def _attached(message: Message) -> list[Message]:
    return [part for part in message.walk() if part.get_filename()]


def _files(message: Message) -> list[tuple[str, str, bytes]]:
    return [
        (str(part.get_filename()), part.get_content_type(), bytes(part.get_payload(decode=True)))
        for part in _attached(message)
    ]


def _cids(message: Message) -> list[str]:
    return [str(part.get("Content-ID", "")).strip("<>") for part in _attached(message)]
