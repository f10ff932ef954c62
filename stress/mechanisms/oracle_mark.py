"""Oracle mark: the mark is the oracle view.

Stage        mark.
Formula      M = O.
Source       dYdX v4-chain margins at the oracle price (x/perpetuals @ 84d4664b); GMX v2, Synthetix v3 alike.
Invariants   with arbitrage_share = 0 the venue's own fills never move the mark.
Limits       no feedback from the venue's own book unless arbitrage carries it to the sources.
"""

from __future__ import annotations

from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined
from stress.kernels.venue import MARK_UPDATE
from stress.stages import Mechanism, MechanismParameters, Stage


class OracleMark(MechanismParameters):
    """No parameters."""


@inlined
def mark(v, path, t, first_round):
    """Write M for every market whose mark may move."""
    markets = v.markets
    for m in range(markets.shape[0]):
        if not is_blocked(v, m, t, MARK_UPDATE):
            markets[m]["mark"] = markets[m]["oracle"]


MECHANISM = Mechanism(name="oracle_mark", stage=Stage.MARK, parameters=OracleMark, kernels={"mark": mark})
