"""Show the results of runs on one page: a table like Table 1 of the paper, curves, learning dynamics, details of each run.

    python -m solvers.report runs/ results/ -o report.html

The page is a single file that needs no network. It shows every run folder in or below the named ones. If several have the
same experiment and seed, it shows the one with the most steps.
"""

import base64
import hashlib
import math
import sys
from pathlib import Path

from base.errors import CommandLine, InputError, reports_errors
from base.terminal import one_line, say
from base.writing import write_atomically
from solvers.nets.permissions import Permissions
from solvers.reporting import report_data, results, run_folders, tables
from solvers.reporting.results import Result, percent, points

PAGE = Path(__file__).parent / "reporting/report_page"
SHOWN_AT_FIRST = 4  # weightings that the charts show when the page is opened


def render(shown: list[Result], remarks: list[str], title: str) -> bytes:
    """The page, as UTF-8.

    Names and texts of run folders may come from people who are not trusted. The template escapes them, the JSON contains no
    character that could begin an HTML tag, and the page's Content-Security-Policy allows only our scripts and no downloads.
    """
    try:
        import jinja2
        from markupsafe import Markup

        from solvers.reporting import charts
    except ImportError as missing:
        raise InputError(f"a report needs the packages of the extra `report` ({missing}): make setup installs them") from None

    noises, rows = tables.tabulate(shown)
    dynamics = {result.run: report_data.read_dynamics(result) for result in shown}
    data = report_data.data_of(noises, rows, dynamics)
    accuracies = [value for run in (*data["runs"], *data["released"]) for value in run["accuracies"]]
    p = [value or 0 for found in dynamics.values() if found for value in (*found["clean_p"], *found["noisy_p"])]
    data["charts"] = {
        "accuracy": charts.curves(len(rows), 10 * math.ceil((max(accuracies) + 1) / 10)),
        "probability": charts.dynamics(len(rows), "mean p of the label", math.ceil(10 * max([*p, 0.05])) / 10),
        "share": charts.dynamics(len(rows), "share of the gradient", 1),
        "emphasis": charts.emphasis(len(rows)),
    }
    data["shown"] = SHOWN_AT_FIRST
    scripts = [charts.vega_script(), (PAGE / "report.js").read_text()]
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    page = environment.get_template("report.html").render(
        title=title, count=len(shown), noises=noises, rows=rows, measures=list(results.MEASURES), cell=tables.cell,
        remarks=remarks, csv=tables.as_csv(noises, rows),
        latex={measure: tables.as_latex(noises, rows, measure) for measure in results.MEASURES},
        facts={result.run: report_data.particulars(result, dynamics[result.run]) for result in shown},
        percent=percent, points=points, looks=charts.looks(len(rows)), data=data,
        style=Markup((PAGE / "report.css").read_text()),
        scripts=[Markup(script) for script in scripts], hashes=[_csp_hash(script) for script in scripts])
    return page.encode("utf-8", "replace")


def _csp_hash(script: str) -> str:
    """The name of an inline script in a Content-Security-Policy: its hash."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@reports_errors()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.report", description=__doc__.splitlines()[0])
    parser.add_argument("folders", metavar="FOLDER", nargs="+", help="run folders, or folders with some below; globs, too")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("report.html"), help="default %(default)s")
    parser.add_argument("--title", default="Example weighting under label noise", help="default %(default)r")
    Permissions.add_unconfined(parser)
    args = parser.parse_args(arguments)
    folders = run_folders.expanded(args.folders)
    allowed = Permissions.from_options(args, *folders)
    allowed.confine(write=allowed.deliver(args.output))
    found, refused = run_folders.read(run_folders.folders_below(folders))
    shown, left = run_folders.distinct(found)
    remarks = [f"not shown: {reason}" for reason in (*refused, *left)]
    if not shown:
        raise InputError("; ".join([f"no measured run in {', '.join(args.folders)}: solvers.evaluate measures one",
                                    *remarks[:3]]))
    write_atomically(args.output, render(shown, remarks, args.title))
    for remark in remarks:
        say(one_line(remark), file=sys.stderr)
    say(f"{args.output}: {len(shown)} run{'s' * (len(shown) != 1)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
