"""Sample conversations of a small lamp shop: who wrote what, when, on which channel, and what the agents did."""

from __future__ import annotations

from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 1, 60, 24 * 60  # all times are minutes before the demo starts

JONAS, AMARA, TOMAS, INES = "jonas@example.com", "amara@example.com", "tomas@example.com", "ines@example.com"


@dataclass(frozen=True, slots=True)
class Person:
    """A customer. What is known of them beyond their messages is shown beside the conversation."""

    name: str
    email: str = ""
    phone: str = ""
    slack: str = ""
    language: str = ""
    company: str = ""
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. `what` is mail, text, chat, form, slack (the customer), or a verb of the agents."""

    ago: float
    what: str
    by: str = ""
    text: str = ""
    subject: str = ""
    html: str = ""
    files: tuple[str, ...] = ()
    state: str = "delivered"  # how an answer fared: delivered, read, sent or failed
    why: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """One conversation with one person."""

    person: Person
    steps: tuple[Step, ...]


def said(ago: float, by: str, text: str, state: str = "delivered", why: str = "") -> Step:
    return Step(ago, "said", by, text, state=state, why=why)


def did(ago: float, what: str, by: str, text: str = "") -> Step:
    return Step(ago, what, by, text)


MARA = Person(
    "Mara Lindqvist",
    "mara.lindqvist@example.com",
    "+46701740605",
    language="en",
    facts={"plan": "gold", "city": "Malmö"},
)
DEVON = Person("Devon Clarke", "devon.clarke@example.org", language="en", company="Clarke Interiors")
ERIK = Person("Erik Sandberg", phone="+46701740611", language="sv")
YUKI = Person("田中 由紀", "yuki.tanaka@example.jp", language="ja")
INES_D = Person("Inés Duarte", "ines.duarte@example.es", language="es", company="Hotel Miramar")
CLAIRE = Person("Claire Fontaine", "claire.fontaine@example.fr", language="fr")
SAM = Person("Sam Okafor", slack="U0SAM", language="en", company="Kestrel Retail", facts={"plan": "partner"})
AURORA = Person("Hotel Aurora", "lobby@aurora.example.is", "+3545551234", language="en", company="Hotel Aurora")

STORIES = (
    Story(
        MARA,
        (
            Step(21 * DAY, "text", text="Hi, which bulb fits the Polaris pendant?"),
            said(21 * DAY - 9, JONAS, "Hi Mara, any E27 bulb up to 60 W; we like the warm 2700 K one.", "read"),
            did(21 * DAY - 10, "name", JONAS),
            Step(21 * DAY - 12, "text", text="Perfect, found it. Thanks!"),
            did(21 * DAY - 14, "resolve", JONAS),
        ),
    ),
    Story(
        MARA,
        (
            Step(
                25 * HOUR,
                "mail",
                subject="Order 48213 – one lamp missing",
                text="Good morning,\n\nmy order 48213 should be two Polaris pendants, but the parcel had only one "
                "in it and the tape on the side was cut.\n\nPhoto and packing slip attached. Could you send the "
                "missing one?\n\nMara Lindqvist",
                files=("parcel-side.png", "packing-slip.pdf"),
            ),
            did(24.8 * HOUR, "merge", INES),
            did(24.5 * HOUR, "note", AMARA, "Warehouse confirms a short pick. Reship is approved as RS-1182."),
            said(
                24.4 * HOUR,
                JONAS,
                "Hello Mara,\n\nI am sorry about that. The second lamp was left out when we packed your order. A "
                "replacement leaves the warehouse today, free of charge.\n\nJonas",
                "delivered",
            ),
        ),
    ),
    Story(
        DEVON,
        (
            Step(
                2.2 * HOUR,
                "mail",
                subject="Invoice shows the wrong VAT number",
                text="Hello,\n\ninvoice 2026-1107 still shows our old VAT number. Our accountant can't book it like "
                "this. The right one is GB 123 4567 89.\n\nDevon Clarke\nClarke Interiors",
            ),
            Step(
                35,
                "mail",
                subject="Re: Invoice shows the wrong VAT number",
                text="Any news on this? Our accountant closes the month today.",
            ),
        ),
    ),
    Story(ERIK, (Step(18, "text", text="Hej! Var är mitt paket? Det skulle ha kommit igår. Order 48190."),)),
    Story(
        YUKI,
        (
            Step(
                55,
                "mail",
                subject="注文番号48310の配送先変更のお願い",
                text="お世話になっております。田中と申します。\n\n注文番号48310の配送先を、下記の住所に変更していただけますでしょうか。\n\n"
                "〒150-0001 東京都渋谷区神宮前1-2-3\n\nよろしくお願いいたします。\n田中 由紀",
            ),
        ),
    ),
    Story(
        INES_D,
        (
            Step(
                2 * DAY,
                "mail",
                subject="Presupuesto para 60 lámparas de mesa",
                text="Buenos días:\n\nNos gustaría recibir un presupuesto para 60 lámparas de mesa Fjord para las "
                "habitaciones de nuestro hotel. ¿Hacen descuento por cantidad?\n\nUn saludo,\nInés Duarte",
            ),
            did(46.9 * HOUR, "note", INES, "Asked the warehouse for a price from 50 pieces; they answer on Tuesday."),
            said(46.8 * HOUR, INES, "Buenos días, Inés:\n\nCon gusto. Le envío el presupuesto el martes.", "read"),
            did(46.5 * HOUR, "snooze", INES, "2"),
        ),
    ),
    Story(
        CLAIRE,
        (
            Step(
                3 * DAY,
                "mail",
                subject="Débitée deux fois",
                text="Bonjour,\n\nj'ai été débitée deux fois pour la facture 2026-1088. Pouvez-vous rembourser le "
                "deuxième paiement ?\n\nMerci d'avance,\nClaire Fontaine",
            ),
            said(70 * HOUR, TOMAS, "Bonjour Claire,\n\nle remboursement est parti aujourd'hui ; comptez trois jours."),
            Step(69 * HOUR, "mail", subject="Re: Débitée deux fois", text="Merci beaucoup pour votre rapidité !"),
            did(68 * HOUR, "resolve", TOMAS),
        ),
    ),
    Story(
        SAM,
        (
            Step(3.1 * HOUR, "slack", text="Our bulk label export is stuck at 80 % since this morning."),
            said(3 * HOUR, AMARA, "Thanks Sam, we see it. Is it the file with 1,200 rows?"),
            Step(2.6 * HOUR, "slack", text="Yes, that one. The small ones work."),
        ),
    ),
    Story(
        AURORA,
        (
            Step(
                75,
                "form",
                subject="30 Fjord table lamps",
                text="Do you deliver 30 Fjord table lamps to Reykjavík before Christmas? We need them in black.",
            ),
        ),
    ),
    Story(
        Person("Priya Raman", "priya.raman@example.in", language="en"),
        (
            Step(
                28 * HOUR,
                "mail",
                subject="Aurora floor lamp hums at low light",
                text="Hi, my Aurora floor lamp hums when I dim it below 20 %. Is that the dimmer or the lamp?\n\nPriya",
            ),
            said(
                27 * HOUR,
                JONAS,
                "Hi Priya,\n\nthat is usually the dimmer. Which model do you have? A photo of its label is enough.",
                "read",
            ),
        ),
    ),
    Story(
        Person("Yusuf Adeyemi", language="en"),
        (
            Step(30 * HOUR, "chat", text="Where do I change my delivery address?"),
            said(30 * HOUR - 2, AMARA, "In your account under Orders, as long as it is not packed. Shall I do it?"),
            Step(30 * HOUR - 5, "chat", text="Found it. One more thing: do you ship to Norway?"),
            said(30 * HOUR - 6, AMARA, "We do; two to four days, duties included."),
            Step(30 * HOUR - 8, "chat", text="Great, thank you!"),
            did(30 * HOUR - 9, "resolve", AMARA),
        ),
    ),
    Story(
        Person("Hugo Brandt", phone="+15005550009", language="en"),
        (
            Step(5 * HOUR, "text", text="Hugo here. Can you text me when my parcel is on its way?"),
            said(
                4.6 * HOUR,
                JONAS,
                "Hi Hugo, it leaves today; I will text you the tracking link.",
                "failed",
                "This number can't get texts: it is a landline or does not exist. Ask for another one.",
            ),
            did(4.5 * HOUR, "name", JONAS),
        ),
    ),
    Story(
        Person("Giulia Rossi", "giulia.rossi@example.it", language="it"),
        (
            Step(
                26 * HOUR,
                "mail",
                subject="Reso dell'ordine 47990",
                text="Buongiorno,\n\nvorrei restituire la lampada dell'ordine 47990: il colore non è quello della "
                "foto. Come funziona il reso?\n\nGrazie, Giulia Rossi",
                html="<p>Buongiorno,</p><p>vorrei restituire la lampada dell'ordine <b>47990</b>: il colore non è "
                "quello della foto. Come funziona il reso?</p><p>Grazie,<br>Giulia Rossi</p>"
                '<p><img src="https://tracker.example.it/o.gif" width="1" height="1" alt=""></p>',
            ),
            said(
                23 * HOUR,
                AMARA,
                "Hello Giulia,\n\nthe return label follows today. Any drop-off point will do.",
            ),
        ),
    ),
    Story(
        Person("فاطمة السيد", "fatima.alsayed@example.ae", language="ar"),
        (
            Step(
                66,
                "mail",
                subject="أين طلبي رقم 48277؟",
                text="مرحبًا،\n\nطلبت مصباحًا قبل أسبوعين ولم يصل بعد. هل يمكنكم إخباري بموعد التسليم؟\n\n"
                "شكرًا لكم،\nفاطمة",
            ),
        ),
    ),
    Story(
        Person("Noah Klein", phone="+4915112345678", language="de"),
        (
            Step(9 * HOUR, "text", text="Guten Tag, meine Polaris flackert seit gestern. Ist das ein Garantiefall?"),
            said(8.5 * HOUR, JONAS, "Guten Tag Herr Klein, ja. Bitte testen Sie erst ein anderes Leuchtmittel."),
            did(8.4 * HOUR, "name", JONAS),
            Step(8.2 * HOUR, "text", text="Mache ich heute Abend und melde mich."),
            did(8 * HOUR, "snooze", JONAS, "1"),
        ),
    ),
    Story(
        Person("Lena Brandt", "lena.brandt@example.de", language="de"),
        (
            Step(
                4 * DAY,
                "mail",
                subject="Lieferung nach Österreich",
                text="Guten Tag,\n\nliefern Sie auch nach Österreich, und was kostet die Lieferung?\n\nLena Brandt",
            ),
            said(
                4 * DAY - 50,
                JONAS,
                "Guten Tag Frau Brandt,\n\nja, für 9 Euro; ab 100 Euro frei.",
                "read",
            ),
            did(4 * DAY - 52, "resolve", JONAS),
        ),
    ),
    Story(
        Person("Tom Becker", phone="+46701740699", language="sv"),
        (
            Step(6 * DAY, "text", text="When is the spring sale?"),
            said(6 * DAY - 20, AMARA, "It starts on 1 March, Tom."),
            did(6 * DAY - 21, "name", AMARA),
            Step(6 * DAY - 30, "text", text="STOP"),
            did(6 * DAY - 40, "resolve", AMARA),
        ),
    ),
    Story(
        Person("Paweł Nowak", "pawel.nowak@example.pl", language="pl"),
        (
            Step(
                95,
                "mail",
                subject="Reklamacja – pęknięty klosz",
                text="Dzień dobry,\n\nklosz lampy Fjord dotarł pęknięty. W załączniku przesyłam zdjęcie. "
                "Proszę o wymianę.\n\nPozdrawiam,\nPaweł Nowak",
                files=("klosz.png",),
            ),
        ),
    ),
    Story(
        Person("陈玲", "ling.chen@example.cn", language="zh"),
        (
            Step(
                7 * HOUR,
                "mail",
                subject="发票抬头更正 (invoice 2026-1093)",
                text="您好，\n\n发票 2026-1093 的抬头有误，请更正为“上海晨光照明有限公司”。\n\n谢谢！\n陈玲",
            ),
            said(6 * HOUR, TOMAS, "Hello Ling,\n\nthe corrected invoice follows within the hour.\n\nTomás"),
        ),
    ),
    Story(
        Person("Maria Costa", "maria.costa@example.pt", language="pt"),
        (
            Step(
                5 * DAY,
                "mail",
                subject="Encomenda 47801 chegou",
                text="Olá, a encomenda chegou hoje. Tudo perfeito, muito obrigada!\n\nMaria",
            ),
            did(5 * DAY - 30, "resolve", AMARA),
        ),
    ),
    Story(
        Person("Ana Ortega", "ana.ortega@example.es", language="es"),
        (
            Step(
                80,
                "mail",
                subject="Falta la factura del pedido 48155",
                text="Hola:\n\nNo encuentro la factura del pedido 48155. ¿Me la pueden enviar?\n\nGracias, Ana Ortega",
            ),
        ),
    ),
    Story(
        Person("김하나", "hana.kim@example.kr", language="ko"),
        (Step(104, "form", subject="배송 문의", text="주문한 조명은 언제 배송되나요? 주문번호 48201입니다."),),
    ),
    Story(
        Person("Σοφία Παπαδάκη", "sofia@example.gr", language="el"),
        (
            Step(
                8 * DAY,
                "mail",
                subject="Εγγύηση λαμπτήρα",
                text="Καλησπέρα,\n\nο λαμπτήρας κάηκε μετά από δύο μήνες. Καλύπτεται από την εγγύηση;\n\nΣοφία",
            ),
            said(8 * DAY - 200, AMARA, "Hello Sofia,\n\nit is covered: a new bulb leaves today.", "read"),
            did(8 * DAY - 210, "resolve", AMARA),
        ),
    ),
    Story(
        Person("Ruth Meyer", "ruth.meyer@example.ch", language="de"),
        (
            Step(
                32 * HOUR,
                "mail",
                subject="Delivery slot for order 48144",
                text="Hello, can the courier come after 17:00? I am at work before.\n\nRuth Meyer",
            ),
            said(31.5 * HOUR, JONAS, "Hello Ruth,\n\ndone: the courier comes between 17:00 and 19:00."),
            did(31 * HOUR, "resolve", JONAS),
        ),
    ),
)

# Arrived, but says nothing that can be read: kept as they came, with a Retry button.
UNREADABLE = (
    (4 * HOUR, "support-mail", b"\r\n", "message/rfc822"),
    (26 * HOUR, "contact", b'{"email": "pat@example.com", "message": "Do you have', "application/json"),
)
