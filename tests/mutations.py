"""Broken versions of a file, for tests of what reads it: bytes flipped, overwritten, taken out, repeated, cut off."""

import random
from collections.abc import Iterator


def mutations(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` of them, the same for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        broken = bytearray(content)
        for _ in range(draw.choice([1, 1, 2, 5, 20])):
            at, length = draw.randrange(len(broken) + 1), draw.choice([1, 2, 4, 8, 64])
            kind = draw.randrange(6)
            if kind == 0 and at < len(broken):
                broken[at] ^= 1 << draw.randrange(8)
            elif kind == 1:
                broken[at: at + length] = draw.choice([b"\x00", b"\xff", b"\x7f"]) * length
            elif kind == 2:
                del broken[at: at + length]
            elif kind == 3:
                broken[at:at] = broken[at: at + length] * draw.choice([1, 3])
            elif kind == 4:
                broken[at:at] = draw.randbytes(length)
            elif kind == 5 and draw.random() < 0.2:
                del broken[at:]
        yield bytes(broken)
