"""What commands return and print after errors and Ctrl-C."""

import argparse
import importlib
import subprocess
import sys

import pytest

from base.errors import InputError, reports_errors


@pytest.mark.parametrize(("error", "code", "printed"), [
    (InputError("x.npz: no labels"), 2, "error: x.npz: no labels\n"),
    (FileNotFoundError(2, "No such file", "x"), 2, "error: [Errno 2] No such file: 'x'\n"),
    (MemoryError(), 2, "error: there is too little memory\n"),
    (KeyboardInterrupt(), 130, "what is done is kept\n"),
])
def test_errors_are_reported(error, code, printed, capsys):
    @reports_errors("what is done is kept")
    def main(argv):
        raise error

    assert main([]) == code
    assert capsys.readouterr() == ("", printed)


def test_others_are_not_hidden():
    @reports_errors()
    def main(argv):
        return argv[0] / 0

    with pytest.raises(ZeroDivisionError):
        main([1])


@pytest.mark.parametrize("name", ["train", "evaluate", "compare", "report", "plot_dynamics", "sweep.__main__",
                                  "export.__main__"])
def test_all_commands_end_at_ctrl_c_without_a_trace(name, monkeypatch, capsys):
    command = importlib.import_module(f"solvers.{name}")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", interrupt)
    assert command.main([]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_ends_is_no_error():
    """As head does: no trace, and the exit code that a shell gives for SIGPIPE."""
    program = ("import sys; from base.errors import reports_errors; from base.terminal import say\n"
               "@reports_errors()\ndef main(argv=None):\n    while True: say('x' * 1000)\nsys.exit(main())")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141
