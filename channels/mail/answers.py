"""What a mail server answered (RFC 5321 4.2, enhanced codes of RFC 3463 and 7372), in a sentence for an agent."""

from __future__ import annotations

import re
from datetime import timedelta

from config.language import N_
from config.retold import S_, stored

STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
GREYLISTED = re.compile(r"gr[ae]y.?list|try again (later|in)|temporarily deferred", re.I)
WAIT = re.compile(r"\b(\d{1,4}) ?(s|sec|secs|seconds|m|min|mins|minutes)\b", re.I)
LONGEST_WAIT = timedelta(hours=1)

# By subject and detail of the enhanced code; its class says whether that is for now or for good.
MEANINGS = {
    "1.1": S_("{who} does not exist there. Ask the customer for another address"),
    "1.2": S_("the domain of {who} does not exist or takes no mail. Check how it is spelled"),
    "1.3": S_("{who} is not written as an address should be. Correct it"),
    "1.4": S_("{who} is not clear: several mailboxes there have that address"),
    "1.6": S_("{who} has moved and left no new address"),
    "1.7": N_("our own address is not accepted as the sender. An administrator has to look at the account"),
    "1.8": N_("our own domain is not accepted as the sender's. An administrator has to look at the account"),
    "1.10": S_("the domain of {who} says that it takes no mail at all. Check how it is spelled"),
    "2.0": S_("the mailbox of {who} has a problem"),
    "2.1": S_("the mailbox of {who} is switched off or blocked"),
    "2.2": S_("the mailbox of {who} is full"),
    "2.3": S_("the mail is larger than {who} takes. Send the files by a link"),
    "2.4": S_("the list behind {who} can't be read"),
    "3.0": N_("the mail system there has a problem"),
    "3.1": N_("the mail system there is full"),
    "3.2": N_("the mail system there takes no mail at the moment"),
    "3.4": N_("the mail is larger than the mail system takes. Send the files by a link"),
    "4.1": S_("the mail server of {who} does not answer"),
    "4.2": S_("the line to the mail server of {who} broke"),
    "4.3": S_("the way to {who} could not be looked up"),
    "4.4": S_("no way leads to the mail server of {who}. Check how the domain is spelled"),
    "4.5": N_("the mail server there has too much to do"),
    "4.6": S_("the mail went round in circles on its way to {who}. An administrator there has to look"),
    "4.7": S_("the mail could not be handed on to {who} for too long"),
    "5.3": N_("the mail has too many recipients. Send it to fewer at a time"),
    "6.0": N_("the mail has something inside that was not accepted. Try it without the files"),
    "7.0": N_("the rules there don't let it in"),
    "7.1": N_("the rules there don't let it in, often because it is taken for unwanted mail"),
    "7.8": N_("the account's login is not accepted. An administrator has to look at its settings"),
    "7.9": N_("the account's way of logging in is not accepted. An administrator has to look at its settings"),
    "7.20": N_("it carries no DKIM signature that holds. An administrator has to set one up"),
    "7.21": N_("its DKIM signature is not accepted. An administrator has to look at it"),
    "7.22": N_("its DKIM signature is not our domain's. An administrator has to look at it"),
    "7.23": N_("our domain's SPF record does not allow this server. An administrator has to mend it"),
    "7.24": N_("our domain's SPF record can't be read. An administrator has to mend it"),
    "7.25": N_("the sending server's address has no name. An administrator has to mend its DNS"),
    "7.26": N_("neither SPF nor DKIM vouch for our domain (DMARC). An administrator has to mend that"),
    "7.27": N_(
        "our own domain says that it takes no mail, so none is taken from it. An administrator has to mend that"
    ),
    "7.28": N_("too much mail came at once"),
    "7.124": S_("{who} takes mail from inside its organisation only"),
    "7.129": S_("{who} takes mail from certain senders only"),
    "7.133": S_("{who} takes mail from inside its organisation only"),
}  # fmt: skip

WHAT, SENDER = N_("the mail"), N_("our address as the sender")
SUBJECTS = {WHAT: N_("The mail"), SENDER: N_("Our address as the sender")}
# Without a meaning, and with one.
REFUSED = S_("{what} was refused for good ({reply})."), S_("{what} was refused for good: {why} ({reply}).")
PUT_OFF = S_("{what} was refused for now ({reply})."), S_("{what} was refused for now: {why} ({reply}).")


def reply_line(code: int, words: bytes) -> str:
    """The answer itself on one line and not too long."""
    return " ".join(f"{code} {words.decode('utf-8', 'replace')}".split())[:200]


def sentence(code: int, words: bytes, who: str) -> str:
    """Why the mail server refused `who` ("the mail", or an address), whether that is final, and its own words."""
    reply = reply_line(code, words)
    permanent = code >= 500
    meaning = meaning_of(reply, who)
    if not permanent and GREYLISTED.search(reply):
        meaning = stored("first mails to {who} have to be sent twice (greylisting)", who=who)
    values = {"what": SUBJECTS.get(who, who), "why": meaning, "reply": reply}
    return (REFUSED if permanent else PUT_OFF)[bool(meaning)].format(**values)


def meaning_of(reply: str, who: str) -> str:
    """What the enhanced status code in a reply or report means, or "" where it says nothing in particular."""
    found = STATUS.search(reply)
    if found is None:
        return ""
    subject, detail = found.group(2), found.group(3)
    return MEANINGS.get(f"{subject}.{detail}", MEANINGS.get(f"{subject}.0", "")).format(who=who)


def wait_of(code: int, words: bytes) -> timedelta | None:
    """How long a greylisting server asks us to wait, where it says so."""
    reply = words.decode("utf-8", "replace")
    found = WAIT.search(reply)
    if code >= 500 or not GREYLISTED.search(reply) or found is None:
        return None
    number, unit = int(found.group(1)), found.group(2).lower()
    return min(timedelta(minutes=number) if unit.startswith("m") else timedelta(seconds=number), LONGEST_WAIT)
