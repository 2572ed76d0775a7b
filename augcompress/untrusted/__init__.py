"""What comes from outside: its size, depth and kinds of values are bounded before it is used."""

from augcompress.untrusted.json_data import check_depth, load_json, parse_json
from augcompress.untrusted.yaml_data import load_yaml, plain_yaml
