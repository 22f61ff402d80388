"""Few colours for many, for files that hold a palette: inks as they are, since a reader tells paths by them.

>>> pixels = packed(np.array([[[255, 0, 0], [254, 0, 0], [0, 0, 9]]]))
>>> made = palette(pixels, ["#FF0000"], count=2)
>>> made.colors.tolist(), made.indexed(pixels).tolist()
([[127, 0, 5], [255, 0, 0]], [[1, 1, 0]])
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_rgba_array
from PIL import Image

EXACT = 0.8  # the share of the palette that is left to the inks and to the colours that cover most


class Palette(NamedTuple):
    """The colours of a picture, and which of them each of 2^24 colours is nearest to, as far as it was asked."""

    colors: np.ndarray  # (count, 3)
    nearest: np.ndarray  # (2^24,) of whole numbers; -1 where it was not asked yet

    def indexed(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels as numbers of colours."""
        if (fresh := np.unique(pixels[self.nearest[pixels] < 0])).size:
            far = np.sum((unpacked(fresh)[:, None] - self.colors) ** 2, axis=-1)
            self.nearest[fresh] = far.argmin(axis=1)
        return self.nearest[pixels].astype(np.uint8)

    @property
    def flat(self) -> bytes:
        """Its colours as image files want them."""
        return self.colors.astype(np.uint8).tobytes().ljust(3 * 256, b"\0")


def palette(pixels: np.ndarray, inks: Iterable[str] = (), count: int = 256) -> Palette:
    """The inks and the colours that cover most, as they are, and what a median cut makes of the others.

    Args:
        pixels: red + 256 green + 65536 blue of each.
        inks: colours that must not be mixed with others.
        count: how many colours there may be, with the inks.
    """
    found, counts = np.unique(pixels, return_counts=True)
    held = packed(np.rint(255 * to_rgba_array([*dict.fromkeys(inks)])[:, :3]))
    ordered = found[np.lexsort((found, -counts, ~np.isin(found, held)))]
    most = count if len(ordered) <= count else max(int(EXACT * count), len(held))
    exact, rest = unpacked(ordered[:most]), unpacked(ordered[most:])
    if len(rest):
        image = Image.fromarray(rest[None].astype(np.uint8))
        cut = image.quantize(count - most, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        exact = np.concatenate([exact, np.reshape(cut.getpalette(), (-1, 3))])
    return Palette(np.unique(exact, axis=0), np.full(2**24, -1, np.int16))


def packed(colors: np.ndarray) -> np.ndarray:
    """(..., 3) bytes as one number each."""
    return np.asarray(colors, np.uint32) @ np.array([1, 256, 65536], np.uint32)


def unpacked(pixels: np.ndarray) -> np.ndarray:
    """The reverse of `packed`."""
    return np.stack([pixels & 255, pixels >> 8 & 255, pixels >> 16], axis=-1).astype(np.int64)
