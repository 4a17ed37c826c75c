"""The settings of the local exchange. Not here: the market's (exchange.py), the script's (script.py)."""

from dataclasses import dataclass

from wsx.testing.checked import number, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """testnet: what every answer says.

    time_scale: what the exchange's own times are multiplied with, that is heartbeats and the idle drop: with 0.01 a
    client that asks for 10 s is asked for a sign of life every 100 ms. expires_in: seconds that a token lives.
    idle_timeout: seconds (before scaling) after which a socket that asks and hears nothing is dropped; None: never.
    credits: are requests paid for? terminate: is a client that cannot pay sent away, or only told?
    jitter: seconds that each worker takes at most for an answer; above 0 answers of different workers overtake.
    max_connections: the next client is refused with 429. slow_limit: bytes that may wait for a client that does not
    read. Raises ValueError for a number that makes no sense.
    """

    testnet: bool = True
    time_scale: float = 1.0
    expires_in: int = 31_536_000
    idle_timeout: float | None = 60.0
    credits: bool = True
    terminate: bool = True
    jitter: float = 0.0
    max_connections: int = 32
    slow_limit: int = 8 << 20

    def __post_init__(self) -> None:
        for name in ("expires_in", "max_connections", "slow_limit"):
            whole(name, getattr(self, name), low=1)
        number("time_scale", self.time_scale, above=0)
        number("jitter", self.jitter, low=0)
        if self.idle_timeout is not None:  # never
            number("idle_timeout", self.idle_timeout, above=0)
