"""The residual nets in PyTorch, channels-last, to compare our Caffe with."""

import torch
from torch import nn


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.shortcut = nn.Identity() if stride == 1 else convolution(inputs, outputs, 1, stride)
        self.first, self.second = convolution(inputs, outputs, 3, stride), convolution(outputs, outputs, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.second(torch.relu_(self.first(x)))
        return torch.relu_(residual.add_(self.shortcut(x)))


def resnet(depth: int, classes: int = 100) -> nn.Module:
    """The net of ``prototxt.generate.resnet``, from images to scores."""
    blocks, inputs = [], 16
    for channels in 16, 32, 64:
        for _ in range((depth - 2) // 6):
            blocks.append(Block(inputs, channels))
            inputs = channels
    return nn.Sequential(convolution(3, 16, 3, 1), nn.ReLU(inplace=True), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(64, classes)).to(memory_format=torch.channels_last)
