"""A Slurm cluster of this one machine, started as root without systemd, with its own configuration and key."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("sbatch", "squeue", "munged", "mungekey", "slurmctld", "slurmd")


def missing() -> str:
    """Why no cluster can be started here; "" if one can."""
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    if absent:
        return f"no {', '.join(absent)} here: docker/apt.sh docker/apt-slow.txt installs Slurm"
    return "" if os.getuid() == 0 else "slurmd of one machine needs root"


@contextmanager
def cluster(folder: Path, cpus: int, megabytes: int) -> Iterator[dict[str, str]]:
    """Start a cluster; yield the environment in which sbatch finds it; end it with all its jobs."""
    name = socket.gethostname().partition(".")[0]
    config = folder / "slurm.conf"
    control, daemon = _free_ports()
    for place in "state", "spool":
        (folder / place).mkdir()
    config.write_text(f"""ClusterName=test
SlurmctldHost={name}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
KillWait=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={name} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={megabytes} State=UNKNOWN
PartitionName=main Nodes={name} Default=YES MaxTime=INFINITE State=UP
""")
    environment = os.environ | {"SLURM_CONF": str(config)}
    subprocess.run(["mungekey", "-c", "-k", folder / "munge.key"], check=True)
    with ExitStack() as stack:
        for command in (
                ["munged", "-F", "-f", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
                 f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"],
                ["slurmctld", "-D", "-f", config], ["slurmd", "-D", "-f", config]):
            stack.enter_context(_daemon(command, environment, folder))
        _wait_until_idle(environment, folder)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--user=root"], env=environment)
            deadline = time.monotonic() + 30
            while _said(["squeue", "--noheader"], environment) and time.monotonic() < deadline:
                time.sleep(0.5)


@contextmanager
def _daemon(command: list, environment: dict[str, str], folder: Path) -> Iterator[None]:
    with open(folder / f"{command[0]}.out", "wb") as output:
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=output, stderr=output)
    time.sleep(0.5)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while "idle" not in (state := _said(["sinfo", "--noheader", "--format=%T"], environment)):
        if time.monotonic() > deadline:
            logs = "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
            raise RuntimeError(f"the cluster does not come up: {state}\n{logs}")
        time.sleep(0.5)


def _said(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()


def _free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
