"""Which prefix kernel, and in which tiles, a GPU backend of slab_attention uses for a shape.

One table, read from the top: the first row that fits is taken. `source` says where a row's tiles
were measured; "untimed" rows were chosen for compiling without spills, which tests/kernels checks.
"""

from __future__ import annotations

from dataclasses import dataclass

UNTIMED = "untimed"
ANY = 1 << 30


@dataclass(frozen=True)
class PrefixChoice:
    """A row of the table: where it fits, and the tiles of queries and keys it takes."""

    backend: str  # "triton" or "cuda"
    kernel: str  # "dot" in Triton; "fma64", "mma16", "mma64" or "wgmma128" in CUDA
    capability: int  # 10 * major + minor that it needs at least; "wgmma128" runs on 90 alone
    element_size: int  # bytes of a key's element
    max_head_dim: int
    max_queries: int  # rows times sharers of the largest segment
    tile_rows: int
    tile_keys: int
    num_warps: int
    num_stages: int
    precision: str = "ieee"  # of float32 products; tf32x3 sums three tensor-core products
    min_head_dim: int = 0
    min_queries: int = 0
    source: str = UNTIMED

    def fits(self, backend: str, capability: int, element_size: int, head_dim: int) -> bool:
        """Whether it can compute this at all, however many queries there are."""
        return (
            self.backend == backend
            and self.capability <= capability
            and (not self.kernel.startswith("wgmma") or capability // 10 == 9)
            and self.element_size == element_size
            and self.min_head_dim <= head_dim <= self.max_head_dim
        )


Tiles = tuple[int, int, int, int]  # rows, keys, warps, stages


def triton(
    size: int,
    max_dim: int,
    max_queries: int,
    tiles: Tiles,
    precision: str = "ieee",
    capability: int = 80,
) -> PrefixChoice:
    return PrefixChoice(
        "triton", "dot", capability, size, max_dim, max_queries, *tiles, precision=precision
    )


def cuda(kernel: str, size: int, max_dim: int, max_queries: int, tiles: Tiles) -> PrefixChoice:
    return PrefixChoice("cuda", kernel, 80, size, max_dim, max_queries, *tiles)


def wgmma(head_dim: int, stages: int) -> PrefixChoice:
    """Where tiles of 128 queries occupy the device; 12 warps, of which 4 only copy."""
    fits = (90, 2, head_dim, ANY)
    tiles = (128, 128, 12, stages)
    return PrefixChoice(
        "cuda", "wgmma128", *fits, *tiles, min_head_dim=head_dim, min_queries=4 * 128
    )


# Tiles of 64 rows are the least that Hopper multiplies with wgmma; wider ones read keys less often.
PREFIX_CHOICES: tuple[PrefixChoice, ...] = (
    triton(2, 64, 16, (16, 64, 4, 3)),
    triton(2, 64, 32, (32, 64, 4, 3)),
    triton(2, 64, 512, (64, 64, 4, 3)),
    triton(2, 64, ANY, (128, 64, 8, 3)),
    triton(2, 128, 16, (16, 64, 4, 3)),
    triton(2, 128, 32, (32, 64, 4, 3)),
    triton(2, 128, 512, (64, 64, 4, 3), capability=90),
    triton(2, 128, ANY, (128, 64, 8, 3), capability=90),
    triton(2, 128, 64, (64, 64, 8, 2)),
    triton(2, 128, ANY, (128, 32, 8, 3)),
    triton(2, 256, 16, (16, 32, 8, 2)),
    triton(2, 256, ANY, (64, 32, 8, 2)),
    triton(4, 64, 16, (16, 32, 8, 2), "tf32x3"),
    triton(4, 64, ANY, (32, 32, 8, 2), "tf32x3"),
    triton(4, 128, ANY, (16, 32, 8, 2), "tf32x3"),
    triton(4, 256, ANY, (16, 16, 8, 3)),
    cuda("fma64", 4, 256, ANY, (64, 32, 4, 1)),
    cuda("mma16", 2, 128, 16, (16, 64, 4, 3)),
    cuda("mma16", 2, 256, 16, (16, 64, 4, 2)),
    cuda("mma64", 2, 128, ANY, (64, 64, 4, 2)),
    cuda("mma64", 2, 256, ANY, (64, 32, 4, 2)),
    # After a row that fits as well: taken only by name, until it has been run and timed on a GPU.
    wgmma(64, 4),
    wgmma(128, 3),
)


def choose_prefix(
    backend: str,
    capability: int,
    element_size: int,
    head_dim: int,
    queries: int,
    kernel: str | None = None,
) -> PrefixChoice:
    """The first row that fits, of the kernel if one is named. Raises ValueError when none does.

    queries: rows times sharers of the largest segment.
    """
    for choice in PREFIX_CHOICES:
        fits = choice.fits(backend, capability, element_size, head_dim)
        if (
            fits
            and kernel in (None, choice.kernel)
            and choice.min_queries <= queries <= choice.max_queries
        ):
            return choice
    raise ValueError(
        f"slab_attention: {backend} has no kernel for head_dim {head_dim} in elements of "
        f"{element_size} bytes on compute capability {capability / 10}; it must be at most 256, in "
        "2 or 4 bytes, on 8.0 or later"
    )
