"""Upstream's own pycaffe tests, on the Caffe that we built with today's libraries."""

import re
import shutil
import subprocess
import sys

import pytest


@pytest.mark.skipif(not shutil.which("dot"), reason="upstream's test of caffe.draw needs Graphviz's dot")
def test_upstream_pycaffe_tests_pass(tmp_path):
    import caffe.test

    [folder] = caffe.test.__path__
    done = subprocess.run([sys.executable, "-m", "unittest", "discover", "-s", folder], capture_output=True, text=True,
                          cwd=tmp_path)  # one of them writes a caffemodel there
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"Ran (\d+) tests", done.stderr).group(1)) >= 52
