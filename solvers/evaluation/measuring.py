"""Measure what is still to be measured of a run's checkpoints, and write and print it after each of them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Self

from solvers.evaluation import measurements
from solvers.evaluation.measurements import Measurements, Results
from solvers.evaluation.progress import EvaluationProgress
from solvers.nets import weights

Done = Callable[[int], None]


class Job(NamedTuple):
    """Something to measure of each checkpoint.

    Attributes
    ----------
    name : str
        Of the file in which the results are kept.
    data : str
        The fingerprint of what is measured on.
    size : int
        How many images or batches that is.
    compute : function
        From a checkpoint's weights, a file, to its results. It calls its second argument with each number of images or
        batches that are done.
    """

    name: str
    data: str
    size: int
    compute: Callable[[Path, Done], Results]


class Measuring:
    """Does jobs for each checkpoint; a context manager, within which more can be measured.

    Parameters
    ----------
    folder : Path
        Where the results go.
    models : dict of int to Path
        The checkpoints' weights, by iteration.
    made_of : iterable of str
        Tells the run and its nets from others.
    jobs : list of Job
        On the test images, and, if there is a second one, on the training images.
    unit : str
        What their sizes count: images, or batches.
    more : int
        How many are measured within besides.

    Attributes
    ----------
    progress : EvaluationProgress
    """

    def __init__(self, folder: Path, models: dict[int, Path], made_of: Iterable[str], jobs: list[Job], unit: str, more: int):
        self.folder, self.models, self.jobs = folder, models, jobs
        self._weights = {iteration: measurements.sha256(weights.content(model)) for iteration, model in models.items()}
        made_of = [text.encode() for text in made_of]
        self._known = [Measurements(folder / job.name, measurements.sha256(*made_of, job.data.encode())) for job in jobs]
        needed = sum(len(known.missing(self._weights)) * job.size for known, job in zip(self._known, jobs, strict=True))
        self.progress = EvaluationProgress(needed + more, unit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.close()

    def all(self) -> dict[int, Results]:
        """Do the jobs; return the results of the first one, also those of checkpoints that are gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tested, *others = self._known
        for iteration in sorted({*self.models, *tested.results}):
            for job, known in zip(self.jobs, self._known, strict=True):
                if iteration in known.missing(self._weights):
                    known.add(iteration, self._weights[iteration], job.compute(self.models[iteration], self.progress.add))
            self._write()
            trained = [found for known in others for found in known.results.get(iteration, {}).items()]
            training = "; training: " * bool(trained) + ", ".join(f"{name} {value:.4f}" for name, value in trained)
            self.progress.say(measurements.line(iteration, tested.results[iteration]) + training)
        return tested.results

    def _write(self) -> None:
        tested, *others = self._known
        measurements.write_lines(self.folder / "accuracy.txt", tested.results)
        for known in self._known:
            known.write()
        for known in others:
            measurements.write_csv(self.folder / "train_accuracy.csv", known.results)
