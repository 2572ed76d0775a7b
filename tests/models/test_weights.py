"""Weight files: what is read, what is refused, what fits."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import save_file

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError
from augcompress.models import (
    ModelFacts,
    SmallCNN,
    TorchvisionModel,
    build_classifier,
    cut_head,
    find_head,
    head_classes,
    load_weights,
    read_weights,
    receiver,
)


def classifier(classes=5, widths=(4, 6), seed=0):
    torch.manual_seed(seed)
    facts = ModelFacts(classes, ImageInput(1, (8, 8)))
    return build_classifier(SmallCNN(widths=widths), facts, [0.5], [0.25])


def head_for(network, state, size=8):
    """The head of what takes the state."""
    target = receiver(network, state)
    channels = next(target.parameters()).shape[1]
    return find_head(target, torch.rand(1, channels, size, size))


def same(network, other) -> bool:
    images = torch.rand(3, 1, 8, 8)
    return torch.equal(network.eval()(images), other.eval()(images))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".th"])
def test_every_file_type_is_read(suffix, tmp_path):
    network, path = classifier(), tmp_path / f"model{suffix}"
    write = save_file if suffix == ".safetensors" else torch.save
    write(network.state_dict(), path)
    other = classifier(seed=1)
    load_weights(other, read_weights(path), where="test")
    assert same(network, other)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_wrapped_states_are_unwrapped(wrapper, prefix, tmp_path):
    state = classifier().body.state_dict()
    named = {f"{prefix}{name}": value for name, value in state.items()}
    torch.save({"epoch": 3, wrapper: named}, tmp_path / "a.pt")
    assert read_weights(tmp_path / "a.pt").keys() == state.keys()


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_is_refused_and_not_executed(wrapped, tmp_path):
    trap = Trap(tmp_path / "executed")
    torch.save({"state_dict": {"weight": trap}} if wrapped else trap, tmp_path / "evil.pt")
    with pytest.raises(AugcompressError, match="nothing in it was run; save it with") as caught:
        read_weights(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()
    assert "\n" not in str(caught.value)


def test_a_pickled_network_is_refused(tmp_path):
    torch.save(classifier(), tmp_path / "whole.pth")
    with pytest.raises(AugcompressError, match="is no plain state dict"):
        read_weights(tmp_path / "whole.pth")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04broken", b"\x80\x02"])
def test_damaged_files_are_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AugcompressError, match=f"weights .*{name}: is no"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    "content, message",
    [
        ([1, 2], "holds list, not a state dict"),
        ({}, "holds dict, not a state dict"),
        ({"epoch": 3}, "'epoch' is no tensor"),
    ],
)
def test_files_without_a_state_dict_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(AugcompressError, match=message):
        read_weights(tmp_path / "a.pt")


def test_unknown_files_are_refused(tmp_path):
    with pytest.raises(AugcompressError, match="no such file"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(AugcompressError, match=r"unknown file type '\.h5'"):
        read_weights(tmp_path / "a.h5")


def test_a_foreign_state_fills_the_body_and_may_lack_counters():
    network, other = classifier(), classifier(seed=1)
    state = network.body.state_dict()
    state = {name: value for name, value in state.items() if "num_batches" not in name}
    assert load_weights(other, state, where="test") == ()
    assert same(network, other)


def test_our_checkpoint_brings_its_normalisation():
    network, other = classifier(), classifier(seed=1)
    network.normalize.mean.fill_(0.1)
    load_weights(other, network.state_dict(), where="test")
    assert other.normalize.mean.item() == pytest.approx(0.1)


@pytest.mark.parametrize("own", [True, False])
def test_a_head_of_another_class_count_stays_fresh(own):
    trained, network = classifier(classes=9), classifier(seed=1)
    head = network.body.linear.weight.clone()
    state = trained.state_dict() if own else trained.body.state_dict()
    prefix = "body." if own else ""
    fresh = load_weights(network, state, where="test", head=head_for(network, state))
    assert fresh == (f"{prefix}linear.weight", f"{prefix}linear.bias")
    assert torch.equal(network.body.linear.weight, head)
    assert torch.equal(network.body.blocks[0].conv.weight, trained.body.blocks[0].conv.weight)


def test_a_strict_head_is_part_of_the_network():
    state = classifier(classes=9).body.state_dict()
    with pytest.raises(AugcompressError, match=r"linear.weight is \(9, 6\), not \(5, 6\)"):
        load_weights(classifier(), state, where="test")


def test_what_does_not_fit_is_named_and_nothing_is_loaded():
    network = classifier()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = classifier(widths=(8, 6), seed=1).body.state_dict()
    with pytest.raises(AugcompressError, match="do not fit the network") as caught:
        load_weights(network, state, where="distill.weights")
    message = str(caught.value)
    assert message.startswith("distill.weights: the weights do not fit the network: ")
    assert "blocks.0.conv.weight is (8, 1, 3, 3), not (4, 1, 3, 3)" in message
    assert message.count(" is (") == 3
    assert "; choose the model that they were trained with: " in message
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_missing_and_unknown_names_are_named():
    state = classifier().body.state_dict()
    state["extra.weight"] = state.pop("blocks.0.conv.weight")
    message = "blocks.0.conv.weight is missing, extra.weight is unknown here"
    with pytest.raises(AugcompressError, match=message):
        load_weights(classifier(), state, where="test")


@pytest.mark.parametrize("own", [True, False])
def test_a_cut_head_answers_with_the_chosen_columns(own):
    trained, network = classifier(classes=9), classifier(classes=3, seed=1)
    state = trained.state_dict() if own else trained.body.state_dict()
    own_head = head_for(network, state)
    assert head_classes(own_head, state) == 9
    load_weights(network, cut_head(own_head, state, [7, 0, 4]), where="test")
    images = torch.rand(3, 1, 8, 8)
    logits, wanted = network.eval()(images), trained.eval()(images)[:, [7, 0, 4]]
    assert torch.equal(network.body.linear.weight, trained.body.linear.weight[[7, 0, 4]])
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=0)
    assert head_classes(own_head, state) == 9  # the state itself is not cut


def test_a_head_made_of_a_convolution_is_cut():
    facts = [ModelFacts(count, ImageInput(3, (32, 32))) for count in (5, 2)]
    model = TorchvisionModel(name="squeezenet1_1")
    whole, few = (build_classifier(model, each, [0.5] * 3, [0.25] * 3).eval() for each in facts)
    state = whole.state_dict()
    load_weights(few, cut_head(head_for(few, state, 32), state, [3, 1]), where="test")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(few(images), whole(images)[:, [3, 1]], atol=1e-5, rtol=0)


def test_a_state_without_the_head_has_no_classes():
    state = {"other.weight": torch.zeros(3, 2)}
    assert head_classes(head_for(classifier(), state), state) is None


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["blocks.0.conv.weight", "linear.bias"])
def test_weights_that_are_no_numbers_are_named(name, number):
    network = classifier()
    state = {key: value.clone() for key, value in network.body.state_dict().items()}
    state[name].view(-1)[0] = number
    with pytest.raises(AugcompressError, match=f"teacher: .* NaN or infinite numbers: {name};"):
        load_weights(network, state, where="teacher")


def test_statistics_may_be_infinite_but_no_nan():
    network = classifier()
    state = {key: value.clone() for key, value in network.body.state_dict().items()}
    state["blocks.0.bn.running_var"][0] = float("inf")
    load_weights(network, state, where="teacher")
    state["blocks.0.bn.running_var"][0] = float("nan")
    with pytest.raises(AugcompressError, match=r"NaN or .*: blocks\.0\.bn\.running_var"):
        load_weights(network, state, where="teacher")
