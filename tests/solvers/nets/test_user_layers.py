"""Python layers of a user's own: the errors if they are not found, and if they fail."""

import itertools

import pytest
import tiny

from solvers import evaluate

NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module which no test has imported before, and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(old: str = "", new: str = "") -> str:
        name = f"user_layers_{next(NUMBERS)}"
        assert old in tiny.PYTHON_LAYER
        (tmp_path / f"{name}.py").write_text(tiny.PYTHON_LAYER.replace(old, new) if old else tiny.PYTHON_LAYER)
        return name

    return write


def error_of(run, capsys, source, name, *options) -> str:
    assert run(source, "--max-iter", 3, "--allow-module", name, *options) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return error


@pytest.mark.parametrize(("method", "line", "old"), [
    ("setup", 3, "pass"), ("reshape", 4, "top[0].reshape(*bottom[0].data.shape)"),
    ("forward", 5, "top[0].data[...] = bottom[0].data"), ("backward", 6, "bottom[0].diff[...] = top[0].diff")])
@pytest.mark.parametrize(("new", "what"), [
    ("raise ValueError('too dark')", "ValueError (too dark)"),
    ("__import__('numpy').reshape(bottom[0].data, (7,))", "ValueError (cannot reshape array")])
def test_a_layer_that_raises(setting, run, tmp_path, module, capfd, method, line, old, new, what):
    """Even if a package that the layer calls raises the error, the line in the message is the layer's own."""
    name = module(old, new)
    error = error_of(run, capfd, setting(net=tiny.python_layer_net(name)), name)
    assert error.startswith(f"error: layer 'own' (Python, {name}.Same): its {method} raises {what}")
    assert f": {tmp_path / name}.py:{line}: def {method}(" in error


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_layer_that_raises_while_it_is_evaluated(processes, setting, run, folder, tmp_path, module, monkeypatch, capfd):
    name = module("bottom[0].data\n", "bottom[0].data if self.phase == 0 else 1 / 0\n")
    assert run(setting(net=tiny.python_layer_net(name)), "--max-iter", 1, "--allow-module", name) == 0
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset())
    assert evaluate.main([str(folder), "--allow-module", name, "--threads", processes]) == 2
    error = capfd.readouterr().err
    assert f"layer 'own' (Python, {name}.Same): its forward raises ZeroDivisionError (" in error
    assert f"{tmp_path / name}.py:5: " in error


def test_a_missing_module(setting, run, tmp_path, capfd):
    source = setting(net=tiny.python_layer_net("nowhere_to_be_found"))
    error = error_of(run, capfd, source, "nowhere_to_be_found")
    assert "layer 'own' (Python): Python finds no module 'nowhere_to_be_found': " in error
    assert "PYTHONPATH=FOLDER before the command" in error
    (source / "nowhere_to_be_found.py").write_text(tiny.PYTHON_LAYER)
    assert f"PYTHONPATH={source} before" in error_of(run, capfd, source, "nowhere_to_be_found")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("old", "new", "message"), [
    ("import caffe", "import caffe, not_installed", "needs the module 'not_installed', which is not installed: {file}:1"),
    ("import caffe", "import caffe; 1 / 0", "raises ZeroDivisionError (division by zero): {file}:1"),
    ("(self, bottom, top): pass", "(self, bottom, top: pass", "raises SyntaxError ("),
    ("Same", "Sane", "{file} has no 'Same'; did you mean \"Sane\""),
])
def test_a_module_that_is_wrong(setting, run, tmp_path, module, capfd, old, new, message):
    name = module(old, new)
    error = error_of(run, capfd, setting(net=tiny.python_layer_net(name)), name)
    assert message.format(file=tmp_path / f"{name}.py") in error
    assert f"{name}.py" in error and not (tmp_path / "runs").exists()
