"""torch.compile around the networks of one training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from augcompress.errors import AugcompressError


@contextmanager
def compiled(networks: Sequence[nn.Module], where: str) -> Iterator[None]:
    """Inside, the networks' forward passes are compiled; afterwards they are as they were.

    Raises AugcompressError when there is no compiler for it.
    """
    for network in networks:
        network.compile()
    try:
        yield
    except BackendCompilerFailed as error:
        reason = str(error.inner_exception).strip().splitlines()[0]
        raise AugcompressError(
            f"{where}.training.compile: torch.compile failed ({reason}); install a C++ compiler, or"
            " leave compile out"
        ) from error
    finally:
        for network in networks:
            network._compiled_call_impl = None
