"""The recipe inside the graph makes of uint8 images what data_toolkit makes of them, and so does a mean."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from data_toolkit import archives, images
from solvers.export.graph import Graph
from solvers.export.preprocessing import IMAGES, MeanSubtraction, Recipe


def computed(preprocessing, shape):
    """A function of images that runs the graph of a preprocessing alone."""
    graph = Graph(["data"])
    graph.blobs["data"] = preprocessing.add(graph, shape, "data")
    model = graph.model({"data": shape}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {IMAGES: pixels})[0]


RECIPE = computed(Recipe(), (None, 3, 32, 32))


def near(pixels):
    np.testing.assert_allclose(RECIPE(pixels), Recipe()(pixels), rtol=0, atol=2e-3)  # of values to 255


@st.composite
def with_margins(draw):
    """An image whose content is a rectangle in near-white, whose grey may be just at the limit."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = random.integers(*draw(st.sampled_from([(250, 256), (249, 252), (248, 251)])), (32, 32, 3), np.uint8)
    top, left = draw(st.integers(0, 31)), draw(st.integers(0, 31))
    bottom, right = draw(st.integers(top, 32)), draw(st.integers(left, 32))
    image[top:bottom, left:right] = random.integers(0, 256, (bottom - top, right - left, 3))
    return image


@given(batch=st.lists(with_margins(), min_size=1, max_size=4))
def test_the_recipe(batch):
    near(np.array(batch))


def test_images_without_margins_and_without_content():
    random = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    near(np.concatenate([random, np.full_like(random, 255), np.zeros_like(random)]))


def test_what_is_near_white_is_exactly_what_data_toolkit_says():
    """The graph counts in whole numbers; data_toolkit in float64. Colours near the limit, which is where they could differ."""
    colours = np.stack(np.meshgrid(*[np.arange(200, 256)] * 3), axis=-1).reshape(-1, 3)  # darker ones are far from the limit
    counted = colours @ np.round(images.LUMA * 10_000).astype(int) < (images.WHITE - 0.5) * 10_000
    np.testing.assert_array_equal(counted, np.floor(colours @ images.LUMA + 0.5) < images.WHITE)


@pytest.mark.slow
def test_all_test_images(shared):
    _, test = archives.read(archives.find_archive(shared / "data" / "cifar-100-binary.tar.xz"))
    near(test.images)


@pytest.mark.parametrize(("mean", "channels"), [((104, 117.5, 123), 3), ((127.5,), 1)])
def test_a_mean(mean, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 6, channels), np.uint8)
    expected = pixels[..., ::-1].transpose(0, 3, 1, 2) - np.float32(mean)[:, None, None]
    np.testing.assert_array_equal(computed(MeanSubtraction(mean), (None, channels, 5, 6))(pixels), expected)
    np.testing.assert_array_equal(MeanSubtraction(mean)(pixels), expected)


@pytest.mark.parametrize(("preprocessing", "shape", "said"), [
    (Recipe(), (None, 3, 224, 224), "the recipe makes 3 x 32 x 32, but the net's input 'x' has the shape batch x 3 x 224"),
    (MeanSubtraction((1, 2, 3)), (None, 1, 32, 32), "batch x 1 x 32 x 32, but the mean has 3 channels"),
    (MeanSubtraction((1, 2, 3)), (None, 3), "has the shape batch x 3, but"),
])
def test_a_net_that_does_not_take_such_images(preprocessing, shape, said):
    with pytest.raises(InputError, match=said):
        preprocessing.add(Graph(), shape, "x")
