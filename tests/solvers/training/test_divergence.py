"""The check of loss and gradient: silent in a sound training, even with large weights, and an error in a diverged one."""

import numpy as np
import pytest
import tiny
from google.protobuf import text_format

from base.errors import InputError
from layers.table import BY_NAME, WEIGHTINGS
from solvers.nets import losses, setting, solver_param
from solvers.nets.built_net import BuiltNet
from solvers.nets.phases import net_params_of
from solvers.nets.pycaffe import caffe
from solvers.runs.folder import RunFolder
from solvers.runs.run import Run
from solvers.training import divergence

WEIGHTED = tiny.WEIGHTED.replace("}", 'loss_param { weighting: %s } }')
MORE = {"CUSTOM": ' formula: "pow(p, 0.3)"', "FORWARD": " classes: 10", "GCE_TRUNCATED": " k: 1e-6"}
LOSSES = {name: WEIGHTED % (name + MORE.get(BY_NAME[name].name, "")) for name in WEIGHTINGS} | {
    "CCE stock": tiny.CCE, "DM USW": tiny.USW,
    "DM beta -3": tiny.USW.replace("scale: 6", "scale: -3"),
    "weight 3": tiny.USW.replace("loss_weight: 1", "loss_weight: 3"),
    "weight -2": tiny.CCE.replace("}", "loss_weight: -2 }"),
}


@pytest.fixture
def made(tmp_path):
    """A function that makes a solver of a net with this loss; returns it, the check, and the blob of scores."""
    def make(loss):
        chosen = setting.load(tiny.write_setting(tmp_path / "tiny", loss=loss))
        run = Run(RunFolder(tmp_path / "run"), chosen, solver_param.resolved(chosen.solver, 1, 10, []), {})
        run.folder.make()
        run.write()
        solver = caffe.get_solver(str(run.folder.solver))
        train_net = BuiltNet.of(solver.net, net_params_of(chosen.net_param, run.solver, True)[0])
        return solver, divergence.LossCheck(train_net, run.folder), solver.net.blobs[solver.net.bottom_names["loss"][0]]
    return make


@pytest.mark.parametrize("name", LOSSES)
def test_the_bound_holds_and_is_near(made, name):
    """For confident and for untrained nets. Losses that divide by the sum of emphasis reach the bound."""
    solver, check, scores = made(LOSSES[name])
    random, norms = np.random.default_rng(0), []
    for iteration, size in enumerate((0.01, 1, 100), start=1):
        solver.net.blobs["data"].data[...] = size * random.standard_normal(solver.net.blobs["data"].data.shape)
        solver.net.blobs["label"].data[...] = random.integers(0, 10, solver.net.blobs["label"].data.shape)
        solver.step(1)
        check(iteration, np.arange(16))
        norms.append(float(np.abs(scores.diff).sum()))
    weight = {"weight 3": 3, "weight -2": 2}.get(name, 1)
    if name.startswith("DM") or name.endswith("_DN") or name == "weight 3":
        assert norms[:2] == pytest.approx([weight] * 2, rel=1e-3)
        assert norms[2] == pytest.approx(weight, rel=1e-3) or name in BY_NAME and not BY_NAME[name].released  # 1e-8 in S
    [layer] = text_format.Parse(LOSSES[name], caffe.proto.caffe_pb2.NetParameter()).layer
    assert 0 < max(norms) <= 1.001 * weight * losses.weighting_of(layer).gradient_bound()


@pytest.mark.parametrize(("loss", "bound"), [(tiny.CCE, 2), (tiny.USW, 1), (WEIGHTED % "MAE", 0.5)],
                         ids=["CCE", "DM", "MAE"])
@pytest.mark.parametrize("wrong", [1.01, np.nan, np.inf])
def test_a_gradient_beyond_its_bound_stops_the_run(made, loss, bound, wrong):
    solver, check, scores = made(loss)
    solver.step(1)
    scores.diff[...] = 0
    scores.diff[0, 0] = wrong * bound
    with pytest.raises(InputError, match=rf"^training has diverged: the gradient of 'scores\w*' of iteration 7 has the L1 "
                                          rf"norm [\w.]+, but its loss can give at most {bound} on the images in "):
        check(7, np.arange(16))


@pytest.mark.parametrize("name", ["AUL a: 11 q: 4", "RCE", "MAE", "CCE_DN"])
def test_a_large_loss_of_an_untrained_net_is_no_divergence(made, name):
    solver, check, _ = made(WEIGHTED % name)
    solver.net.blobs["loss"].data[...] = 2000
    check(1, None)


@pytest.mark.parametrize(("loss", "value"), [
    (tiny.CCE, 87.34), (tiny.USW, 87.34), (WEIGHTED % "FOCAL", 87.34),
    (WEIGHTED % "SCE alpha: 20 beta: 1", 20 * 87.34 + 9.21), (WEIGHTED % "SCE", 6 * 87.34 + 0.921)])
def test_probabilities_that_are_all_clamped_stop_the_run(made, loss, value):
    solver, check, _ = made(loss)
    solver.step(1)
    solver.net.blobs["loss"].data[...] = 0.99 * value
    check(7, None)
    solver.net.blobs["loss"].data[...] = value
    with pytest.raises(InputError, match=r"the loss 'loss' of iteration 7 is [\d.]+, the loss of probabilities clamped at 0"):
        check(7, None)


def test_a_loss_whose_top_has_no_name(made):
    """Caffe gives it a name."""
    solver, check, _ = made(tiny.CCE.replace(' top: "loss"', ""))
    solver.step(1)
    check(1, None)
