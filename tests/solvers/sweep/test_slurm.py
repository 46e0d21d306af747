"""A real Slurm cluster of one machine: smoke.toml in jobs, one of which is too short for its run; and job arrays."""

import subprocess
import time

import pytest
import slurm_cluster
from places import Place

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing())]


@pytest.fixture
def slurm(tmp_path):
    """The environment in which commands find the cluster."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    with slurm_cluster.cluster(folder, cpus=2, megabytes=8000) as environment:
        yield environment


def test_smoke_in_jobs_that_meet_their_time_limit(smoke, slurm, tmp_path):
    """One job at a time, too short for both runs: it saves after three quarters of its time, and the next one continues."""
    place = Place(tmp_path, smoke.file, smoke.data)
    limit = max(60, round(0.8 * smoke.seconds))  # which made both at once
    walltime = f"{limit // 3600:02}:{limit // 60 % 60:02}:{limit % 60:02}"
    process = place.start("--slurm", f"partition=main,walltime={walltime}", "--threads", 1, "--jobs", 1,
                          SLURM_CONF=slurm["SLURM_CONF"])
    jobs = set()
    while process.poll() is None:
        said = subprocess.run(["squeue", "--noheader", "--format=%i"], env=slurm, capture_output=True, text=True)
        jobs |= set(said.stdout.split())
        time.sleep(1)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert len(jobs) > 1 and "goes on at step" in out, (jobs, out)
    assert place.accuracies() == smoke.accuracies()
    assert any("lifetime" in log.read_text() for log in (place.runs / "slurm").glob("*.err"))
    assert not list((place.runs / "slurm").glob(".*"))  # no key is left


def submit(place: Place, slurm: dict[str, str], *options: object) -> tuple[subprocess.Popen, str]:
    """Submit the job array of a sweep; return the process that waits for its end, and its number."""
    printed = place.run("--slurm", *options, "--sbatch", "--threads", 1)
    assert printed.returncode == 0, printed.stderr
    script = place.folder / "array.sh"
    script.write_text(printed.stdout)
    array = subprocess.Popen(["sbatch", "--wait", script], env=slurm, cwd=place.folder, stdout=subprocess.PIPE, text=True)
    return array, array.stdout.readline().split()[-1]


def check_that_it_went_on(place: Place, array: subprocess.Popen, number: str, task: int) -> None:
    assert array.wait(timeout=1800) == 0
    output = (place.folder / f"sweep-{number}_{task}.out").read_text()
    assert "SIGTERM: stopped after iteration" in output and "from iteration" in output
    assert place.run().stdout.startswith("nothing to do: all runs are done; next: ")


def test_a_job_array(place, slurm):
    """A job that is told to end saves, returns into the queue, and continues; each run is evaluated."""
    place.write("max_iter = 3000\n[[runs]]\nsetting = [{one}, {two}]\n")
    array, number = submit(place, slurm, "walltime=30,mem=2000M")
    log = place.runs / "two/noise_0.0/seed_123/log.csv"
    while not log.exists() or log.read_text().count("\n") < 100:
        assert array.poll() is None
        time.sleep(0.1)
    subprocess.run(["scancel", "--signal=TERM", f"{number}_1"], env=slurm, check=True)
    check_that_it_went_on(place, array, number, 1)


def test_a_job_array_that_reaches_its_time_limit(smoke, slurm, tmp_path):
    """500 steps of ResNet-44 take more than the 2 minutes of a job: shortly before, Slurm tells it to end."""
    place = Place(tmp_path, tmp_path / "sweep.toml", smoke.data)
    place.file.write_text('max_iter = 500\n[[runs]]\nreleased = "CCE 0.4"\n')
    check_that_it_went_on(place, *submit(place, slurm, "walltime=2"), 0)
