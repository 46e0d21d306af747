"""Read prototxt files so that a mistake is reported with file, line and the nearest right word."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from base import files
from base.did_you_mean import did_you_mean
from base.errors import InputError

MAX_BYTES = 20_000_000  # a ResNet-110 has 200,000
MOST_SAID = 1000
M = TypeVar("M", bound=Message)


def read(path: Path, message: M) -> M:
    """Parse a prototxt file into `message` and return it.

    Raises
    ------
    InputError
        If the file cannot be read or parsed. (Caffe's own parser would end the process.)
    """
    content = read_text(path)
    try:
        text_format.Parse(content, message)
    except text_format.ParseError as error:
        reason = re.sub(r"^\d+:\d+ : ", "", str(error)[:MOST_SAID])  # cut, since it quotes the file
        raise InputError(f"{path}:{error.GetLine()}: {reason}{_suggestion(reason, message)}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply for a net") from error
    except (ValueError, OverflowError) as error:  # some versions of protobuf raise these for a bad number
        raise InputError(f"{path}: {error}") from error
    if missing := message.FindInitializationErrors():
        raise InputError(f"{path} lacks {', '.join(missing)}")
    return message


def read_text(path: Path) -> str:
    """The text of a prototxt file; see `read` for errors."""
    content = b""
    try:
        content = files.read(path, MAX_BYTES)
        return content.decode("utf-8-sig")
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; if it lies in none of the folders of setting, runs and "
                         f"data, give --allow-path {path}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} is not a text file in UTF-8 (line {line}), so not a prototxt") from error


@contextmanager
def in_memory(message: Message) -> Iterator[str]:
    """Write the message as prototxt to a file in memory and yield its name: Caffe reads nets and solvers from files only."""
    with open(os.memfd_create("prototxt"), "w") as file:
        file.write(text(message))
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _suggestion(reason: str, message: Message) -> str:
    pool = message.DESCRIPTOR.file.pool
    if field := re.search(r'Message type "(.+)" has no field named "(\w+)"', reason):
        return did_you_mean(field[2], pool.FindMessageTypeByName(field[1]).fields_by_name)
    if value := re.search(r'Enum type "(.+)" has no value named (\w+)', reason):
        return did_you_mean(value[2], pool.FindEnumTypeByName(value[1]).values_by_name)
    return ""


def text(message: Message) -> str:
    """The message as prototxt: the same text for the same content."""
    return text_format.MessageToString(message)
