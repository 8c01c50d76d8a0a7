"""A working day at the desk, played through the real verbs: what screenshots and stories look at."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, timedelta
from email.message import EmailMessage

from channels.base import DeliveryState
from hub.contactfields import FieldForm, save_field
from hub.contactlog import Told, add_note, note_event, record_consent
from hub.contacts import Details, change_details, merge, rename
from hub.delivery import move_message
from hub.lifecycle import resolve, snooze
from hub.people import create_agent
from hub.replies import note, reply
from inbox.session import Viewer
from inbox.thread import note_reading
from routing import work
from routing.commands import pause, pin
from storage import Tx
from storage.access import Actor
from storage.conversations import Conversation, Draft
from storage.people import Agent, Identity
from storage.search import index_new_messages
from tests.desk import MARA_MAIL, MARA_PHONE, Desk

HTML = """<html><body style="font-family:Georgia"><p>Good morning,</p><p>I left a message yesterday. My order should be
<b>two Halo pendants</b>, but the parcel had only one in it and the tape on the side was cut.</p>
<p>Photo and packing slip attached. Could you send the missing one?</p>
<p>Mara <img src="https://tracker.example/open.gif" width="1" height="1"></p></body></html>"""

EMPTY_MAIL = "The mail is empty: not even a header arrived. Ask the sender to send it again."
RUSH = [
    ("Lamp arrived broken", "Oskar Nyman"), ("Where is order 48377?", "Lea Brandt"),
    ("Wrong bulb in the box", "Mateo Ruiz"), ("Can I still change the colour?", "Hanna Virtanen"),
    ("Delivery address for the hotel", "Hotel Aurora"), ("The switch does not click", "Paul Martin"),
    ("Return of two pendants", "Vera Novotná"), ("Order twice by mistake", "Samir Aziz"),
    ("Missing screws", "Ida Holm"), ("Is it dimmable?", "Kenji Mori"), ("Parcel left in the rain", "Greta Olsen"),
    ("Shade has a dent", "Luca Conti"), ("Tracking shows nothing", "Amélie Roux"),
]  # fmt: skip

MARA_WROTE = (
    "Good morning, I left a message yesterday. My order should be two Halo pendants, but the parcel had only one in "
    "it and the tape on the side was cut.\n\nPhoto and packing slip attached. Could you send the missing one?\n\n"
    "On Mon, 23 Nov 2026 at 09:02, Desk <support@desk.example> wrote:\n> Your order 48213 is on its way.\n"
    "> Track it at https://desk.example/t/48213\n"
)
JONAS_ANSWERED = (
    "Hello Mara, I am sorry about that. The second lamp was left out when we packed your order. A replacement leaves "
    "the warehouse today, free of charge."
)


def picture(width: int = 64, height: int = 64) -> bytes:
    """A small PNG: a lamp-coloured square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"".join(bytes((210, 140 + (x + y) % 80, 80)) for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rich_mail(subject: str = "Order 48213 – one lamp missing") -> bytes:
    """Mara's mail with HTML, a quotation, a picture and a paper."""
    message = EmailMessage()
    message["From"], message["To"] = f"Mara Lindqvist <{MARA_MAIL}>", "support@desk.example"
    message["Subject"], message["Message-ID"] = subject, "<lamp-1@customer.example>"
    message.set_content(MARA_WROTE)
    message.add_alternative(HTML, subtype="html")
    message.add_attachment(picture(), "image", "png", filename="parcel-side.png")
    message.add_attachment(b"%PDF-1.4 packing slip" * 3000, "application", "pdf", filename="packing-slip.pdf")
    return message.as_bytes()


def available(desk: Desk, *actors: Actor) -> None:
    """Sign people in, as far as routing knows."""
    with desk.hub.store.write() as tx:
        for actor in actors:
            work.set_status(tx, actor, actor.agent_id or 0, "available")


def answer(
    desk: Desk, actor: Actor, conversation_id: int | None, text: str, state: DeliveryState, why: str = ""
) -> int:
    """A reply that reached `state`."""
    with desk.hub.store.write() as tx:
        message = reply(tx, actor, conversation_id or 0, text=text, tokens=desk.hub.tokens, undo_seconds=0)
    number = message.id or 0
    with desk.hub.store.write() as tx:
        move_message(tx, number, DeliveryState.SENDING)
        move_message(tx, number, state, why)
    return number


def furnish(desk: Desk) -> int:
    """Play the day and answer the number of Mara's conversation, where everything meets."""
    clock = desk.clock
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = 400 WHERE id IN (?, ?)", desk.jonas.agent_id, desk.amara.agent_id)
    available(desk, desk.jonas)
    clock.forward(hours=-26)
    _play_yesterday(desk)
    clock.forward(hours=21)
    first = _play_mara(desk)
    _play_others(desk)
    index_new_messages(desk.hub.store)
    return first


def _play_yesterday(desk: Desk) -> None:
    bulb = desk.mail(
        "Which bulb fits the Halo?", "Hello, which bulb fits the Halo pendant? E14 or E27?"
    ).conversation_id
    desk.route()
    answer(desk, desk.jonas, bulb, "Hi Mara, it takes an E27 bulb.", DeliveryState.READ)
    visit = desk.chat("Is my lamp on its way?", visitor="visitor-3", claims={"name": "Mara L."}).conversation_id
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, bulb or 0)
        resolve(tx, desk.jonas, visit or 0)
    label = desk.text("Return label for order 47990 please", sender="+447700900184").conversation_id
    desk.route()
    answer(desk, desk.jonas, label, "The label is in your mail, any drop-off point takes it.", DeliveryState.DELIVERED)
    with desk.hub.store.write() as tx:
        rename(tx, desk.jonas, tx.get_one(Conversation, label).contact_id, "Sam Okafor")


def _play_mara(desk: Desk) -> int:
    clock, store = desk.clock, desk.hub.store
    started = desk.raw_mail(rich_mail()).conversation_id or 0
    desk.route()
    clock.forward(minutes=8)
    with store.write() as tx:
        said = "Warehouse confirms a short pick (thread in #shipping-help). Reship is approved as RS-1182."
        note(tx, desk.amara, started, said)
    clock.forward(minutes=6)
    answer(desk, desk.jonas, started, JONAS_ANSWERED, DeliveryState.DELIVERED)
    with store.write() as tx:
        mara = tx.get_one(Conversation, started)
        chat = tx.sql("SELECT contact_id FROM conversation WHERE channel = 'chat'").fetchone()[0]
        merge(tx, desk.jonas, mara.contact_id, chat)
        tx.add(Identity(contact_id=mara.contact_id, kind="phone", value=MARA_PHONE, strength=80, created_at=tx.now))
        _know_mara(desk, tx, mara.contact_id)
        reader = Viewer(tx.get_one(Agent, desk.jonas.agent_id), desk.jonas, UTC)
        note_reading(tx, reader, started, mara.last_message_id)
    clock.forward(minutes=70)
    desk.text("Thanks! Can it arrive before Friday? We are moving out that morning.", sender=MARA_PHONE)
    return started


def _know_mara(desk: Desk, tx: Tx, contact_id: int) -> None:
    """What the shop, the team and she herself have told of her."""
    for form in (
        FieldForm("Tier", "", "choice", "gold\nsilver\nbronze"),
        FieldForm("City", "city", "text"),
        FieldForm("Orders", "orders", "number"),
        FieldForm("Contract ends", "", "date"),
    ):
        save_field(tx, desk.ines, None, form)
    known = {"tier": "gold", "city": "Malmö", "orders": 4, "contract_ends": "2027-03-31"}
    change_details(tx, desk.jonas, contact_id, Details(language="sv", attributes=known))
    add_note(tx, desk.amara, contact_id, "Third floor without a lift: parcels go to the shop downstairs.")
    for told in (
        Told("order", "48213", "Two Halo pendants", tx.now - timedelta(days=4), "shipped", "258.00", "EUR"),
        Told("invoice", "2026-1107", "Invoice 2026-1107", tx.now - timedelta(days=4), "paid", "258.00", "EUR",
             "https://shop.example/invoices/2026-1107"),
    ):  # fmt: skip
        note_event(tx, desk.ines, contact_id, told)
    record_consent(tx, desk.jonas, contact_id, purpose="marketing", given=True, source="box at the checkout")


def _play_others(desk: Desk) -> None:
    clock = desk.clock
    clock.forward(minutes=16)
    said = "We ordered brass and got black. Our customer comes today."
    desk.mail("Order 48301: wrong colour", said, sender="Devon Clarke <devon@northlight.example>")
    desk.route()
    clock.forward(minutes=22)
    said = "The tracking page has said 'in transit' since Friday. Where is my parcel?"
    desk.mail("Parcel stuck in Malmö", said, sender="Priya Raman <priya@raman.example>")
    said = "I was charged twice for my subscription, 318.00 EUR each time."
    charged = desk.form(email="claire@fontaine.example", name="Claire Fontaine", topic="Charged twice", message=said)
    desk.route()
    clock.forward(minutes=9)
    said = "注文したランプがまだ届きません。いつ届きますか。order 48250"
    lost = desk.mail("ランプが届きません", said, sender="佐藤 陽翔 <haruto@example.jp>").conversation_id
    desk.route()
    why = "The mailbox haruto@example.jp does not exist (550 5.1.1)."
    answer(desk, desk.jonas, lost, "We are looking into it.", DeliveryState.FAILED, why)
    said = "Could you send a quote for 60 desk lamps?"
    asleep = desk.mail("Quote for 60 desk lamps", said, sender="Inés Duarte <ines.duarte@example.com>").conversation_id
    desk.route()
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, asleep or 0, None)
        _draft(tx, desk.jonas, charged.conversation_id or 0, "Hi Claire, I can see both payments and have")
        quarantine(tx, b"Subject: <script>alert(1)</script>\n\n?", EMPTY_MAIL)
    said = "Please send the invoice for order 47112 to our new address."
    desk.mail("Invoice for order 47112", said, sender="Hotel Aurora <office@aurora.example>")
    clock.forward(minutes=3)
    yusuf = {"name": "Yusuf Adeyemi"}
    desk.chat("Hi! Where do I change my delivery address for my order?", visitor="visitor-7", claims=yusuf)
    desk.route()


def rush_hour(desk: Desk) -> None:
    """More comes in than can be taken, and Ines has begun to do something about it."""
    clock, store = desk.clock, desk.hub.store
    available(desk, desk.amara)
    with store.write() as tx:
        for name, minutes in (("Bilal Haddad", 95), ("Chioma Eze", 41), ("Elif Kaya", 12), ("Fynn Petersen", 6)):
            email = f"{name.split()[0].lower()}@desk.example"
            agent = create_agent(tx, name=name, email=email, skills={"orders": 2}, queues=["Shipping", "General"])
            status = "away" if name.startswith("Elif") else "available"
            since = tx.now - timedelta(minutes=minutes)
            tx.sql("UPDATE agent SET status = ?, status_since = ? WHERE id = ?", status, since, agent.id)
        tx.sql("UPDATE agent SET capacity = 40 WHERE id = ?", desk.amara.agent_id)
        tx.sql("UPDATE agent SET capacity = 200 WHERE id = ?", desk.jonas.agent_id)
        for email in ("bilal", "chioma", "fynn"):
            tx.sql("UPDATE agent SET capacity = 60 WHERE email = ?", f"{email}@desk.example")
        billing, tomas = tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0], desk.tomas.agent_id or 0
        work.set_status(tx, desk.tomas, tomas, "available")
        pause(tx, desk.ines, billing, "The bank's interface is down until noon")
        tx.sql("UPDATE agent SET drained_at = ? WHERE email = 'fynn@desk.example'", tx.now)
    for number, (subject, name) in enumerate(RUSH):
        sender = f"{name} <{name.split()[0].lower()}@customers.example>"
        desk.mail(subject, "Please help, this is about my order.", sender=sender)
        if number % 3 == 2:
            desk.chat(
                "Hello, is anybody there? It is about my parcel.", visitor=f"rush-{number}", claims={"name": name}
            )
        clock.forward(minutes=4)
        desk.route()
    for subject in ("Invoice 2207 is wrong", "Refund for a cancelled lamp"):
        desk.mail(subject, "The invoice and the refund don't match.", sender="Nora Lund <nora@lund.example>")
        clock.forward(minutes=2)
    rows = [row for row in desk.conversations() if row.subject == "Delivery address for the hotel"]
    with store.write() as tx:
        pin(tx, desk.ines, rows[0].id or 0, reason="Opens tomorrow")


def _draft(tx: Tx, actor: Actor, conversation_id: int, text: str) -> None:
    kept = Draft(
        agent_id=actor.agent_id or 0, conversation_id=conversation_id, kind="reply", text=text, saved_at=tx.now
    )
    tx.add(kept)


def quarantine(tx: Tx, body: bytes, why: str, key: str = "spoiled") -> int:
    """A receipt that no message could be made of."""
    row = tx.sql(
        "INSERT INTO receipt(channel_id, dedupe_key, origin, state, why, attempts, content_type, headers, body, "
        "sha256, size, received_at) SELECT id, ?, 'message', 'quarantined', ?, 2, 'message/rfc822', '{}', ?, '', ?, ? "
        "FROM channel WHERE name = 'support-mail' RETURNING id",
        key, why, body, len(body), tx.now,
    ).fetchone()  # fmt: skip
    return int(row[0])
