"""The table of weightings: one row each. All code, options and documentation about weightings are derived from it.

With P = softmax(scores), p = P[label], g = P - onehot(label) and N examples, a loss l(p) has the gradient c(p) g / N, where
c(p) = -p l'(p). As ||g||_1 = 2 (1 - p), an example's emphasis, the L1 norm of c(p) g, is 2 (1 - p) c(p). Each row has a
derivative-normalised twin, named with _DN, that divides by the batch's sum of emphasis instead of N. DM has no twin: it always
divides by that sum.

To add a weighting, write a row at the end of ROWS and run `make table`. Formulas of p and the row's parameters are written in
the language of formula.py; they become NumPy, C++ and CUDA code and a plot in a browser. They must be finite for all p from 0
to 1, both included, in single precision too: write log(max(p, 1e-30)), for example. The position of a row is its number in the
proto: never remove or move a row.
"""

from dataclasses import dataclass

DN = "_DN"
MINUS_LOG = "-log(max(p, 1.1754943508222875e-38))"  # Caffe clamps p at the smallest normal float32


@dataclass(frozen=True)
class Parameter:
    """A parameter of a weighting: a number.

    Attributes
    ----------
    name : str
        Its name in formulas, in param_str, after --set, and in loss_param (unless `field` is given).
    default : float
    meaning : str
        For the documentation and the help of options.
    least, most : float or None
        The range; None for no limit.
    ends : bool
        Whether `least` and `most` themselves are in the range.
    whole : bool
        Whether it must be a whole number.
    field : str
        Its field of loss_param, if that has another name.
    option : str
        The option of solvers.train that sets it, e.g. "--q"; "" if there is none.
    keyword : str
        Its name in Python calls, if `name` is a keyword of Python.
    aliases : tuple of str
        Other names in papers, for error messages.
    """

    name: str
    default: float
    meaning: str
    least: float | None = None
    most: float | None = None
    ends: bool = True
    whole: bool = False
    field: str = ""
    option: str = ""
    keyword: str = ""
    aliases: tuple[str, ...] = ()

    def holds(self, value: float) -> bool:
        """Whether a finite number is in the range."""
        if self.whole and value != int(value):
            return False
        if not self.ends and value in (self.least, self.most):
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def range(self) -> str:
        """The range in words: "a finite number > 0 and < 1"."""
        ends = [f"{sign}{'=' * self.ends} {end:g}" for sign, end in ((">", self.least), ("<", self.most)) if end is not None]
        return " ".join([f"a {'whole' if self.whole else 'finite'} number", " and ".join(ends)]).strip()


@dataclass(frozen=True)
class Row:
    """A weighting.

    Attributes
    ----------
    name : str
    sentence : str
        The weighting in one sentence, for the documentation.
    source : str
        The paper.
    multiplier, emphasis : str
        Either the formula of c(p), or that of the emphasis; then c(p) = emphasis / (2 - 2 p + 1e-6).
    distance : str
        The formula whose weighted mean is the reported value: l(p), unless the released layers report something else. For the
        twin it is always 1 - p.
    mode : str
        The formula of psi, the p with the largest emphasis; "" if psi is searched numerically.
    parameters : tuple of Parameter
    peak : str
        A formula that is above 0 if the emphasis has a peak; "" if it always has one.
    released : bool
        Whether the weighting is in the papers and has settings in prototxt/.
    always_normalised : bool
        Whether S is always the sum of emphasis; the row then has no twin.
    """

    name: str
    sentence: str
    source: str
    multiplier: str = ""
    emphasis: str = ""
    distance: str = "1 - p"
    mode: str = ""
    parameters: tuple[Parameter, ...] = ()
    peak: str = ""
    released: bool = False
    always_normalised: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the proto: the row's and its twin's."""
        return (self.name,) if self.always_normalised else (self.name, self.name + DN)


CUSTOM = "CUSTOM"  # the row whose formula the user writes
GAMMA = Parameter("gamma", 0.5, "how fast examples that fit lose weight", least=0)
TAU = Parameter("tau", 10, "where the loss becomes linear: the largest slope", least=1)

ROWS = (
    Row("CCE", multiplier="1", distance=MINUS_LOG, mode="0", released=True,
        sentence="Cross entropy: the lower p, the more an example counts, wrong labels most of all.",
        source="maximum likelihood; the DM paper, arXiv 1905.11233"),
    Row("MAE", multiplier="p", mode="1 / 2", released=True,
        sentence="Mean absolute error: robust, but most examples of an untrained net hardly count.",
        source="arXiv 1712.09482"),
    Row("MSE", multiplier="2 * p * (1 - p)", mode="1 / 3", released=True,
        sentence="Squared error of p: between cross entropy and MAE, and weak for both small and large p.",
        source="the DM paper, arXiv 1905.11233"),
    Row("GCE", multiplier="pow(p, q)", mode="q / (q + 1)", released=True,
        parameters=(Parameter("q", 0.7, "exponent: 0 is CCE, 1 is MAE", least=0, option="--q"),),
        sentence="Generalised cross entropy: from cross entropy to MAE as q goes from 0 to 1.",
        source="arXiv 1805.07836"),
    Row("DM", emphasis="exp(beta * pow(p, lambda) * (1 - p))", distance=MINUS_LOG, mode="lambda / (lambda + 1)", peak="beta",
        parameters=(Parameter("lambda", 1, "places the peak", least=0, field="lamda_p", option="--lambda", keyword="lam"),
                    Parameter("beta", 1, "sharpens the peak; IMAE's T", field="scale", option="--beta", aliases=("T",))),
        released=True, always_normalised=True,
        sentence="Derivative manipulation: lambda says which p counts most, beta how much more than others; IMAE is lambda 1.",
        source="arXiv 1905.11233; IMAE arXiv 1903.12141"),
    Row(CUSTOM, sentence="Your own: loss_param { weighting: CUSTOM formula: \"...\" } for c(p), or emphasis: \"...\".",
        source="you"),
    Row("RCE", multiplier="-log(1e-4) * p", distance="-log(1e-4) * (1 - p)", mode="1 / 2",
        sentence="Reverse cross entropy: MAE times 9.21, so MAE at a higher learning rate.",
        source="arXiv 1908.06112"),
    Row("SCE", multiplier="alpha - beta * log(1e-4) * p",
        mode="max(0, (-beta * log(1e-4) - alpha) / (-2 * beta * log(1e-4)))",
        distance=f"alpha * {MINUS_LOG} - beta * log(1e-4) * (1 - p)",
        parameters=(Parameter("alpha", 6, "how much cross entropy", least=0),
                    Parameter("beta", 0.1, "how much reverse cross entropy; it is not DM's beta", least=0)),
        sentence="Symmetric cross entropy: with the values published for CIFAR-100, nearly CCE at six times the rate.",
        source="arXiv 1908.06112"),
    Row("FOCAL", parameters=(GAMMA,), distance=f"pow(1 - p, gamma) * {MINUS_LOG}",
        multiplier="pow(1 - p, gamma) - gamma * p * pow(max(1 - p, 1e-30), gamma - 1) * log(max(p, 1e-30))",
        sentence="Focal loss: examples that fit count less, so wrong labels count even more than with CCE.",
        source="arXiv 1708.02002"),
    Row("FOCAL_DETACHED", multiplier="pow(1 - p, gamma)", parameters=(GAMMA,), mode="0",
        distance=f"pow(1 - p, gamma) * {MINUS_LOG}",
        sentence="Focal loss as common PyTorch code computes it, without the factor's derivative; published tables use it.",
        source="the code beside arXiv 2006.13554"),
    Row("TAYLOR", multiplier="1 - pow(1 - p, t)", mode="1 - pow(t + 1, -1 / t)",
        parameters=(Parameter("t", 2, "terms of the series: 1 is MAE, many are CCE", least=1, whole=True),),
        sentence="Taylor cross entropy: the first t terms of cross entropy's series at p = 1; its value is reported as 1 - p.",
        source="IJCAI 2020, Can cross entropy loss be robust to label noise?"),
    Row("AGCE", multiplier="p * pow(a + p, q - 1)", distance="(pow(a + 1, q) - pow(a + p, q)) / q",
        mode="(q - 2 * a + sqrt((q - 2 * a) * (q - 2 * a) + 4 * a * (q + 1))) / (2 * (q + 1))",
        parameters=(Parameter("a", 0.6, "shift of p", least=0, ends=False),
                    Parameter("q", 0.6, "exponent; it is not GCE's", least=0, ends=False)),
        sentence="Asymmetric generalised cross entropy: weak for small p, as MAE.",
        source="arXiv 2106.03110"),
    Row("AUL", multiplier="p * pow(a - p, q - 1)", distance="(pow(a - p, q) - pow(a - 1, q)) / q",
        mode="(q + 2 * a - sqrt((q + 2 * a) * (q + 2 * a) - 4 * a * (q + 1))) / (2 * (q + 1))",
        parameters=(Parameter("a", 5.5, "shift of p", least=1, ends=False),
                    Parameter("q", 3, "exponent; it is not GCE's", least=0, ends=False)),
        sentence="Asymmetric unhinged loss: close to MAE, with a gradient about a^(q-1) times as large.",
        source="arXiv 2106.03110"),
    Row("AEL", multiplier="p / a * exp(-p / a)", distance="exp(-p / a)",
        mode="(1 + 2 * a - sqrt((1 + 2 * a) * (1 + 2 * a) - 4 * a)) / 2",
        parameters=(Parameter("a", 2.5, "scale of p", least=0, ends=False),),
        sentence="Asymmetric exponential loss: the smallest gradients of all; it underfits unless the rate is raised.",
        source="arXiv 2106.03110"),
    Row("PHUBER_CE", multiplier="min(1, tau * p)", distance="p > 1 / tau ? -log(p) : 1 + log(tau) - tau * p",
        mode="min(1 / 2, 1 / tau)", parameters=(TAU,),
        sentence="Partially Huberised cross entropy: CCE above p = 1 / tau, linear below.",
        source="ICLR 2020, Can gradient clipping mitigate label noise?"),
    Row("PHUBER_GCE", multiplier="min(pow(p, q), tau * p)",
        distance="p > pow(tau, 1 / (q - 1)) ? (1 - pow(p, q)) / q "
                 ": (1 - pow(tau, q / (q - 1))) / q + tau * (pow(tau, 1 / (q - 1)) - p)",
        mode="max(q / (q + 1), min(1 / 2, pow(tau, 1 / (q - 1))))",
        parameters=(Parameter("q", 0.7, "exponent, as GCE's", least=0, most=1, ends=False), TAU),
        sentence="Partially Huberised GCE: GCE, but linear for the smallest p.",
        source="ICLR 2020, Can gradient clipping mitigate label noise?"),
    Row("JS", multiplier="p * log1p(w / ((1 - w) * max(p, 1e-30))) / -log1p(-w)",
        distance="(w * log(w + (1 - w) * p) - (1 - w) * (p * log(max(p, 1e-30) / (w + (1 - w) * p)) "
                 "- (1 - p) * log1p(-w))) / ((1 - w) * log1p(-w))",
        parameters=(Parameter("w", 0.3, "weight of the label: near 0 is CCE, near 1 is MAE", least=0, most=1, ends=False),),
        sentence="Jensen-Shannon divergence: from cross entropy to MAE as w goes from 0 to 1.",
        source="arXiv 2105.04522"),
    Row("FORWARD", parameters=(
            Parameter("rate", 0.4, "rate of symmetric noise", least=0, most=1, ends=False),
            Parameter("classes", 100, "number of classes; it must be the net's", least=2, whole=True)),
        multiplier="(1 - rate - rate / (classes - 1)) * p / (rate / (classes - 1) + (1 - rate - rate / (classes - 1)) * p)",
        distance="-log(rate / (classes - 1) + (1 - rate - rate / (classes - 1)) * p)",
        mode="(sqrt(rate / (classes - 1) * (1 - rate)) - rate / (classes - 1)) / (1 - rate - rate / (classes - 1))",
        sentence="Forward correction for symmetric noise of a known rate: cross entropy of P times the transition matrix.",
        source="arXiv 1609.03683"),
    Row("GCE_TRUNCATED", multiplier="p > k ? pow(p, q) : 0", distance="(1 - pow(max(p, k), q)) / q",
        mode="max(k, q / (q + 1))",
        parameters=(Parameter("q", 0.7, "exponent, as GCE's", least=0, ends=False),
                    Parameter("k", 0.5, "examples of p up to k do not count", least=0, most=1, ends=False)),
        sentence="GCE of the examples with p above k only: it needs a net that is already trained.",
        source="arXiv 1805.07836"),
)

BY_NAME = {name: row for row in ROWS for name in row.names}
WEIGHTINGS = tuple(BY_NAME)
PARAMETERS = tuple(dict.fromkeys(parameter.name for row in ROWS for parameter in row.parameters))
OWN = ("formula", "emphasis")  # the formulas that CUSTOM takes instead of parameters
# The parameters that solvers.train has options for, in the order in which they appear in the names of run folders.
OPTIONS = {parameter.name: parameter for row in reversed(ROWS) for parameter in reversed(row.parameters) if parameter.option}
