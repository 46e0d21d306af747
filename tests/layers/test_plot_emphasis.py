"""The figure of emphasis densities."""

import numpy as np
import pytest

from layers import plot_emphasis
from layers.weighting import Weighting


def test_settings_are_parsed_into_weightings():
    assert plot_emphasis.parse("CCE") == Weighting("CCE")
    assert plot_emphasis.parse("DM:lambda=0.5,beta=6") == Weighting("DM", lam=0.5, beta=6)


def test_every_curve_has_area_1_and_its_dot_at_the_mode():
    settings = [text for text in plot_emphasis.SETTINGS if text != "DM:lambda=0,beta=1"]
    axes = plot_emphasis.draw(settings).axes[0]
    curves, dots = axes.lines[::2], axes.lines[1::2]
    for text, curve, dot in zip(settings, curves, dots, strict=True):
        p, density = curve.get_data()
        assert np.trapezoid(density, p) == pytest.approx(1, abs=2e-3)
        assert dot.get_xdata()[0] == pytest.approx(plot_emphasis.parse(text).mode(), abs=1e-3)


def test_a_formula_is_shown_as_it_is_written():
    texts = ["emphasis: p < 0.2 ? 0 : 1", "p <= 0.5 ? min(p, 1) : 0", "DM:lambda=1,beta=6"]
    labels = [line.get_label() for line in plot_emphasis.draw(texts).axes[0].lines[::2]]
    assert labels == [*texts[:2], "DM, λ = 1, β = 6"]


@pytest.mark.parametrize("text, message", [
    ("DM:betta=6", "DM:betta=6: no parameter 'betta'; did you mean \"beta\"?; there are lambda, beta"),
    ("MAE:q=1", "MAE:q=1: no parameter 'q'; there are none"),
    ("GCE:q=x", "GCE:q=x: q is 'x', which is not a number"),
    ("MEA", "unknown weighting 'MEA'"),
])
def test_bad_setting_is_one_line_and_exit_code_2(capsys, text, message):
    assert plot_emphasis.main([text]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
