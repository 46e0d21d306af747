"""Prepare pixels as the released experiments did: MATLAB's imresize, the crop of white margins, flip, crop, BGR, means.

Images come as height x width x RGB, uint8. `enlarge` and `enlarge_cut`, which are not random, turn each into three float32
planes of 36 x 36; `network_input` applies the random flip and crop and makes the net's input.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIZE = 32
ENLARGED = 36
# CIFAR-10's means of R, G and B. The released code subtracts them from B, G and R, in this order.
MEANS = np.array([125.3, 123.0, 113.9], np.float32)
WHITE = 250  # a pixel with at least this grey value belongs to a margin
MARGIN = 4  # pixels of a margin that are kept
LUMA = np.array([0.2989, 0.5870, 0.1140])  # MATLAB's rgb2gray


def cubic(x: NDArray) -> NDArray:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE TASSP 29, 1981, eq. 15), which MATLAB calls bicubic."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


@cache
def interpolation(size: int, target: int, scale: float) -> NDArray[np.float32]:
    """The (target, size) matrix that resizes a row of `size` pixels: each new pixel is a weighted mean of old ones.

    To enlarge, four old pixels are averaged. To shrink, the kernel is stretched by ``1 / scale``, so that all old pixels
    contribute (MATLAB's antialiasing). `scale` is not ``target / size`` where `target` was rounded up.
    """
    stretch = min(scale, 1)
    reach = math.ceil(2 / stretch)
    centre = (np.arange(target) + 0.5) / scale - 0.5
    source = np.floor(centre).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
    weight = cubic(stretch * (centre[:, None] - source))
    weight /= weight.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])  # ... 2 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
    matrix = np.zeros((target, size))
    np.add.at(matrix, (np.arange(target)[:, None], mirrored[source % (2 * size)]), weight)
    return matrix.astype(np.float32)


def imresize(planes: NDArray[np.float32], height: int, width: int, scale: float | None = None) -> NDArray[np.float32]:
    """MATLAB's ``imresize(image, [height width])``: bicubic, edges mirrored.

    Values are neither rounded nor clipped, so they may be outside the input's range.

    Parameters
    ----------
    planes : (..., H, W) float32
    height, width : int
        The new size.
    scale : float, optional
        The factor for both axes, if one side was computed from the other and rounded up (MATLAB's size NaN).

    Returns
    -------
    (..., height, width) float32
    """
    old_height, old_width = planes.shape[-2:]
    row_scale, column_scale = scale or height / old_height, scale or width / old_width
    rows = interpolation(old_height, height, row_scale)
    columns = interpolation(old_width, width, column_scale).T
    # MATLAB first resizes the axis with the smaller factor; the rows if the factors are equal. There is one matrix product
    # per plane: BLAS uses a single thread for so small a product, so that the bits do not depend on the number of threads.
    if row_scale <= column_scale:
        return np.matmul(np.matmul(rows, planes), columns)
    return np.matmul(rows, np.matmul(planes, columns))


def content_box(image: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The rows and the columns of a (32, 32, 3) image that the released code keeps: it cuts near-white margins.

    In its 1-based arithmetic, ``first`` and ``last`` are the first and the last column with a pixel darker than 250. Then
    ``xmin = max(0, first - 4)`` and ``xmax = min(32, last + 4)``, and imcrop keeps the existing columns of xmin to xmax + 1.
    The same holds for rows.
    """
    grey = np.floor(image @ LUMA + 0.5)
    dark = grey < WHITE
    if not dark.any():
        return slice(0, SIZE), slice(0, SIZE)  # no dark pixel: the released code fails

    def kept(line_has_dark: NDArray[np.bool_]) -> slice:
        lines = np.flatnonzero(line_has_dark) + 1
        low, high = max(0, lines[0] - MARGIN), min(SIZE, lines[-1] + MARGIN)
        return slice(max(low, 1) - 1, min(high + 1, SIZE))

    return kept(dark.any(axis=1)), kept(dark.any(axis=0))


def with_white_margin(images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Indices of the (N, 32, 32, 3) images that `content_box` cuts: about 1.25 % of CIFAR-100."""
    edges = images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]
    # A grey value of 250 needs at least 200 in each channel. Few images have such edges; only these are examined in full.
    light_edge = np.any([edge.min(axis=(1, 2)) >= 200 for edge in edges], axis=0)
    whole = slice(0, SIZE), slice(0, SIZE)
    return np.array([i for i in np.flatnonzero(light_edge) if content_box(images[i]) != whole], np.intp)


def planes_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32."""
    return np.moveaxis(images, -1, -3).astype(np.float32)


def enlarge(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 32, 32, 3) images without white margins -> (N, 3, 36, 36)."""
    return imresize(planes_of(images), ENLARGED, ENLARGED)


def enlarge_cut(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(32, 32, 3) -> (3, 36, 36): crop the white margin, make the longer side 36, pad the shorter with white."""
    planes = planes_of(image[content_box(image)])
    height, width = planes.shape[1:]
    scale = ENLARGED / max(height, width)
    # MATLAB rounds up the shorter side. Integers are used, since (36 / n) * n may exceed 36 in floating point.
    planes = imresize(planes, *(-(-side * ENLARGED // max(height, width)) for side in (height, width)), scale)
    padded = np.full((3, ENLARGED, ENLARGED), 255, np.float32)
    top, left = ((ENLARGED - side) // 2 for side in planes.shape[1:])
    padded[:, top : top + planes.shape[1], left : left + planes.shape[2]] = planes
    return padded


def network_input(enlarged: NDArray[np.float32], flip: NDArray[np.bool_], row: NDArray[np.intp],
                  column: NDArray[np.intp]) -> NDArray[np.float32]:
    """Flip, crop, reorder and centre enlarged images.

    Parameters
    ----------
    enlarged : (N, 3, 36, 36) float32
        Red, green and blue planes.
    flip : (N,) bool
        True for images to mirror left-right before the crop.
    row, column : (N,) int
        The offsets of the crop, 0 to 4.

    Returns
    -------
    (N, 3, 32, 32) float32
        Blue, green and red planes minus `MEANS`, C-contiguous.
    """
    batch = np.empty((len(enlarged), 3, SIZE, SIZE), np.float32)
    for out, planes, mirrored, top, left in zip(batch, enlarged, flip, row, column, strict=True):
        view = planes[::-1, :, ::-1] if mirrored else planes[::-1]
        np.subtract(view[:, top : top + SIZE, left : left + SIZE], MEANS[:, None, None], out=out)
    return batch
