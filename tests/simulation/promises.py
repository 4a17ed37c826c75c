"""What wsx promises, held against the history of a run: each promise is a function that yields what breaks it.

    broken(history) -> ["once: 'user 3' was sent in epoch 1 and reached connection 2", ...]

Not here: how a history comes about (world.py); that each promise can be broken at all (test_simulation.py).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from history import (
    Answered,
    Asked,
    Blocked,
    Depths,
    Dialled,
    Fault,
    GaveUp,
    Healed,
    History,
    Over,
    Restoring,
    SendBegan,
    SendEnded,
    ServerGot,
    Told,
    UserGot,
)

from wsx.errors import HeartbeatTimeout
from wsx.events import Closed, GapEvent, Halted, LoopBlocked, Opened, ReadingPaused, Reconnecting

MS = 1_000_000
NS = 1_000_000_000
SLACK_NS = 50 * MS

Promise = Callable[[History], Iterator[str]]


def epochs(history: History) -> dict[int, int]:
    """The epoch that each of the server's connections was for the client."""
    return {dialled.connection: dialled.epoch for dialled in history.of(Dialled) if dialled.connection}


def corrupted(history: History) -> set[int]:
    """The connections on which bytes were changed: what they carried after that says nothing."""
    return {fault.connection for fault in history.of(Fault) if fault.kind == "corrupt"}


def once(history: History) -> Iterator[str]:
    """Every send has one outcome, and what did not leave is nowhere."""
    began = Counter(record.text for record in history.of(SendBegan))
    ended = {record.text: record for record in history.of(SendEnded)}
    outcomes = Counter(record.text for record in history.of(SendEnded))
    yield from (f"{text!r} began {count} times and has {outcomes[text]} outcomes"
                for text, count in began.items() if outcomes[text] != 1 or count != 1)  # fmt: skip
    of_connection = epochs(history)
    arrived = Counter((got.text, got.connection) for got in history.of(ServerGot) if got.text in ended)
    restored = {(text, record.epoch) for record in history.of(Restoring) for text in record.subscriptions}
    for (text, connection), count in arrived.items():
        outcome, epoch = ended[text].outcome, of_connection[connection]
        if (text, epoch) in restored:
            continue  # `restoring` says about these
        if outcome != "sent":
            yield f"{text!r} ended with {outcome} and reached connection {connection}"
        elif epoch != ended[text].epoch:
            yield f"{text!r} was sent in epoch {ended[text].epoch} and reached connection {connection}, epoch {epoch}"
        elif count > 1:
            yield f"{text!r} was sent once and reached connection {connection} {count} times"


def arriving(history: History) -> Iterator[str]:
    """What was sent arrives, on a connection without a fault that was closed in good order, or was left by its user."""
    faulty = {fault.connection for fault in history.of(Fault)}
    of_epoch: dict[int, list[int]] = defaultdict(list)
    for connection, epoch in epochs(history).items():
        of_epoch[epoch].append(connection)
    in_order = {event.epoch for event in history.told(Closed) if event.error is None and event.code == 1000}
    arrived = {got.text for got in history.of(ServerGot)}
    for record in history.of(SendEnded):
        connections = of_epoch[record.epoch]
        whole = record.epoch in in_order and len(connections) == 1 and not faulty & set(connections)
        if record.outcome == "sent" and whole and record.text not in arrived:
            yield f"{record.text!r} was sent in epoch {record.epoch}, which ended in good order, and never arrived"


def in_order(history: History) -> Iterator[str]:
    """What is delivered is of its own epoch, in the order of the server, without a hole, and never of an old epoch."""
    of_connection, spoilt = epochs(history), corrupted(history)
    expected: dict[int, int] = defaultdict(int)
    newest = 0
    for got in history.of(UserGot):
        if got.epoch < newest:
            yield f"a message of epoch {got.epoch} came after one of epoch {newest}"
        newest = max(newest, got.epoch)
        if got.connection is None or got.connection in spoilt:
            continue
        if of_connection[got.connection] != got.epoch:
            yield f"message {got.number} of connection {got.connection} came as one of epoch {got.epoch}"
        if got.number is None:
            continue
        if got.number != expected[got.connection]:
            yield f"connection {got.connection}: message {got.number} came where {expected[got.connection]} was due"
        expected[got.connection] = got.number + 1


def intact(history: History) -> Iterator[str]:
    """No message is changed on a connection that the network does not corrupt."""
    spoilt = {epochs(history)[connection] for connection in corrupted(history)}
    yield from (f"a message of epoch {got.epoch} came changed"
                for got in history.of(UserGot) if got.connection is None and got.epoch not in spoilt)  # fmt: skip


def gaps_said(history: History) -> Iterator[str]:
    """The first message of each epoch but the first carries the gap, an event has said it, and no other message does."""
    events = [event.gap for event in history.told(GapEvent)]
    carried = [got.gap for got in history.of(UserGot) if got.gap is not None]
    first = {got.epoch: got for got in reversed(history.of(UserGot))}
    for got in history.of(UserGot):
        is_first = got is first[got.epoch] and got.epoch > 1
        if is_first and got.gap is None:
            yield f"the first message of epoch {got.epoch} carries no gap"
        elif not is_first and got.gap is not None:
            yield f"a message of epoch {got.epoch} that is not its first carries a gap"
        elif got.gap is not None and not got.gap.last_good_ns <= got.gap.first_good_ns == got.received_ns:
            yield f"the gap before epoch {got.epoch} ends at {got.gap.first_good_ns}, its message came {got.received_ns}"
    known = [gap for over in history.of(Over) for gap in over.gaps]
    if forgotten := [gap for gap in events if gap not in known]:
        yield f"the ledger does not know {forgotten}"
    if carried != events[: len(carried)]:
        yield f"messages carried {len(carried)} gaps, which are not the first of the {len(events)} that events said"


def restoring(history: History) -> Iterator[str]:
    """On each connection the server gets the hook's message, the acknowledged subscriptions in order, then the rest."""
    spoilt = corrupted(history)
    of_epoch = {epoch: connection for connection, epoch in epochs(history).items()}
    got: dict[int, list[str | None]] = defaultdict(list)
    for record in history.of(ServerGot):
        got[record.connection].append(record.text)
    for record in history.of(Restoring):
        connection = of_epoch[record.epoch]
        wanted = ["hook", *record.subscriptions]
        seen = got[connection][: len(wanted)]
        if connection not in spoilt and seen != wanted[: len(seen)]:
            yield f"connection {connection} was to be restored with {wanted}, and got {seen}"
        rest = got[connection][len(wanted) :]
        if again := [text for text in rest if text in wanted]:
            yield f"connection {connection} got {again} again after they were restored"


def staying_halted(history: History) -> Iterator[str]:
    """After HALTED no attempt is made before a person says so."""
    halted = False
    for record in history.records:
        if isinstance(record, Told) and isinstance(record.event, Halted):
            halted = True
        elif isinstance(record, Asked):
            halted = False
        elif halted and isinstance(record, Dialled):
            yield f"halted, and epoch {record.epoch} was dialled at {record.at_ns}"


def noticing(history: History) -> Iterator[str]:
    """A peer that is dead is given up within ping_interval + ping_timeout + 50 ms, or by closing that is bounded."""
    config = history.settings.config
    within_ns = round((config.ping_interval + config.ping_timeout) * NS) + SLACK_NS
    opened, closed = ({event.epoch: event for event in history.told(kind)} for kind in (Opened, Closed))
    healed = {record.connection for record in history.of(Healed)}
    excused = [record.at_ns for record in history.records if _excuses(record)]
    for fault in history.of(Fault):
        epoch = epochs(history).get(fault.connection)
        if fault.kind not in ("stall", "black_hole", "mute") or fault.connection in healed or epoch not in opened:
            continue
        since_ns = max(fault.at_ns, opened[epoch].at_ns)
        if epoch not in closed:
            yield f"epoch {epoch} is dead and was never given up"
            continue
        end = closed[epoch]
        closing_ns = 0 if isinstance(end.error, HeartbeatTimeout) else round(config.close_timeout * NS)
        late_ns = end.at_ns - since_ns - within_ns - closing_ns
        if late_ns > 0 and not any(opened[epoch].at_ns <= at_ns <= end.at_ns for at_ns in excused):
            yield f"epoch {epoch} was dead at {since_ns} ({fault.kind}) and given up {late_ns / NS:.3f} s too late"


def _excuses(record: object) -> bool:
    """While reading is paused the heartbeat rests, and a loop that did not run can notice nothing."""
    return isinstance(record, Blocked) or (
        isinstance(record, Told) and isinstance(record.event, ReadingPaused | LoopBlocked)
    )


def bounded(history: History) -> Iterator[str]:
    """What waits stays within its cap and what one read brings."""
    allowed = {"inbox_messages": history.settings.read_messages, "write_bytes": 4096}
    for record in history.of(Depths):
        for name, (depth, limit) in record.queues.items():
            most = limit + allowed.get(name, 0)
            if depth > most:
                yield f"{name} held {depth}, at most {most} may be"


def backing_off(history: History) -> Iterator[str]:
    """Delays are within their bounds, attempts are counted, and nobody dials early without being asked to."""
    backoff, last, waiting = history.settings.backoff, 0, None
    for record in history.records:
        if isinstance(record, Asked | Blocked):
            last, waiting = 0 if isinstance(record, Asked) else last, None
        elif isinstance(record, Told) and isinstance(record.event, Reconnecting):
            waiting = event = record.event
            if event.attempt not in (last + 1, 1):
                yield f"attempt {event.attempt} came after attempt {last}"
            if not 0 <= event.delay_seconds <= backoff.cap:
                yield f"attempt {event.attempt} waits {event.delay_seconds} s, the cap is {backoff.cap}"
            last = event.attempt
        elif isinstance(record, Dialled) and waiting is not None:
            early_ns = waiting.at_ns + waiting.delay_seconds * NS - record.at_ns
            if early_ns > MS:
                yield f"attempt {waiting.attempt} was made {early_ns / NS} s early"
            waiting = None


def living_on(history: History) -> Iterator[str]:
    """The client ends by itself only where its attempts are used up, or the peer broke the protocol too often."""
    yield from (
        f"the client gave up for {gave.error}" for gave in history.of(GaveUp) if gave.error != "ReconnectExhausted"
    )


def closing(history: History) -> Iterator[str]:
    """close() returns within close_timeout, unless the loop did not run."""
    most_ns = round(history.settings.config.close_timeout * NS) + MS
    for record in history.of(Answered):
        since_ns = record.at_ns - record.took_ns
        blocked_ns = sum(each.for_ns for each in history.of(Blocked) if since_ns <= each.at_ns <= record.at_ns)
        if record.took_ns > most_ns + blocked_ns:
            yield f"{record.what}() took {record.took_ns / NS} s"


def ending_once(history: History) -> Iterator[str]:
    """Each epoch opens at most once and closes exactly once, after it opened; epochs count up."""
    opened, newest = set(), 0
    for event in history.told(Opened, Closed):
        if isinstance(event, Opened):
            if event.epoch <= newest:
                yield f"epoch {event.epoch} opened after epoch {newest}"
            newest = event.epoch
            opened.add(event.epoch)
        elif event.epoch not in opened:
            yield f"epoch {event.epoch} closed, and was not open"
        opened -= {event.epoch} if isinstance(event, Closed) else set()
    if opened:
        yield f"epochs that never closed: {sorted(opened)}"


def leaving_nothing(history: History) -> Iterator[str]:
    """At the end the client is closed, and no task, timer or connection is left."""
    over = history.records[-1] if history.records else None
    if not isinstance(over, Over):
        yield "the run has no end"
    elif over.state not in ("closed", "none"):
        yield f"the client is {over.state} at the end"
    else:
        yield from (f"left: {what}" for what in over.leftovers)


PROMISES: tuple[Promise, ...] = (
    once,
    arriving,
    in_order,
    intact,
    gaps_said,
    restoring,
    staying_halted,
    noticing,
    bounded,
    backing_off,
    living_on,
    closing,
    ending_once,
    leaving_nothing,
)


def broken(history: History) -> list[str]:
    """Every promise that this history breaks, and how."""
    return [f"{promise.__name__}: {what}" for promise in PROMISES for what in promise(history)]
