"""Show on stderr how far an evaluation is, and the time left: a bar on a terminal, else a line every half minute."""

import sys
import time
from datetime import timedelta

from tqdm import tqdm

from base.terminal import say, shown


class EvaluationProgress:
    """Counts the images or batches that are measured.

    Parameters
    ----------
    total : int
        The number to measure, over all checkpoints.
    unit : str
        The unit of the count: images, or batches.
    """

    SECONDS = 30

    def __init__(self, total: int, unit: str):
        self.total, self.unit, self.done = total, unit, 0
        self._printed = time.perf_counter()
        self._first: tuple[float, int] | None = None  # time and count of the first report: the start of processes is not timed
        self._bar = tqdm(total=total, unit=f" {unit}", leave=False, dynamic_ncols=True,
                         bar_format="{n_fmt}/{total_fmt}{unit} |{bar}| {rate_fmt}, {remaining} left"
                         ) if total and sys.stderr.isatty() else None

    def add(self, count: int) -> None:
        """Note that `count` more are measured."""
        self.done += count
        now = time.perf_counter()
        began, before = self._first = self._first or (now, self.done)
        if self._bar is not None:
            self._bar.update(count)
        elif now - self._printed >= self.SECONDS and before < self.done < self.total:
            self._printed = now
            pace = (self.done - before) / (now - began)
            left = timedelta(seconds=round((self.total - self.done) / pace))
            say(f"{self.done:,} of {self.total:,} {self.unit}: {pace:.1f} {self.unit}/s, {left} left",
                file=sys.stderr)

    def say(self, text: str) -> None:
        """Print a line on stdout, above the bar."""
        tqdm.write(shown(text)) if self._bar is not None else say(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
