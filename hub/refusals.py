"""What a form can't be taken for."""

from __future__ import annotations


class FieldRefused(Exception):
    """A form can't be taken as it is; `field` is the one to mend, the sentence says how."""

    def __init__(self, field: str, sentence: str):
        super().__init__(sentence)
        self.field, self.sentence = field, sentence
