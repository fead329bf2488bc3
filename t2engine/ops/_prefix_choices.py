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
    kernel: str  # "dot" in Triton; "fma", "mma" or "wgmma" in CUDA
    capability: int  # 10 * major + minor that it needs at least; "wgmma" runs on 90 alone
    element_size: int  # bytes of a key's element
    max_head_dim: int
    max_queries: int  # rows times sharers of the largest segment
    tile_rows: int
    tile_keys: int
    num_warps: int
    num_stages: int
    precision: str = "ieee"  # of float32 products; tf32x3 sums three tensor-core products
    source: str = UNTIMED

    def fits(self, backend: str, capability: int, element_size: int, head_dim: int) -> bool:
        """Whether it can compute this at all, however many queries there are."""
        return (
            self.backend == backend
            and self.capability <= capability
            and (not self.kernel.startswith("wgmma") or capability // 10 == 9)
            and self.element_size == element_size
            and head_dim <= self.max_head_dim
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
)


def choose_prefix(
    backend: str, capability: int, element_size: int, head_dim: int, queries: int
) -> PrefixChoice:
    """queries: rows times sharers of the largest segment. Raises ValueError when none fits."""
    for choice in PREFIX_CHOICES:
        fits = choice.fits(backend, capability, element_size, head_dim)
        if fits and queries <= choice.max_queries:
            return choice
    raise ValueError(
        f"slab_attention: {backend} has no kernel for head_dim {head_dim} in elements of "
        f"{element_size} bytes on compute capability {capability / 10}; it must be at most 256, in "
        "2 or 4 bytes, on 8.0 or later"
    )
