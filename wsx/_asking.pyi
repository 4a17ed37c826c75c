import asyncio
from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

from wsx._correlation import Correlator, Pending

@disjoint_base
class Asking:
    @property
    def correlator(self) -> Correlator: ...
    async def request(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: float | None = 30.0,
        deadline: float | None = None,
        whole: bool = False,
    ) -> Any: ...
    def _attach(
        self,
        correlator: Correlator,
        loop: asyncio.AbstractEventLoop,
        write: Callable[..., None] | None,
        encode: Callable[[int, str, Any], bytes],
    ) -> None: ...
    def _sent(self, pending: Pending) -> None: ...
    def _write_at_once(self, payload: bytes) -> bool: ...
    def _until(self, method: str, timeout: float | None, deadline: float | None) -> float | None: ...
    async def _send_patiently(
        self, payload: bytes, charges: list[tuple[int, str, Any]], deadline: float | None
    ) -> None: ...
    def _set_timer(self, deadline: float) -> None: ...
    def _abandon(self, pending: Pending) -> None: ...

def write_request(request_id: int | None, method: str, params: Any) -> bytes: ...
