"""The public nets that Caffe's users have, from images to class scores, as ``NetParameter`` messages for a batch size.

Each function returns the net of its paper in the form of the public prototxt: an Input layer ``data``, activations and
normalisation in place, scores (batch, classes) or (batch, classes, 1, 1) in the last layer's top. The auxiliary classifiers
that GoogLeNet has while it is trained are left out.
"""

from caffe import NetSpec
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2

MAX, AVE = P.Pooling.MAX, P.Pooling.AVE
MSRA, ZERO = {"type": "msra"}, {"type": "constant"}


class _Net(NetSpec):
    """A net that is written from the input to the scores; each method returns its top."""

    def __init__(self, *shape: int):
        super().__init__()
        self.data = L.Input(shape={"dim": list(shape)})

    def conv(self, name, bottom, outputs, kernel, stride=1, pad=0, group=1, bias=True):
        extra = {"bias_filler": ZERO} if bias else {"bias_term": False}
        self[name] = L.Convolution(bottom, num_output=outputs, kernel_size=kernel, stride=stride, pad=pad, group=group,
                                   weight_filler=MSRA, **extra)
        return self[name]

    def relu(self, name, bottom):
        self[name] = L.ReLU(bottom, in_place=True)
        return self[name]

    def conv_relu(self, name, bottom, *sizes, **more):
        return self.relu(f"relu_{name}", self.conv(name, bottom, *sizes, **more))

    def norm(self, name, bottom, in_place=True):
        self[f"{name}_bn"] = L.BatchNorm(bottom, in_place=in_place)
        self[f"{name}_scale"] = L.Scale(self[f"{name}_bn"], in_place=True, bias_term=True)
        return self[f"{name}_scale"]

    def conv_norm(self, name, bottom, *sizes, relu=True, **more):
        top = self.norm(name, self.conv(name, bottom, *sizes, bias=False, **more))
        return self.relu(f"{name}_relu", top) if relu else top

    def pool(self, name, bottom, method, kernel, stride, pad=0):
        self[name] = L.Pooling(bottom, pool=method, kernel_size=kernel, stride=stride, pad=pad)
        return self[name]

    def mean(self, name, bottom):
        self[name] = L.Pooling(bottom, pool=AVE, global_pooling=True)
        return self[name]

    def concat(self, name, *bottoms):
        self[name] = L.Concat(*bottoms)
        return self[name]

    def add(self, name, *bottoms):
        self[name] = L.Eltwise(*bottoms)
        return self[name]

    def lrn(self, name, bottom):
        self[name] = L.LRN(bottom, local_size=5, alpha=1e-4, beta=0.75)
        return self[name]

    def dropout(self, name, bottom, ratio):
        self[name] = L.Dropout(bottom, dropout_ratio=ratio, in_place=True)
        return self[name]

    def full(self, name, bottom, outputs):
        self[name] = L.InnerProduct(bottom, num_output=outputs, weight_filler=MSRA, bias_filler=ZERO)
        return self[name]

    def finish(self, name) -> caffe_pb2.NetParameter:
        message = self.to_proto()
        message.name = name
        return message


def alexnet(batch: int) -> caffe_pb2.NetParameter:
    """Krizhevsky et al. 2012, with the two groups of ``models/bvlc_alexnet``."""
    n = _Net(batch, 3, 227, 227)
    x = n.pool("pool1", n.lrn("norm1", n.conv_relu("conv1", n.data, 96, 11, 4)), MAX, 3, 2)
    x = n.pool("pool2", n.lrn("norm2", n.conv_relu("conv2", x, 256, 5, pad=2, group=2)), MAX, 3, 2)
    x = n.conv_relu("conv3", x, 384, 3, pad=1)
    x = n.conv_relu("conv4", x, 384, 3, pad=1, group=2)
    x = n.pool("pool5", n.conv_relu("conv5", x, 256, 3, pad=1, group=2), MAX, 3, 2)
    for name in "67":
        x = n.dropout(f"drop{name}", n.relu(f"relu{name}", n.full(f"fc{name}", x, 4096)), 0.5)
    n.full("fc8", x, 1000)
    return n.finish("AlexNet")


def vgg16(batch: int) -> caffe_pb2.NetParameter:
    """Simonyan & Zisserman 2014 (arXiv:1409.1556), configuration D."""
    n = _Net(batch, 3, 224, 224)
    x = n.data
    for stage, (depth, outputs) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for i in range(1, depth + 1):
            x = n.conv_relu(f"conv{stage}_{i}", x, outputs, 3, pad=1)
        x = n.pool(f"pool{stage}", x, MAX, 2, 2)
    for name in "67":
        x = n.dropout(f"drop{name}", n.relu(f"relu{name}", n.full(f"fc{name}", x, 4096)), 0.5)
    n.full("fc8", x, 1000)
    return n.finish("VGG16")


def squeezenet(batch: int) -> caffe_pb2.NetParameter:
    """Iandola et al. 2016 (arXiv:1602.07360), version 1.1."""
    n = _Net(batch, 3, 227, 227)
    x = n.pool("pool1", n.conv_relu("conv1", n.data, 64, 3, 2), MAX, 3, 2)
    for i, squeezed in zip(range(2, 10), (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        small = n.conv_relu(f"fire{i}_squeeze1x1", x, squeezed, 1)
        x = n.concat(f"fire{i}_concat", n.conv_relu(f"fire{i}_expand1x1", small, 4 * squeezed, 1),
                     n.conv_relu(f"fire{i}_expand3x3", small, 4 * squeezed, 3, pad=1))
        if i in (3, 5):
            x = n.pool(f"pool{i}", x, MAX, 3, 2)
    n.mean("pool10", n.conv_relu("conv10", n.dropout("drop9", x, 0.5), 1000, 1))
    return n.finish("SqueezeNet")


def googlenet(batch: int) -> caffe_pb2.NetParameter:
    """Szegedy et al. 2014 (arXiv:1409.4842)."""
    n = _Net(batch, 3, 224, 224)
    x = n.lrn("norm1", n.pool("pool1", n.conv_relu("conv1", n.data, 64, 7, 2, 3), MAX, 3, 2))
    x = n.conv_relu("conv2", n.conv_relu("conv2_reduce", x, 64, 1), 192, 3, pad=1)
    x = n.pool("pool2", n.lrn("norm2", x), MAX, 3, 2)
    modules = {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
               "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
               "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)}
    for name, (one, reduce3, three, reduce5, five, projection) in modules.items():
        x = n.concat(f"inception_{name}", n.conv_relu(f"{name}_1x1", x, one, 1),
                     n.conv_relu(f"{name}_3x3", n.conv_relu(f"{name}_3x3_reduce", x, reduce3, 1), three, 3, pad=1),
                     n.conv_relu(f"{name}_5x5", n.conv_relu(f"{name}_5x5_reduce", x, reduce5, 1), five, 5, pad=2),
                     n.conv_relu(f"{name}_pool_proj", n.pool(f"{name}_pool", x, MAX, 3, 1, 1), projection, 1))
        if name in ("3b", "4e"):
            x = n.pool(f"pool{name[0]}", x, MAX, 3, 2)
    n.full("scores", n.dropout("drop", n.pool("pool5", x, AVE, 7, 1), 0.4), 1000)
    return n.finish("GoogLeNet")


def resnet50(batch: int) -> caffe_pb2.NetParameter:
    """He et al. 2015 (arXiv:1512.03385), the stride in a block's first convolution as in its authors' prototxt."""
    n = _Net(batch, 3, 224, 224)
    x = n.pool("pool1", n.conv_norm("conv1", n.data, 64, 7, 2, 3), MAX, 3, 2)
    for stage, (depth, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 2):
        for block in range(depth):
            name, stride = f"res{stage}{'abcdef'[block]}", 2 if stage > 2 and block == 0 else 1
            shortcut = x if block else n.conv_norm(f"{name}_branch1", x, 4 * width, 1, stride, relu=False)
            y = n.conv_norm(f"{name}_branch2a", x, width, 1, stride)
            y = n.conv_norm(f"{name}_branch2b", y, width, 3, pad=1)
            y = n.conv_norm(f"{name}_branch2c", y, 4 * width, 1, relu=False)
            x = n.relu(f"{name}_relu", n.add(name, shortcut, y))
    n.full("fc1000", n.mean("pool5", x), 1000)
    return n.finish("ResNet-50")


def densenet121(batch: int) -> caffe_pb2.NetParameter:
    """Huang et al. 2016 (arXiv:1608.06993), growth rate 32."""
    n = _Net(batch, 3, 224, 224)
    x, channels = n.pool("pool1", n.conv_norm("conv1", n.data, 64, 7, 2, 3), MAX, 3, 2, 1), 64

    def norm_relu(name, x):
        return n.relu(f"{name}_relu", n.norm(name, x, in_place=False))

    for stage, depth in enumerate((6, 12, 24, 16), 2):
        for i in range(1, depth + 1):
            name = f"conv{stage}_{i}"
            y = n.conv(f"{name}_x1", norm_relu(f"{name}_in", x), 128, 1, bias=False)
            y = n.conv(f"{name}_x2", norm_relu(f"{name}_mid", y), 32, 3, pad=1, bias=False)
            x = n.concat(f"concat_{stage}_{i}", x, y)
            channels += 32
        if stage < 5:
            channels //= 2
            y = n.conv(f"conv{stage}_blk", norm_relu(f"conv{stage}_blk", x), channels, 1, bias=False)
            x = n.pool(f"pool{stage}", y, AVE, 2, 2)
    n.conv("fc6", n.mean("pool5", norm_relu("conv5_blk", x)), 1000, 1)
    return n.finish("DenseNet-121")


def mobilenet_v2(batch: int) -> caffe_pb2.NetParameter:
    """Sandler et al. 2018 (arXiv:1801.04381), with ReLU as in the public prototxt for Caffe."""
    n = _Net(batch, 3, 224, 224)
    x, channels = n.conv_norm("conv1", n.data, 32, 3, 2, 1), 32
    for stage, (factor, outputs, depth, stride) in enumerate(
            [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)], 2):
        for block in range(depth):
            name, inner = f"conv{stage}_{block + 1}", factor * channels
            y = n.conv_norm(f"{name}_expand", x, inner, 1)
            y = n.conv_norm(f"{name}_dwise", y, inner, 3, 1 if block else stride, 1, group=inner)
            y = n.conv_norm(f"{name}_linear", y, outputs, 1, relu=False)
            x = n.add(f"block_{stage}_{block + 1}", x, y) if block else y
            channels = outputs
    n.conv("fc7", n.mean("pool6", n.conv_norm("conv6_4", x, 1280, 1)), 1000, 1)
    return n.finish("MobileNet-v2")


def cifar10_full(batch: int) -> caffe_pb2.NetParameter:
    """``examples/cifar10/cifar10_full`` of Caffe: three 5 x 5 convolutions with pooling and normalisation within channels."""
    n = _Net(batch, 3, 32, 32)
    x = n.relu("relu1", n.pool("pool1", n.conv("conv1", n.data, 32, 5, pad=2), MAX, 3, 2))
    n.norm1 = L.LRN(x, local_size=3, alpha=5e-5, beta=0.75, norm_region=P.LRN.WITHIN_CHANNEL)
    x = n.pool("pool2", n.conv_relu("conv2", n.norm1, 32, 5, pad=2), AVE, 3, 2)
    n.norm2 = L.LRN(x, local_size=3, alpha=5e-5, beta=0.75, norm_region=P.LRN.WITHIN_CHANNEL)
    x = n.pool("pool3", n.conv_relu("conv3", n.norm2, 64, 5, pad=2), AVE, 3, 2)
    n.full("ip1", x, 10)
    return n.finish("cifar10_full")


# By the name that zoo.py takes, with the batch that the table of docs/performance.md has.
NETS = {"alexnet": (alexnet, 32), "squeezenet": (squeezenet, 16), "googlenet": (googlenet, 16), "resnet50": (resnet50, 16),
        "densenet121": (densenet121, 8), "mobilenet_v2": (mobilenet_v2, 16), "vgg16": (vgg16, 8),
        "cifar10_full": (cifar10_full, 100)}
