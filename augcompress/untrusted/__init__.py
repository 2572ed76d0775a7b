"""What comes from outside: its size, depth and kinds of values are bounded before it is used."""

from augcompress.untrusted.array_data import FREE_BYTES, UNFOLDS, check_unfolded, load_npz
from augcompress.untrusted.json_data import (
    MAX_DEPTH,
    check_depth,
    load_json,
    parse_json,
    require_regular,
)
from augcompress.untrusted.yaml_data import load_yaml, plain_yaml
