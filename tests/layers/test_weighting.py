"""The formulas of p: the table's rows equal the specification; reductions, modes, densities, edge cases."""

import math

import numpy as np
import pytest
import rows
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from layers.table import BY_NAME, WEIGHTINGS
from layers.weighting import FLT_MIN, Weighting, chosen

P = np.linspace(0, 1, 10_001)  # for peaks and limits, which are then within 1e-4
INNER = P[1:-1]
A = -math.log(1e-4)
NAMES = [name for name in WEIGHTINGS if BY_NAME[name].name != "CUSTOM"]


def minus_log(p: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(p, FLT_MIN))


def js(p: np.ndarray, w: float) -> np.ndarray:
    """The Jensen-Shannon divergence between the label and P; the other classes share 1 - p equally."""
    m = w + (1 - w) * p
    of_label = -np.log(m)
    of_p = p * np.log(np.where(p > 0, p, 1) / m) - (1 - p) * np.log(1 - w)
    return (w * of_label + (1 - w) * of_p) / (-(1 - w) * np.log(1 - w))


def forward(rate: float, classes: float) -> tuple[float, float]:
    a = rate / (classes - 1)
    return a, 1 - rate - a


# c(p) and l(p) of each row, written out as in ../shared/spec, and not taken from the table; l is None where c is not -p l'.
C = {
    "CCE": lambda p: np.ones_like(p),
    "MAE": lambda p: p,
    "MSE": lambda p: 2 * p * (1 - p),
    "GCE": lambda p, q: p**q,
    "DM": lambda p, beta, **lam: np.exp(beta * p**lam["lambda"] * (1 - p)) / (2 - 2 * p + 1e-6),
    "RCE": lambda p: A * p,
    "SCE": lambda p, alpha, beta: alpha + beta * A * p,
    "FOCAL": lambda p, gamma: np.where(p == 0, 1, np.where(p == 1, float(gamma == 0), (1 - p) ** gamma - gamma * p * np.where(
        p < 1, 1 - p, 1) ** (gamma - 1) * np.log(np.where(p > 0, p, 1)))),
    "FOCAL_DETACHED": lambda p, gamma: (1 - p) ** gamma,
    "TAYLOR": lambda p, t: 1 - (1 - p) ** t,
    "AGCE": lambda p, a, q: p * (a + p) ** (q - 1),
    "AUL": lambda p, a, q: p * (a - p) ** (q - 1),
    "AEL": lambda p, a: p / a * np.exp(-p / a),
    "PHUBER_CE": lambda p, tau: np.minimum(1, tau * p),
    "PHUBER_GCE": lambda p, q, tau: np.minimum(p**q, tau * p),
    "JS": lambda p, w: p * np.log1p(w / ((1 - w) * np.where(p > 0, p, 1))) / -np.log(1 - w),
    "FORWARD": lambda p, rate, classes: (ab := forward(rate, classes)) and ab[1] * p / (ab[0] + ab[1] * p),
    "GCE_TRUNCATED": lambda p, q, k: np.where(p > k, p**q, 0),
}
L = {
    "CCE": minus_log,
    "MAE": lambda p: 1 - p,
    "MSE": lambda p: (1 - p) ** 2,
    "GCE": lambda p, q: (1 - p**q) / q,
    "RCE": lambda p: A * (1 - p),
    "SCE": lambda p, alpha, beta: alpha * minus_log(p) + beta * A * (1 - p),
    "FOCAL": lambda p, gamma: (1 - p) ** gamma * minus_log(p),
    "TAYLOR": lambda p, t: sum((1 - p) ** i / i for i in range(1, int(t) + 1)),
    "AGCE": lambda p, a, q: ((a + 1) ** q - (a + p) ** q) / q,
    "AUL": lambda p, a, q: ((a - p) ** q - (a - 1) ** q) / q,
    "AEL": lambda p, a: np.exp(-p / a),
    "PHUBER_CE": lambda p, tau: np.where(p > 1 / tau, minus_log(p), 1 + np.log(tau) - tau * p),
    "PHUBER_GCE": lambda p, q, tau: (edge := tau ** (1 / (q - 1))) and np.where(
        p > edge, (1 - p**q) / q, (1 - edge**q) / q + tau * (edge - p)),
    "JS": js,
    "FORWARD": lambda p, rate, classes: (ab := forward(rate, classes)) and -np.log(ab[0] + ab[1] * p),
    "GCE_TRUNCATED": lambda p, q, k: (1 - np.maximum(p, k) ** q) / q,
}
# What the released layers report, and rows whose l(p) is not of the form: others report l(p).
DISTANCE = {"MSE": L["MAE"], "GCE": lambda p, q: 1 - p, "DM": lambda p, **_: minus_log(p), "TAYLOR": lambda p, t: 1 - p,
            "FOCAL_DETACHED": L["FOCAL"]}


def table(w: Weighting, p: np.ndarray) -> tuple[np.ndarray, float, float]:
    """c, S and V as in the specification."""
    row, parameters = w.row.name, w.parameters
    c = C[row](p, **parameters)
    emphasis = np.exp(parameters["beta"] * p ** parameters["lambda"] * (1 - p)) if row == "DM" else 2 * (1 - p) * c
    weights = emphasis if rows.twin(w.name) or row == "DM" else np.ones_like(p)
    distance = 1 - p if rows.twin(w.name) else (DISTANCE | L | DISTANCE)[row](p, **parameters)
    s = len(p) if w.name == "CCE" else 1e-8 + weights.sum()
    return c, s, (weights * distance).sum() / s


weightings = st.builds(lambda name, seed: rows.weighting(name, rows.drawn(name, np.random.default_rng(seed))),
                       st.sampled_from(NAMES), st.integers(0, 2**32 - 1))
probabilities = st.lists(st.just(0.0) | st.floats(1e-300, 1), min_size=1, max_size=20).map(np.array)


def test_every_row_is_written_out_here():
    assert set(C) == {row.name for row in BY_NAME.values()} - {"CUSTOM"} == set(DISTANCE | L)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(weightings, probabilities)
def test_table(weighting, p):
    c, s, v = table(weighting, p)
    np.testing.assert_allclose(weighting.multiplier(p), c, rtol=1e-11, atol=1e-25)
    np.testing.assert_allclose(weighting.normaliser(p), s, rtol=1e-11)
    np.testing.assert_allclose(weighting.value(p), v, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("row", L)
def test_the_multiplier_is_the_derivative_of_the_loss(row, seed):
    """c(p) = -p l'(p), by central differences, except at kinks of the loss."""
    parameters = rows.drawn(row, np.random.default_rng(seed)) if seed else {}
    weighting = Weighting(row, **parameters)
    p, h = np.linspace(0.02, 0.98, 97), 1e-5
    loss = lambda p: L[row](p, **weighting.parameters)  # noqa: E731
    edges = {"GCE_TRUNCATED": lambda q, k: k, "PHUBER_CE": lambda tau: 1 / tau,
             "PHUBER_GCE": lambda q, tau: tau ** (1 / (q - 1))}
    if row in edges:
        p = p[abs(p - edges[row](**weighting.parameters)) > 2 * h]
    expected = -p * (loss(p + h) - loss(p - h)) / (2 * h)
    c = weighting.multiplier(p)
    scale = max(1.0, abs(loss(p)).max()) if row != "CCE" else 1
    np.testing.assert_allclose(c, expected, rtol=2e-6, atol=1e-9 * scale + 2e-9)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_float32_stays_float32_and_near_float64(name):
    given = {key: value if isinstance(value, str) else np.float64(value) for key, value in rows.given(name).items()}
    weighting = Weighting(name, **given)
    p = np.linspace(0, 0.99, 100, dtype=np.float32)
    for function in (weighting.multiplier, weighting.emphasis, weighting.weight, weighting.distance, weighting.density):
        assert function(p).dtype == np.float32
        np.testing.assert_allclose(function(p), function(p.astype(np.float64)), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_row_is_finite_from_0_to_1_in_single_precision_too(name):
    weighting = rows.weighting(name)
    for kind in np.float32, np.float64:
        p = np.array([0, 1e-45, 1e-38, 1e-30, 1 - 2**-24, 1], kind)
        for function in (weighting.multiplier, weighting.emphasis, weighting.weight, weighting.distance):
            assert np.isfinite(function(p)).all() and (function(p) >= -1e-6).all()


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_emphasis_is_the_l1_norm_of_the_gradient(name):
    weighting = rows.weighting(name)
    np.testing.assert_allclose(weighting.emphasis(INNER), weighting.multiplier(INNER) * 2 * (1 - INNER),
                               rtol=0.01 if name == "DM" else 1e-12)  # 1e-6 / (2 - 2p) at the last p


@pytest.mark.parametrize(("special", "general"), [
    (Weighting("CCE"), Weighting("GCE", q=0)),
    (Weighting("MAE"), Weighting("GCE", q=1)),
    (Weighting("CCE_DN"), Weighting("GCE_DN", q=0)),
    (Weighting("MAE_DN"), Weighting("GCE_DN", q=1)),
    (Weighting("CCE_DN"), Weighting("FOCAL_DN", gamma=0)),
    (Weighting("CCE_DN"), Weighting("SCE_DN", alpha=1, beta=0)),
    (Weighting("RCE"), Weighting("SCE", alpha=0, beta=1)),
    (Weighting("CCE_DN"), Weighting("CUSTOM_DN", formula="1")),
    (Weighting("MAE"), Weighting("PHUBER_CE", tau=1)),
])
def test_reductions(special, general):
    np.testing.assert_allclose(special.multiplier(P), general.multiplier(P), rtol=1e-15)
    assert math.isclose(special.normaliser(P), general.normaliser(P), rel_tol=1e-9)


@pytest.mark.parametrize(("limit", "general"), [
    (Weighting("CCE"), Weighting("GCE", q=1e-9)),
    (Weighting("MAE"), Weighting("TAYLOR", t=1)),
    (Weighting("CCE"), Weighting("TAYLOR", t=100_000)),
    (Weighting("CCE"), Weighting("JS", w=1e-9)),
    (Weighting("CCE"), Weighting("FORWARD", rate=1e-12)),
    (Weighting("GCE"), Weighting("PHUBER_GCE", tau=1e9)),
    (Weighting("GCE"), Weighting("GCE_TRUNCATED", k=1e-9)),
    (Weighting("CCE"), Weighting("CUSTOM", emphasis="2 * (1 - p)")),
])
def test_limits(limit, general):
    p = INNER[100:-100]
    np.testing.assert_allclose(general.multiplier(p), limit.multiplier(p), rtol=1e-4)


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


@pytest.mark.parametrize(("weighting", "psi"), [
    (Weighting("FOCAL"), 0.0177), (Weighting("FOCAL", gamma=2), 0.0578), (Weighting("AGCE"), 0.4529),
    (Weighting("AUL"), 0.4510), (Weighting("AEL"), 0.4505), (Weighting("PHUBER_GCE"), 0.4118),
    (Weighting("JS", w=0.1), 0.1741), (Weighting("JS"), 0.2639),
    (Weighting("JS", w=0.5), 0.3180), (Weighting("RCE"), 0.5), (Weighting("PHUBER_CE"), 0.1), (Weighting("FOCAL_DETACHED"), 0),
])
def test_mode_in_the_specification(weighting, psi):
    assert weighting.mode() == pytest.approx(psi, abs=5e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_mode_is_where_the_emphasis_is_largest(name, seed):
    weighting = rows.weighting(name, rows.drawn(name, np.random.default_rng(seed)) if seed else None)
    if name == "DM" and weighting.parameters["beta"] <= 0:
        weighting = rows.weighting(name)
    p = np.linspace(0, 1, 100_001)
    emphasis = weighting.emphasis(p)
    psi = weighting.mode()
    at_psi = weighting.emphasis(np.array([psi, np.nextafter(psi, 1)])).max()
    assert at_psi >= emphasis.max() * (1 - 1e-12)
    assert abs(p[emphasis.argmax()] - psi) <= 2e-5 or emphasis.max() >= at_psi * (1 - 1e-9)  # or it is flat there


@pytest.mark.parametrize(("weighting", "psi"), MODES)
def test_gradient_bound(weighting, psi):
    """Batches of one example reach the bound: at psi, or everywhere if derivative normalised."""
    norms = weighting.emphasis(P) / (1e-8 + weighting.weight(P))
    assert norms.max() == pytest.approx(weighting.gradient_bound(), rel=1e-6)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_gradient_bound_of_every_row(name):
    weighting = rows.weighting(name)
    norms = weighting.emphasis(P) / (1e-8 + weighting.weight(P))
    assert norms.max() == pytest.approx(weighting.gradient_bound(), rel=2e-4)


@pytest.mark.parametrize("beta", [0, -0.52])
def test_a_gradient_bound_needs_no_mode(beta):
    assert Weighting("DM", beta=beta).gradient_bound() == 1


@pytest.mark.parametrize("beta", [0, -0.52])
def test_dm_without_a_peak_has_no_mode(beta):
    with pytest.raises(ValueError, match=f"beta {beta:g} has no mode: its emphasis has a peak only for beta > 0"):
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


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_density_of_every_row_integrates_to_1(name):
    p = (np.arange(100_000) + 0.5) / 100_000
    assert rows.weighting(name).density(p).mean() == pytest.approx(1, abs=3e-4)


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
    assert rows.weighting(name).normaliser(none) == (1 if name == "CCE" else 1e-8)
    assert rows.weighting(name).value(none) == 0


@pytest.mark.parametrize(("name", "emphasis"), [
    ("CCE", 1.98), ("FORWARD", 1.18), ("JS:w=0.1", 0.47), ("JS", 0.21), ("PHUBER_CE", 0.20), ("RCE", 0.18),
    ("TAYLOR:t=6", 0.116),
    ("GCE", 0.079), ("MSE", 0.039), ("TAYLOR", 0.039), ("AGCE", 0.024), ("MAE", 0.020), ("AEL", 0.0079)])
def test_the_emphasis_that_an_untrained_net_gets(name, emphasis):
    """At p = 0.01, as in the specification."""
    name, _, pair = name.partition(":")
    weighting = Weighting(name, **{pair.split("=")[0]: float(pair.split("=")[1])} if pair else {})
    assert float(weighting.emphasis(np.array([0.01]))[0]) == pytest.approx(emphasis, rel=0.03)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"name": "GCE-DN"}, 'unknown weighting \'GCE-DN\'; did you mean "GCE_DN"?'),
    ({"name": "mae"}, 'did you mean "MAE"?'),
    ({"name": "IMAE"}, "IMAE is DM with lambda 1"),
    ({"name": "vocal"}, 'did you mean "FOCAL"? (one of CCE, CCE_DN, MAE'),
    ({"name": "GCE", "q": -0.1}, "q is -0.1; it must be a finite number >= 0"),
    ({"name": "DM", "lam": -1}, "lambda is -1; it must be a finite number >= 0"),
    ({"name": "DM", "beta": math.nan}, "beta is nan; it must be a finite number"),
    ({"name": "DM", "lam": 0, "beta": 90}, "DM lambda 0, beta 90: the emphasis is too large for single precision at p = "),
    ({"name": "DM", "lam": 1, "beta": 400}, "the emphasis is too large for single precision at p = 0.3"),
    ({"name": "JS", "w": 1}, "w is 1; it must be a finite number > 0 and < 1"),
    ({"name": "TAYLOR", "t": 1.5}, "t is 1.5; it must be a whole number >= 1"),
    ({"name": "FOCAL", "gama": 1}, "FOCAL has no parameter 'gama'; did you mean \"gamma\"? (it has gamma)"),
    ({"name": "MAE", "q": 1}, "MAE has no parameter 'q' (it has none)"),
    ({"name": "FORWARD", "rate": 0.995}, "FORWARD rate 0.995, classes 100: c(p) is negative, -0.000502765, at p = 0.001"),
    ({"name": "CUSTOM"}, "CUSTOM needs a formula of p or an emphasis, and not both"),
    ({"name": "CUSTOM", "formula": "p", "emphasis": "p"}, "CUSTOM needs a formula of p or an emphasis, and not both"),
    ({"name": "CUSTOM", "formula": "p - 0.5"}, "CUSTOM formula p - 0.5: c(p) is negative, -0.499, at p = 0.001"),
    ({"name": "CUSTOM_DN", "emphasis": "1 / abs(p - 0.5)"}, "the emphasis is too large for single precision at p = 0.5"),
    ({"name": "CUSTOM", "formula": "exp(100 * p)"}, "c(p) is too large for single precision at p = 0.888"),
    ({"name": "CUSTOM", "formula": "log(p - 0.2)"}, "c(p) is not a number at p = 0.001"),
    ({"name": "CUSTOM_DN", "formula": "3 / p"}, "the emphasis is too large for single precision at p = 1.17549e-38"),
    ({"name": "CUSTOM", "emphasis": "pow(1 - p, -5)"}, "c(p) is too large for single precision at p = 1"),
    ({"name": "CUSTOM", "formula": "1e9 * log(1 + 1e-9 * p)"}, "c(p) is 0 on all of (0, 1)"),
    ({"name": "CUSTOM", "formula": "0 * p"}, "c(p) is 0 on all of (0, 1), so that no example counts"),
])
def test_errors(arguments, message):
    with pytest.raises(ValueError) as error:
        Weighting(**arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(("text", "expected"), [
    ("MAE", {"weighting": "MAE"}), *((text, {"weighting": "CUSTOM", "formula": text}) for text in (
        "p", "1", "pow(p, 0.3)", "p-p*p", "(p)"))])
def test_a_weighting_on_a_command_line_is_a_name_or_a_formula(text, expected):
    assert chosen(text) == expected
