"""NT-Xent against numbers worked out by plain arithmetic, its gradient, and its symmetries."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch

from augcompress.objectives import nt_xent

FIRST = [[1.0, 0.0], [0.0, 2.0]]
SECOND = [[3.0, 4.0], [-1.0, 0.0]]
"""Unit vectors: (1,0) and (0,1), their partners (0.6,0.8) and (-1,0)."""


def pair(images: int = 5, width: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(2, images, width, generator=generator, dtype=torch.float64)
    return both[0], both[1]


def test_two_images_by_hand():
    """Each view's similarity to its partner, then to the two views of the other image."""
    t = 0.5
    similar = [
        (0.6, 0.0, -1.0),  # (1,0): partner (0.6,0.8); others (0,1) and (-1,0)
        (0.0, 0.0, 0.8),  # (0,1): partner (-1,0); others (1,0) and (0.6,0.8)
        (0.6, 0.8, -0.6),  # (0.6,0.8): partner (1,0); others (0,1) and (-1,0)
        (0.0, -1.0, -0.6),  # (-1,0): partner (0,1); others (1,0) and (0.6,0.8)
    ]
    terms = [log(sum(exp(s / t) for s in row)) - row[0] / t for row in similar]
    found = nt_xent(torch.tensor(FIRST), torch.tensor(SECOND), t)
    assert found.item() == pytest.approx(sum(terms) / 4, rel=1e-6)


def test_views_that_are_all_alike_are_guessed_among():
    same = torch.ones(4, 3, dtype=torch.float64)
    assert nt_xent(same, same, 0.1).item() == pytest.approx(log(7))


def test_one_image_has_nothing_to_be_told_from():
    first, second = pair(images=1)
    assert nt_xent(first, second, 0.5).item() == 0


def test_images_told_apart_cost_little_at_a_low_temperature():
    apart = torch.eye(6, dtype=torch.float64)
    assert nt_xent(apart, apart, 0.05).item() == pytest.approx(10 * exp(-20), rel=1e-4)


def test_lengths_do_not_matter():
    first, second = pair()
    lengths = torch.tensor([[0.1], [1.0], [3.0], [sqrt(2)], [50.0]], dtype=torch.float64)
    found = nt_xent(first * lengths, second / lengths, 0.5)
    assert found.item() == pytest.approx(nt_xent(first, second, 0.5).item())


def test_order_of_views_and_of_images_does_not_matter():
    first, second = pair()
    wanted = nt_xent(first, second, 0.3).item()
    order = torch.tensor([3, 1, 4, 0, 2])
    assert nt_xent(second, first, 0.3).item() == pytest.approx(wanted)
    assert nt_xent(first[order], second[order], 0.3).item() == pytest.approx(wanted)
    assert nt_xent(first, second[order], 0.3).item() != pytest.approx(wanted)


def test_gradient_is_that_of_finite_differences():
    first, second = (each.requires_grad_() for each in pair(images=4))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.2), (first, second))
