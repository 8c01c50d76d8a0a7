"""Jonas and Amara at work together: on SQLite in one process, on PostgreSQL each at a web process of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from playwright.sync_api import APIResponse, Browser, Route, expect

from tests.browser.day import SEEN
from tests.browser.house import YESTERDAY, House, house, open_, row, said, say
from tests.browser.test_hostile_words import STIR
from tests.story import MAILBOX, MARA_PHONE, OURS, letter
from tests.support import postgres
from tests.support.hostile import collection

CONVERSATION = re.compile(r"/inbox/c/\d+\?")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[House]:
    folder = tmp_path_factory.mktemp(request.param)
    url = f"sqlite:///{folder}/hub.db"
    if request.param == "postgresql":
        url = postgres.database(request.getfixturevalue("postgres_server"))
    with house(url, folder, browser) as opened:
        yield opened


@pytest.fixture(autouse=True)
def good_lines(home: House) -> None:
    home.set_up_lines()


def test_a_text_answers_yesterdays_mail(home: House) -> None:
    with home.both() as (jonas, amara):
        open_(amara, YESTERDAY)
        expect(said(amara, "The second lamp leaves today.")).to_be_visible()
        assert home.at.twilio.text_in(MARA_PHONE, OURS, "Can it come before Friday?", copies=3) == 200
        expect(said(amara, "Can it come before Friday?")).to_have_count(1)
        expect(amara.locator("#thread-state")).to_contain_text("One thread, 2 channels")
        expect(row(jonas, "Can it come before Friday?")).to_contain_text(YESTERDAY)

        open_(jonas, YESTERDAY)
        expect(jonas.locator("#choice option:checked")).to_have_text("SMS to +46 70 174 06 05")
        say(jonas, "Yes, on Thursday.")
        expect(said(amara, "Yes, on Thursday.").locator(".seen")).to_have_class("seen delivered")
        assert [text.body for text in home.at.twilio.sent if text.to == MARA_PHONE] == ["Yes, on Thursday."]


def test_two_agents_collide(home: House) -> None:
    home.write("Devon Clarke", "Wrong colour", "We ordered brass and got black.")
    held: list[Route] = []
    with home.both() as (jonas, amara):
        on_its_way: list[tuple[Route, APIResponse]] = []
        jonas.route(CONVERSATION, lambda route: on_its_way.append((route, route.fetch())), times=1)
        with jonas.expect_request(CONVERSATION):
            row(jonas, "Wrong colour").click()
        open_(amara, "Wrong colour")
        amara.locator("#reply").press_sequentially("We are")
        expect(row(jonas, "Wrong colour")).to_contain_text("Amara is replying…")
        ((route, response),) = on_its_way  # the page was made before she came
        route.fulfill(response=response)
        expect(jonas.locator("#watching")).to_contain_text("Amara is replying…")
        expect(amara.locator("#watching")).to_contain_text("Jonas is looking")

        for page in (jonas, amara):
            page.route("**/claim", lambda route: held.append(route))
            with page.expect_request("**/claim"):
                page.locator("#thread-state button", has_text="Take it").click()
        for route in held:
            route.continue_()
        for page in (jonas, amara):
            expect(page.locator("#thread-state")).to_contain_text(re.compile("(You have|Jonas .* has|Amara .* has) it"))
        owns = ["You have it" in page.locator("#thread-state").inner_text() for page in (jonas, amara)]
        assert sorted(owns) == [False, True]
        expect((amara if owns[0] else jonas).locator(".toast.alarm")).to_contain_text("has it already")

        say(jonas, "Brass is on its way.")
        expect(said(amara, "Brass is on its way.")).to_be_visible()
        amara.locator("#reply").press("Control+Enter")
        expect(amara.locator(".guard").first).to_contain_text("Jonas Weber")
        expect(amara.locator("#reply")).to_have_value("We are")
        expect(said(amara, "Brass is on its way.").locator(".seen")).to_have_class("seen sent")
        assert [b"Brass is on its way." in each for each in home.mails_to("devon")] == [True]


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.prove)])
def test_the_connection_drops_and_nothing_is_missed(home: House, seconds: int) -> None:
    nadia, line = "+46701740611", home.lines.all["first"]
    assert home.at.twilio.text_in(nadia, OURS, "Where is my parcel?") == 200
    with home.both() as (jonas, amara):
        for page in (jonas, amara):
            open_(page, "Where is my parcel?")
        with home.lines.cut("first"):
            home.write("Vera Novotna", "Missing screws", "There are none in the box.", door=1)
            home.at.mail.deliver(MAILBOX, letter("Broken shade 91", "It came in two pieces."))
            assert home.at.twilio.text_in(nadia, OURS, "It is a present!") == 200
            amara.locator("#thread-state button", has_text="Take it").click()
            expect(amara.locator("#thread-state")).to_contain_text("You have it")
            amara.keyboard.press("n")
            amara.keyboard.type("It lies in Malmö.")
            amara.keyboard.press("Control+Enter")
            expect(said(amara, "It lies in Malmö.")).to_be_visible()
            for words in ("Missing screws", "Broken shade 91"):
                expect(row(amara, words)).to_be_visible()
            jonas.fill("#reply", "I am looking for it")
            jonas.locator("#reply").press("Control+Enter")
            expect(jonas.locator(".toast.alarm")).to_contain_text("No connection: nothing was sent.")
            expect(jonas.locator("#offline")).to_be_visible()
            jonas.wait_for_timeout(seconds * 1000)
            expect(row(jonas, "Missing screws")).to_have_count(0)
            line.target = int(home.doors[1].rpartition(":")[2])  # the balancer finds the other web process
        for words in ("It is a present!", "It lies in Malmö."):
            expect(said(jonas, words)).to_have_count(1)
        for words in ("Missing screws", "Broken shade 91"):
            expect(row(jonas, words)).to_have_count(1)
        expect(jonas.locator("#thread-state")).to_contain_text("Amara Obi has it")
        expect(jonas.locator("#offline")).to_be_hidden()

        expect(jonas.locator("#reply")).to_have_value("I am looking for it")
        jonas.wait_for_function(SEEN)
        jonas.locator("#reply").press("Control+Enter")
        expect(said(amara, "I am looking for it").locator(".seen")).to_have_class("seen delivered")
        assert [text.body for text in home.at.twilio.sent if text.to == nadia] == ["I am looking for it"]


def test_a_line_that_has_gone_silent_is_noticed(home: House) -> None:
    with home.visit("jonas") as jonas:
        jonas.clock.install()
        with jonas.expect_response("**/inbox/stream*"):
            jonas.goto("/inbox/all")
        home.lines.silence("first")
        home.write("Nils Holgersson", "A wild goose", "It flew off with my lamp.")
        jonas.clock.fast_forward("00:30")
        expect(row(jonas, "A wild goose")).to_have_count(0)
        with jonas.expect_response("**/inbox/stream*"):
            jonas.clock.fast_forward("00:20")
        expect(row(jonas, "A wild goose")).to_have_count(1)
        expect(jonas.locator("#offline")).to_be_hidden()


def test_what_could_not_be_fetched_is_asked_for_again(home: House) -> None:
    refused: list[Route] = []

    def answer(route: Route) -> None:
        refused.append(route)
        route.abort() if len(refused) == 1 else route.fulfill(status=503)

    with home.both() as (jonas, _):
        jonas.route("**/inbox/live*", answer, times=2)
        home.write("Lea Brandt", "Wrong bulb", "It is too dark.")  # the stream says so, and then the line is bad
        expect(row(jonas, "Wrong bulb")).to_be_visible()
        assert len(refused) == 2


def test_undo_at_the_last_second(home: House) -> None:
    home.write("Ida Holm", "One lamp too many", "I have two now.")
    line = home.lines.all["first"]
    with home.both() as (jonas, amara):
        for page in (jonas, amara):
            open_(page, "One lamp too many")
        line.lag = 0.3
        say(jonas, "Keep it, it is a presnt.")
        expect(said(amara, "a presnt").locator(".seen")).to_contain_text("Sends in a moment")
        expect(jonas.locator(".toast [data-left]")).to_have_text("1", timeout=30_000)
        jonas.locator(".toast [data-undo]").click()
        expect(jonas.locator("#reply")).to_have_value("Keep it, it is a presnt.")
        expect(said(amara, "a presnt")).to_have_count(0)
        line.lag = 0.0

        say(jonas, "Keep it, it is a present.")
        expect(said(amara, "a present").locator(".seen")).to_have_class("seen sent")
        expect(said(jonas, "a present").locator(".seen")).to_have_class("seen sent")
        expect(jonas.locator(".toast [data-undo]")).to_have_count(0)
        assert [b"a present." in each for each in home.mails_to("ida")] == [True]


@pytest.mark.parametrize("megabytes", [1.8, 3.0])  # below and above what is cleaned as HTML
def test_a_hostile_mail_of_three_megabytes(home: House, megabytes: float) -> None:
    subject = f"You have won {megabytes} million"
    home.at.mail.deliver(MAILBOX, _advertisement(subject, int(megabytes * 1_000_000)))
    with home.both() as (jonas, amara):
        asked: list[str] = []
        for page in (jonas, amara):
            page.on("request", lambda request: asked.append(request.url))
            open_(page, subject)
            expect(said(page, "I am the first line.")).to_be_visible()
        jonas.click("details.original summary")
        inside = jonas.frame_locator("details.original iframe")
        expect(inside.locator("body")).to_contain_text("I am the first line.")
        expect(inside.locator("body")).to_contain_text("I am the last line." if megabytes < 2 else "best of all lamps")
        inside.locator("body").evaluate(STIR, False)

        home.write("Sam Okafor", f"While he reads {megabytes}", "Is anybody there?")
        expect(row(jonas, f"While he reads {megabytes}")).to_be_visible()
        say(amara, "No, thank you.")
        expect(said(jonas, "No, thank you.")).to_be_visible()
        amara.locator(".toast [data-undo]").click()
        expect(said(jonas, "No, thank you.")).to_have_count(0)
        ours = ("http://127.0.0.1:", "data:")
        assert [url for url in asked if not url.startswith(ours)] == []


def _advertisement(subject: str, size: int) -> bytes:
    samples = "\n".join(each.text for each in collection() if not each.swallows)
    line = "<p style='color:red;background:url(https://tracker.example/a.gif)'>Buy the best of all lamps!{}</p>\n"
    lines = line.format(" A lamp." * 300) * (size // 2500)
    html = f"<p>I am the first line.</p>{samples}{lines}{samples}<p>I am the last line.</p>"
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Win <win@customer.example>", "support@desk.example", subject
    message["Message-ID"] = f"<{size}@customer.example>"
    message.set_content(html, subtype="html")
    return message.as_bytes()


def test_many_are_resolved_and_taken_back_under_the_eyes_of_the_other(home: House) -> None:
    for name in ("Luca Conti", "Greta Olsen", "Paul Martin"):
        home.write(name, f"Return by {name}", "How do I send it back?")
    with home.both() as (jonas, amara):
        mine = amara.locator("#rows .row", has_text="Return by")
        expect(mine).to_have_count(3)
        for box in jonas.locator("#rows li", has_text="Return by").locator(".pick").all():
            box.check()
        jonas.keyboard.press("e")
        expect(jonas.locator(".toast").last).to_contain_text("3 conversations resolved")
        expect(mine).to_have_count(0)
        jonas.keyboard.press("z")
        expect(jonas.locator(".toast").last).to_contain_text("3 conversations as before")
        expect(mine).to_have_count(3)


def test_half_a_sentence_goes_on_at_the_other_device(home: House) -> None:
    home.write("Hanna Virtanen", "Another colour", "Can I still change it?")
    with home.visit("amara", "second") as laptop, home.visit("amara", "first") as phone:
        for page in (laptop, phone):
            open_(page, "Another colour")
        laptop.fill("#reply", "Yes, until")
        expect(laptop.locator("#composer [data-saved]").last).to_have_text("Draft saved")
        expect(row(phone, "Another colour")).not_to_contain_text("Draft:")
        phone.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(phone.locator("#reply")).to_have_value("Yes, until")
        say(phone, "Yes, until tomorrow.")
        expect(said(laptop, "Yes, until tomorrow.")).to_be_visible()


def test_a_conversation_is_split_and_made_whole_again(home: House) -> None:
    samir = "+46701740622"
    for words in ("Where is my ladder?", "And which one is cheaper?"):
        assert home.at.twilio.text_in(samir, OURS, words) == 200
    with home.both() as (jonas, amara):
        for page in (jonas, amara):
            open_(page, "And which one is cheaper?")
            expect(page.locator("#timeline .msg")).to_have_count(2)
        said(jonas, "And which one is cheaper?").hover()
        said(jonas, "And which one is cheaper?").get_by_label("Split here").click()
        expect(jonas.locator(".toast").last).to_contain_text("A conversation of its own now.")
        expect(jonas.locator("#timeline .msg .text")).to_have_text(["And which one is cheaper?"])
        expect(amara.locator("#timeline .msg .text")).to_have_text(["Where is my ladder?"])
        expect(amara.locator("#timeline")).to_contain_text("made what came after this a conversation of its own")
        expect(row(amara, "And which one is cheaper?")).to_have_count(1)
        expect(row(amara, "Where is my ladder?")).to_have_count(1)
        assert home.at.twilio.text_in(samir, OURS, "I have 40 euros.") == 200
        expect(jonas.locator("#timeline .msg")).to_have_count(2)
        expect(amara.locator("#timeline .msg")).to_have_count(1)

        jonas.locator(".toast [data-undo]").last.click()
        for page in (jonas, amara):
            expect(page.locator("#timeline .msg .text")).to_have_text(
                ["Where is my ladder?", "And which one is cheaper?", "I have 40 euros."]
            )
            expect(row(page, "I have 40 euros.")).to_have_count(1)
            expect(row(page, "which one is cheaper")).to_have_count(0)


def test_two_conversations_are_merged_and_parted_again(home: House) -> None:
    for topic, words in (("A dent", "The shade has a dent."), ("The same dent", "Did you get my message?")):
        home.write("Elif Kaya", topic, words)
    with home.visit("jonas") as jonas, home.visit("amara", "second") as amara:
        open_(amara, "The same dent")
        amara.locator("#thread-state button", has_text="Take it").click()
        expect(amara.locator("#thread-state")).to_contain_text("You have it")
        amara.fill("#reply", "Dear Elif")
        expect(amara.locator("#composer [data-saved]").last).to_have_text("Draft saved")
        open_(jonas, "The shade has a dent.")
        jonas.get_by_label("Merge The same dent into this conversation").click()
        expect(jonas.locator(".toast").last).to_contain_text("One conversation now.")
        expect(jonas.locator("#timeline .msg")).to_have_count(2)
        expect(row(amara, "The same dent")).to_have_count(0)
        expect(amara.locator("#thread-state")).to_contain_text("All of it is in another conversation now.")

        jonas.locator(".toast [data-undo]").last.click()
        expect(jonas.locator("#timeline .msg")).to_have_count(1)
        expect(row(amara, "The same dent")).to_have_count(1)
        expect(amara.locator("#thread-state")).to_contain_text("You have it")
        expect(amara.locator("#timeline .msg")).to_have_count(1)

        jonas.get_by_label("Merge The same dent into this conversation").click()
        expect(amara.locator("#thread-state")).to_contain_text("All of it is in another conversation now.")
        amara.locator("#thread-state a").click()
        expect(amara.locator("#timeline .msg")).to_have_count(2)
        expect(amara.locator("#reply")).to_have_value("Dear Elif")


def test_a_contact_is_erased_before_the_eyes_of_the_other(home: House) -> None:
    home.write("Yusuf Adeyemi", "My secret address", "I live at 7 Quiet Lane.")
    with home.visit("ines") as ines, home.visit("amara", "second") as amara:
        for page in (ines, amara):
            open_(page, "My secret address")
        amara.fill("#q", "Quiet Lane")
        expect(amara.locator("#rows mark").first).to_be_visible()
        ines.locator("#context a", has_text="Erase…").click()
        ines.fill("#sure", "erase")
        ines.get_by_role("button", name="Erase for good").click()
        expect(ines.locator(".toast").last).to_contain_text("Erased, with 1 message.")
        for page in (ines, amara):
            expect(page.locator("#timeline")).to_contain_text("What was written here was erased.")
            expect(page.locator("#context .person b")).to_have_text("Erased person")
            expect(page.locator("#thread")).not_to_contain_text("Quiet Lane")
            expect(page.locator("#thread-head")).not_to_contain_text("My secret address")
            expect(page.locator("#composer")).to_contain_text("There is no channel on which this person")
        expect(amara.locator("#rows .row")).to_have_count(0)
        amara.fill("#q", "is:resolved")
        expect(row(amara, "Erased person")).to_have_count(1)
        for words in ("Yusuf", "My secret address", "Quiet Lane", "yusuf@customer.example"):
            expect(amara.locator("body")).not_to_contain_text(words)
