"""One table: what is derived from it is what is used, and a row that is added to it is everywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layers import formula, generated_code, generated_docs
from layers.table import BY_NAME, PARAMETERS, ROWS, WEIGHTINGS
from layers.weighting import Weighting

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ("CCE", "CCE_DN", "MAE", "MAE_DN", "MSE", "MSE_DN", "GCE", "GCE_DN", "DM")
ROW = '''    Row("CUBIC", multiplier="s * p * p * (1.5 - p) + (p > 0.9 ? 0 : 1e-3)", mode="", distance="s * (1 - p)",
        parameters=(Parameter("s", 2, "scale", least=0, ends=False),),
        sentence="A row that a test adds.", source="tests/layers/test_table.py"),
)

BY_NAME'''
NEW = {"CUBIC": lambda p, s: s * p**2 * (1.5 - p) + np.where(p > 0.9, 0, 1e-3)}


def test_released_numbers_never_change():
    """Caffemodels hold them; new rows come after the old ones."""
    assert WEIGHTINGS[:13] == (*RELEASED, "CUSTOM", "CUSTOM_DN", "RCE", "RCE_DN")
    assert list(generated_code.fields().items())[:7] == [
        ("lamda_p", 5), ("scale", 6), ("q", 8), ("formula", 9), ("emphasis", 10), ("alpha", 11), ("beta", 12)]
    assert len(set(generated_code.fields().values())) == len(generated_code.fields())
    assert [row.name for row in ROWS if row.released] == ["CCE", "MAE", "MSE", "GCE", "DM"]


def test_the_build_has_the_tables_enum_and_fields():
    pb = pytest.importorskip("caffe.proto.caffe_pb2")
    assert dict(pb.LossParameter.Weighting.items()) == {name: number for number, name in enumerate(WEIGHTINGS)}
    fields = pb.LossParameter.DESCRIPTOR.fields_by_name
    assert {name: fields[name].number for name in generated_code.fields()} == generated_code.fields()


def test_the_documentation_has_the_tables_rows(capsys):
    assert generated_docs.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_complete(row):
    assert row.sentence.endswith(".") and row.source
    assert [parameter for parameter in row.parameters if not parameter.holds(parameter.default)] == []
    assert not set(formula.FUNCTIONS) & {parameter.name for parameter in row.parameters} and "p" not in PARAMETERS
    if row.name != "CUSTOM":
        assert bool(row.multiplier) != bool(row.emphasis)
        Weighting(row.name)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project whose table has one row more, after `make table`, as far as that writes into the checkout."""
    folder = tmp_path_factory.mktemp("copy")
    for name in "layers", "solvers", "data_toolkit", "prototxt", "docs", "published":
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "res44_*", "*.png"))
    table = folder / "layers/table.py"
    before = table.read_text()
    table.write_text(before.replace(")\n\nBY_NAME", ROW, 1))
    assert table.read_text() != before
    run(folder, "-m", "layers.generated_docs")
    return folder


def run(folder: Path, *arguments: str, **options) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(folder), "GLOG_minloglevel": "2"}, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_added_row_is_everywhere(copy, tmp_path):
    """NumPy, param_str, options and their help, settings, proto, config, documentation, figure and page."""
    pytest.importorskip("caffe")
    said = run(copy, "-c", """
import numpy as np, layers.table
from layers import emphasis_html, generated_code, param_str, plot_emphasis
from layers.weighting import Weighting
from solvers.runs import config
from solvers.training import options
from prototxt import generate
w = Weighting("CUBIC_DN", s=3)
print(repr([float(value) for value in w.multiplier(np.array([0.25, 0.5, 0.95]))]))
print(param_str.read('{"weighting": "CUBIC", "s": 3}', ("weighting", *layers.table.PARAMETERS)))
args = options.parse(["any", "--weighting", "CUBIC", "--set", "s=3"], "")
print(options.of_loss(args)["weighting"], options.of_loss(args)["set"], "s" in config.FIELDS)
print([line.strip() for line in generated_code.proto().splitlines() if "CUBIC" in line or "double s " in line])
print(generate.loss_of("CUBIC"))
print("CUBIC" in emphasis_html.page([("CUBIC", w)]), len(plot_emphasis.draw(["CUBIC:s=3"]).axes[0].lines))
""").splitlines()
    np.testing.assert_allclose(eval(said[0]), [NEW["CUBIC"](p, 3) for p in (0.25, 0.5, 0.95)], rtol=1e-14)
    assert said[1:] == [
        "{'weighting': 'CUBIC', 's': 3}", "CUBIC {'s': 3.0} True",
        f"['CUBIC = {len(WEIGHTINGS)};', 'CUBIC_DN = {len(WEIGHTINGS) + 1};', '// Of CUBIC.', 'optional double s = 21;']",
        "('WeightedSoftmaxWithLoss', {'weighting': 'CUBIC', 's': 2})", "True 2"]
    assert "CUBIC, CUBIC_DN" in run(copy, "-m", "solvers.train", "--help")
    for name in "layers/README.md", "docs/weightings.md":
        assert "A row that a test adds." in (copy / name).read_text() or "`s * p * p" in (copy / name).read_text()
    changed = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.suffix in (".py", ".md", ".hpp")
               and path.read_bytes() != (ROOT / path.relative_to(copy)).read_bytes()}
    assert changed == {"layers/table.py", "layers/README.md", "docs/weightings.md"}


PROGRAM = """
#include <cstdio>
#include "caffe/layers/read_weighting.hpp"
int main() {
  for (int name = 0; name < caffe::WEIGHTINGS; ++name) {
    caffe::LossParameter given;
    given.set_s(3);
    if (LossParameter_Weighting_Name(caffe::LossParameter_Weighting(name)).find("CUSTOM") == 0) { given.set_formula("p"); }
    caffe::Weighting<double> weighting;
    const std::string wrong = ReadWeighting(given, caffe::LossParameter_Weighting(name), &weighting);
    printf("%s", wrong.c_str());
    for (double p = 0.125; p < 1; p += 0.125) {
      printf("%.17g %.17g %.17g ", weighting.multiplier(p), weighting.weight(p), weighting.distance(p));
    }
    printf("%.17g\\n", weighting.normaliser(3.5));
  }
}
"""


@pytest.mark.skipif(not (shutil.which("g++") and shutil.which("protoc")), reason="needs g++ and protoc")
def test_an_added_row_computes_the_same_in_cpp_and_a_weighting_without_a_row_does_not_compile(copy, tmp_path):
    """Compiled with warnings of switches as errors: each has a case for every weighting."""
    proto, headers = tmp_path / "caffe/proto", tmp_path / "caffe/layers"
    proto.mkdir(parents=True)
    shutil.copytree(copy / "layers/native", headers)
    written = run(copy, "-c", f"""
from layers import generated_code
open({str(headers / 'weighting_rows.hpp')!r}, "w").write(generated_code.header())
print(generated_code.proto(), end="")""")
    program = tmp_path / "program.cpp"
    program.write_text(PROGRAM)

    def compile_(fields: str, *arguments: str) -> subprocess.CompletedProcess:
        (proto / "caffe.proto").write_text(f'syntax = "proto2"; package caffe; message LossParameter {{\n{fields}}}\n')
        subprocess.run(["protoc", f"--cpp_out={proto}", f"-I{proto}", proto / "caffe.proto"], check=True)
        return subprocess.run(["g++", "-std=c++17", f"-I{tmp_path}", "-Wall", "-Werror=switch", program, *arguments],
                              capture_output=True, text=True)

    done = compile_(written, str(proto / "caffe.pb.cc"), "-o", str(tmp_path / "program"), "-lprotobuf", "-lpthread")
    assert done.returncode == 0, done.stderr
    lines = subprocess.run([tmp_path / "program"], capture_output=True, text=True).stdout.splitlines()
    names = [*WEIGHTINGS, "CUBIC", "CUBIC_DN"]
    p = np.arange(0.125, 1, 0.125)
    for name, line in zip(names, lines, strict=True):
        found = np.array(line.split(), float)
        if name in BY_NAME:
            weighting = Weighting(name, **{"formula": "p"} if name.startswith("CUSTOM") else {})
            c, weight, distance = weighting.multiplier(p), weighting.weight(p), weighting.distance(p)
        else:
            c = NEW["CUBIC"](p, 3)
            weight, distance = (2 * c * (1 - p), 1 - p) if name.endswith("_DN") else (np.ones(7), 3 * (1 - p))
        np.testing.assert_allclose(found[:-1].reshape(7, 3).T, [c, weight, distance], rtol=1e-13, atol=1e-16, err_msg=name)
        assert found[-1] == (3.5 if name == "CCE" else 3.5 + 1e-8)

    more = written.replace("  }\n", f"    FORGOTTEN = {len(names)};\n  }}\n", 1)
    assert more != written
    done = compile_(more, "-fsyntax-only", "-w")  # as Caffe is compiled
    assert done.returncode != 0 and "each weighting of caffe.proto needs a row of layers/table.py" in done.stderr
