"""JSON bodies of strangers, read strictly and written anew, so that the server behind sees what was checked and nothing else.

    body = parse(data)        # a dict; BodyError says what is wrong
    data = dump(body)

Of members that stand twice the last is read, and one is written. NaN, infinities, numbers beyond a double, encodings but UTF-8 and anything that is no object are refused.
"""

import json
import math
from typing import Any, NoReturn

JSON = dict[str, Any]


class BodyError(Exception):
    """Why a request is refused: an HTTP status, a text for the client and the member that it is about."""

    def __init__(self, message: str, param: str | None = None, status: int = 400, code: str | None = None, reason: str = "body"):
        super().__init__(message)
        self.param, self.status, self.code, self.reason = param, status, code, reason


def parse(data: bytes | bytearray) -> JSON:
    """The object. Errors: BodyError."""
    try:
        body = json.loads(data.decode("utf-8"), parse_constant=_constant, parse_float=_number)
    except UnicodeDecodeError as error:
        raise BodyError(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BodyError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BodyError("the body is nested too deeply") from None
    except ValueError as error:
        raise BodyError(str(error)) from None
    if not isinstance(body, dict):
        raise BodyError("the body is not a JSON object")
    return body


def dump(value: Any) -> bytes:
    """Compact UTF-8; lone surrogates are escaped, as they came. Errors: BodyError where it is nested too deeply."""
    try:
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except UnicodeEncodeError:
            return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except RecursionError:
        raise BodyError("the body is nested too deeply") from None


def number(body: JSON, name: str) -> float | None:
    """A member that is a number or absent; null is removed, since servers take it for absent. Errors: BodyError for a text or truth value that a server may take for a number."""
    value = body.get(name)
    if value is None:
        body.pop(name, None)
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BodyError(f"{name} must be a number", name)
    try:
        return float(value)
    except OverflowError:
        raise BodyError(f"{name} is out of range", name) from None


def integer(body: JSON, name: str) -> int | None:
    """The same for a whole number; 2.0 is written as 2."""
    value = number(body, name)
    if value is None:
        return None
    if not isinstance(body[name], int):
        if not value.is_integer():
            raise BodyError(f"{name} must be a whole number", name)
        body[name] = int(value)
    if not -(2**63) <= body[name] < 2**64:
        raise BodyError(f"{name} is out of range", name)
    return int(body[name])


def boolean(body: JSON, name: str) -> bool:
    """A member that is true, false or absent (false)."""
    value = body.get(name)
    if value is None:
        body.pop(name, None)
        return False
    if not isinstance(value, bool):
        raise BodyError(f"{name} must be true or false", name)
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"the body has {text}, which is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("the body has a number that is out of range")
    return value
