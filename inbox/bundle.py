"""Our scripts as one file, put together when it is asked for, and style sheets without what is for their readers.

Each module becomes a function that gives what it exports, after those that it imports. It understands what the modules
in inbox/static do: `import { a, b as c } from "./x.js";` and `import "./x.js";` at the beginning of a line, `export`
before a function or const. Comments on lines of their own or behind the last `;` or `{`, indents and the spaces around
signs are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import (?:\{([^}]*)\} from )?"\./([\w-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)
_ODD = re.compile(r"\W")
_STRING = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`\\]*`)""")
_SPACED = re.compile(r" ?(=>|[=!]==|&&|\|\||\?\?|[=(){}\[\],;:?<>]) ?")
_REMARK = re.compile(r"/\*.*?\*/", re.DOTALL)
_SPACES = re.compile(r"\s+")
_LOOSE = re.compile(r" ?([{};,]) ?")
_NOISE = re.compile(r"^[ \t]*(?://[^\n]*)?\n|^[ \t]+", re.MULTILINE)
_BEHIND = re.compile(r"(?<=[;{]) // [^\"'`\n]*$", re.MULTILINE)  # one with a quote may be the end of a string


def bundled(folder: Path, entry: str) -> str:
    """The module and all that it imports. Raises ValueError where modules import each other in a circle."""
    parts: dict[str, str] = {}
    _take(folder, entry, parts, ())
    return "".join(parts.values())


def styles(text: str) -> str:
    """A style sheet without its comments and without the spaces that say nothing."""
    parts = _STRING.split(_REMARK.sub("", text))
    parts[::2] = [_LOOSE.sub(r"\1", _SPACES.sub(" ", part)).replace(": ", ":") for part in parts[::2]]
    return "".join(parts).strip() + "\n"


def _take(folder: Path, name: str, parts: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"{' → '.join((*above, name))}: modules must not import each other in a circle")
    if name in parts:
        return
    source = (folder / name).read_text(encoding="utf-8")
    for found in _IMPORT.finditer(source):
        _take(folder, found[2], parts, (*above, name))
    body = _IMPORT.sub(_wanted, source)
    given = ", ".join(found[1] for found in _EXPORT.finditer(body))
    body = _tight(_NOISE.sub("", _BEHIND.sub("", _EXPORT.sub("", body))))
    parts[name] = f"const {_variable(name)} = (() => {{\n{body}return {{ {given} }};\n}})();\n"


def _tight(body: str) -> str:
    """Without the spaces around signs."""
    return "".join(map(_squeezed, body.splitlines(keepends=True)))


def _squeezed(line: str) -> str:
    """A line as it is where a slash that does not divide may begin an expression, or templates stand in each other."""
    parts = _STRING.split(line)
    torn = any(each.count("{") != each.count("}") for each in parts[1::2])
    if torn or any("/" in part.replace(" / ", "") or "`" in part for part in parts[::2]):
        return line
    parts[::2] = [_SPACED.sub(r"\1", part) for part in parts[::2]]
    return "".join(parts)


def _wanted(found: re.Match[str]) -> str:
    """What a module takes of another one."""
    return f"const {{{found[1].replace(' as ', ': ')}}} = {_variable(found[2])};" if found[1] else ""


def _variable(name: str) -> str:
    return "_" + _ODD.sub("_", name.removesuffix(".js"))
