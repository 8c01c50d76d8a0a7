"""What the browser loads: versioned, kept for a year, and nothing beside the list."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from inbox import assets, bundle
from tests.support import need

REMARK = re.compile(r"/\*.*?\*/", re.DOTALL)
RULE = re.compile(r"([^{};@]+)\{([^{}]*)\}")
CLASSES = re.compile(r"(?:\.[\w-]+)+")


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = Flask(__name__)
    assets.register(app)
    with app.test_client() as client:
        yield client


@pytest.mark.parametrize("name", assets.ASSETS)
def test_every_listed_file_arrives_and_is_kept_for_a_year(client: FlaskClient, name: str) -> None:
    need(not assets.missing(), "node_modules (make test installs it)")
    response = client.get(assets.url(name))

    assert response.status_code == 200
    assert len(response.data) > 500
    assert response.content_type == "text/javascript; charset=utf-8"
    assert response.cache_control.max_age == assets.YEAR
    assert response.cache_control.immutable
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_an_address_without_the_current_version_is_asked_for_again(client: FlaskClient) -> None:
    need(not assets.missing(), "node_modules (make test installs it)")
    response = client.get("/assets/htmx.js?v=0badc0de")

    assert response.cache_control.no_cache
    assert client.get("/assets/htmx.js", headers={"If-None-Match": response.headers["ETag"]}).status_code == 304


def test_our_own_file_gets_a_new_address_when_it_changes(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    sheet = tmp_path / "inbox.css"
    sheet.write_text("body { color: black }")
    before = assets.url("inbox.css")
    sheet.write_text("body { color: darkslategrey }")

    assert assets.url("inbox.css") != before
    assert client.get(assets.url("inbox.css")).cache_control.immutable
    assert not client.get(before).cache_control.immutable


@pytest.mark.parametrize(
    "name",
    ["../assets.py", "..%2fassets.py", "%2fetc%2fpasswd", "../../package.json", "no-such.js", "a%00.js", "/x.js"],
)
def test_nothing_beside_the_list_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/assets/{name}", follow_redirects=True).status_code == 404


def test_a_file_outside_the_folder_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "link.json").symlink_to(secret)
    monkeypatch.setattr(assets, "STATIC", tmp_path / "static")

    for name in ("../secret.json", str(secret), "link.json"):
        with pytest.raises(KeyError):
            assets.path(name)


def test_a_start_without_the_files_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "PACKAGES", tmp_path)

    with pytest.raises(assets.AssetsMissing, match="make run"):
        assets.require()


def test_a_blueprint_may_carry_the_route_too() -> None:
    app = Flask(__name__)
    desk = Blueprint("desk", __name__)
    assets.register(desk)
    app.register_blueprint(desk)

    with app.app_context():
        assert app.jinja_env.from_string("{{ asset('htmx.js') }}").render() == assets.url("htmx.js")


def test_our_modules_come_as_one_file_in_the_order_they_need_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        '// The first.\nimport { two, run as go } from "./b.js";\nimport "./c.js";\n\ngo(two);\n'
        'const c = "a = b" + `a = ${two}`;\nconst d = `a ${c ? ` = ${two}` : ""}`;\n'
    )
    (tmp_path / "b.js").write_text(
        "export const two = 2; // not one\nexport async function run(x) {\n  // why\n  return x;\n}\n"
    )
    (tmp_path / "c.js").write_text('import { two } from "./b.js";\nconsole.log("; // kept", two);\n')
    assert bundle.bundled(tmp_path, "a.js") == (
        "const _b = (() => {\nconst two=2;\nasync function run(x){\nreturn x;\n}\nreturn { two, run };\n})();\n"
        'const _c = (() => {\nconst{two}=_b;\nconsole.log("; // kept",two);\nreturn {  };\n})();\n'
        "const _a = (() => {\nconst{two,run:go}=_b;\ngo(two);\n"
        'const c="a = b" + `a = ${two}`;\nconst d = `a ${c ? ` = ${two}` : ""}`;\nreturn {  };\n})();\n'
    )
    (tmp_path / "b.js").write_text('import "./a.js";\n')
    with pytest.raises(ValueError, match=r"a\.js → b\.js → a\.js"):
        bundle.bundled(tmp_path, "a.js")


def test_a_style_sheet_is_served_without_what_is_for_its_readers() -> None:
    assert bundle.styles(
        '/* why */\n@layer base {\n  a, .b :is(c > d) { color: red; content: "; {a : b} /"; }\n\n'
        "  @media (max-width: 1px) { .e { width: calc(1px + 2px); } }\n}\n"
    ) == (
        '@layer base{a,.b :is(c > d){color:red;content:"; {a : b} /";}'
        "@media (max-width:1px){.e{width:calc(1px + 2px);}}}\n"
    )


def test_what_a_page_loads_keeps_to_its_budget(client: FlaskClient) -> None:
    """25 KB of scripts, as a proxy would compress them, and 10 KB of styles until something is there to see."""
    need(not assets.missing(), "node_modules (make test installs it)")
    script = client.get(assets.url("inbox.js"))
    assert script.cache_control.immutable
    assert b"import " not in script.data and b"\nexport " not in script.data
    loaded = [script.data, client.get(assets.url("htmx.js")).data]
    assert sum(len(gzip.compress(each, 9)) for each in loaded) <= 25 * 1024
    assert len(gzip.compress(client.get(assets.url("inbox.css")).data, 9)) <= 10 * 1024


def test_two_sheets_never_say_of_a_class_what_is_not_the_same() -> None:
    """Every sheet is on some page with another: one class for two things once took the names of queues off a page."""
    said: dict[tuple[str, str], str] = {}
    for sheet in sorted(Path(assets.__file__).with_name("static").glob("*.css")):
        for selectors, block in RULE.findall(REMARK.sub("", sheet.read_text())):
            for selector in filter(CLASSES.fullmatch, (one.strip() for one in selectors.split(","))):
                for named in filter(None, (each.partition(":")[0].strip() for each in block.split(";"))):
                    before = said.setdefault((selector, named), sheet.name)
                    assert before == sheet.name, f"{selector} has its {named} from {before} and {sheet.name}"
    assert len(set(said.values())) > 3
