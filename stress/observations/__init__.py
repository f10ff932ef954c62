"""What was observed of markets: bars, marks, funding, depth, quotes and tapes; defects found, repaired by named rules.

    raw file (stress.sources) -> Observations -> find -> Defects -> repair, by rules that the user names

Reading changes nothing: a cell that is no number stays in the table as NaN and in the list of defects with its
line. What uses prices (`histories`) refuses the first defect that no rule repairs.
"""

from __future__ import annotations

from stress.observations.defects import Defect, bar_of, find
from stress.observations.kinds import KINDS, Observations, kind_of
from stress.observations.repairs import RULES, histories, market_of, parse_rules, refuse, repair
from stress.observations.summary import COLUMNS, Row, describe, rows
from stress.observations.tables import RawTable, Reading, normalise, open_table, pair_in

__all__ = [
    "COLUMNS",
    "KINDS",
    "RULES",
    "Defect",
    "Observations",
    "RawTable",
    "Reading",
    "Row",
    "bar_of",
    "describe",
    "find",
    "histories",
    "kind_of",
    "market_of",
    "normalise",
    "open_table",
    "pair_in",
    "parse_rules",
    "refuse",
    "repair",
    "rows",
]
