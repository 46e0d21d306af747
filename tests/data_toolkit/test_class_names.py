"""CIFAR-100's class names are those of its archive."""

import tarfile

from data_toolkit.class_names import CIFAR100


def test_as_in_the_archive(shared):
    with tarfile.open(shared / "data" / "cifar-100-binary.tar.xz", "r|xz") as archive:  # only as far as it is needed
        member = next(member for member in archive if member.name.endswith("fine_label_names.txt"))
        assert archive.extractfile(member).read().decode().split() == CIFAR100


def test_a_hundred_in_alphabetical_order():
    assert len(set(CIFAR100)) == 100 and sorted(CIFAR100) == CIFAR100
