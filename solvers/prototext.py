"""Read prototxt files so that a mistake is reported with file, line and the nearest right word."""

import re
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from layers.did_you_mean import did_you_mean
from solvers.errors import SolverError

M = TypeVar("M", bound=Message)


def read(path: Path, message: M) -> M:
    """Parse a prototxt file into `message` and return it.

    Raises
    ------
    SolverError
        If the file cannot be read, or does not parse: Caffe itself would abort the process.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except OSError as error:
        raise SolverError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SolverError(f"{path} is not a text file, so not a prototxt") from error
    except text_format.ParseError as error:
        reason = re.sub(r"^\d+:\d+ : ", "", str(error))
        raise SolverError(f"{path}:{error.GetLine()}: {reason}{_suggestion(reason, message)}") from error


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
