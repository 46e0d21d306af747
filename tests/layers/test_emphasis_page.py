"""The page for trying out weightings, in a browser: Chromium opens the file, without network.

    apt-get install chromium        # make test skips these tests where it is missing; CI installs it (docker/apt-ci.txt)
"""

import os
import shutil

import numpy as np
import pytest
import rows
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from layers import formula, plot_emphasis
from layers.table import ROWS
from layers.weighting import Weighting

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium")

# Nothing of Chromium's own may use the network either. Root may not have its sandbox.
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"] + ["--no-sandbox"] * (os.geteuid() == 0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "emphasis.html"
    assert plot_emphasis.main(["--html", str(path), *plot_emphasis.SETTINGS, "emphasis: 0.2 + 4 * p * (1 - p)"]) == 0
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET) as browser:
            yield browser


@pytest.fixture
def page(browser, file):
    """The page, opened from its file. At the end, it must have loaded nothing else and logged nothing."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1200})
    requests, said = [], []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(file.as_uri())
    drawn(opened, 1)
    yield opened
    assert said == [] and [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    opened.close()


def drawn(page, times: int) -> None:
    """Wait until the page has drawn itself this many times."""
    page.wait_for_function(f"Number(document.documentElement.dataset.drawn) >= {times}", timeout=60_000)


def test_every_row_is_drawn_as_numpy_computes_it(page):
    for row in ROWS:
        if row.name == "CUSTOM":
            continue
        page.select_option("#weighting", row.name)
        found = page.evaluate("(() => { const { points, psi, largest, untrained } = tried();"
                              " return { points: points.filter((_, i) => i % 100 === 50), psi, largest, untrained }; })()")
        weighting = Weighting(row.name)
        p = np.array([point["p"] for point in found["points"]])
        np.testing.assert_allclose([point["c"] for point in found["points"]], weighting.multiplier(p), rtol=1e-9)
        np.testing.assert_allclose([point["density"] for point in found["points"]], weighting.density(p), rtol=2e-3)
        assert found["psi"] == pytest.approx(weighting.mode(), abs=6e-4)
        assert found["untrained"] == pytest.approx(float(weighting.emphasis(np.array([0.01]))[0]), rel=1e-9)


def test_a_mistake_is_said_as_elsewhere_with_a_caret_under_it(page):
    page.get_by_label("Formula of p").fill("1")
    for text in ("", "2p", "p ** 2", "p^2", "ln(p)", "__import__(p)", "p.real", "pow(p)", "exp(p, 1)", "exp p", "p > 0.5",
                 "1 + (p > 0.5)", "p ? 1 : 2", "p > 1 ? 2", "p = 1 ? 1 : 2", "010", "1e39", "(" * 40 + "p", "p--p", "window",
                 "p + " * 60, "p+(" * 32 + "p" + ")" * 32):
        page.locator("#formula").fill(text)
        with pytest.raises(formula.FormulaError) as error:
            formula.parse(text.strip())
        said = page.locator("#mistake").text_content().split("\n")
        line, _, caret = str(error.value).split("\n")
        assert [said[0], said[-1]] == [line.split("; did you mean")[0], caret]
        assert page.locator("#formula").get_attribute("aria-invalid") == "true" and page.locator("#psi").text_content() == "-"
    for text in ("p - 0.5", "1 / (p - p)", "sqrt(p - 1)", "0 * p", "exp(100 * p)", "1 / (1 - p) - 1.5", "1 / (p * p)", "3 / p",
                 "1e9 * log(1 + 1e-9 * p)"):
        page.locator("#formula").fill(text)
        with pytest.raises(ValueError) as error:
            Weighting("CUSTOM", formula=text)
        assert page.locator("#mistake").text_content() == str(error.value).split(": ", 1)[1]


def test_the_line_for_a_prototxt_is_the_weighting_that_is_shown(page):
    pb = pytest.importorskip("caffe.proto.caffe_pb2")
    from google.protobuf import text_format

    from solvers.nets import losses

    def copied() -> Weighting:
        layer = pb.LayerParameter(type="WeightedSoftmaxWithLoss")
        return losses.weighting_of(text_format.Parse(page.locator("#prototxt").input_value(), layer))

    page.select_option("#weighting", "SCE")
    page.get_by_label("alpha", exact=True).fill("0.1")
    page.get_by_label("_DN").check()
    assert copied() == Weighting("SCE_DN", alpha=0.1)
    assert page.locator("#command").input_value().endswith("--weighting SCE_DN --set alpha=0.1,beta=0.1")
    page.select_option("#weighting", "DM")
    page.get_by_label("lambda", exact=True).fill("0.5")
    assert copied() == Weighting("DM", lam=0.5, beta=1)
    page.locator("#formula").press("End")
    page.locator("#formula").type(" * 2")  # a row's formula becomes the reader's own, with its numbers
    assert copied() == Weighting("CUSTOM", emphasis="exp(1 * pow(p, 0.5) * (1 - p)) * 2")
    page.get_by_label("c(p)", exact=True).check()
    page.locator("#formula").fill('pow(p, 0.3) * exp(-2 * p)')
    assert copied() == rows.weighting("CUSTOM")


def test_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "weighting"
    page.keyboard.type("FORW")
    assert page.locator("#weighting").input_value() == "FORWARD" and page.locator("#psi").text_content() == "0.076"
    for _ in range(2):  # past the tick for _DN, to the first slider
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("rate", exact=True).input_value() == "0.41"
    while page.evaluate("document.activeElement.id") != "formula":
        page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("p")
    assert page.locator("#weighting").input_value() == "CUSTOM" and page.locator("#psi").text_content() == "0.5"
    while page.evaluate("document.activeElement.dataset.from") != "prototxt":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.textContent !== 'Copy' || document.activeElement.id === 'prototxt'")


def test_the_curves_follow_and_a_reader_of_screens_is_told(page):
    path = "#density path[stroke-width='3.5']"
    before = page.locator(path).get_attribute("d")
    page.select_option("#weighting", "AEL")
    drawn(page, 2)
    after = page.locator(path).get_attribute("d")
    assert after != before and page.locator("#c path[stroke-width='3.5']").count() == 1
    assert page.locator("#density .mark-symbol, #density .role-legend").count() > 0
    violations = Axe().run(page).response["violations"]
    assert violations == [], [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations]


def test_nothing_is_left_of_a_page_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    assert plot_emphasis.main(["--html", str(tmp_path / "folder")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]
