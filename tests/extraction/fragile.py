"""A text extractor that some texts break, as some files break what reads them."""

from __future__ import annotations

import os
import signal

from imer.extractors.base import Extracted
from tests.campaigns.cheap import Letters


class Fragile(Letters):
    """The text `crash` ends its process, and `hang` never comes to an end."""

    def extract(self, text: str) -> Extracted:
        if text == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        while text == "hang":
            pass
        return super().extract(text)
