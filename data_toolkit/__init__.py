"""CIFAR-100 with label noise: from an official archive to the batches of the released experiments. Does not use Caffe."""
