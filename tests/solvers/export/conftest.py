import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is in the extra `export`")


def pytest_terminal_summary(terminalreporter, config):
    """With -v, the largest difference of each layer type."""
    from against_runtime import SEEN, WORST
    if config.getoption("verbose") > 0:
        for kind in sorted(WORST):
            terminalreporter.write_line(f"| {kind} | {SEEN[kind]} | {WORST[kind]:.1e} |")
