"""How an option's price moves with everything else, by the formula of Black for options on futures, without interest.

In the exchange's units: vega and rho for one percent, theta for a day. Not here: the option's own price, which its book
makes (market_listing.py).
"""

import math

_SHORTEST = 1 / 24 / 365  # years: an option that ends within the hour, or has ended
_DIGITS = 5


def greeks(*, call: bool, future: float, strike: float, years: float, volatility: float) -> dict[str, float]:
    """Of a call or a put. future: price of what it is written on. years: until it ends. volatility: 0.45 is 45 %."""
    years = max(years, _SHORTEST)
    root = math.sqrt(years)
    spread = volatility * root
    d1 = math.log(future / max(strike, 1e-9)) / spread + spread / 2
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    sign = 1 if call else -1
    values = {
        "delta": sign * _normal(sign * d1),
        "gamma": density / (future * spread),
        "vega": future * density * root / 100,
        "theta": -future * density * volatility / (2 * root) / 365,
        "rho": sign * strike * years * _normal(sign * (d1 - spread)) / 100,
    }
    return {name: round(value, _DIGITS) for name, value in values.items()}


def _normal(value: float) -> float:
    return (1 + math.erf(value / math.sqrt(2))) / 2
