"""The report in a browser: Chromium opens the file, without network.

    apt-get install chromium        # make test skips these tests where it is missing; CI installs it (docker/apt-ci.txt)
"""

import csv
import json
import os
import re
import shutil

import measured_runs
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from solvers import compare, report
from solvers.reporting import released_runs, results

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium")

# Nothing of Chromium's own may use the network either. Root may not have its sandbox.
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"] + ["--no-sandbox"] * (os.geteuid() == 0)
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET) as browser:
            yield browser


class Opened:
    """An opened report page, and the messages and requests since then."""

    def __init__(self, browser, file, **options):
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}} | options)
        self.requests, self.said = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.file = file
        self.page.goto(file.as_uri())
        self.wait()

    def wait(self):
        self.page.wait_for_selector("html[data-drawn]", state="attached", timeout=60_000)

    def check_quiet(self):
        assert self.said == [] and [url for url in self.requests if not url.startswith("data:")] == [self.file.as_uri()]

    def texts(self, selector):
        return [text.strip() for text in self.page.locator(selector).all_text_contents()]


@pytest.fixture
def opened(browser):
    """A function that opens a file. At the end each page is closed, and must have logged nothing."""
    pages = []

    def open_(file, **options):
        pages.append(Opened(browser, file, **options))
        return pages[-1]

    yield open_
    for one in pages:
        one.check_quiet()
        one.page.close()


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The 48 runs once: their folders, and the report."""
    top = tmp_path_factory.mktemp("released")
    folders = measured_runs.write(top / "runs", seeds=1)
    assert report.main([str(top / "runs"), "-o", str(top / "report.html"), "--unconfined"]) == 0
    return folders, top / "report.html"


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Five seeds of each: their folders, and the report."""
    top = tmp_path_factory.mktemp("seeds")
    folders = measured_runs.write(top / "runs", seeds=5)
    assert report.main([str(top / "runs"), "-o", str(top / "report.html"), "--unconfined"]) == 0
    return folders, top / "report.html"


def numbers(opened, measure):
    """The cells of a table: (weighting, noise) -> ours, published, difference."""
    opened.page.get_by_label(measure, exact=True).check()
    table = opened.page.locator("table.results:visible")
    noises = [text.removeprefix("noise ") for text in table.locator("th[scope=colgroup]").all_text_contents()]
    found = {}
    for row in table.locator("tbody tr").all():
        cells = row.locator("td").evaluate_all("cells => cells.map(cell => cell.dataset.value)")
        for number, noise in enumerate(noises):
            found[row.locator("th").inner_text(), noise] = cells[3 * number : 3 * number + 3]
    return found


@pytest.mark.parametrize("measure", results.MEASURES)
def test_the_tables_have_the_numbers_that_compare_prints(opened, released, capsys, measure):
    folders, file = released
    assert compare.main(list(map(str, folders))) == 0
    printed = [re.split(r"  +", line) for line in capsys.readouterr().out.split("\n\n")[0].splitlines()]
    at = {"best": 0, "final": 1, "mean of last five": 2}[measure]
    found = numbers(opened(file), measure)
    assert len(found) == 48
    for number, folder in enumerate(folders):
        result = results.read(folder)
        row = printed[1 + 3 * number + at]
        assert found[result.family, result.noise] == row[row.index(measure) + 1 : row.index(measure) + 4]


def test_each_run_has_the_rows_that_compare_prints(opened, released):
    folders, file = released
    page = opened(file).page
    for folder in folders[::7]:
        result = results.read(folder)
        body = page.get_by_label(f"Accuracies of {folder}").locator("tbody tr")
        rows = [[cell.strip() for cell in row.locator("th, td").all_text_contents()] for row in body.all()]
        assert rows == [row[2:] for row in compare.rows(result)]


def test_over_seeds_it_is_mean_and_deviation(opened, seeds):
    """The expected numbers are computed from the files."""
    folders, file = seeds
    one = opened(file)
    found = numbers(one, "final")
    by_experiment = {}
    for folder in folders:
        last = float((folder / "accuracy.txt").read_text().split()[-1])
        result = results.read(folder)
        by_experiment.setdefault((result.family, result.noise), []).append((100 * last, 100 * result.released.final))
    assert len(by_experiment) == 48
    deviations = one.texts("table.results:visible tbody small")
    for key, values in by_experiment.items():
        ours, theirs = np.array(values).T
        assert found[key] == [f"{ours.mean():.2f}", f"{theirs.mean():.2f}", f"{ours.mean() - theirs.mean():+z.2f}"]
        assert any(text.startswith(f"± {ours.std(ddof=1):.2f}, 5 seeds") for text in deviations)


def test_tables_are_sorted_and_filtered_with_the_keyboard(opened, released):
    one = opened(released[1])
    page = one.page
    head = page.locator("table.results:visible th[aria-sort]").nth(3 + 1)  # ours at noise 0.2

    def values():
        rows = page.locator("table.results:visible tbody tr")
        return [float(text) for text in rows.evaluate_all("rows => rows.map(row => row.cells[4].dataset.value)")]

    before = values()
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending" and values() == sorted(before, reverse=True) != before
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending" and values() == sorted(before)
    page.locator("#filter").focus()
    page.keyboard.type("gce")
    assert sorted(one.texts("table.results:visible tbody tr:visible th")) == ["GCE", "GCE-DN"]
    assert page.get_by_role("status").inner_text() == "2 of 12 weightings"


def test_tab_reaches_every_control(opened, released):
    page = opened(released[1]).page
    reached = set()
    focused = "(({ tagName, textContent, value }) => `${tagName} ${textContent || value}`)(document.activeElement)"
    for _ in range(200):
        page.keyboard.press("Tab")
        what = page.evaluate(focused)
        if what in reached and what.startswith("A Skip"):
            break
        reached.add(what)
    kinds = {what.split()[0] for what in reached}
    assert {"A", "BUTTON", "INPUT", "SUMMARY", "DIV"} <= kinds


def lines(page, chart):
    """The number of lines in a chart's first noise rate: ours and, dashed, published."""
    return page.locator(f"[data-chart={chart}] figure").first.locator("g.mark-line path").evaluate_all(
        "paths => paths.map(path => path.getAttribute('stroke-dasharray') || 'solid')")


def test_the_charts_draw_the_chosen_runs(opened, seeds):
    page = opened(seeds[1]).page
    for chart in page.locator(".chart").all():  # Vega has labels of its own
        assert chart.get_attribute("role") == "img" and "The values are in the table" in chart.get_attribute("aria-label")
    first = lines(page, "accuracy")
    assert len([dash for dash in first if dash == "6,4"]) == 4 and len(first) == 4 + 20
    page.get_by_role("button", name="none").click()
    page.wait_for_function("[...document.querySelectorAll('.charts figure')].every(figure => figure.hidden)")
    page.locator("#rows").get_by_label("DM, lambda 0.5").check()
    drawn = "document.querySelectorAll('[data-chart=accuracy] figure:first-child g.mark-line path').length"
    page.wait_for_function(f"{drawn} === 6")
    assert page.locator("[data-chart=accuracy] figure:visible").count() == 4
    page.locator("#seeds").get_by_label("124").uncheck()
    page.wait_for_function(f"{drawn} === 5")
    page.locator("#noises").get_by_label("0.2").uncheck()
    page.wait_for_function("document.querySelectorAll('[data-chart=accuracy] figure:not([hidden])').length === 3")
    assert page.locator("[data-chart=accuracy] .chart:visible").first.get_attribute("aria-label").startswith(
        "Test accuracy, noise 0.0: DM, lambda 0.5.")
    rules = page.locator("[data-chart=accuracy] figure").first.locator("g.mark-rule.layer_0_marks line").count()
    assert rules == 2  # the learning rate drops


def test_the_values_of_the_charts_are_tables(opened, released):
    folders, file = released
    page = opened(file).page
    page.get_by_role("button", name="none").click()
    page.locator("#rows").get_by_label("CCE", exact=True).check()
    page.locator("[data-values=accuracy] summary").click()
    table = page.locator("[data-values=accuracy] table")
    table.wait_for()
    heads = table.locator("thead th").all_text_contents()
    mine, theirs = heads.index("CCE, noise 0.4, seed 123"), heads.index("published: CCE, noise 0.4")
    cce = released_runs.find_released("res44_cce", 0.4)
    [folder] = [folder for folder in folders if results.read(folder).released is cce]
    rows = [row.locator("th, td").all_text_contents() for row in table.locator("tbody tr").all()]
    assert [float(row[theirs]) for row in rows] == [round(100 * value, 2) for value in cce.accuracies]
    assert [float(row[mine]) for row in rows] == [round(100 * value, 2) for value in results.read(folder).curve.accuracies]


def test_copying(browser, released):
    one = Opened(browser, released[1])
    one.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    one.page.get_by_text("CSV of all tables").click()
    one.page.locator("details[open] .copy:visible").click()
    one.page.get_by_role("button", name="Copied").wait_for()
    copied = list(csv.reader(one.page.evaluate("navigator.clipboard.readText()").splitlines()))
    assert len(copied) == 1 + 3 * 48 and copied[0][0] == "weighting"
    one.page.close()


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}],
                         ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(opened, released, options):
    page = opened(released[1], **options).page
    page.evaluate("document.querySelectorAll('details').forEach((details, i) => { details.open = i < 4; })")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_dark_and_light_differ_also_in_the_charts(opened, released):
    colours = []
    for scheme in "light", "dark":
        page = opened(released[1], color_scheme=scheme).page
        colours.append([page.evaluate("getComputedStyle(document.body).backgroundColor"), *(
            page.locator(f"[data-chart=accuracy] {mark}").last.evaluate("(mark, name) => getComputedStyle(mark)[name]", name)
            for mark, name in ((".mark-line path", "stroke"), (".mark-text text", "fill"), (".mark-symbol path", "fill")))])
    assert all(light != dark for light, dark in zip(*colours, strict=True))


def test_in_print_all_tables_are_there_and_no_control(opened, released):
    page = opened(released[1]).page
    page.emulate_media(media="print")
    assert page.locator("table.results:visible").count() == 3
    assert page.locator("input[type=search]:visible, button.copy:visible").count() == 0
    assert page.pdf().startswith(b"%PDF")


def test_no_script_of_a_run_runs_and_none_could_reach_the_network(opened, tmp_path):
    folder = tmp_path / "runs" / "<img src=x onerror=alert(1)>"
    folder.mkdir(parents=True)
    attack = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    (folder / "config.json").write_text(json.dumps({"setting": attack, "noise": 0.4, "noise_type": attack, attack: attack}))
    measured_runs.write_accuracy(folder, [1000, 2000], [0.1, 0.2])
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "x.html"), "--title", attack]) == 0
    one = opened(tmp_path / "x.html")
    assert one.page.title() == attack
    one.page.get_by_text("Values").first.click()
    one.page.locator("[data-values=accuracy] table").wait_for()
    assert attack in one.texts("[data-values=accuracy] thead th")[1]
    one.check_quiet()
    image = "new Promise((done, failed) => Object.assign(new Image(), {onload: done, onerror: failed, src: 'https://a.test/x'}))"
    for attempt in "fetch('https://a.test/')", image:
        code = f"(async () => {{ try {{ await {attempt}; return 'done'; }} catch {{ return 'refused'; }} }})()"
        assert one.page.evaluate(code) == "refused"
    one.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    one.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.ran = 1\">')")
    assert one.page.evaluate("new Promise(done => setTimeout(() => done(window.ran), 200))") is None
    one.said.clear()  # Chromium says what the policy refused
    one.requests[1:] = []


def test_it_is_small_and_opens_quickly(browser, released, seeds):
    """Two seconds of processor time for 240 runs: the wall-clock time depends on other work on the machine."""
    assert released[1].stat().st_size < 3 * MEGABYTE and seeds[1].stat().st_size < 3 * MEGABYTE
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(seeds[1].as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached", timeout=60_000)
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    assert 0.1 < metrics["TaskDuration"] < 2
    page.close()
