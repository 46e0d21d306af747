"""The formulas of p: the table of the nine losses, reductions, modes, densities, edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from layers.weighting import FLT_MIN, WEIGHTINGS, Weighting

P = np.linspace(0, 1, 10_001)  # for peaks and limits, which are then within 1e-4
INNER = P[1:-1]


def table(w: Weighting, p: np.ndarray) -> tuple[np.ndarray, float, float]:
    """c, S and V, written out row by row as the specification has them."""
    n, q, minus_log = len(p), w.q, -np.log(np.maximum(p, FLT_MIN))
    dm = np.exp(w.beta * p**w.lam * (1 - p))
    cce, mae, mse, gce = 2 * (1 - p), 2 * p * (1 - p), 4 * p * (1 - p) ** 2, 2 * p**q * (1 - p)

    def over(weights: np.ndarray, distance: np.ndarray) -> tuple[float, float]:
        s = 1e-8 + weights.sum()
        return s, (weights * distance).sum() / s

    one = np.ones(n)
    return {
        "CCE": (one, n, minus_log.mean()),
        "CCE_DN": (one, *over(cce, 1 - p)),
        "MAE": (p, *over(one, 1 - p)),
        "MAE_DN": (p, *over(mae, 1 - p)),
        "MSE": (2 * p * (1 - p), *over(one, 1 - p)),
        "MSE_DN": (2 * p * (1 - p), *over(mse, 1 - p)),
        "GCE": (p**q, *over(one, 1 - p)),
        "GCE_DN": (p**q, *over(gce, 1 - p)),
        "DM": (dm / (2 - 2 * p + 1e-6), *over(dm, minus_log)),
    }[w.name]


weightings = st.builds(Weighting, name=st.sampled_from(WEIGHTINGS), q=st.floats(0, 2), lam=st.floats(0, 4),
                       beta=st.floats(-8, 24))
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)


@settings(derandomize=True, deadline=None)
@given(weightings, probabilities)
def test_table(weighting, p):
    c, s, v = table(weighting, p)
    np.testing.assert_allclose(weighting.multiplier(p), c, rtol=1e-14)
    np.testing.assert_allclose(weighting.normaliser(p), s, rtol=1e-14)
    np.testing.assert_allclose(weighting.value(p), v, rtol=1e-13)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_float32_stays_float32_and_near_float64(name):
    weighting = Weighting(name, q=np.float64(0.7), lam=np.float64(0.5), beta=np.float64(6))
    p = np.linspace(0, 0.99, 100, dtype=np.float32)
    for function in (weighting.multiplier, weighting.emphasis, weighting.weight, weighting.distance, weighting.density):
        assert function(p).dtype == np.float32
        np.testing.assert_allclose(function(p), function(p.astype(np.float64)), rtol=5e-6)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_emphasis_is_the_l1_norm_of_the_gradient(name):
    weighting = Weighting(name, lam=0.5, beta=6)
    np.testing.assert_allclose(weighting.emphasis(INNER), weighting.multiplier(INNER) * 2 * (1 - INNER),
                               rtol=0.01 if name == "DM" else 1e-12)  # 1e-6 / (2 - 2p) at the last p


@pytest.mark.parametrize(("special", "general"), [
    (Weighting("CCE"), Weighting("GCE", q=0)),
    (Weighting("MAE"), Weighting("GCE", q=1)),
    (Weighting("CCE_DN"), Weighting("GCE_DN", q=0)),
    (Weighting("MAE_DN"), Weighting("GCE_DN", q=1)),
])
def test_reductions(special, general):
    np.testing.assert_array_equal(special.multiplier(P), general.multiplier(P))
    assert math.isclose(special.normaliser(P), general.normaliser(P), rel_tol=1e-9)


def test_gce_with_q_towards_0_is_cce():
    p = INNER[100:]
    np.testing.assert_allclose(Weighting("GCE", q=1e-9).multiplier(p), Weighting("CCE").multiplier(p), rtol=1e-7)


def test_imae_is_dm_with_lambda_1():
    np.testing.assert_allclose(Weighting("DM", lam=1, beta=8).emphasis(P), np.exp(8 * P * (1 - P)), rtol=1e-14)


def test_dm_with_lambda_0_is_the_exponential():
    np.testing.assert_allclose(Weighting("DM", lam=0, beta=2).emphasis(P), np.exp(2 * (1 - P)), rtol=1e-14)


def test_dm_with_beta_0_weighs_every_example_1():
    weighting = Weighting("DM", lam=0.5, beta=0)
    np.testing.assert_array_equal(weighting.emphasis(P), np.ones_like(P))
    assert weighting.normaliser(P) == pytest.approx(len(P))


MODES = [
    (Weighting("CCE"), 0), (Weighting("CCE_DN"), 0), (Weighting("MAE"), 1 / 2), (Weighting("MAE_DN"), 1 / 2),
    (Weighting("MSE"), 1 / 3), (Weighting("MSE_DN"), 1 / 3), (Weighting("GCE"), 0.7 / 1.7),
    (Weighting("GCE_DN", q=0.5), 1 / 3), (Weighting("DM", lam=0, beta=2), 0), (Weighting("DM", lam=0.5, beta=6), 1 / 3),
    (Weighting("DM", lam=1, beta=8), 1 / 2), (Weighting("DM", lam=2, beta=24), 2 / 3),
]


@pytest.mark.parametrize(("weighting", "psi"), MODES)
def test_mode(weighting, psi):
    assert weighting.mode() == pytest.approx(psi, abs=1e-15)
    assert P[weighting.emphasis(P).argmax()] == pytest.approx(psi, abs=1e-4)
    assert P[weighting.density(P).argmax()] == pytest.approx(psi, abs=1e-4)


@pytest.mark.parametrize(("weighting", "psi"), MODES)
def test_gradient_bound(weighting, psi):
    """Of batches of one example, which reach it at psi, or everywhere."""
    norms = weighting.emphasis(P) / (1e-8 + weighting.weight(P))
    assert norms.max() == pytest.approx(weighting.gradient_bound(), rel=1e-6)


@pytest.mark.parametrize("beta", [0, -0.52])
def test_a_gradient_bound_needs_no_mode(beta):
    assert Weighting("DM", beta=beta).gradient_bound() == 1


@pytest.mark.parametrize("beta", [0, -0.52])
def test_dm_without_a_peak_has_no_mode(beta):
    with pytest.raises(ValueError, match=f"beta {float(beta)} has no mode"):
        Weighting("DM", beta=beta).mode()


@pytest.mark.parametrize(("weighting", "density"), [
    (Weighting("CCE"), 2 * (1 - P)),
    (Weighting("MAE_DN"), 6 * P * (1 - P)),
    (Weighting("MSE"), 12 * P * (1 - P) ** 2),
    (Weighting("GCE", q=0.7), 1.7 * 2.7 * P**0.7 * (1 - P)),
    (Weighting("GCE", q=0.01), 1.01 * 2.01 * P**0.01 * (1 - P)),
    (Weighting("DM", lam=0, beta=2), 2 * np.exp(2 * (1 - P)) / np.expm1(2)),
    (Weighting("DM", lam=3, beta=0), np.ones_like(P)),
])
def test_density_in_closed_form(weighting, density):
    np.testing.assert_allclose(weighting.density(P), density, rtol=1e-13)


@pytest.mark.parametrize(("lam", "beta"), [(0.5, 6), (0.1, 8), (1, 8), (2, 24), (1, 100), (0.5, -6)])
def test_density_integrates_to_1(lam, beta):
    weighting = Weighting("DM", lam=lam, beta=beta)
    area, _ = quad(lambda p: float(weighting.density(np.float64(p))), 0, 1, epsabs=1e-11, epsrel=1e-11, limit=500)
    assert area == pytest.approx(1, abs=1e-9)


def test_p_0():
    zero = np.zeros(1)
    assert Weighting("DM", lam=0.5, beta=6).emphasis(zero) == 1  # 0^lambda = 0
    assert Weighting("DM", lam=0, beta=6).emphasis(zero) == pytest.approx(math.exp(6))  # 0^0 = 1
    assert Weighting("GCE", q=0).multiplier(zero) == 1
    assert Weighting("CCE").value(zero) == pytest.approx(-math.log(FLT_MIN))


def test_p_1_is_damped():
    weighting = Weighting("DM", lam=0.5, beta=6)
    assert weighting.multiplier(np.ones(1)) == pytest.approx(1e6)
    half = np.array([1 - 5e-7])  # where ||g||_1 is as large as the damping
    assert weighting.multiplier(half) * 2 * (1 - half) == pytest.approx(0.5, rel=1e-5)
    assert weighting.value(np.ones(3)) == 0


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_no_examples(name):
    none = np.array([])
    assert Weighting(name).normaliser(none) == (1 if name == "CCE" else 1e-8)
    assert Weighting(name).value(none) == 0


@pytest.mark.parametrize(("arguments", "message"), [
    ({"name": "GCE-DN"}, 'unknown weighting \'GCE-DN\'; did you mean "GCE_DN"?'),
    ({"name": "mae"}, 'did you mean "MAE"?'),
    ({"name": "IMAE"}, "IMAE is DM with lambda 1"),
    ({"name": "focal"}, "one of CCE, CCE_DN, MAE"),
    ({"name": "GCE", "q": -0.1}, "q is -0.1; it must be a finite number >= 0"),
    ({"name": "DM", "lam": -1}, "lambda is -1; it must be a finite number >= 0"),
    ({"name": "DM", "beta": math.nan}, "beta is nan; it must be a finite number"),
])
def test_errors(arguments, message):
    with pytest.raises(ValueError) as error:
        Weighting(**arguments)
    assert message in str(error.value)
