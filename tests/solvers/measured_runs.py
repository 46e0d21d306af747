"""Make run folders for the 48 released runs, with slightly different accuracies, and with all files that a report reads."""

import json
from pathlib import Path

import numpy as np

from solvers.reporting import released_runs
from solvers.runs.dynamics import DYNAMICS_FILE, Dynamics

DM = ("res44_usw", "res44_imae", "res44_uniform")


def config_of(released: released_runs.ReleasedRun, seed: int = 123) -> dict:
    """A config.json as solvers.train writes it."""
    weighting = None if released.setting in (*DM, "res44_cce") else released.setting.removeprefix("res44_").upper()
    return {"setting": released.setting, "noise": released.noise, "noise_type": "symmetric", "train_data": None, "seed": seed,
            "weighting": weighting, "beta": released.beta, "lambda": released.lam,
            "q": released_runs.GCE_Q if "gce" in released.setting else None, "layers": "native", "gpus": 1, "max_iter": 30000,
            "data_sha256": "ab" * 32, "versions": {"caffe": "1.0.0"}}


def write_accuracy(folder: Path, iterations: list[int], accuracies: np.ndarray) -> None:
    (folder / "accuracy.txt").write_text("".join(
        f"iter: {iteration}, accuracy: {accuracy:.4f}\n" for iteration, accuracy in zip(iterations, accuracies, strict=True)))


def write(runs: Path, seeds: int, last: int = 30) -> list[Path]:
    """Write the runs, each with its first `last` checkpoints; returns their folders."""
    random = np.random.default_rng(0)
    folders = []
    for number, released in enumerate(released_runs.load_runs()):
        for seed in range(123, 123 + seeds):
            folder = runs / f"{released.setting}_{number}" / f"noise_{released.noise}" / f"seed_{seed}"
            folder.mkdir(parents=True)
            folders.append(folder)
            (folder / "config.json").write_text(json.dumps(config_of(released, seed)))
            accuracies = np.clip(np.array(released.accuracies) + random.normal(0, 0.006, 30), 0, 1)
            write_accuracy(folder, released.iterations[:last], accuracies[:last])
            write_dynamics(folder, released.noise)
            (folder / "log.csv").write_text("iteration,loss,lr,seconds\n1,5,0.1,0.433\n30000,1.2,0.001,13000.123\n")
    return folders


def write_dynamics(folder: Path, noise: float, rows: int = 300, interval: int = 100) -> None:
    at = interval * np.arange(1, rows + 1)
    noisy = np.full(rows, round(256 * noise))
    clean_p = 0.8 * (1 - np.exp(-at / 8000))
    noisy_p = np.where(noisy, 0.2 * (1 - np.exp(-at / 20000)), np.nan)
    share = noise * np.exp(-at / 30000)
    with (folder / DYNAMICS_FILE).open("w") as file:
        file.write(",".join(Dynamics._fields) + "\n")
        columns = np.array([at, 256 - noisy, noisy, clean_p, noisy_p, 1 - share, share])
        np.savetxt(file, columns.T, "%d,%d,%d" + 4 * ",%.6g")
