"""A market model fitted to price bars, and how well it does: data against paths simulated from the fit.

fit          bars -> market file: what prices identify is fitted, the rest is kept from a template
diagnostics  the same statistics of the data and of simulated samples of its length
page         both on one page
"""

from stress.calibration.diagnostics import Comparison, compare, excursions_outside, sample_of
from stress.calibration.fit import Panel, as_yaml, by_market, calibrate, panel, with_hours
from stress.calibration.page import page

__all__ = [
    "Comparison",
    "Panel",
    "as_yaml",
    "by_market",
    "calibrate",
    "compare",
    "excursions_outside",
    "page",
    "panel",
    "sample_of",
    "with_hours",
]
