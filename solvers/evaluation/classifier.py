"""The net from images to probabilities that solvers.evaluate uses: a run's test.prototxt, else derived from its train net."""

from pathlib import Path

from base.errors import InputError
from solvers.nets import admission, setting
from solvers.nets.inputs import IMAGE
from solvers.nets.phases import inputs_of, layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

TEST = pb.NetState(phase=pb.TEST)


def read(run: Path) -> pb.NetParameter:
    """The net of a run folder. Its error says why solvers.evaluate cannot measure the run.

    Raises
    ------
    InputError
        If the net is not fed with images, has neither probabilities nor a loss, or does not pass `admission.check_net`.
    """
    file = run / "test.prototxt"
    if not file.is_file():
        return derive(setting.read_net(run / "train.prototxt"))
    param = setting.read_net(file)
    _check_is_fed(param)
    admission.check_net(param, TEST)
    return param


def derive(train: pb.NetParameter) -> pb.NetParameter:
    """Derive the test net from a train net: the layers that depend only on the images, up to the probabilities ``probs``.

    Raises
    ------
    InputError
        As `read`.
    """
    _check_is_fed(train)
    param = pb.NetParameter(name=train.name, input=["data"], input_dim=[1, *IMAGE])
    layers = list(layers_in(train, TEST))
    available = {"data"}
    for layer in layers:
        if layer.bottom and available.issuperset(layer.bottom):
            param.layer.add().CopyFrom(layer)
            available.update(layer.top)
    if "probs" not in available:
        scores = [layer.bottom[0] for layer in layers if "label" in layer.bottom and layer.bottom[0] in available]
        if not scores:
            raise InputError("the net has neither the blob 'probs' nor a loss of scores and 'label'")
        param.layer.add(name="probs", type="Softmax", bottom=[scores[-1]], top=["probs"])
    admission.check_net(param, TEST)
    return param


def _check_is_fed(param: pb.NetParameter) -> None:
    """Raise InputError unless ``data`` is an input of the net: a data layer would overwrite the images put into it."""
    if "data" not in inputs_of(param, TEST):
        raise InputError("the net reads its own data; solvers.evaluate measures nets that are fed with CIFAR-100")
