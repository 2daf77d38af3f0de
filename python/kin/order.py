"""What values of other types are sorted by in a PriorityQueue.

Modules are imported where a value of theirs was met, so they are there.
"""

import numbers
from types import WrapperDescriptorType


def _microseconds(span):
    return (span.days * 86400 + span.seconds) * 1000000 + span.microseconds


def _instant(value):
    first = type(value).min.replace(tzinfo=value.tzinfo)
    offset = value.utcoffset()
    return _microseconds(value - first) - (0 if offset is None else _microseconds(offset))


def _time_of_day(value):
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    offset = value.utcoffset()
    since = seconds * 1000000 + value.microsecond
    return since - (0 if offset is None else _microseconds(offset))


_PLAIN = {
    "datetime.datetime": _instant,
    "datetime.date": lambda value: value.toordinal(),
    "datetime.time": _time_of_day,
    "datetime.timedelta": _microseconds,
    "uuid.UUID": lambda value: value.int,
}


def _fields(value, owner):
    from dataclasses import fields

    return tuple(getattr(value, field.name) for field in fields(owner) if field.compare)


def _number(value, compare):
    """The int or float that a number of C is, such as those of numpy; or NotImplemented."""
    if not isinstance(compare, WrapperDescriptorType) or not isinstance(value, numbers.Real):
        return NotImplemented
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return number if number == value or number != number else NotImplemented


def plain(value):
    """What the value is sorted by, made of int, float, str, bytes, tuple; or NotImplemented."""
    kind = type(value)
    owner = next(base for base in kind.__mro__ if "__lt__" in vars(base))  # who compares it
    known = _PLAIN.get(f"{owner.__module__}.{owner.__qualname__}")
    if known is not None:
        return known(value)
    params = vars(owner).get("__dataclass_params__")
    if params is not None and params.order:
        return _fields(value, owner)
    return _number(value, vars(owner)["__lt__"])
