"""Measure the checkpoints of a run that have not been measured yet; write and print the results after each of them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Self

from solvers.evaluation import measurements
from solvers.evaluation.measurements import Measurements, Results
from solvers.evaluation.progress import EvaluationProgress
from solvers.nets import weights

Done = Callable[[int], None]


class Job(NamedTuple):
    """A measurement to make of each checkpoint.

    Attributes
    ----------
    name : str
        The name of the file in which the results are kept.
    data : str
        The fingerprint of the data to measure on.
    size : int
        The number of images, or batches, of these data.
    compute : function
        Takes the file of a checkpoint's weights and returns its results. It calls its second argument with the number of
        images, or batches, as they are done.
    """

    name: str
    data: str
    size: int
    compute: Callable[[Path, Done], Results]


class Measuring:
    """Does the jobs for each checkpoint: a context manager. While it is open, the caller can measure more.

    Parameters
    ----------
    folder : Path
        The folder for the results.
    models : dict of int to Path
        The files of the checkpoints' weights, by iteration.
    made_of : iterable of str
        Fingerprints of the run and its nets.
    jobs : list of Job
        The first is on the test images; a second one, if there is one, on the training images.
    unit : str
        The unit of the jobs' sizes: images, or batches.
    more : int
        How many of these the caller measures besides, for the progress bar.

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
        """Do the jobs; return the results of the first one by iteration, including those of deleted checkpoints."""
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
