"""Read prototxt files so that a mistake is reported with file, line and the nearest right word."""

import re
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from layers.did_you_mean import did_you_mean
from solvers.errors import SolverError

MAX_CHARACTERS, MAX_DEPTH = 20_000_000, 50  # a ResNet-110 has 200,000 characters and is nested 4 deep
M = TypeVar("M", bound=Message)


def read(path: Path, message: M) -> M:
    """Parse a prototxt file into `message` and return it.

    Raises
    ------
    SolverError
        If the file cannot be read, or does not parse: Caffe itself would abort the process.
    """
    try:
        content = path.read_text(encoding="utf-8")
        check_size(path, content)
        return text_format.Parse(content, message)
    except OSError as error:
        raise SolverError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SolverError(f"{path} is not a text file, so not a prototxt") from error
    except text_format.ParseError as error:
        reason = re.sub(r"^\d+:\d+ : ", "", str(error))
        raise SolverError(f"{path}:{error.GetLine()}: {reason}{_suggestion(reason, message)}") from error


def check_size(path: Path, content: str) -> None:
    """Raise SolverError for what is too large or nested too deeply to be a net: its parser would recurse without limit."""
    if len(content) > MAX_CHARACTERS:
        raise SolverError(f"{path} has {len(content)} characters, but a prototxt at most {MAX_CHARACTERS}")
    depth = deepest = 0
    for bracket in re.findall(r"[{}<>]", content):
        depth += 1 if bracket in "{<" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise SolverError(f"{path} is nested {deepest} deep, but a net at most {MAX_DEPTH}")


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
