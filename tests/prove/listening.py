"""A browser that keeps the inbox's live line open and comes back with Last-Event-ID, as EventSource does."""

from __future__ import annotations

import threading
import time

import requests

from tests.processes import Browser
from tests.story import PASSWORD


class LiveLine:
    """`facts` are the ids that arrived, in their order; `opened` how often it had to connect."""

    def __init__(self, url: str, email: str = "jonas@desk.example"):
        self.url = url
        self.facts: list[int] = []
        self.opened = 0
        self._browser = Browser(url, email, PASSWORD)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="live-line", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up; returns when the line's next ping or fact has gone by."""
        self._over.set()
        self._thread.join(20)

    def _listen(self) -> None:
        while not self._over.is_set():
            headers = {"Last-Event-ID": str(self.facts[-1])} if self.facts else {}
            try:
                with self._browser.get(f"{self.url}/inbox/stream", headers=headers, stream=True, timeout=40) as answer:
                    if answer.ok:
                        self.opened += 1
                        self._read(answer)
            except requests.RequestException:  # the line broke, or nobody is there yet
                pass
            time.sleep(0.2)

    def _read(self, answer: requests.Response) -> None:
        for line in answer.iter_lines(chunk_size=1):
            if line.startswith(b"id: "):
                self.facts.append(int(line[4:]))
            if self._over.is_set():
                return
