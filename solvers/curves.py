"""accuracy_curve.png: a run's test accuracy, with the published run behind it and the learning-rate drops marked."""

import io

from matplotlib.figure import Figure

from solvers.engine import caffe
from solvers.published import Curve, PublishedRun

pb = caffe.proto.caffe_pb2


def draw(title: str, ours: Curve, published: PublishedRun | None, solver: pb.SolverParameter) -> bytes:
    """Draw the curves.

    Parameters
    ----------
    title : str
    ours : Curve
        Iterations, and accuracies as fractions of 1.
    published : PublishedRun or None
        Drawn behind ours.
    solver : caffe_pb2.SolverParameter
        Tells when the learning rate drops.

    Returns
    -------
    bytes
        A PNG of 1200 x 750 pixels.
    """
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    if published is not None:
        axes.plot(published.iterations, [100 * a for a in published.accuracies], color="0.65", linewidth=2.5,
                  label=f"published: {published.name} (best {100 * published.best:.2f} %)")
    axes.plot(ours.iterations, [100 * a for a in ours.accuracies], color="tab:blue", marker="o", markersize=4,
              label=f"ours (best {100 * ours.best:.2f} %)")
    last = max(ours.iterations[-1], published.iterations[-1] if published is not None else 0)
    for i, drop in enumerate(learning_rate_drops(solver, last)):
        axes.axvline(drop, color="tab:red", linestyle=":", linewidth=1, label=None if i else "learning rate drops")
    axes.set(title=title, xlabel="iteration", ylabel="test accuracy (%)", xlim=(0, 1.02 * last))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", framealpha=0.9)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def learning_rate_drops(solver: pb.SolverParameter, last: int) -> list[int]:
    """The iterations up to `last` at which a solver's policy lowers the learning rate in steps."""
    if solver.lr_policy == "step" and solver.stepsize > 0:
        return list(range(solver.stepsize, last + 1, solver.stepsize))
    return [step for step in solver.stepvalue if step <= last] if solver.lr_policy == "multistep" else []
