"""The nouns, durable: tables and what a row may do, the unit of work, facts, jobs, blobs and full text."""

from storage.interleaving import Interleaved
from storage.store import Store, Tx
from storage.writer import Busy

__all__ = ["Busy", "Interleaved", "Store", "Tx"]
