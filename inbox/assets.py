"""The allow-list of files that browsers may load: other people's from node_modules, ours from inbox/static.

Every address carries a version, so that a browser may keep the file for a year and still sees a change at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from functools import cache, lru_cache
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, request

from inbox import bundle

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "node_modules"
LOCK = ROOT / "package-lock.json"
STATIC = ROOT / "inbox" / "static"

ASSETS = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "hx-sse.js": "htmx.org/dist/ext/hx-sse.min.js",
    "hx-preload.js": "htmx.org/dist/ext/hx-preload.min.js",
}
BUNDLES = ("inbox.js", "palette.js", "help.js", "settings.js")  # our modules, of which a browser gets one file each
TYPES = {  # the system's own table differs from machine to machine, and browsers refuse a module of the wrong type
    ".css": "text/css",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
YEAR = 365 * 24 * 3600  # seconds


class AssetsMissing(Exception):
    """Files from node_modules are not there. The sentence says how to get them."""


def url(name: str) -> str:
    """The address of an asset, with its version. Raises KeyError for a name that is not on the list."""
    return f"/assets/{name}?v={version(name)}"


def path(name: str) -> Path:
    """Where the file lies. Raises KeyError for a name that is not on the list."""
    if name in ASSETS:
        return PACKAGES / ASSETS[name]
    ours = STATIC / name
    if ours.suffix not in TYPES or not ours.is_file() or not ours.resolve().is_relative_to(STATIC):
        raise KeyError(f"no asset {name!r}: put it into inbox/static or name it in inbox/assets.py")
    return ours


def content(name: str) -> bytes:
    """What is served under the name. Raises KeyError for one that is not on the list."""
    return path(name).read_bytes() if name in ASSETS else _ours(name)[0]


def version(name: str) -> str:
    """Eight hex digits that change with what is served: of the lock's integrity for packages, of the bytes for ours."""
    if name in ASSETS:
        return _integrity(ASSETS[name].partition("/")[0])[:8]
    return _ours(name)[1]


def missing() -> list[str]:
    """The assets whose package is not installed."""
    return [name for name in ASSETS if not path(name).is_file()]


def require() -> None:
    """Stop a start-up that would serve pages without their scripts. Raises AssetsMissing."""
    if absent := missing():
        raise AssetsMissing(f"browser files are missing ({', '.join(absent)}): run `make run`, which installs them")


def register(target: Flask | Blueprint) -> None:
    """Add the route /assets/<name> and the template function `asset(name)`. No sign-in: the sign-in page needs them."""
    target.add_url_rule("/assets/<path:name>", "assets", _serve)
    if isinstance(target, Flask):
        target.add_template_global(url, "asset")
    else:
        target.add_app_template_global(url, "asset")


def _serve(name: str) -> Response:
    try:
        file = path(name)
        data, current = content(name), version(name)
    except KeyError:
        abort(404)
    response = Response(data, mimetype=TYPES[file.suffix])
    response.set_etag(current)
    if request.args.get("v") == current:
        response.cache_control.public = True
        response.cache_control.max_age = YEAR
        response.cache_control.immutable = True
    else:
        response.cache_control.no_cache = True
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.make_conditional(request)
    return response


@cache
def _integrity(package: str) -> str:
    """The lock's checksum of a package as hex digits (in base64 it would need escaping in an address)."""
    locked = json.loads(LOCK.read_text(encoding="utf-8"))["packages"][f"node_modules/{package}"]["integrity"]
    return base64.b64decode(locked.partition("-")[2]).hex()


def _ours(name: str) -> tuple[bytes, str]:
    """What is served of a file of ours and its version, made anew when it changes: every page asks for several."""
    file = path(name)
    if name in BUNDLES:  # any of the modules may be in it
        with os.scandir(STATIC) as found:
            parts = sorted((part.name, part.stat().st_mtime_ns) for part in found if part.name.endswith(".js"))
    else:
        parts = [(name, file.stat().st_mtime_ns)]
    return _made(file, name in BUNDLES, tuple(parts))


@lru_cache(maxsize=256)
def _made(file: Path, bundles: bool, parts: tuple[tuple[str, int], ...]) -> tuple[bytes, str]:
    if bundles:
        data = bundle.bundled(file.parent, file.name).encode()
    elif file.suffix == ".css":
        data = bundle.styles(file.read_text(encoding="utf-8")).encode()
    else:
        data = file.read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:8]
