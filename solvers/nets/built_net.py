"""A net that Caffe has made, and the layers that it was made from."""

from typing import NamedTuple

from solvers.nets import losses
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


class BuiltNet(NamedTuple):
    """A net that Caffe has made, and the layers that it was made from.

    Attributes
    ----------
    net : caffe.Net
    layers : tuple of caffe_pb2.LayerParameter
        Those that take part in the net's state, in the order of its file.
    """

    net: caffe.Net
    layers: tuple[pb.LayerParameter, ...]

    @classmethod
    def of(cls, net: caffe.Net, param: pb.NetParameter) -> "BuiltNet":
        """The net `net`, which Caffe made from `param`. The ``state`` of `param` is the state of the net."""
        return cls(net, tuple(layers_in(param)))

    @property
    def losses(self) -> list[pb.LayerParameter]:
        """The softmax loss layers of the net: ours, and SoftmaxWithLoss."""
        return list(filter(losses.is_softmax_loss, self.layers))
