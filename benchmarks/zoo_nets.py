"""Eight nets of Caffe's model zoo, from images to probabilities, written from their papers and from Caffe's examples.

    python benchmarks/zoo_nets.py googlenet > deploy.prototxt

Each function takes the batch size and returns the net in its deploy form, from an Input layer `data` to a Softmax `prob`. The
trained weights are not included: `randomise` sets random ones.
"""

import argparse
from collections.abc import Callable

import numpy as np

from solvers.nets.prototext import text
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2
L, P, NetSpec = caffe.layers, caffe.params, caffe.NetSpec

RESNET = "resnet44"
CLASSES = 1000
PIXELS = 60  # the approximate standard deviation of pixels
FILLED = {"weight_filler": {"type": "msra"}}


def begin(batch: int, side: int) -> NetSpec:
    net = NetSpec()
    net.data = L.Input(shape={"dim": [batch, 3, side, side]})
    return net


def end(net: NetSpec, scores: object, name: str) -> pb.NetParameter:
    net.prob = L.Softmax(scores)
    param = net.to_proto()
    param.name = name
    return param


def convolved(net: NetSpec, name: str, bottom: object, outputs: int, kernel: int, relu: str = "", **options: object) -> object:
    """A convolution, and a ReLU in place where one is named."""
    net[name] = L.Convolution(bottom, num_output=outputs, kernel_size=kernel, **FILLED, **options)
    if relu:
        net[relu] = L.ReLU(net[name], in_place=True)
        return net[relu]
    return net[name]


def pooled(net: NetSpec, name: str, bottom: object, kernel: int, stride: int, pool: int = P.Pooling.MAX, **options: object):
    net[name] = L.Pooling(bottom, pool=pool, kernel_size=kernel, stride=stride, **options)
    return net[name]


def averaged(net: NetSpec, name: str, bottom: object) -> object:
    net[name] = L.Pooling(bottom, pool=P.Pooling.AVE, global_pooling=True)
    return net[name]


def dense(net: NetSpec, name: str, bottom: object, outputs: int) -> object:
    net[name] = L.InnerProduct(bottom, num_output=outputs, **FILLED)
    return net[name]


def alexnet(batch: int) -> pb.NetParameter:
    """Krizhevsky et al., NIPS 2012, as bvlc_alexnet: 227 x 227."""
    net = begin(batch, 227)
    x = convolved(net, "conv1", net.data, 96, 11, "relu1", stride=4)
    for number, outputs in (1, 256), (2, 384):
        net[f"norm{number}"] = L.LRN(x, local_size=5, alpha=1e-4, beta=0.75)
        x = pooled(net, f"pool{number}", net[f"norm{number}"], 3, 2)
        x = convolved(net, f"conv{number + 1}", x, outputs, 5 if number == 1 else 3, f"relu{number + 1}",
                      pad=2 if number == 1 else 1, group=2 if number == 1 else 1)
    x = convolved(net, "conv4", x, 384, 3, "relu4", pad=1, group=2)
    x = convolved(net, "conv5", x, 256, 3, "relu5", pad=1, group=2)
    return end(net, classified(net, pooled(net, "pool5", x, 3, 2)), "AlexNet")


def classified(net: NetSpec, x: object) -> object:
    """The three dense layers of AlexNet and VGG."""
    for name in "6", "7":
        x = dense(net, f"fc{name}", x, 4096)
        net[f"relu{name}"] = L.ReLU(x, in_place=True)
        net[f"drop{name}"] = L.Dropout(net[f"relu{name}"], in_place=True, dropout_ratio=0.5)
        x = net[f"drop{name}"]
    return dense(net, "fc8", x, CLASSES)


def vgg16(batch: int) -> pb.NetParameter:
    """Simonyan and Zisserman, arXiv 1409.1556, configuration D: 224 x 224."""
    net = begin(batch, 224)
    x = net.data
    for block, (outputs, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for number in range(1, count + 1):
            x = convolved(net, f"conv{block}_{number}", x, outputs, 3, f"relu{block}_{number}", pad=1)
        x = pooled(net, f"pool{block}", x, 2, 2)
    return end(net, classified(net, x), "VGG-16")


def squeezenet(batch: int) -> pb.NetParameter:
    """Iandola et al., arXiv 1602.07360, version 1.1: 227 x 227."""
    net = begin(batch, 227)
    x = pooled(net, "pool1", convolved(net, "conv1", net.data, 64, 3, "relu_conv1", stride=2), 3, 2)
    for number, squeezed in zip(range(2, 10), (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        fire = f"fire{number}"
        x = convolved(net, f"{fire}/squeeze1x1", x, squeezed, 1, f"{fire}/relu_squeeze1x1")
        wide = [convolved(net, f"{fire}/expand{side}x{side}", x, 4 * squeezed, side, f"{fire}/relu_expand{side}x{side}",
                          pad=side // 2) for side in (1, 3)]
        x = net[f"{fire}/concat"] = L.Concat(*wide)
        if number in (3, 5):
            x = pooled(net, f"pool{number}", x, 3, 2)
    net.drop9 = L.Dropout(x, in_place=True, dropout_ratio=0.5)
    x = convolved(net, "conv10", net.drop9, CLASSES, 1, "relu_conv10")
    return end(net, averaged(net, "pool10", x), "SqueezeNet 1.1")


INCEPTIONS = {  # 1x1; 3x3 after its reduction; 5x5 after its reduction; 1x1 after pooling
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)}


def googlenet(batch: int) -> pb.NetParameter:
    """Szegedy et al., arXiv 1409.4842, as bvlc_googlenet: 224 x 224."""
    net = begin(batch, 224)
    x = convolved(net, "conv1/7x7_s2", net.data, 64, 7, "conv1/relu_7x7", stride=2, pad=3)
    x = net["pool1/norm1"] = L.LRN(pooled(net, "pool1/3x3_s2", x, 3, 2), local_size=5, alpha=1e-4, beta=0.75)
    x = convolved(net, "conv2/3x3_reduce", x, 64, 1, "conv2/relu_3x3_reduce")
    x = convolved(net, "conv2/3x3", x, 192, 3, "conv2/relu_3x3", pad=1)
    x = net["conv2/norm2"] = L.LRN(x, local_size=5, alpha=1e-4, beta=0.75)
    x = pooled(net, "pool2/3x3_s2", x, 3, 2)
    for block, widths in INCEPTIONS.items():
        x = inception(net, f"inception_{block}", x, *widths)
        if block in ("3b", "4e"):
            x = pooled(net, f"pool{int(block[0])}/3x3_s2", x, 3, 2)
    x = pooled(net, "pool5/7x7_s1", x, 7, 1, P.Pooling.AVE)
    net["pool5/drop_7x7_s1"] = L.Dropout(x, in_place=True, dropout_ratio=0.4)
    return end(net, dense(net, "loss3/classifier", net["pool5/drop_7x7_s1"], CLASSES), "GoogLeNet")


def inception(net: NetSpec, name: str, x: object, one: int, reduced3: int, three: int, reduced5: int, five: int,
              after_pool: int) -> object:
    def part(side: str, bottom: object, outputs: int, kernel: int) -> object:
        return convolved(net, f"{name}/{side}", bottom, outputs, kernel, f"{name}/relu_{side}", pad=kernel // 2)

    branches = [part("1x1", x, one, 1),
                part("3x3", part("3x3_reduce", x, reduced3, 1), three, 3),
                part("5x5", part("5x5_reduce", x, reduced5, 1), five, 5),
                part("pool_proj", pooled(net, f"{name}/pool", x, 3, 1, pad=1), after_pool, 1)]
    net[f"{name}/output"] = L.Concat(*branches)
    return net[f"{name}/output"]


def normalised(net: NetSpec, name: str, x: object, relu: bool = True, in_place: bool = True) -> object:
    """BatchNorm, Scale and, by default, ReLU."""
    net[f"{name}/bn"] = L.BatchNorm(x, in_place=in_place, eps=1e-5)
    x = net[f"{name}/scale"] = L.Scale(net[f"{name}/bn"], in_place=True, bias_term=True)
    if relu:
        x = net[f"{name}/relu"] = L.ReLU(x, in_place=True)
    return x


def resnet50(batch: int) -> pb.NetParameter:
    """He et al., arXiv 1512.03385, with the stride in the first 1 x 1 of a block, as released: 224 x 224."""
    net = begin(batch, 224)

    def part(name: str, bottom: object, outputs: int, kernel: int, relu: bool, stride: int = 1) -> object:
        x = convolved(net, name, bottom, outputs, kernel, pad=kernel // 2, stride=stride, bias_term=False)
        return normalised(net, name, x, relu)

    x = pooled(net, "pool1", part("conv1", net.data, 64, 7, True, 2), 3, 2)
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=2):
        for number in range(count):
            name = f"res{stage}{chr(ord('a') + number)}"
            stride = 2 if stage > 2 and not number else 1
            shortcut = x if number else part(f"{name}_branch1", x, 4 * width, 1, False, stride)
            y = part(f"{name}_branch2a", x, width, 1, True, stride)
            y = part(f"{name}_branch2b", y, width, 3, True)
            net[name] = L.Eltwise(shortcut, part(f"{name}_branch2c", y, 4 * width, 1, False))
            x = net[f"{name}_relu"] = L.ReLU(net[name], in_place=True)
    x = pooled(net, "pool5", x, 7, 1, P.Pooling.AVE)
    return end(net, dense(net, "fc1000", x, CLASSES), "ResNet-50")


def densenet121(batch: int) -> pb.NetParameter:
    """Huang et al., arXiv 1608.06993, growth 32: 224 x 224."""
    net, growth, channels = begin(batch, 224), 32, 64
    x = normalised(net, "conv1", convolved(net, "conv1", net.data, 64, 7, stride=2, pad=3, bias_term=False))
    x = pooled(net, "pool1", x, 3, 2, pad=1)
    for block, count in enumerate((6, 12, 24, 16), start=2):
        for number in range(1, count + 1):
            name = f"conv{block}_{number}"
            y = normalised(net, f"{name}/x1", x, in_place=False)
            y = normalised(net, f"{name}/x2", convolved(net, f"{name}/x1", y, 4 * growth, 1, bias_term=False))
            y = convolved(net, f"{name}/x2", y, growth, 3, pad=1, bias_term=False)
            x = net[f"concat_{block}_{number}"] = L.Concat(x, y)
        channels += count * growth
        x = normalised(net, f"conv{block}_blk", x)
        if block < 5:
            channels //= 2
            x = convolved(net, f"conv{block}_blk", x, channels, 1, bias_term=False)
            x = pooled(net, f"pool{block}", x, 2, 2, P.Pooling.AVE)
    return end(net, convolved(net, "fc6", averaged(net, "pool5", x), CLASSES, 1), "DenseNet-121")


BOTTLENECKS = (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)


def mobilenet_v2(batch: int) -> pb.NetParameter:
    """Sandler et al., arXiv 1801.04381, with ReLU for ReLU6, as Caffe's version of it: 224 x 224."""
    net = begin(batch, 224)

    def part(name: str, bottom: object, outputs: int, kernel: int, relu: bool = True, **options: object) -> object:
        x = convolved(net, name, bottom, outputs, kernel, bias_term=False, pad=kernel // 2, **options)
        return normalised(net, name, x, relu)

    x, channels = part("conv1", net.data, 32, 3, stride=2), 32
    for stage, (expansion, outputs, count, first) in enumerate(BOTTLENECKS, start=2):
        for number in range(count):
            name, wide, stride = f"conv{stage}_{number + 1}", expansion * channels, first if not number else 1
            y = part(f"{name}/expand", x, wide, 1) if expansion > 1 else x
            y = part(f"{name}/dwise", y, wide, 3, group=wide, stride=stride)
            y = part(f"{name}/linear", y, outputs, 1, relu=False)
            if stride == 1 and channels == outputs:
                y = net[f"block_{stage}_{number + 1}"] = L.Eltwise(x, y)
            x, channels = y, outputs
    x = averaged(net, "pool6", part("conv9", x, 1280, 1))
    return end(net, convolved(net, "fc7", x, CLASSES, 1), "MobileNet v2")


def cifar10_full(batch: int) -> pb.NetParameter:
    """Caffe's example of that name: 32 x 32, ten classes."""
    net = begin(batch, 32)
    x = pooled(net, "pool1", convolved(net, "conv1", net.data, 32, 5, pad=2), 3, 2)
    net.relu1 = L.ReLU(x, in_place=True)
    x = net.relu1
    for number, outputs in (1, 32), (2, 64):
        x = net[f"norm{number}"] = L.LRN(x, local_size=3, alpha=5e-5, beta=0.75, norm_region=P.LRN.WITHIN_CHANNEL)
        x = convolved(net, f"conv{number + 1}", x, outputs, 5, f"relu{number + 1}", pad=2)
        x = pooled(net, f"pool{number + 1}", x, 3, 2, P.Pooling.AVE)
    return end(net, dense(net, "ip1", x, 10), "cifar10_full")


NETS: dict[str, Callable[[int], pb.NetParameter]] = {
    "alexnet": alexnet, "squeezenet": squeezenet, "googlenet": googlenet, "resnet50": resnet50, "densenet121": densenet121,
    "mobilenet_v2": mobilenet_v2, "vgg16": vgg16, "cifar10_full": cifar10_full}


def make(name: str, batch: int) -> pb.NetParameter:
    """One of NETS, or our ResNet-44."""
    from prototxt import generate  # loads Caffe, whose log `solvers` has silenced by then

    return generate.resnet(44, 100, batch, RESNET) if name == RESNET else NETS[name](batch)


def randomise(net: caffe.Net, seed: int = 0) -> None:
    """Set random weights and statistics that keep the activations in range if the inputs are pixels minus their mean."""
    random = np.random.default_rng(seed)
    spread = PIXELS  # the standard deviation of the first layer's inputs
    types = dict(zip(net._layer_names, (layer.type for layer in net.layers), strict=True))
    for name, blobs in net.params.items():
        values = [blob.data for blob in blobs]
        if types[name] == "BatchNorm":
            values[0][...] = random.normal(0, 0.2, values[0].shape)
            values[1][...] = random.uniform(0.5, 1.5, values[1].shape)
            values[2][...] = 1
        elif types[name] == "Scale":
            values[0][...] = random.uniform(0.3, 0.8, values[0].shape)
            values[1][...] = random.normal(0, 0.1, values[1].shape)
        else:
            deviation, spread = np.sqrt(2 / values[0][0].size) / spread, 1
            values[0][...] = random.standard_normal(values[0].shape, np.float32) * np.float32(deviation)
            for bias in values[1:]:
                bias[...] = random.normal(0, 0.1, bias.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    print(text(NETS[args.net](args.batch)), end="")


if __name__ == "__main__":
    main()
