"""Mails in many charsets: what was written is known, so that a wrong letter is a wrong letter."""

from __future__ import annotations

import base64
import quopri
from urllib.parse import quote_from_bytes

WESTERN = "Grüße aus Malmö, ça va très bien"
WORDS = {
    **dict.fromkeys(("iso-8859-1", "windows-1252", "iso-8859-15", "cp850", "mac-roman", "utf-8"), WESTERN),
    **dict.fromkeys(("iso-8859-2", "windows-1250"), "Žluťoučký kůň úpěl, Łódź"),
    **dict.fromkeys(("koi8-r", "windows-1251", "iso-8859-5"), "Здравствуйте, где мой заказ"),
    "koi8-u": "Доброго дня, де моє замовлення",
    **dict.fromkeys(("iso-8859-7", "windows-1253"), "Καλημέρα, πού είναι"),
    **dict.fromkeys(("iso-8859-8", "windows-1255"), "שלום, איפה ההזמנה שלי"),
    **dict.fromkeys(("iso-8859-6", "windows-1256"), "مرحبا اين طلبي"),
    **dict.fromkeys(("iso-8859-9", "windows-1254"), "Günaydın, siparişim nerede ığş"),
    **dict.fromkeys(("iso-8859-4", "windows-1257"), "Labas rytas, kur mano užsakymas"),
    **dict.fromkeys(("tis-620", "windows-874"), "สวัสดี คำสั่งซื้อของฉัน"),
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "你好，我的订单在哪里"),
    "big5": "你好，我的訂單在哪裡",
    **dict.fromkeys(("shift_jis", "euc-jp", "iso-2022-jp"), "こんにちは、注文はどこですか"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "iso-2022-kr"), "안녕하세요 주문은 어디에"),
}
CODECS = {"windows-874": "cp874", "ks_c_5601-1987": "cp949", "iso-2022-kr": "iso2022_kr"}
LIES = (("us-ascii", "utf-8"), ("iso-8859-1", "utf-8"), ("utf-8", "windows-1252"), ("", "utf-8"), ("x-odd", "utf-8"))
HEAD = b"From: a@example.com\r\nTo: b@example.com\r\nMIME-Version: 1.0\r\n"


def cases() -> list[tuple[str, bytes, str, str]]:
    """(name, mail, what was written, where it has to be seen: text, subject or file)."""
    made = [case for label, words in WORDS.items() for case in _of(label, words, CODECS.get(label, label))]
    made += [(f"{label or 'no label'} for {codec}", _body(label, WESTERN.encode(codec), "8bit"), WESTERN, "text")
             for label, codec in LIES]  # fmt: skip
    return made


def _of(label: str, words: str, codec: str) -> list[tuple[str, bytes, str, str]]:
    data, short = words.encode(codec), words.split(",")[0]
    title = short.encode(codec)
    plain = f"Content-Type: text/plain; charset={label}\r\n\r\n".encode() + data
    made = [
        (f"{label} {how} body", _body(label, data, how), words, "text")
        for how in ("8bit", "base64", "quoted-printable")
    ]
    word = f"=?{label}?B?{base64.b64encode(title).decode()}?=".encode()
    made.append((f"{label} B subject", HEAD + b"Subject: " + word + b"\r\n\r\nx", short, "subject"))
    quoted = "".join(f"={byte:02X}" for byte in title)
    made.append((f"{label} Q subject", HEAD + f"Subject: =?{label}?Q?{quoted}?=\r\n\r\nx".encode(), short, "subject"))
    made.append((f"{label} raw subject", HEAD + b"Subject: " + title + b"\r\n" + plain, short, "subject"))
    for how, written in (
        ("2231 file", f"filename*={label}''{quote_from_bytes(title)}".encode()),
        ("2047 file", b'filename="' + word + b'"'),
    ):
        file = b"Content-Type: application/pdf\r\nContent-Disposition: attachment; " + written + b"\r\n\r\nx"
        made.append((f"{label} {how}", HEAD + file, short, "file"))
    return made


def _body(label: str, data: bytes, how: str) -> bytes:
    coded = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(how, bytes)(data)
    kind = f"Content-Type: text/plain{f'; charset={label}' if label else ''}\r\nContent-Transfer-Encoding: {how}\r\n"
    return HEAD + kind.encode() + b"\r\n" + coded
