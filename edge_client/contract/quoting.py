"""Foreign text in messages: short, whatever it is.

A refusal is logged, stored with what it refuses and shown to people, so that what it quotes must not be the attack.
"""


def quoted(value: object, *, most: int = 80) -> str:
    """Return the `repr` of a value, cut to `most` characters.

    >>> quoted("a" * 100, most=20)
    "'aaaaaaaaaaaaaaaaaa…"
    """
    if isinstance(value, str | bytes | list | tuple) and len(value) > 1000:
        value = value[:1000]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets nested too deep
        return f"a {type(value).__name__} that is too large to show"
    return cut(text, most=most)


def cut(text: str, *, most: int = 400) -> str:
    """Return a text cut to `most` characters, such as another library's message about foreign bytes."""
    return text if len(text) <= most else text[: most - 1] + "…"
