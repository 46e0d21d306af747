"""Pixels: MATLAB's imresize against Pillow, the crop of white margins against its 1-based description."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from data_toolkit import images

planes = hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(4, 20), st.integers(4, 20)),
                    elements=st.floats(0, 255, width=32))


def by_pillow(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same resize by Pillow. Its kernel is MATLAB's, but it does not mirror edges: this is done first."""
    pad = 16
    rows, columns = plane.shape
    top, left = pad * height // rows, pad * width // columns
    mirrored = Image.fromarray(np.pad(plane, pad, mode="symmetric"))
    resized = np.asarray(mirrored.resize((width + 2 * left, height + 2 * top), Image.Resampling.BICUBIC))
    return resized[top : top + height, left : left + width]


@given(hnp.arrays(np.float32, st.sampled_from([(32, 32), (16, 8), (8, 32)]), elements=st.floats(0, 255, width=32)),
       st.sampled_from([(8, 8), (9, 9), (10, 8), (8, 13), (16, 24), (7, 7), (2, 5), (3, 11), (12, 4)]))
def test_imresize_is_pillows_on_mirrored_edges(plane, eighths):
    height, width = (side * eighth // 8 for side, eighth in zip(plane.shape, eighths, strict=True))
    np.testing.assert_allclose(images.imresize(plane, height, width), by_pillow(plane, height, width), atol=2e-3)


@given(planes, st.integers(2, 30), st.integers(2, 30))
def test_imresize_commutes_with_mirroring_and_transposing(x, height, width):
    resized = images.imresize(x, height, width)
    np.testing.assert_allclose(images.imresize(x[:, :, ::-1], height, width), resized[:, :, ::-1], atol=1e-3)
    np.testing.assert_allclose(images.imresize(x.swapaxes(1, 2), width, height), resized.swapaxes(1, 2), atol=1e-3)


@given(st.integers(4, 40), st.integers(0, 30), st.floats(-5, 5), st.floats(-100, 100))
def test_imresize_keeps_lines_straight_inside(size, more, slope, offset):
    target = size + more
    ramp = (slope * np.arange(size) + offset).astype(np.float32)
    resized = images.imresize(np.tile(ramp, (4, 1)), 4, target)
    position = (np.arange(target) + 0.5) * size / target - 0.5
    inside = (position >= 1) & (position <= size - 2)
    np.testing.assert_allclose(resized[:, inside], np.tile(slope * position + offset, (4, 1))[:, inside], atol=1e-3)


def test_imresize_does_not_clip():
    step = np.repeat(np.array([[0, 255]], np.float32), 16, axis=1)
    resized = images.imresize(np.tile(step, (32, 1)), 36, 36)
    assert resized.min() < 0 and resized.max() > 255


@given(st.floats(-300, 300, width=32), st.integers(4, 40), st.integers(1, 80))
def test_imresize_keeps_a_constant(value, size, target):
    resized = images.imresize(np.full((size, size), value, np.float32), target, target)
    np.testing.assert_allclose(resized, value, rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(planes, st.floats(0.3, 2))
def test_imresize_by_a_factor_differs_from_its_rounded_up_size(x, scale):
    """The factor, not the rounded size, determines the centres of new pixels; `kernel` is summed pixel by pixel."""
    height, width = (math.ceil(side * scale) for side in x.shape[1:])
    resized = images.imresize(x, height, width, scale)
    row, column = height // 2, width - 1
    expected = sum(kernel((row + 0.5) / scale - 0.5 - i, scale) * kernel((column + 0.5) / scale - 0.5 - j, scale)
                   * x[:, mirror(i, x.shape[1]), mirror(j, x.shape[2])].astype(float)
                   for i in range(-30, 60) for j in range(-30, 60))
    total = [sum(kernel((k + 0.5) / scale - 0.5 - i, scale) for i in range(-30, 60)) for k in (row, column)]
    np.testing.assert_allclose(resized[:, row, column], expected / math.prod(total), atol=1e-3)


def kernel(distance: float, scale: float) -> float:
    """MATLAB's cubic kernel of a single number, stretched where the image shrinks."""
    x = abs(distance) * min(scale, 1)
    if x <= 1:
        return (3 * x**3 - 5 * x**2 + 2) / 2
    return (-(x**3) + 5 * x**2 - 8 * x + 4) / 2 if x < 2 else 0.0


def mirror(index: int, size: int) -> int:
    while not 0 <= index < size:
        index = -1 - index if index < 0 else 2 * size - 1 - index
    return index


boxes = st.tuples(st.integers(1, 32), st.integers(1, 32)).map(sorted)


@given(rows=boxes, columns=boxes)
def test_crop_keeps_what_the_recipe_keeps(rows, columns):
    image = np.full((32, 32, 3), 255, np.uint8)
    image[rows[0] - 1 : rows[1], columns[0] - 1 : columns[1]] = 90
    kept = [[k for k in range(1, 33) if max(0, first - 4) <= k <= min(32, last + 4) + 1]
            for first, last in (rows, columns)]
    numbered = np.arange(1, 33)
    found = images.content_box(image)
    assert [numbered[s].tolist() for s in found] == kept
    assert (len(images.with_white_margin(image[None])) == 1) == (kept != [list(range(1, 33))] * 2)


def test_crop_follows_matlabs_grey():
    image = np.full((32, 32, 3), 255, np.uint8)
    image[:20, :] = 249  # grey 249: dark
    image[20:, :] = 250  # grey 250: white
    assert images.content_box(image) == (slice(0, 25), slice(0, 32))
    blank = np.full((32, 32, 3), 250, np.uint8)
    assert images.content_box(blank) == (slice(0, 32), slice(0, 32))


def test_cut_image_is_enlarged_by_its_longer_side_and_padded_with_white():
    image = np.full((32, 32, 3), 255, np.uint8)
    image[10:14] = 90  # rows 11..14 are dark; rows 7..19 are kept, i.e. 13 of 32
    enlarged = images.enlarge_cut(image)
    height = 15  # 13 * 36 / 32 = 14.6
    before = (36 - height) // 2
    assert enlarged.shape == (3, 36, 36)
    assert (enlarged[:, :before] == 255).all() and (enlarged[:, before + height :] == 255).all()
    middle = enlarged[:, before : before + height]
    assert middle.min() < 91 and np.ptp(middle, axis=2).max() < 1e-3


def test_square_cut_is_resized_without_padding():
    image = np.full((32, 32, 3), 255, np.uint8)
    image[9:20, 9:20] = np.random.default_rng(0).integers(0, 200, (11, 11, 3))
    rows, columns = images.content_box(image)
    content = np.moveaxis(image[rows, columns], 2, 0).astype(np.float32)
    np.testing.assert_array_equal(images.enlarge_cut(image), images.imresize(content, 36, 36))


@given(flip=st.booleans(), row=st.integers(0, 4), column=st.integers(0, 4), seed=st.integers(0, 99))
def test_network_input_is_bgr_minus_means_of_the_flipped_crop(flip, row, column, seed):
    enlarged = np.random.default_rng(seed).uniform(-5, 260, (1, 3, 36, 36)).astype(np.float32)
    out = images.network_input(enlarged, np.array([flip]), np.array([row]), np.array([column]))
    assert out.dtype == np.float32 and out.shape == (1, 3, 32, 32) and out.flags.c_contiguous
    for channel, (source, mean) in enumerate([(2, 125.3), (1, 123.0), (0, 113.9)]):
        plane = np.fliplr(enlarged[0, source]) if flip else enlarged[0, source]
        np.testing.assert_array_equal(out[0, channel], plane[row : row + 32, column : column + 32] - np.float32(mean))


@pytest.mark.slow
def test_share_of_cifar_images_with_a_white_margin(cifar_train):
    share = len(images.with_white_margin(cifar_train.images)) / len(cifar_train.images)
    assert share == pytest.approx(0.0125, abs=0.0005)
