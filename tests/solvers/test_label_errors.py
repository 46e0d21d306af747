"""The example of docs/label_errors.md, exactly as written there."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny

from data_toolkit import dataset
from data_toolkit.dataset import Dataset
from solvers import evaluate
from solvers.runs.training_set import TrainingSet

pytest.importorskip("cleanlab", reason="no cleanlab here: pip install cleanlab")
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "label_errors.md"


def test_most_of_what_it_finds_is_wrong(setting, run, folder, tmp_path, monkeypatch, capsys):
    clean = tiny.dataset(images=400)
    labels = clean.labels.copy()
    labels[::5] = (labels[::5] + 1 + np.arange(80) % 9) % 10
    noisy = Dataset(clean.images, labels, clean.true_labels)
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: noisy)
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: clean)
    monkeypatch.setattr(TrainingSet, "load", lambda self, data: noisy)
    monkeypatch.chdir(tmp_path)
    body = tiny.BODY.replace('type: "BatchNorm"', 'type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.9 }')
    net = tiny.INPUT.replace("dim: 16", "dim: 80") + body + tiny.EXTRACT + tiny.USW  # 8 images of each of the 10 classes
    run(setting(net=net, solver=tiny.SOLVER.replace("stepvalue: 6", "stepvalue: 200")), "--max-iter", 300)
    assert evaluate.main([str(folder), "--save-train-probabilities", "train.npy"]) == 0
    dataset.save(Path("data/cifar100_train_symmetric_0.4_seed_123.npz"), noisy, {})
    capsys.readouterr()
    exec(re.search(r"```python\n(.*?)```", EXAMPLE.read_text(), re.DOTALL)[1], {})
    suspected, share, all_labels = re.findall(r"[\d.]+", capsys.readouterr().out.splitlines()[-1])
    assert float(all_labels) == 0.2 and int(suspected) > 20 and float(share) > 0.8
