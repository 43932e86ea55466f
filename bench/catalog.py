"""All figures, in the order of the pages."""

from __future__ import annotations

import idle
import restarts
import traffic
from runner import Figure

FIGURES: dict[str, Figure] = {**traffic.FIGURES, **idle.FIGURES, **restarts.FIGURES}
