"""What people are shown, gathered from code and templates into the catalogs: `make messages`, after a sentence changed.

A new sentence comes into each catalog untranslated, and one that nobody says any more goes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from jinja2.ext import extract_from_ast

from config.language import LOCALES, STORED

ROOT = Path(__file__).resolve().parents[2]
CODE = ("api", "channels", "config", "hub", "inbox", "routing", "sandbox", "storage", "webhooks")
SAYS = ("_", "N_", "n_", "p_", "words", "stored", "S_")
Said = tuple[str, str | tuple[str, str], str | None]  # its file, the message or its two forms, its context


def said() -> Iterator[Said]:
    """Every message, file by file."""
    for path in sorted(path for name in CODE for path in (ROOT / name).rglob("*.py")):
        yield from ((str(path.relative_to(ROOT)), *found) for found in _in_code(path.read_text("utf-8")))
    for path in sorted(path for name in CODE for path in (ROOT / name).rglob("templates/**/*.html")):
        yield from ((str(path.relative_to(ROOT)), *found) for found in _in_template(path.read_text("utf-8")))


def template() -> Catalog:
    """All of them as a catalog without translations."""
    catalog = Catalog(project="Switchyard", fuzzy=False)
    for file, message, context in said():
        catalog.add(message, locations=[(file, 0)], context=context)
    return catalog


def kept(code: str) -> Catalog:
    """A language's catalog as it is kept."""
    with (LOCALES / code / "messages.po").open(encoding="utf-8") as file:
        return read_po(file, locale=code)


def write(code: str, catalog: Catalog) -> None:
    """Keep a catalog."""
    with (LOCALES / code / "messages.po").open("wb") as file:
        write_po(file, catalog, width=120, include_lineno=False, sort_by_file=True, ignore_obsolete=True)


def fillings() -> Iterator[tuple[str, str, set[str]]]:
    """Each message that code fills places of, and the names that it gives for them."""
    for path in sorted(path for name in CODE for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "n_", "stored"):
                names = {each.arg for each in node.keywords if each.arg}
                counted = {"count"} if node.func.id == "n_" else set()
                message = _text(node.args[node.func.id == "n_"])
                if (names or counted) and message and all(each.arg for each in node.keywords):
                    yield str(path.relative_to(ROOT)), message, names | counted


def places(message: str) -> set[str]:
    """The names of what is filled in."""
    return set(re.findall(r"{(\w+)}", message))


def forms(string: str | Sequence[str] | None) -> tuple[str, ...]:
    """A message's forms for one and for many; one alone, when it counts nothing."""
    return (string or "",) if isinstance(string, str | None) else tuple(string)


def _in_code(text: str) -> Iterator[tuple[str | tuple[str, str], str | None]]:
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAYS):
            continue
        if node.func.id == "words":
            (table,) = node.args
            assert isinstance(table, ast.Dict), "words() takes a table that is written out"
            yield from ((text, None) for each in table.values if (text := _text(each)))
            continue
        texts = [text for each in node.args if (text := _text(each))]
        match node.func.id, texts:
            case (("_" | "N_"), [message, *_]):
                yield message, None
            case "n_", [one, many]:
                yield (one, many), None
            case "p_", [context, message]:
                yield message, context
            case (("stored" | "S_"), [message, *_]):
                yield message, STORED


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _in_template(text: str) -> Iterator[tuple[str | tuple[str, str], str | None]]:
    for _, name, found in extract_from_ast(Environment().parse(text), SAYS, babel_style=False):
        texts = [each for each in (found if isinstance(found, tuple) else (found,)) if each]
        match name, texts:
            case "_", [message, *_]:
                yield message, None
            case "n_", [one, many, *_]:
                yield (one, many), None
            case "p_", [context, message, *_]:
                yield message, context


def main() -> None:
    """Bring every catalog up to what is said."""
    for folder in sorted(each for each in LOCALES.iterdir() if each.is_dir()):
        catalog = kept(folder.name)
        began = catalog.creation_date  # of its own, lest every run be a change
        catalog.update(template(), no_fuzzy_matching=True)
        catalog.creation_date = began
        write(folder.name, catalog)
        missing = sum(bool(each.id) and not all(forms(each.string)) for each in catalog)
        print(f"{folder.name}: {len(catalog)} messages, {missing} to be translated")


if __name__ == "__main__":
    main()
