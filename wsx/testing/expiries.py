"""When futures and options end, and how the exchange writes that into their names: 25DEC26, always at 08:00 UTC.

Not here: what is listed (market.py, deribit/instruments.py).
"""

import datetime

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_AHEAD = datetime.timedelta(days=14)  # that what is listed lives at least
_HOUR = datetime.timedelta(hours=8)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FRIDAY = 4


def expires_ms(date: str) -> int:
    """Unix time of an end, such as 25DEC26. Raises ValueError for what is no date."""
    day, month, year = date[:-5], date[-5:-2], date[-2:]
    if month not in _MONTHS or not (date.isascii() and day.isdigit() and year.isdigit()):
        raise ValueError(f"an expiry is a day, a month and a year such as 25DEC26, not {date!r}")
    end = datetime.datetime(2000 + int(year), _MONTHS.index(month) + 1, int(day), tzinfo=datetime.UTC) + _HOUR
    return (end - _EPOCH) // datetime.timedelta(milliseconds=1)


def quarter_end(now_ms: int) -> str:
    """The end of the first quarter that ends two weeks from now or later: its last Friday."""
    now = _EPOCH + datetime.timedelta(milliseconds=now_ms)
    end = _last_friday(now)
    if end + _HOUR - now < _AHEAD:
        end = _last_friday(end + datetime.timedelta(days=31))
    return f"{end.day}{_MONTHS[end.month - 1]}{end.year % 100:02}"


def _last_friday(moment: datetime.datetime) -> datetime.datetime:
    """The one of the quarter that a moment is in, at midnight."""
    after = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after += datetime.timedelta(
        days=31 * (3 - (after.month - 1) % 3)
    )  # somewhere in the first days of the next quarter
    last = after.replace(day=1) - datetime.timedelta(days=1)
    return last - datetime.timedelta(days=(last.weekday() - _FRIDAY) % 7)
