"""Where OpenMP's threads run: each on a processor of its own, if there are as many."""

import json
import os
import subprocess
import sys

import pytest
from engines import convolution, inputs

PROCESSORS = sorted(os.sched_getaffinity(0))
# Runs a net, and prints the processors that each thread may use: the first thread, those that OpenMP has started, those that
# it starts after a fork, and one that the first thread starts afterwards; and the processor that the first thread is on.
CODE = """
import json, os, sys, threading
net_file, *then = sys.argv[1:]
import caffe
allowed = lambda thread=0: sorted(os.sched_getaffinity(thread))
before = set(os.listdir("/proc/self/task"))
net = caffe.Net(net_file, caffe.TEST)
net.forward()
places = lambda: [allowed(int(thread)) for thread in set(os.listdir("/proc/self/task")) - before]
started = again = places()
if "fork" in then:
    os.waitpid(os.fork() or os._exit(0), 0)
    assert not places()
    net.forward()
    again = places()
if "elsewhere" in then:
    everywhere = allowed()
    [(elsewhere,)] = started[:1]
    os.sched_setaffinity(0, {elsewhere})
    os.sched_setaffinity(0, everywhere)
    net.forward()
here = int(open("/proc/self/stat").read().rpartition(")")[2].split()[36])
later = []
thread = threading.Thread(target=lambda: later.append(allowed()))
thread.start(), thread.join()
print(json.dumps({"first": allowed(), "here": here, "started": started, "again": again, "later": later[0]}))
"""

pytestmark = pytest.mark.skipif(len(PROCESSORS) == 1, reason="this process may use one processor only")


@pytest.fixture
def places(tmp_path):
    """A function of environment variables that runs a net in a separate process and returns what CODE prints."""
    net = tmp_path / "net.prototxt"
    net.write_text(inputs(data=(8, 16, 32, 32)) + convolution("conv", "data", "conv", 16))

    def run(*arguments: str, **environment: str) -> dict:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        done = subprocess.run([sys.executable, "-c", CODE, str(net), *arguments], capture_output=True, text=True, check=True,
                              env=inherited | {"GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"} | environment)
        return json.loads(done.stdout)

    return run


def check_places(threads: list[list[int]]) -> None:
    """Each thread but the first is tied to one processor, and no two to the same."""
    tied = [processor for allowed in threads for processor in allowed]
    assert len(threads) == len(tied) == len(set(tied)) == len(PROCESSORS) - 1 and set(tied) < set(PROCESSORS)


def test_each_thread_has_a_processor_of_its_own(places):
    check_places(places()["started"])


def test_the_first_thread_and_those_that_it_starts_stay_free(places):
    found = places()
    assert found["first"] == found["later"] == PROCESSORS


def test_the_first_thread_comes_back_from_the_processor_of_another(places):
    found = places("elsewhere")
    assert [found["here"]] not in found["started"] and found["first"] == PROCESSORS


@pytest.mark.parametrize("environment", [{"OMP_NUM_THREADS": str(len(PROCESSORS) + 1)}, {"OMP_PROC_BIND": "false"}],
                         ids=["more threads than processors", "the environment says no"])
def test_threads_stay_free(places, environment):
    found = places(**environment)
    assert found["started"] and all(allowed == PROCESSORS for allowed in found["started"])


FORKING = """
import os, sys, caffe
net = caffe.Net(sys.argv[1], caffe.TEST)
before = net.forward()["conv"].copy()
child = os.fork()
if not child:
    os._exit(0 if (net.forward()["conv"] == before).all() else 1)
assert (net.forward()["conv"] == before).all()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("threads", [2, len(PROCESSORS), len(PROCESSORS) + 2])
def test_a_forked_child_computes_too(tmp_path, threads):
    (tmp_path / "net.prototxt").write_text(inputs(data=(8, 16, 32, 32)) + convolution("conv", "data", "conv", 16))
    done = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path / "net.prototxt")], capture_output=True, text=True,
                          check=True, timeout=60, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    assert done.stdout == "0\n"


def test_threads_have_places_again_after_a_fork(places):
    """Which, depends on where the system runs the first thread at that time."""
    check_places(places("fork")["again"])
