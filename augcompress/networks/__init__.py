"""A network on disk and in memory: checkpoints, foreign weights, graphs, heads."""

from augcompress.networks.checkpoint import (
    DESCRIPTION,
    GRAPH,
    WEIGHTS,
    Applied,
    Network,
    load_network,
    save_network,
)
from augcompress.networks.graphs import open_graph, stored_types
from augcompress.networks.heads import headless, set_head
from augcompress.networks.opening import new_network, open_network
from augcompress.networks.teachers import (
    CachedTeacher,
    GraphTeacher,
    NetworkTeacher,
    Outputs,
    Teacher,
    cached,
    open_teacher,
    resized,
)
