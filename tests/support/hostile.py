"""The samples of hostile.txt, each armed with a number of its own, so that what it did is known."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).with_suffix(".txt")
ELSEWHERE = "http://evil.example"


@dataclass(frozen=True, slots=True)
class Sample:
    """Words of a stranger. `swallows` says that nothing after them is read as it was meant."""

    number: int
    text: str
    swallows: bool = False

    @property
    def seen(self) -> str:
        """A word before them that has to stay readable."""
        return f"readable{self.number}."

    @property
    def marked(self) -> str:
        """They behind that word."""
        return f"{self.seen} {self.text}"


def collection() -> list[Sample]:
    """All of them, in the order of the file."""
    samples: list[Sample] = []
    kind = ""
    for line in SAMPLES.read_text("ascii").splitlines():
        if line.startswith("[") and line.endswith("]"):
            kind = line[1:-1]
        elif line and not line.startswith("# "):
            number = len(samples) + 1
            samples.append(Sample(number, _armed(line.encode().decode("unicode_escape"), number), kind == "open"))
    return samples


def _armed(text: str, number: int) -> str:
    run, evil = f"tripped({number})", f"{ELSEWHERE}/{number}"
    page = b64encode(f"<script>{run}</script>".encode()).decode()
    drawing = b64encode(f"<svg xmlns='http://www.w3.org/2000/svg' id='x' onload='{run}'/>".encode()).decode()
    for name, value in (("BASE64", page), ("SVG64", drawing), ("NUMBER", str(number)), ("EVIL", evil), ("RUN", run)):
        text = text.replace(name, value)
    return text
