"""The parameter points to visit, what each axis means, and what `explain` says about them."""

from stress.design.axes import Parameter, addressed, effective, parameters, with_axis
from stress.design.explain import Cost, TimeConstant, cost, explain, time_constants
from stress.design.plan import CellPoint, Design, PathPoint, plan

__all__ = [
    "CellPoint",
    "Cost",
    "Design",
    "Parameter",
    "PathPoint",
    "TimeConstant",
    "addressed",
    "cost",
    "effective",
    "explain",
    "parameters",
    "plan",
    "time_constants",
    "with_axis",
]
