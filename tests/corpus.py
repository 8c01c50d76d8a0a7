"""Third-party mails that are not part of this repository, and where to find them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HOME = Path(os.environ.get("MAIL_CORPUS", Path(__file__).parents[2] / "shared" / "corpus")) / "mail"


def mail_corpus(collection: str = "") -> list[Path]:
    """Every file of a collection, or of all. Skips the test where the corpus is not on this machine."""
    if not (HOME / collection).is_dir():
        pytest.skip(f"no mail corpus at {HOME / collection}; set MAIL_CORPUS to its folder")
    return sorted(path for path in (HOME / collection).rglob("*") if path.is_file() and path.name != "_LICENSE")
