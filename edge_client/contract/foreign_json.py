"""JSON from outside: the one place where it is parsed.

1. UTF-8, strictly; no text may hold a half of a surrogate pair, which could neither be stored nor signed again.
2. Numbers are finite, and small enough for a float of 64 bits: Python reads ``1e999`` as infinity and 400 digits as an
   int that no arithmetic with floats takes.
3. At most `MAX_DEPTH` brackets inside each other, so that whoever works with the value, or quotes it, can recurse.
"""

import json
import re
import sys
from typing import Any

from edge_client.contract.errors import AndonError
from edge_client.contract.quoting import cut, quoted

MAX_DEPTH = 32  # a window record has 5
_SURROGATE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
_LARGEST = sys.float_info.max


def read_json(data: bytes | str, document: str, error: type[AndonError]) -> Any:
    """Parse and check.

    Args:
        data: The whole document.
        document: What it is called in messages.
        error: The class of error to raise.

    Raises:
        AndonError: Of the class `error`: not JSON, or against a rule above.

    >>> read_json(b'{"a": [1, 2.5]}', "example", AndonError)
    {'a': [1, 2.5]}
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        text.encode()
        value = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise error(f"{document} is not JSON: {cut(str(problem))}; expected one value of it in UTF-8") from problem
    _check(value, document, error)
    return value


def _check(value: Any, document: str, error: type[AndonError]) -> None:
    """Rules 2 and 3, level by level."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, int | float) and not -_LARGEST <= item <= _LARGEST:  # NaN is not in between either
                raise error(f"{document} holds the number {quoted(item, most=40)}: expected finite ones of 64 bits")
        if not inner:
            return
        level = inner
    raise error(f"{document} is nested deeper than {MAX_DEPTH} levels")
