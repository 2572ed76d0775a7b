"""From a network or a graph to the files that ship: verified, compared, described."""

from augcompress.shipping.comparison import compare, measure_baseline, twin_of, under_another_role
from augcompress.shipping.layers import layer_costs
from augcompress.shipping.origins import (
    FLOAT,
    FLOAT_GRAPH,
    TEACHER,
    Baseline,
    Origin,
    open_baselines,
    open_origin,
)
from augcompress.shipping.package import usage
from augcompress.shipping.targets import SHIPPED, WrittenTarget, file_costs, verify, write_target
from augcompress.shipping.verification import (
    calibration,
    check_baseline,
    check_file_promises,
    check_parity,
)
