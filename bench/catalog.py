"""All figures, in the order of the pages."""

from __future__ import annotations

import files
import idle
import neighbours
import restarts
import traffic
from runner import Figure

FIGURES: dict[str, Figure] = {
    **traffic.FIGURES,
    **neighbours.FIGURES,
    **idle.FIGURES,
    **files.FIGURES,
    **restarts.FIGURES,
}
