"""HTTP to addresses that other people have named: never to our own network, never redirected, never without end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import requests
from ssrfguard import Policy, SSRFGuardError
from ssrfguard.requests import Session

from channels.text import storable
from config.language import N_
from config.retold import stored

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
MAX_ANSWER = 64 * 1024
KEPT_ANSWER = 2048
PORTS = (443, 8443)
# A desk inside a company may reach its own machines, but never the cloud's metadata addresses (169.254.0.0/16).
OWN_NETWORKS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


class NotAllowed(Exception):
    """The address may not be called. The sentence says what is wrong with it."""


class Unanswered(Exception):
    """No complete answer came in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said: its status, the first bytes as text, how long it took."""

    status: int
    headers: Mapping[str, str]
    text: str
    milliseconds: int


def check_address(url: str, *, private: bool = False) -> None:
    """Judge an address by what it says, before any name is looked up. Raises NotAllowed."""
    try:
        _policy(private).check_url(url)
    except SSRFGuardError as refused:
        raise NotAllowed(_sentence(private)) from refused


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool = False) -> Answer:
    """POST once, without following redirects. Raises NotAllowed or Unanswered.

    The name is looked up once, every address it has is judged, and the connection goes to a judged one.
    """
    check_address(url, private=private)
    begun = time.monotonic()
    with Session(policy=_policy(private)) as session:
        session.trust_env = False
        try:
            with session.post(
                url, data=body, headers={**headers, "Accept-Encoding": "identity"}, stream=True, allow_redirects=False,
                timeout=(CONNECT_SECONDS, TOTAL_SECONDS - CONNECT_SECONDS),
            ) as response:  # fmt: skip
                text = _beginning(response, begun + TOTAL_SECONDS)
                took = round((time.monotonic() - begun) * 1000)
                return Answer(response.status_code, response.headers, text, took)
        except SSRFGuardError as refused:
            raise NotAllowed(_sentence(private)) from refused
        except requests.exceptions.SSLError as error:
            raise Unanswered(N_("Its certificate can't be verified.")) from error
        except requests.Timeout as error:
            raise Unanswered(
                stored("It did not answer within {seconds} seconds.", seconds=f"{TOTAL_SECONDS:.0f}")
            ) from error
        except (requests.RequestException, OSError) as error:
            raise Unanswered(N_("It could not be reached.")) from error


@cache
def _policy(private: bool) -> Policy:
    if not private:
        return Policy(allowed_schemes=frozenset({"https"}), allowed_ports=frozenset(PORTS))
    return Policy(allowed_networks=OWN_NETWORKS, allowed_ports=frozenset(range(1, 65536)))  # type: ignore[arg-type]


def _beginning(response: requests.Response, deadline: float) -> str:
    """The first bytes; the rest is read up to a cap, so that the other side sees its answer taken."""
    data = bytearray()
    while len(data) < MAX_ANSWER:
        if time.monotonic() > deadline:
            raise requests.Timeout
        piece = response.raw.read(4096, decode_content=False)
        if not piece:
            break
        data += piece
    return storable(bytes(data[:KEPT_ANSWER]).decode("utf-8", "replace"))


def _sentence(private: bool) -> str:
    if private:
        return N_("This address may not be called: it is not http or https, or a reserved address.")
    return N_("This address may not be called: it has to be https on port 443 or 8443 and lead to the public internet.")
