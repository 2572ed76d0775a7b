"""What `model.json` says of a network, and what is read back of it."""

from __future__ import annotations

import copy
import json

import pytest
from end_to_end import TINY

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError
from augcompress.networks import DESCRIPTION, load_network, new_network, save_network
from augcompress.running.context import Context
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir


@pytest.fixture
def saved(tmp_path):
    context = Context(validate(copy.deepcopy(TINY)), RunDir(tmp_path))
    network = new_network(context, context.spec.distill.student, None, "distill")
    return save_network(network, tmp_path / "saved")


def test_what_the_input_is_stands_in_the_description(saved):
    told = json.loads(saved.with_name(DESCRIPTION).read_text())
    assert told["facts"] == {
        "classes": 10,
        "input": {"kind": "image", "channels": 1, "size": [8, 8]},
    }
    assert load_network(saved).facts.input == ImageInput(1, (8, 8))


@pytest.mark.parametrize("change", [{"version": 1}, {"facts": {"classes": 10, "size": [8, 8]}}])
def test_another_version_is_refused(saved, change):
    file = saved.with_name(DESCRIPTION)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(AugcompressError, match=r"is no checkpoint of augcompress \(ValueError: "):
        load_network(saved)
