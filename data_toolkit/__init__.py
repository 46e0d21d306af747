"""CIFAR-100 with label noise: from an official archive to the released experiments' batches. Knows no Caffe."""
