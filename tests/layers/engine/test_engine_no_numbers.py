"""NaN and infinity show wherever they show in upstream's nets, so that whoever watches a run sees it diverge."""

import numpy as np
import pytest
from engines import Twins, convolution, inputs, layer

pytest.importorskip("caffe")


def check_no_numbers(twins: Twins, *blobs: str) -> None:
    """Each of `blobs` and each parameter is NaN in our net where it is in upstream's, which it is somewhere.

    A Winograd convolution makes NaN of a whole tile, so ours may be NaN in more places.
    """
    stock, ours = twins.stock, twins.ours
    pairs = {f"{what} of {name}": (getattr(stock.blobs[name], what), getattr(ours.blobs[name], what))
             for name in blobs for what in ("data", "diff")}
    for name, parameters in stock.params.items():
        for index, blob in enumerate(parameters):
            ours_too = ours.params[name][index]
            pairs[f"parameter {index} of {name}"] = (blob.data, ours_too.data)
            pairs[f"gradient of parameter {index} of {name}"] = (blob.diff, ours_too.diff)
    missing = {what: int((np.isnan(a) & ~np.isnan(b)).sum()) for what, (a, b) in pairs.items()}
    assert not {what: count for what, count in missing.items() if count}
    assert any(np.isnan(a).any() for a, _ in pairs.values())


def chain(slope: float = 0, shift: float = 0) -> str:
    """Convolution, BatchNorm, Scale, ReLU, convolution: the second one reads the recipe of the layers between."""
    return (inputs(data=(2, 8, 12, 12)) + convolution("first", "data", "x", 8) + layer("BatchNorm", "bn", "x", "x")
            + layer("Scale", "scale", "x", "x", f"scale_param {{ bias_term: true bias_filler {{ value: {shift} }} }}")
            + layer("ReLU", "relu", "x", "x", f"relu_param {{ negative_slope: {slope} }}")
            + convolution("second", "x", "top", 8))


def both(twins: Twins):
    return (twins.stock, twins.ours)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("slope", [0, 0.1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_in_the_input(tmp_path, phase, slope, value):
    twins = Twins(chain(slope), tmp_path, phase)
    for net in both(twins):
        net.blobs["data"].data[0, 3, 5, 7] = value
        net.forward()
    twins.fill("top", diff=True)
    for net in both(twins):
        net.backward()
    check_no_numbers(twins, "data", "top")


@pytest.mark.parametrize("slope", [0, 0.1])
@pytest.mark.parametrize("shift", [0, -9], ids=["partly clipped", "all clipped"])
def test_in_the_gradient(tmp_path, slope, shift):
    """A ReLU multiplies the gradients of what it clips by 0, which leaves NaN."""
    twins = Twins(chain(slope, shift), tmp_path)
    for net in both(twins):
        net.forward()
    twins.fill("top", diff=True)
    for net in both(twins):
        net.blobs["top"].diff[1, 2, 6, 6] = np.nan
        net.backward()
    check_no_numbers(twins, "data")


@pytest.mark.parametrize("slope", [np.nan, np.inf])
def test_a_slope_of_prelu(tmp_path, slope):
    """Upstream multiplies it by 0 where the input is positive."""
    text = inputs(data=(2, 8, 6, 6)) + convolution("first", "data", "x", 8) + layer("PReLU", "prelu", "x", "top")
    twins = Twins(text, tmp_path)
    for net in both(twins):
        net.params["prelu"][0].data[3] = slope
        net.forward()
    twins.fill("top", diff=True)
    for net in both(twins):
        net.backward()
    check_no_numbers(twins, "x", "top")


@pytest.mark.parametrize("what", ["data", "diff"])
@pytest.mark.parametrize("behind", ["", layer("BatchNorm", "bn", "x", "x"), layer("Eltwise", "sum", "x data", "x2")],
                         ids=["convolution", "BatchNorm", "sum"])
def test_relu_alone(tmp_path, behind, what):
    """Every place is NaN for itself: no sum of a gradient, no tile."""
    x = "x2" if "x2" in behind else "x"
    text = inputs(data=(2, 8, 6, 6)) + convolution("first", "data", "x", 8) + behind + layer("ReLU", "relu", x, "top")
    twins = Twins(text, tmp_path)
    twins.pass_both_ways()
    for net in both(twins):
        if what == "data":
            net.blobs[x].data[0, 2, 3] = np.nan
            net.forward(start="relu")
        else:
            net.blobs["top"].diff[0, 2, 3] = np.nan  # clipped in about half of the places
            net.backward(start="relu", end="relu")
    check_no_numbers(twins, "top", x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_statistics(tmp_path, value):
    """One value makes its channel's variance NaN or infinite, in BatchNorm's own pass and in the convolution's sums."""
    alone = inputs(data=(2, 8, 12, 12)) + layer("BatchNorm", "bn", "data", "x") + layer("ReLU", "relu", "x", "top")
    for text in alone, chain():
        twins = Twins(text, tmp_path)
        twins.fill("data")
        for net in both(twins):
            net.blobs["data"].data[0, 3, 5, 7] = value
            net.forward()
        stock, ours = (net.params["bn"][1].data for net in both(twins))
        assert not (np.isfinite(ours) & ~np.isfinite(stock)).any()
        if value != 1e30:
            check_no_numbers(twins, "top")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("pool", ["pool: AVE global_pooling: true", "pool: MAX kernel_size: 2 stride: 2",
                                  "pool: MAX kernel_size: 3 stride: 1 pad: 1"])
@pytest.mark.parametrize("channels", [3, 40], ids=["few channels", "vectors of channels"])
def test_pooling(tmp_path, pool, value, channels):
    """A convolution of one value a pixel, with weights of 1, passes it on to all channels."""
    one_by_one = (f"convolution_param {{ num_output: {channels} kernel_size: 1 bias_term: false "
                  "weight_filler { type: 'constant' value: 1 } }")
    twins = Twins(inputs(data=(2, 1, 6, 6)) + layer("Convolution", "first", "data", "x", one_by_one)
                  + layer("Pooling", "pool", "x", "top", f"pooling_param {{ {pool} }}"), tmp_path)
    for net in both(twins):
        net.blobs["data"].data[0, 0, 3:5, 2] = value
        net.blobs["data"].data[1, 0] = value
        net.forward()
    stock, ours = (net.blobs["top"].data for net in both(twins))
    np.testing.assert_allclose(ours, stock, rtol=1e-5)
    assert not np.isfinite(stock).all()
    twins.fill("top", diff=True)
    for net in both(twins):
        net.backward()
    np.testing.assert_allclose(twins.ours.blobs["x"].diff, twins.stock.blobs["x"].diff, rtol=1e-5)
