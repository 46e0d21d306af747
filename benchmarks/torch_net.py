"""A Caffe net in PyTorch, channels-last and in eager mode, to compare our Caffe with.

The net comes as the JSON form of a ``NetParameter``, so that the interpreter with PyTorch needs no Caffe. As usual in PyTorch,
BatchNorm with the following Scale is one ``BatchNorm2d``, and ReLU and sums work in place.
"""

import torch
from torch import nn
from torch.nn import functional as F


def sides(parameters: dict, name: str, default: int) -> list[int]:
    """Height and width of a field that a prototxt gives once for both, as a list, or separately."""
    if f"{name}_h" in parameters:
        return [parameters[f"{name}_h"], parameters[f"{name}_w"]]
    value = parameters.get(name, parameters.get("kernel_size", default) if name == "kernel" else default)
    value = value if isinstance(value, list) else [value]
    return [value[0], value[-1]]


class TorchNet(nn.Module):
    """From images to scores.

    Parameters
    ----------
    net : dict
        A ``NetParameter`` in JSON, with the field names of the .proto; the first layer is the input.
    """

    def __init__(self, net: dict):
        super().__init__()
        self.steps, self.parts = [], nn.ModuleDict()
        shape = net["layer"][0]["input_param"]["shape"][0]["dim"]
        self.shapes = {net["layer"][0]["top"][0]: torch.empty([int(side) for side in shape], device="meta")}
        layers = net["layer"][1:]
        for layer in layers:
            if layer["type"] == "Scale":
                continue  # it is part of the BatchNorm before it
            bottoms = [self.shapes[name] for name in layer["bottom"]]
            step = self.translate(layer, bottoms)
            self.steps.append((step, layer["bottom"], layer["top"][0]))
            self.shapes[layer["top"][0]] = step(*bottoms)
        self.scores = layers[-1]["top"][0]
        self.last_use = {name: i for i, (_, names, _) in enumerate(self.steps) for name in names}
        self.to_empty(device="cpu")
        for part in self.parts.values():
            part.reset_parameters()
        self.to(memory_format=torch.channels_last)

    def add(self, layer: dict, part: nn.Module) -> nn.Module:
        self.parts[layer["name"].replace(".", "_")] = part
        return part

    def translate(self, layer: dict, bottoms: list[torch.Tensor]):
        """A function of the bottoms for a layer."""
        kind, x = layer["type"], bottoms[0]
        p = layer.get({"Convolution": "convolution_param", "InnerProduct": "inner_product_param", "LRN": "lrn_param",
                       "Pooling": "pooling_param", "Dropout": "dropout_param"}.get(kind, ""), {})
        if kind == "Convolution":
            kernel, stride, pad = sides(p, "kernel", 1), sides(p, "stride", 1), sides(p, "pad", 0)
            return self.add(layer, nn.Conv2d(x.shape[1], p["num_output"], kernel, stride, pad, groups=p.get("group", 1),
                                             bias=p.get("bias_term", True), device="meta"))
        if kind == "InnerProduct":
            part = self.add(layer, nn.Linear(x[0].numel(), p["num_output"], device="meta"))
            return lambda x: part(x.flatten(1))
        if kind == "BatchNorm":
            return self.add(layer, nn.BatchNorm2d(x.shape[1], device="meta"))
        if kind == "Pooling":
            if p.get("global_pooling"):
                return lambda x: F.adaptive_avg_pool2d(x, 1)
            pool = F.avg_pool2d if p.get("pool") == "AVE" else F.max_pool2d
            kernel, stride, pad = sides(p, "kernel", 1), sides(p, "stride", 1), sides(p, "pad", 0)
            return lambda x: pool(x, kernel, stride, pad, ceil_mode=True)
        if kind == "LRN":
            if p.get("norm_region") == "WITHIN_CHANNEL":
                size, alpha, beta = p["local_size"], p["alpha"], p["beta"]
                return lambda x: x * (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)).pow(-beta)
            return lambda x: F.local_response_norm(x, p["local_size"], p["alpha"], p["beta"])
        if kind == "Dropout":
            return lambda x: F.dropout(x, p["dropout_ratio"], self.training)
        return {"ReLU": F.relu_, "Eltwise": torch.add, "Concat": lambda *x: torch.cat(x, 1)}[kind]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blobs = {self.steps[0][1][0]: x}
        for i, (step, bottoms, top) in enumerate(self.steps):
            values = [blobs[name] for name in bottoms]
            for name in bottoms:
                if self.last_use[name] == i:
                    blobs.pop(name, None)
            blobs[top] = step(*values)
        return blobs[self.scores].flatten(1)
