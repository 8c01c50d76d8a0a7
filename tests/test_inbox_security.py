"""Hostile mail, forged forms, foreign frames: what strangers write stays text, and only our own pages act."""

from __future__ import annotations

import re
import time
from email.message import EmailMessage

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page

from channels.mail.sanitise import MAX_DEPTH, clean
from inbox.mailhtml import pictured
from tests.browser.room import PASSWORD, Browser, application, attr, words
from tests.browser.scene import picture
from tests.desk import Desk

VECTORS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror\n=\nalert(1)//",
    "<img/src='x'/onerror='alert(1)'>",
    "<img src='javascript:alert(1)'>",
    "<img src=`javascript:alert(1)`>",
    '<img src="https://tracker.example/open.gif">',
    '<img srcset="https://tracker.example/open.gif 2x">',
    '<img src="//tracker.example/open.gif">',
    '<img src="cid:x" lowsrc="https://tracker.example/a.gif">',
    '<img src="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+">',
    '<img src="data:text/html,<script>alert(1)</script>">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><image href='https://tracker.example/a.svg'/></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math href='javascript:alert(1)'>x</math>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' &#1;javascript:alert(1)'>x</a>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<a href='JaVaScRiPt&colon;alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='file:///etc/passwd'>x</a>",
    "<a href='/inbox/status' ping='https://tracker.example'>x</a>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='https://evil.example/x.swf'></object>",
    "<embed src='https://evil.example/x.swf'>",
    "<applet code=x></applet>",
    "<form action='https://evil.example'><input name=password><button>Sign in</button></form>",
    "<button formaction='javascript:alert(1)'>x</button>",
    "<input autofocus onfocus=alert(1)>",
    "<select autofocus onfocus=alert(1)></select>",
    "<textarea></textarea><script>alert(1)</script>",
    "<textarea><img src=x onerror=alert(1)></textarea>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv='refresh' content='0;url=https://evil.example'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<style>@import 'https://evil.example/x.css'; body{display:none}</style>",
    "<p style='background:url(https://tracker.example/a.gif)'>x</p>",
    "<p style='background-color:url(https://tracker.example/a.gif)'>x</p>",
    "<p style='font-family:url(https://tracker.example/a.gif)'>x</p>",
    "<p style='width:expression(alert(1))'>x</p>",
    "<p style='color:red;behavior:url(x.htc)'>x</p>",
    "<p style='-moz-binding:url(https://evil.example/x.xml)'>x</p>",
    "<p style='background:\\75rl(https://tracker.example/a.gif)'>x</p>",
    "<p style='list-style-type:image-set(\"https://tracker.example/a.gif\" 1x)'>x</p>",
    "<p style='position:fixed;top:0;left:0;width:100%'>Sign in again</p>",
    "<p style='font-size:0'>hidden words</p>",
    "<table background='https://t.example/a.gif'><tr><td background='https://t.example/b.gif'>x</td></tr></table>",
    "<video src='https://tracker.example/a.mp4' poster='https://t.example/a.gif' onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)></audio>",
    "<source src='https://tracker.example/a.mp4'>",
    "<details open ontoggle=alert(1)>x</details>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<body onload=alert(1)>",
    "<div hx-get='/inbox/all' hx-trigger='load' data-hx-on='load: alert(1)'>x</div>",
    "<div id='composer' class='toast' name='csrf_token'>x</div>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<xmp><img src=x onerror=alert(1)></xmp>",
    "<template><script>alert(1)</script></template>",
    "<!--[if gte IE 4]><script>alert(1)</script><![endif]-->",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml-stylesheet href='javascript:alert(1)'?>",
    "<a href='https://example.com' target='_self' onclick='alert(1)'>x</a>",
    "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
]
NEVER = {
    "script", "style", "iframe", "object", "embed", "applet", "form", "input", "button", "select", "textarea", "svg",
    "math", "base", "meta", "link", "video", "audio", "source", "template", "noscript", "details", "marquee", "xmp",
}  # fmt: skip
ATTRIBUTES_NEVER = ("on", "hx-", "data-", "formaction", "srcset", "ping", "background", "xlink", "id", "class", "name")
STYLES_NEVER = re.compile(r"url|expression|@import|behavior|\\|image-set|position|font-size:\s*0", re.IGNORECASE)
LINKS = re.compile(r"(https?:|mailto:|tel:|#)", re.IGNORECASE)


def body_of(html: str) -> Page:
    return Page("<html><body>" + pictured(clean(html) or "", {"known": "/inbox/picture/abc"}) + "</body></html>")


def dangers(page: Page) -> list[str]:
    """Whatever could run, load, hide or lead somewhere it should not."""
    found = []
    for node in page.body.traverse():  # type: ignore[union-attr]
        if node.tag in NEVER:
            found.append(f"<{node.tag}>")
        for name, value in node.attributes.items():
            value = value or ""
            if name.startswith(ATTRIBUTES_NEVER):
                found.append(f"{node.tag} {name}")
            if name == "href" and not LINKS.match(value):
                found.append(f"href={value}")
            if name == "src" and not value.startswith(("/inbox/picture/", "data:image/png", "data:image/gif")):
                found.append(f"src={value}")
            if name == "style" and STYLES_NEVER.search(value):
                found.append(f"style={value}")
            if name == "target" and value != "_blank":
                found.append(f"target={value}")
    return found


@pytest.mark.parametrize("vector", VECTORS)
def test_hostile_html_comes_out_inert(vector: str) -> None:
    wrapped = (f"<div><p>Hello {vector} there</p></div>", f"<table><tr><td>{vector}", f'<b title="{vector}">x</b>')
    for html in (vector, *wrapped):
        assert dangers(body_of(html)) == []
        stored = clean(html)
        assert stored is not None and 'src="http' not in stored
        assert dangers(body_of(stored)) == []


def test_what_a_mail_needs_survives() -> None:
    html = (
        '<p style="color:#333;font-weight:bold;display:none">Hello <b>Mara</b></p>'
        '<a href="https://example.com/a?b=1&c=2">link</a><img src="cid:known" alt="logo" width="20">'
        '<table width="100%" cellpadding="2"><tr><td colspan="2" align="center">cell</td></tr></table>'
        '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><blockquote>quoted</blockquote><ul><li>one</li></ul>'
    )
    page = body_of(html)
    assert words(page, "b") == ["Mara"]
    assert attr(page, "p", "style") == "color:#333;font-weight:bold"
    link = page.css_first("a")
    assert link is not None
    assert link.attributes["href"] == "https://example.com/a?b=1&c=2"
    assert link.attributes["rel"] == "noopener noreferrer nofollow" and link.attributes["target"] == "_blank"
    sources = [image.attributes["src"] or "" for image in page.css("img")]
    assert [source[:14] for source in sources] == ["/inbox/picture", "data:image/gif"]
    assert attr(page, "td", "colspan") == "2"


def test_pictures_from_elsewhere_are_loaded_only_through_us() -> None:
    html = '<img src="https://tracker.example/open.gif"><img src="http://example.org/logo.png"><img src="cid:lost">'
    stored = clean(html) or ""
    assert 'src="remote:https://tracker' in stored  # an address that no browser knows
    assert "src" not in pictured(stored, {})
    asked = pictured(stored, {}, lambda address: f"/inbox/picture/{len(address)}")
    assert re.findall(r'src="([^"]+)"', asked) == ["/inbox/picture/32", "/inbox/picture/27"]


def test_words_that_look_like_a_picture_stay_words() -> None:
    stored = clean('<p>&lt;img src="cid:known"&gt; src="cid:known"</p><a title=\'<img src="cid:known">\'>x</a>') or ""
    assert "/inbox" not in pictured(stored, {"known": "/inbox/picture/abc"})


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000 + "x",
        "<b>" * (MAX_DEPTH + 1),
        "<table><tr><td>" * 30_000,
        "<p " + " ".join(f"a{n}=1" for n in range(200_000)) + ">x</p>",
        "x" * 2_000_001,
        "<p>hello</p>" * 100_000,
        "<p x='" * 100_000,
        "<" * 1_000_000,
        "<a " * 300_000,
    ],
    ids=["deep", "just too deep", "tables", "attributes", "long", "many", "quotes", "brackets", "unfinished"],
)  # fmt: skip
def test_html_that_would_take_minutes_is_shown_as_text(html: str) -> None:
    started = time.perf_counter()
    clean(html)
    assert time.perf_counter() - started < 3


def hostile(text: str, html: str) -> bytes:
    message = EmailMessage()
    message["From"] = "Mara <mara.lindqvist@example.com>"
    message["To"], message["Subject"] = "support@desk.example", "Order <script>alert(1)</script>"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    message.get_payload()[1].add_related(picture(), "image", "png", cid="<known>")  # type: ignore[union-attr, index]
    return message.as_bytes()


def test_all_processes_behind_one_address_know_the_same_cookies(desk: Desk) -> None:
    def names(port: int, public: str) -> set[str]:
        desk.hub.settings = desk.hub.settings.changed(port=port, public_base_url=public)
        browser = Browser(application(desk))
        browser.sign_in("jonas@desk.example")
        known = [f"{how}switchyard_{what}{number}" for how in ("__Host-", "") for what in ("", "form_")
                 for number in (443, 8001, 8002)]  # fmt: skip
        return {name for name in known if browser.client.get_cookie(name)}

    ours = {"__Host-switchyard_443", "__Host-switchyard_form_443"}
    assert names(8001, "https://desk.example") == names(8002, "https://desk.example") == ours
    assert names(8001, "") == {"switchyard_8001", "switchyard_form_8001"}  # beside another hub on the same machine


def test_a_hostile_mail_is_inert_on_every_page(jonas: Browser, desk: Desk) -> None:
    text = "<script>alert(1)</script> {{ 7*7 }} <hx-partial hx-target='#me'>x</hx-partial> https://example.com/?<b>\"'"
    taken = desk.raw_mail(hostile(text, '<img src="cid:known">' + "".join(VECTORS).replace("\x00", "")))
    desk.route()
    number = taken.conversation_id

    whole = [f"/inbox/c/{number}", "/inbox/all", "/inbox/search?q=from:mara"]
    for path in (*whole, f"/inbox/c/{number}?view=all", "/inbox/live?open=1"):
        response = jonas.get(path, hx=path not in whole)
        assert "alert(1)" in response.text
        page = Page(response.text)
        scripts = [(node.attributes["src"] or "").partition("?")[0] for node in page.css("script")]
        assert scripts == (["/assets/htmx.js", "/assets/inbox.js"] if path in whole else [])
        assert "49" not in words(page, ".msg .text")
        assert "<hx-partial hx-target='#me'>" not in response.text
        assert all(not name.startswith("on") for node in page.css("*") for name in node.attributes)

    frame = jonas.get(f"/inbox/m/{taken.message_id}/html")
    policy = frame.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy and "allow-scripts" not in policy
    assert "frame-ancestors 'self'" in policy and frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    inside = Page(frame.text)
    assert not [node for node in inside.css("script, iframe, form, object, svg, link")]
    (shown,) = [node.attributes["src"] or "" for node in inside.css("img[src^='/inbox']")]
    stranger = Browser(jonas.client.application)
    assert stranger.get(shown).content_type == "image/png"  # the frame has no cookie: the address is the permission
    assert stranger.get(shown[:-2] + "xx").status_code == 404


def test_pictures_from_inside_are_never_fetched(jonas: Browser, desk: Desk) -> None:
    inside = "<img src='http://127.0.0.1:22/x.png'><img src='http://169.254.169.254/latest'>"
    taken = desk.raw_mail(hostile("x", inside))
    frame = Page(jonas.get(f"/inbox/m/{taken.message_id}/html?images=1").text)
    for image in frame.css("img[src^='/inbox']"):
        response = jonas.get(image.attributes["src"] or "")
        assert response.status_code == 404 and "be reached" in response.text


def test_every_page_carries_its_armour(jonas: Browser, app: Flask) -> None:
    for browser, path in ((jonas, "/inbox/mine"), (Browser(app), "/sign-in"), (jonas, "/inbox/c/99")):
        headers = browser.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        for closed in ("default-src", "frame-ancestors", "base-uri"):
            assert policy[closed] == "'none'"
        for ours in ("script-src", "style-src", "form-action", "connect-src"):
            assert policy[ours] == "'self'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_no_page_has_inline_script_or_style(jonas: Browser, desk: Desk) -> None:
    desk.mail("Order", "Hello")
    for path in ("/inbox/all", "/inbox/c/1", "/inbox/unreadable", "/sign-in"):
        page = Page(jonas.get(path).text)
        assert [node for node in page.css("script") if not node.attributes.get("src")] == []
        assert page.css("style") == [] and page.css("[style]") == []


def test_the_cookie_is_out_of_reach(app: Flask) -> None:
    answer = Browser(app).sign_in("jonas@desk.example", PASSWORD)
    (cookie,) = [line for line in answer.headers.getlist("Set-Cookie") if line.startswith("__Host-switchyard_443=")]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie, "else browsers refuse its name"


@pytest.mark.parametrize("hx", [False, True])
@pytest.mark.parametrize(
    "path",
    [
        "/sign-out",
        "/inbox/status",
        "/inbox/c/1/resolve",
        "/inbox/c/1/send",
        "/inbox/m/1/retry",
        "/inbox/offers/1/accept",
        "/inbox/receipts/1/retry",
        "/inbox/preferences",
    ],
)
def test_a_form_of_another_site_does_nothing(jonas: Browser, desk: Desk, path: str, hx: bool) -> None:
    desk.text("Hi there")
    for token in ("", "forged", Browser(jonas.client.application).token):
        jonas.token = token
        answer = jonas.post(path, hx=hx, status="away")
        assert answer.status_code == 403 and "Reload it" in answer.text
    assert desk.agent(desk.jonas).status == "available"
    assert desk.only_conversation().state == "open"


def test_signing_in_needs_a_form_of_ours_too(app: Flask, desk: Desk) -> None:
    answer = Browser(app).post("/sign-in", email="jonas@desk.example", password=PASSWORD)
    assert answer.status_code == 403 and "switchyard_443" not in str(answer.headers)


def test_a_get_changes_nothing(jonas: Browser, desk: Desk) -> None:
    number = desk.text("Hi there").conversation_id
    for verb in ("resolve", "claim", "snooze", "send", "merge"):
        assert jonas.get(f"/inbox/c/{number}/{verb}").status_code in (404, 405)
