"""What every exporter keeps, and a plug-in's as well."""

from typing import get_args

import numpy as np
import pytest
import torch
from zipped_graph import ZippedGraph

from augcompress.component import Plugin
from augcompress.exporters import Target, check_float, network_reference

MEMBERS = [one for one in get_args(get_args(Target)[0]) if one is not Plugin]
SETTINGS = {
    "as it is": {},
    "bytes to probabilities": {"input": "uint8", "output": "probabilities"},
    "fixed batch": {"batch": 4},
}
METADATA = {"labels": "[]", "producer_version": "1"}


@pytest.fixture(params=[*MEMBERS, ZippedGraph], ids=lambda one: one.__name__)
def exporter(request):
    return request.param


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_written_file_does_what_the_network_does(exporter, settings, network, images, tmp_path):
    target = exporter(**settings)
    modes = [layer.training for layer in network.modules()]
    file = target.write(network, tmp_path, images[:2])
    assert [layer.training for layer in network.modules()] == modes
    assert file == tmp_path / exporter.file
    target.describe(file, METADATA)
    target.check(file, images)
    for one in (file, *target.copies(file)):
        model = target.open(one, threads=2)
        assert (model.input, model.output) == (target.input, target.output)
        assert model.batch == target.batch
        check_float(model, network_reference(network), images, batch=target.batch)


def test_probabilities_are_those_of_the_network(exporter, network, images, tmp_path):
    with torch.no_grad():
        want = network.eval()(images[:9]).softmax(1).numpy()
    raw = (images[:9] * 255).round().to(torch.uint8)
    for output in ("logits", "probabilities"):
        target = exporter(output=output)
        model = target.open(target.write(network, tmp_path, images[:2]))
        np.testing.assert_allclose(model.probabilities(images[:9]), want, atol=1e-5)
        np.testing.assert_array_equal(model(raw), model(raw.float() / 255))


def test_a_graph_is_written_as_well_as_a_network(exporter, network, images, tmp_path):
    graph = MEMBERS[0]().to_graph(network, images[:2])
    target = exporter()
    model = target.open(target.write(graph, tmp_path, images[:2]))
    check_float(model, network_reference(network), images)
