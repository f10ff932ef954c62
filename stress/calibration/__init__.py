"""A market model fitted to price bars, and how well it does: data against samples of the fit and of its challengers.

fit            bars -> market file: what prices identify is fitted, the rest is kept from a template
states         regimes, slow volatility and weekdays, read together
depth_samples  samples of an order book by hour, for the relation between depth and volatility
samples        hourly bars as long as the data: from paths of the fit, and from the data's own hours
diagnostics    the same statistics of the data and of samples
diagnosis      why an adverse excursion lies outside the fit's band
page           all on one page
"""

from stress.calibration.depth_samples import DepthSamples, by_hour
from stress.calibration.diagnosis import Diagnosis, diagnose
from stress.calibration.diagnostics import Comparison, compare
from stress.calibration.fit import Fitted, Panel, as_yaml, by_market, calibrate, panel, with_hours
from stress.calibration.page import page

__all__ = [
    "Comparison",
    "DepthSamples",
    "Diagnosis",
    "Fitted",
    "Panel",
    "as_yaml",
    "by_hour",
    "by_market",
    "calibrate",
    "compare",
    "diagnose",
    "page",
    "panel",
    "with_hours",
]
