"""torch.compile around the networks of one training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

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
    except RuntimeError as error:
        if type(error).__name__ != "BackendCompilerFailed":  # its module takes a second to import
            raise
        reason = str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
        raise AugcompressError(
            f"{where}.training.compile: torch.compile failed ({reason}); install a C++ compiler, or"
            " leave compile out"
        ) from error
    finally:
        for network in networks:
            network._compiled_call_impl = None
