"""The policies as bars: how many contacts were answered in time."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, NAMES, ROW, TOP = 820, 250, 30, 44
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2933 } .note { fill: #616e7c; font-size: 12px }
  .bar { fill: #9fb3c8 } .ours { fill: #2f6fed } .grid { stroke: #d9e2ec }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb } .note { fill: #9aa5b1 } .grid { stroke: #334e68 }
    .bar { fill: #627d98 } .ours { fill: #6ea8fe }
  }"""


def chart(shown: Mapping[str, tuple[float, float]], ours: str) -> str:
    """An SVG of (in time, loss) by policy, the best first."""
    rows = sorted(shown.items(), key=lambda row: -row[1][0])
    height, room = TOP + ROW * len(rows) + 10, WIDTH - NAMES - 150
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="Contacts answered in time, by policy">',
        f"<style>{STYLE}</style>",
        f'<text class="note" x="{NAMES}" y="18">answered in time on a bank\'s day (and weighted loss)</text>',
    ]
    for share in (0, 25, 50, 75, 100):
        at = NAMES + room * share / 100
        parts.append(f'<line class="grid" x1="{at:.0f}" x2="{at:.0f}" y1="{TOP - 6}" y2="{height - 10}"/>')
        parts.append(f'<text class="note" x="{at:.0f}" y="{TOP - 10}" text-anchor="middle">{share}</text>')
    for place, (name, (in_time, loss)) in enumerate(rows):
        y, bold = TOP + ROW * place, ' font-weight="700"' if name == ours else ""
        parts.append(f'<text x="{NAMES - 10}" y="{y + 19}" text-anchor="end"{bold}>{escape(name)}</text>')
        style = "ours" if name == ours else "bar"
        parts.append(
            f'<rect class="{style}" x="{NAMES}" y="{y + 4}" width="{room * in_time:.1f}" height="{ROW - 8}" rx="2"/>'
        )
        parts.append(
            f'<text x="{NAMES + room * in_time + 8:.1f}" y="{y + 19}"{bold}>{100 * in_time:.1f} % '
            f"({100 * loss:.1f})</text>"
        )
    return "\n".join([*parts, "</svg>", ""])
