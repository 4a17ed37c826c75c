"""From a message to its callbacks: which one, in which order, and what one that raises does not do."""

import asyncio
from random import Random

import pytest
from streams import TEXT, frame

from wsx._assembler import Assembler
from wsx._inbox import Inbox, MessageIterator
from wsx._router import Router, Table
from wsx._telemetry import Telemetry
from wsx.transport._pipe import PipeWriter

TEST_REQUEST = '{"params":{"type":"test_request"},"method":"heartbeat","jsonrpc":"2.0"}'
ANSWER = b'{"jsonrpc":"2.0","id":"beat","method":"public/test","params":{}}'


class Line:
    """An inbox with a router, what its owner and its listener heard, and the wire that leads to it."""

    def __init__(self, *, started=True, callback=None):
        self.heard, self.telemetry = [], Telemetry()
        self.inbox = Inbox(self, self.telemetry, callback=callback)
        self.router = self.inbox.tap = Router(self.inbox)
        self.router.listener = self
        self.assembler = Assembler(self.inbox, self, self.telemetry)
        self.written = []
        if started:
            self.inbox.start()

    def bring(self, *texts):
        payloads = (text if isinstance(text, bytes) else text.encode() for text in texts)
        self.assembler.feed(b"".join(frame(TEXT, payload) for payload in payloads))

    def connect(self):
        writer = self.inbox.writer = PipeWriter(self.telemetry, masked=False)
        writer.attach(self.written.append, int)

    def waiting(self):
        async def read():
            reader = MessageIterator(self.inbox)
            return [(await anext(reader)).text for _ in range(len(self.inbox))]

        return asyncio.run(read())

    def on_inbox_full(self):
        self.heard.append("full")

    def on_callback_error(self, error, message):
        self.heard.append((repr(error), message.text))

    def on_malformed(self, message, what):
        self.heard.append((what, message.data))

    def on_control(self, *_):
        raise AssertionError

    on_close = on_failure = on_inbox_drained = on_control


def push(channel, data="1", method="subscription"):
    return f'{{"method":"{method}","params":{{"channel":"{channel}","data":{data}}}}}'


def noting(seen, name):
    return lambda message: seen.append((name, message.data_json()))


class TestTable:
    def test_it_finds_what_a_dict_finds(self):
        random, table, model = Random(3), Table(), {}
        keys = [bytes(random.choices(b"ab.", k=random.randrange(20))) for _ in range(300)]
        for _ in range(3000):
            key = random.choice(keys)
            if key in model and random.random() < 0.5:
                handler = random.choice(model[key])
                table.remove(key, handler)
                model[key].remove(handler)
                if not model[key]:
                    del model[key]
            else:
                handler = random.choice([len, int, str])
                table.add(key, handler)
                model.setdefault(key, []).append(handler)
        assert table.handlers == {key: tuple(handlers) for key, handlers in model.items()}

    def test_what_is_left_is_found_and_nothing_else(self):
        random, line, seen = Random(5), Line(), []
        handlers = {f"c{n}": noting(seen, f"c{n}") for n in range(400)}
        for name, handler in handlers.items():
            line.router.channels.add(name.encode(), handler)
        for name in random.sample(list(handlers), 380):
            line.router.channels.remove(name.encode(), handlers[name])
            if random.random() < 0.3:
                line.router.channels.add(name.encode(), handlers[name])
        left = [name for name in handlers if name.encode() in line.router.channels.handlers]
        line.bring(*map(push, handlers))
        assert seen == [(name, 1) for name in left]
        assert line.waiting() == [push(name) for name in handlers if name not in left]

    def test_what_goes_with_a_callback_does_not_find_it_any_more(self):
        class Going:
            def __call__(self, message):
                raise AssertionError

            def __eq__(self, other):
                return True

            __hash__ = None

            def __del__(self):
                line.inbox.deliver(held[0])

        line, held = Line(), []
        line.inbox.divert = held.append
        line.bring(push("a"))
        line.inbox.divert = None
        line.router.channels.add(b"a", Going())
        line.router.channels.remove(b"a", len)
        assert (line.waiting(), line.heard) == ([push("a")], [])

    def test_what_is_not_there_cannot_be_removed(self):
        with pytest.raises(ValueError, match="not in list"):
            Table().remove(b"a", len)


class TestRouting:
    def test_the_most_specific_key_gets_the_message(self):
        line, seen = Line(), []
        line.router.channels.add(b"book.A.raw", noting(seen, "exact"))
        line.router.add_prefix(b"book.", noting(seen, "short"))
        line.router.add_prefix(b"book.A", noting(seen, "long"))
        line.router.methods.add(b"subscription", noting(seen, "method"))
        line.bring(push("book.A.raw", 1), push("book.A.100ms", 2), push("book.B.raw", 3), push("ticker.A", 4))
        line.bring('{"method":"subscription","params":{"data":5}}')
        assert seen == [("exact", 1), ("long", 2), ("short", 3), ("method", 4), ("method", 5)]
        assert len(line.inbox) == 0

    def test_what_nobody_takes_flows_on_in_its_order(self):
        line, seen = Line(), []
        line.router.channels.add(b"a", noting(seen, "a"))
        texts = [push("b"), '{"id":1,"result":2}', '{"method":"m"}', '{"x":1}']
        line.bring(texts[0], push("a"), *texts[1:])
        assert line.waiting() == texts
        assert seen == [("a", 1)]

    def test_what_nobody_takes_goes_to_its_own_callback_where_there_is_one(self):
        line, seen = Line(), []
        line.router.unrouted = lambda message: seen.append(message.text)
        line.bring(push("b"), '{"x":1}')
        assert (seen, len(line.inbox)) == ([push("b"), '{"x":1}'], 0)

    def test_every_channel_of_many_is_found_whatever_is_taken_away(self):
        line, seen = Line(), []
        handlers = {f"ticker.{n}.raw".encode(): noting(seen, n) for n in range(1000)}
        for key, handler in handlers.items():
            line.router.channels.add(key, handler)
        for n in range(0, 1000, 3):
            line.router.channels.remove(f"ticker.{n}.raw".encode(), handlers[f"ticker.{n}.raw".encode()])
        for n in range(1000):
            line.bring(push(f"ticker.{n}.raw", n))
        assert seen == [(n, n) for n in range(1000) if n % 3]
        assert len(line.inbox) == 334

    @pytest.mark.parametrize(
        "text",
        [
            r'{"method":"subscription","params":{"chann\u0065l":"a/b","data":1}}',
            r'{"method":"subscription","params":{"channel":"a\/b","data":1}}',
            r'{"meth\u006fd":"subscription","params":{"channel":"a/b","data":1}}',
            '{"id":1.5,"method":"subscription","params":{"channel":"a/b","data":1}}',
        ],
    )
    def test_what_the_scan_leaves_open_goes_the_same_way(self, text):
        line, seen = Line(), []
        line.router.channels.add(b"a/b", noting(seen, "a"))
        line.bring(text)
        assert seen == [("a", 1)]

    @pytest.mark.parametrize(
        "text",
        [
            '{"method":5,"params":{"channel":"a"}}',
            '{"method":"m","params":{"channel":5}}',
            '{"method":"\\u006d","params":5}',
            '{"method":"m","params":{"type":[],"channel":null}}',
        ],
    )
    def test_odd_envelopes_flow_on(self, text):
        line = Line()
        line.router.channels.add(b"a", len)
        line.bring(text)
        assert line.waiting() == [text]

    def test_one_callback_that_raises_does_not_stop_the_others(self):
        line, seen = Line(), []

        def fail(message):
            raise ValueError("mine")

        for handler in (noting(seen, 1), fail, noting(seen, 2)):
            line.router.channels.add(b"a", handler)
        line.bring(push("a"), push("a"))
        assert seen == [(1, 1), (2, 1)] * 2
        assert line.heard == [("ValueError('mine')", push("a"))] * 2

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("place", ["callback", "scanner"])
    def test_the_end_of_the_program_passes(self, error, place):
        line = Line()

        def stop(message):
            raise error

        if place == "callback":
            line.router.channels.add(b"a", stop)
        else:
            line.router.scanner = stop
        with pytest.raises(error):
            line.bring(push("a"))

    def test_a_callback_may_take_itself_away_and_add_others(self):
        line, seen = Line(), []

        def once(message):
            seen.append("once")
            line.router.channels.remove(b"a", once)
            line.router.channels.add(b"a", noting(seen, "after"))

        line.router.channels.add(b"a", once)
        line.bring(push("a"), push("a"))
        assert seen == ["once", ("after", 1)]

    def test_a_prefix_may_be_taken_away(self):
        line, seen = Line(), []
        handler = noting(seen, "prefix")
        line.router.add_prefix(b"a", handler)
        line.bring(push("abc"))
        line.router.remove_prefix(b"a", handler)
        line.bring(push("abc"))
        assert (seen, len(line.inbox)) == ([("prefix", 1)], 1)


class TestWhenMessagesMayFlow:
    def test_before_the_start_they_wait_and_then_go_in_order(self):
        line, seen = Line(started=False), []
        line.router.channels.add(b"a", noting(seen, "a"))
        line.bring(push("a", 1), push("b", 2), push("a", 3))
        assert (seen, len(line.inbox)) == ([], 3)
        line.inbox.start()
        line.inbox.start()
        assert (seen, line.waiting()) == ([("a", 1), ("a", 3)], [push("b", 2)])

    def test_before_the_start_they_wait_for_the_callback_too(self):
        seen = []
        line = Line(started=False, callback=lambda message: seen.append(message.text))
        line.router.channels.add(b"a", noting(seen, "a"))
        line.bring(push("b"), push("a", 3), push("b"))
        line.inbox.start()
        assert seen == [push("b"), ("a", 3), push("b")]

    def test_while_hooks_run_they_are_held_and_routed_when_they_are_delivered(self):
        line, seen, held = Line(), [], []
        line.router.channels.add(b"a", noting(seen, "a"))
        line.inbox.divert = held.append
        line.bring(push("a"))
        assert (seen, len(held), line.inbox.flowing) == ([], 1, False)
        line.inbox.divert = None
        line.inbox.deliver(held[0])
        assert (seen, line.inbox.flowing) == ([("a", 1)], True)

    def test_a_message_that_a_callback_takes_carries_the_gap_before_it(self):
        line, gaps = Line(), []
        line.router.channels.add(b"a", lambda message: gaps.append(message.gap))
        line.inbox.sight = lambda message: "gap"
        line.bring(push("a"), push("a"))
        assert gaps == ["gap", None]

    def test_who_hears_of_the_gap_may_take_the_callback_away(self):
        line, seen = Line(), []
        handler = noting(seen, "a")
        line.router.channels.add(b"a", handler)

        def sight(message):
            line.router.channels.remove(b"a", handler)
            return [(number,) for number in range(10_000)]  # takes the place of what was freed

        line.inbox.sight = sight
        line.bring(push("a"), push("a"))
        assert (seen, len(line.inbox)) == ([("a", 1)], 1)

    def test_nothing_is_taken_after_the_end(self):
        line, seen = Line(), []
        line.router.channels.add(b"a", noting(seen, "a"))
        line.inbox.end()
        line.bring(push("a"))
        assert (seen, len(line.inbox)) == ([], 0)


class TestRules:
    def test_the_answer_is_written_at_once_also_while_hooks_run(self):
        line, held = Line(started=False), []
        line.connect()
        line.router.add_rule(b"heartbeat", b"test_request", ANSWER)
        line.inbox.divert = held.append
        line.bring(TEST_REQUEST, '{"method":"heartbeat","params":{"type":"heartbeat"}}', push("a"))
        assert line.written == [frame(TEXT, ANSWER)]
        assert [message.text[2:8] for message in held] == ["method", "method"]
        assert line.telemetry.snapshot()["auto_answers"] == 1

    def test_its_message_reaches_a_callback_of_the_method_and_nobody_else(self):
        line, seen = Line(), []
        line.connect()
        line.router.add_rule(b"other", b"test_request", b"{}")
        line.router.add_rule(b"heartbeat", b"test_request", ANSWER)
        line.bring(TEST_REQUEST)
        line.router.methods.add(b"heartbeat", lambda message: seen.append(message.text))
        line.bring(TEST_REQUEST)
        assert (seen, len(line.written), len(line.inbox)) == ([TEST_REQUEST], 2, 0)

    def test_the_last_rule_for_the_same_counts(self):
        line = Line()
        line.connect()
        for payload in (b"old", b"new"):
            line.router.add_rule(b"heartbeat", b"test_request", payload)
        line.bring(TEST_REQUEST)
        assert line.written == [frame(TEXT, b"new")]

    def test_the_answer_to_a_rules_request_is_nobodys(self):
        line, answers = Line(), []

        class Answers:
            def take_answer(self, *answer):
                answers.append(answer[:3])
                return True

        line.router.answers = Answers()
        line.router.add_rule(b"heartbeat", b"test_request", ANSWER)
        line.bring('{"id":"beat","result":{}}', '{"id":"other","result":1}', '{"id":[1],"result":1}')
        assert answers == [("other", 1, 0), ([1], 1, 0)]

    @pytest.mark.parametrize(
        ("payload", "quiet"),
        [
            (b'{"i\\u0064":"b\\u0065at","method":"m"}', "beat"),
            (b'{"id":7,"method":"m"}', 7),
            (b'{"id":true,"method":"m"}', None),
            (b'{"id":"beat', None),
            (b"[7]", None),
            (b"pong", None),
        ],
    )
    def test_the_id_of_a_rules_request_is_known_however_it_is_written(self, payload, quiet):
        line, answers = Line(), []

        class Answers:
            def take_answer(self, request_id, *_):
                answers.append(request_id)
                return True

        line.router.answers = Answers()
        line.router.add_rule(b"heartbeat", b"test_request", payload)
        line.bring('{"id":"beat","result":1}', '{"id":7,"result":1}', '{"id":1,"result":1}', '{"id":true,"result":1}')
        assert answers == [identity for identity in ("beat", 7, 1, True) if identity != quiet or identity is True]

    def test_the_id_of_a_rule_that_is_no_more_is_nobodys(self):
        line, answers = Line(), []

        class Answers:
            def take_answer(self, request_id, *_):
                answers.append(request_id)
                return True

        line.router.answers = Answers()
        for payload in (ANSWER, b"{}"):
            line.router.add_rule(b"heartbeat", b"test_request", payload)
        line.bring('{"id":"beat","result":1}')
        assert answers == ["beat"]

    def test_keys_that_do_not_count_may_come_twice(self):
        line, seen = Line(), []
        line.router.methods.add(b"m", lambda message: seen.append(message.text))
        text = '{"m\\u0065thod":"m","x":1,"x":2,"params":{"id":1,"id":2,"method":[{"id":1,"id":1}]},"jsonrpc":"2.0"}'
        line.bring(text)
        assert (seen, line.heard) == ([text], [])

    def test_a_connection_that_is_gone_is_no_error_of_the_application(self):
        line = Line()
        line.connect()
        line.router.add_rule(b"heartbeat", b"test_request", ANSWER)

        def gone(data):
            raise ConnectionResetError

        line.inbox.writer.attach(gone, int)
        line.bring(TEST_REQUEST)
        assert line.heard == []
        assert line.telemetry.snapshot()["auto_answers"] == 0

    def test_without_a_connection_nothing_is_written(self):
        line = Line()
        line.router.add_rule(b"heartbeat", b"test_request", ANSWER)
        line.bring(TEST_REQUEST)
        assert line.telemetry.snapshot()["auto_answers"] == 0
        assert len(line.inbox) == 0


class TestMalformed:
    @pytest.mark.parametrize(
        ("data", "what"),
        [
            (b"hello", "unexpected"),
            (b'{"method":"a"', "unexpected end"),
            (b"5", "not an object"),
            (b"null", "not an object"),
            (b"[]", "neither an object nor an array of objects"),
            (b"[1]", "neither an object nor an array of objects"),
            (b"[{}", "neither an object nor an array of objects"),
            (b"[{}] x", "neither an object nor an array of objects"),
            (b"[" * 100_000, "neither an object nor an array of objects"),
            (b'{"id":1.5,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "depth limit"),
            (b'{"id":1,"id":2,"result":1}', "a key of the envelope comes twice"),
            (b'{"id":1,"i\\u0064":2,"result":1}', "a key of the envelope comes twice"),
            (b'{"method":"m","params":{"channel":"a","\\u0063hannel":"b"}}', "a key of the envelope comes twice"),
            (b'{"x":{"a":"}"},"meth\\u006fd":"m", "params" : [1] ,"method":"n"}', "a key of the envelope comes twice"),
            (b'{"\\u0069d":1,"params":{},"par\\u0061ms":{}}', "a key of the envelope comes twice"),
            (b'{"method":"\\u006d","a":NaN}', "unexpected"),
            (b'{"id":1.5,"a":1e400}', "infinity"),
        ],
    )
    def test_what_is_no_json_rpc_is_said_and_reaches_nobody_else(self, data, what):
        line = Line()
        line.bring(data)
        ((said, seen),) = line.heard
        assert what in said
        assert (seen, len(line.inbox)) == (data, 0)

    def test_an_array_of_more_than_the_inbox_may_hold_is_not_taken_apart(self):
        for count, waiting in ((65536, 65536), (65537, 0)):
            line = Line()
            line.bring("[" + ",".join(["{}"] * count) + "]")
            assert len(line.inbox) == waiting
        assert "65536 at most" in line.heard[0][0]

    def test_where_nobody_listens_it_flows_on(self):
        line = Line()
        line.router.listener = None
        line.bring("hello")
        assert line.waiting() == ["hello"]


class TestOtherFormats:
    def test_a_scanner_gives_the_key(self):
        line, seen = Line(), []
        keys = {b"one": "a", b"two": b"b", b"three": None, b"four": "prefixed", b"five": "m"}
        line.router.scanner = keys.get
        line.router.channels.add(b"a", lambda message: seen.append(("a", message.text)))
        line.router.channels.add(b"b", lambda message: seen.append(("b", message.text)))
        line.router.add_prefix(b"pre", lambda message: seen.append(("pre", message.text)))
        line.router.methods.add(b"m", lambda message: seen.append(("m", message.text)))
        line.bring("one", "two", "three", "four", "five")
        assert seen == [("a", "one"), ("b", "two"), ("pre", "four"), ("m", "five")]
        assert line.waiting() == ["three"]

    def test_a_scanner_that_raises_is_an_application_error_and_the_message_flows_on(self):
        line = Line()

        def scanner(data):
            raise ValueError("mine")

        line.router.scanner = scanner
        line.bring("one")
        assert line.heard == [("ValueError('mine')", "one")]
        assert line.waiting() == ["one"]

    def test_a_reader_takes_answers_out(self):
        line = Line()
        line.router.reader = lambda message: message.text.startswith("answer")
        line.bring("answer 1", "data")
        assert line.waiting() == ["data"]
