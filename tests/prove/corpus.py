"""Other people's mails through the real pipeline, and what comes out beside what their collections expect.

`python -m tests.prove.corpus [--every N] [--misses]` prints the table; `make prove` runs the whole. Every score is a
`Score`; one that belongs to another part of the product is added to SCORES.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

from channels.base import Inbound, Raw, Unreadable
from channels.mail.charset import codec_name
from channels.mail.forwarded import original_sender
from channels.mail.parse import parse
from channels.mail.quotes import cut
from config import Settings
from hub import Hub
from hub.desk import apply, read
from hub.intake import take_in
from storage.access import SYSTEM
from storage.migrations import upgrade
from tests.corpus import mail_corpus
from tests.prove.charsets import cases

MAILS = {
    "sisimai-set-of-emails": (".eml",),
    "mailman-flufl.bounce": (".txt",),
    "james-mime4j": (".msg",),
    "zbateson-mail-mime-parser": (".txt",),
    "enmime": (".raw",),
    "ruby-mail": (".eml",),
    "webklex-php-imap": (".eml",),
    "cpython-test_email": (".txt",),
}
DESK = """
queues: [{name: General, default: true}]
channels:
  - {name: mail, kind: email, address: support@desk.example,
     settings: {imap_host: 127.0.0.1, smtp_host: 127.0.0.1, username: x, password: "file:%s"}}
"""


@dataclass(frozen=True)
class Score:
    """How many of a collection's expectations hold, and which do not."""

    name: str
    right: int
    total: int
    misses: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.right / self.total if self.total else 1.0


def scored(name: str, judged: Iterator[tuple[str, bool]]) -> Score:
    """Count what was judged."""
    verdicts = list(judged)
    misses = [what for what, right in verdicts if not right]
    return Score(name, len(verdicts) - len(misses), len(verdicts), misses)


def mails(every: int = 1) -> list[Path]:
    """The files that are whole mails, of all collections."""
    return [
        path for collection, endings in MAILS.items() for path in mail_corpus(collection) if path.suffix in endings
    ][::every]


# -- through the pipeline


@dataclass
class Passage:
    """What became of mails that went through the hub: states, and the slowest and dearest of them."""

    states: Counter[str] = field(default_factory=Counter)
    invisible: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    seconds: float = 0.0
    memory: int = 0  # bytes, the largest of the hub's processes


def through_the_hub(paths: list[Path]) -> Passage:
    """Every mail as a mailbox hands it over: readers, receipt, contact, thread, rules, on SQLite."""
    passage = Passage()
    with tempfile.TemporaryDirectory(prefix="switchyard-corpus-") as folder:
        hub = Hub(Settings(data_dir=Path(folder), secret_key="corpus" * 8))
        secret = Path(folder, "password")
        secret.write_text("never used")
        upgrade(hub.store)
        with hub.store.write() as tx:
            apply(tx, SYSTEM, read(DESK % secret))
        hub.look_again()
        opened = hub.channel_named("mail")
        began = time.perf_counter()
        for path in paths:
            started = time.perf_counter()
            taken = take_in(
                hub, opened, Raw(str(path), path.read_bytes(), "message/rfc822", {"address": "a@b.example"})
            )
            passage.slowest = max(passage.slowest, (time.perf_counter() - started, path.name))
            passage.states[taken.state] += 1
            if taken.state == "received":
                passage.died.append(path.name)
            elif not _is_visible(hub, taken.state, taken.message_id, taken.receipt_id):
                passage.invisible.append(path.name)
        passage.seconds = time.perf_counter() - began
        hub.stop()
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    passage.memory = largest * 1024
    return passage


def _is_visible(hub: Hub, state: str, message_id: int | None, receipt_id: int | None) -> bool:
    """A message in a conversation, or an item under "Could not be read" or among the ignored, with its reason."""
    with hub.store.read() as tx:
        if state == "accepted":
            return tx.sql("SELECT 1 FROM message WHERE id = ?", message_id or 0).fetchone() is not None
        row = tx.sql("SELECT why FROM receipt WHERE id = ? AND state = ?", receipt_id or 0, state).fetchone()
        return row is not None and bool(row[0])


# -- beside what is expected


def trimmed_replies(every: int) -> Score:
    """Discourse's replies, exactly as its authors cut them."""

    def judged() -> Iterator[tuple[str, bool]]:
        for path in mail_corpus("discourse-email_reply_trimmer/emails")[::every]:
            wanted = path.parents[1].joinpath("trimmed", path.name).read_text()
            text = path.read_text()
            yield path.name, _words(wanted) == _words(text[: cut(text).new])

    return scored("trimmed replies (discourse, exact)", judged())


def replies_kept(every: int) -> Score:
    """Replies in twenty languages that come without an expectation: none may be emptied."""

    def judged() -> Iterator[tuple[str, bool]]:
        for collection in ("crisp-email-reply-parser", "alfonsrv-mail-parser-reply"):
            for path in mail_corpus(collection)[::every]:
                text = path.read_text(errors="replace")
                yield path.name, bool(text[: cut(text).new].strip()) or not text.strip()

    return scored("replies never emptied (crisp, alfonsrv)", judged())


def forwarded_senders(every: int) -> Score:
    """Crisp's forwarded mails were all written by John Doe. Those with a "variant_4" answer one instead.

    Outlook writes no marker, only a subject; where the collection has none for a language, "FW:" stands for it.
    """

    def judged() -> Iterator[tuple[str, bool]]:
        for path in [each for each in mail_corpus("crisp-email-forward-parser") if "_body" in each.name][::every]:
            text = path.read_text()
            if "john.doe@acme.com" not in text:
                continue
            client = path.name.partition("_body")[0]
            named = path.with_name(f"{client}_subject.txt")
            subject = named.read_text() if named.exists() else "FW:" if "outlook" in client else ""
            answers = "variant_4" in path.name and "wrote:" in text and not subject
            found = original_sender(text, subject)
            yield path.name, (found is None) if answers else bool(found and found.address == "john.doe@acme.com")

    return scored("forwarded senders (crisp)", judged())


def decoded_parts(every: int) -> Score:
    """James mime4j says what every part decodes to: each must be in the text or among the files."""

    def judged() -> Iterator[tuple[str, bool]]:
        for path in [each for each in mail_corpus("james-mime4j") if each.suffix == ".msg"][::every]:
            inbound = _read(path)
            if inbound is None:
                continue
            said = _squeezed((inbound.text + inbound.html).encode())
            files = b"".join(_squeezed(file.data) for file in inbound.files)
            for part in sorted(path.parent.glob(f"{path.stem}_decoded_*")):
                if part.suffix in (".txt", ".bin"):
                    wanted = _squeezed(part.read_bytes())
                    yield part.name, wanted in files or wanted in said or _recoded(wanted) in said

    return scored("decoded parts (mime4j)", judged())


def headers_as_the_library_reads_them(every: int) -> Score:
    """Subject and sender of all collections as the standard library's strict policy reads them, where it can."""

    def judged() -> Iterator[tuple[str, bool]]:
        for path in mails(every):
            inbound = _read(path)
            try:
                message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
                subject, senders = str(message["subject"] or ""), message["from"].addresses
                sender = senders[0].addr_spec.lower() if len(senders) == 1 else ""
            except Exception:  # it raises on four of a hundred, by a dozen names
                continue
            if inbound is None or "\ufffd" in subject or not sender.isascii() or "@" not in sender:
                continue
            ours = inbound.sender.points[0].value if inbound.sender.points else ""
            same = re.sub(r"\W", "", subject)[:900] == re.sub(r"\W", "", inbound.subject)[:900]
            yield path.name, same and ours == sender.strip("'\"")

    return scored("subjects and senders (as the standard library)", judged())


def attachment_names(every: int) -> Score:
    """Names of files of all collections as the standard library reads them, where they are plain ASCII names."""

    def judged() -> Iterator[tuple[str, bool]]:
        for path in mails(every):
            inbound = _read(path)
            try:
                parts = _own_parts(email.message_from_bytes(path.read_bytes()))
                written = {part.get_filename() for part in parts if part.get_content_disposition() == "attachment"}
            except Exception:
                continue
            names = {file.name for file in inbound.files} if inbound else set()
            for name in sorted(each for each in written if isinstance(each, str)):
                if re.fullmatch(r"[\w][\w .\-]{0,80}", name, re.A) and name.lower() != "winmail.dat":
                    yield f"{path.name}: {name}", any(name in ours for ours in names)

    return scored("attachment names (as the standard library)", judged())


def charsets(every: int) -> Score:
    """Made-up mails: the same words in many charsets, in body, subject and file name, in all transfer encodings."""

    def judged() -> Iterator[tuple[str, bool]]:
        for name, body, wanted, where in cases()[::every]:
            inbound = parse(Raw(name, body, "message/rfc822"))
            shown = {"text": inbound.text, "subject": inbound.subject, "file": "".join(f.name for f in inbound.files)}
            yield name, wanted in shown[where]

    return scored("charset truth (made up)", judged())


SCORES: list[Callable[[int], Score]] = [
    trimmed_replies,
    replies_kept,
    forwarded_senders,
    decoded_parts,
    headers_as_the_library_reads_them,
    attachment_names,
    charsets,
]


def _own_parts(message: Message) -> Iterator[Message]:
    """Without those of mails within the mail: they stay in their file."""
    yield message
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in message.get_payload():
            yield from _own_parts(part)  # type: ignore[arg-type]


def _read(path: Path) -> Inbound | None:
    try:
        return parse(Raw(path.name, path.read_bytes(), "message/rfc822"))
    except Unreadable:
        return None


def _words(text: str) -> str:
    return " ".join(text.split())


def _squeezed(data: bytes) -> bytes:
    return re.sub(rb"[\s\x00\xa0]+|\xc2\xa0", b"", data)


def _recoded(data: bytes) -> bytes:
    return _squeezed(data.decode(codec_name("latin1") or "cp1252", "replace").encode())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--every", type=int, default=1, help="only every N-th mail")
    options.add_argument("--misses", action="store_true", help="name them all")
    given = options.parse_args()
    report(through_the_hub(mails(given.every)), [score(given.every) for score in SCORES], given.misses)


def report(passage: Passage, scores: list[Score], with_misses: bool = False) -> None:
    """Print both tables."""
    count = sum(passage.states.values())
    print(f"\n{count} mails in {passage.seconds:.1f} s: {dict(passage.states)}; readers died over {passage.died}")
    print(f"invisible: {passage.invisible}; slowest {passage.slowest[0]:.2f} s ({passage.slowest[1]})")
    print(f"memory of the largest process: {passage.memory >> 20} MB\n")
    for score in scores:
        print(f"{score.name:<50} {score.right:>5} of {score.total:<5} {score.share:>6.1%}")
        shown = score.misses if with_misses else score.misses[:5]
        print("".join(f"    {miss}\n" for miss in shown), end="")


if __name__ == "__main__":
    main()
