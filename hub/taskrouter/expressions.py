"""TaskRouter's expression language, read into a tree.

https://www.twilio.com/docs/taskrouter/expression-syntax: comparisons `> >= == != <= <`, `CONTAINS`, `HAS`, `IN`,
`NOT IN` of constants and JSON keys, joined by AND, OR and parentheses; AND binds closer. `=` for `==`, NOT before an
expression and words in any case are taken as well, as TaskRouter does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST = 20_000
DEEPEST = 50


class ExpressionError(ValueError):
    """The text is no expression. The sentence says where it stops making sense."""


@dataclass(frozen=True, slots=True)
class Key:
    """A reference into the attributes: `worker.routing.levels.sales`, `languages[0]`."""

    name: str


@dataclass(frozen=True, slots=True)
class Compare:
    """`op` is one of == != > >= < <= CONTAINS HAS IN, NOT IN; each side is a Key, a constant or a list of constants."""

    left: Any
    op: str
    right: Any


@dataclass(frozen=True, slots=True)
class Join:
    """AND, OR or NOT over its parts."""

    op: str
    parts: tuple[Expression, ...]


Expression = Compare | Join

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<word>[A-Za-z_$][\w$]*(?:\.[\w$]+|\[\d+\])*)
    |(?P<sign>==|!=|>=|<=|=|>|<|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE,
)
_SIGNS = {"==", "!=", ">", ">=", "<", "<="}
_WORDS = {"CONTAINS", "HAS", "IN"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, text, word, sign or end
    text: str
    at: int

    @property
    def upper(self) -> str:
        return self.text.upper() if self.kind == "word" else self.text


def parse(text: str) -> Expression:
    """The tree of an expression. Raises ExpressionError."""
    if len(text) > LONGEST:
        raise ExpressionError(f"it is longer than {LONGEST} characters")
    reader = _Reader(list(_tokens(text)))
    found = reader.either(0)
    reader.end()
    return found


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise ExpressionError(f"{rest[:20]!r} can't be read{_hyphen(text, at)}")
        yield _Token(match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0))
        at = match.end()
    yield _Token("end", "", len(text))


def _hyphen(text: str, at: int) -> str:
    return ": TaskRouter has no hyphens outside quotes" if text[at:].lstrip().startswith("-") else ""


class _Reader:
    """Recursive descent, one method per level of binding."""

    def __init__(self, tokens: list[_Token]):
        self.tokens = tokens
        self.place = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.next
        self.place += token.kind != "end"
        return token

    def end(self) -> None:
        if self.next.kind != "end":
            raise ExpressionError(f"{self.next.text!r} at {self.next.at + 1} comes too late: AND or OR is missing")

    def either(self, depth: int) -> Expression:
        return self.joined("OR", self.both, depth)

    def both(self, depth: int) -> Expression:
        return self.joined("AND", self.one, depth)

    def joined(self, op: str, part: Any, depth: int) -> Expression:
        parts = [part(depth)]
        while self.next.upper == op:
            self.take()
            parts.append(part(depth))
        return parts[0] if len(parts) == 1 else Join(op, tuple(parts))

    def one(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise ExpressionError(f"it is nested deeper than {DEEPEST} levels")
        if self.next.upper == "NOT":
            self.take()
            return Join("NOT", (self.one(depth + 1),))
        if self.next.text == "(" and self.next.kind == "sign":
            self.take()
            inside = self.either(depth + 1)
            if self.take().text != ")":
                raise ExpressionError("a closing parenthesis is missing")
            return inside
        left = self.value()
        return Compare(left, self.operator(), self.value())

    def operator(self) -> str:
        token = self.take()
        if token.upper == "NOT" and self.next.upper == "IN":
            self.take()
            return "NOT IN"
        if token.kind == "sign" and token.text == "=":
            return "=="
        if (token.kind == "sign" and token.text in _SIGNS) or token.upper in _WORDS:
            return token.upper
        raise ExpressionError(f"a comparison is missing at {token.at + 1}, before {token.text or 'the end'!r}")

    def value(self) -> Any:
        token = self.take()
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.kind == "word":
            return {"TRUE": True, "FALSE": False}.get(token.upper, Key(token.text))
        if token.text == "[":
            return self.values()
        raise ExpressionError(f"a value is missing at {token.at + 1}, before {token.text or 'the end'!r}")

    def values(self) -> list[Any]:
        found: list[Any] = []
        while self.next.text != "]":
            value = self.value()
            if isinstance(value, Key | list):
                raise ExpressionError("a list holds constants only")
            found.append(value)
            if self.next.text == ",":
                self.take()
            elif self.next.text != "]":
                raise ExpressionError("a list's closing bracket is missing")
        self.take()
        return found
