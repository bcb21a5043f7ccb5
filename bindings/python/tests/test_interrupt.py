"""interrupt: Ctrl-C while the library works: KeyboardInterrupt, soon, never lost; handler and
wake-up as they were."""

import os
import signal
import socket
import threading
import time
import unittest

from support import BOS, smft, write_model
from test_calls import LONG, SlowCase

FOREVER = 10**6
SOON = 3 if os.environ.get("SMFT_SANITIZE") else 0.1  # seconds; sanitized code is slow


class Signal(threading.Thread):
    """Sends a signal to this process so long after go(): not before the caller is ready for it."""

    def __init__(self, after, number=signal.SIGINT):
        super().__init__()
        self.after, self.number, self.ready, self.at = after, number, threading.Event(), None
        self.start()

    def run(self):
        self.ready.wait()
        time.sleep(self.after)
        self.at = time.process_time()
        os.kill(os.getpid(), self.number)

    def go(self, call):
        """What the call returns, when the signal was sent."""
        try:
            self.ready.set()
            return call()
        finally:
            while self.is_alive():  # KeyboardInterrupt may come here, too
                time.sleep(0.001)


class Interrupted(SlowCase):
    """The main thread is interrupted from another one, at a moment that no call knows."""

    def setUp(self):
        super().setUp()
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a script's background
            self.addCleanup(signal.signal, signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)

    def interrupted(self, call, after):
        """Seconds from the signal to KeyboardInterrupt, of this process: a busy machine is no fault."""
        sender = Signal(after)
        with self.assertRaises(KeyboardInterrupt):
            sender.go(call)
        seconds = time.process_time() - sender.at
        sender.join()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        self.assertEqual(signal.set_wakeup_fd(-1), -1)
        return seconds

    def learner(self, **options):
        learner = smft.Learner(
            self.model,
            smft.Patch(self.model),
            smft.Selector(self.model, "tf", empty=True),
            max_steps=FOREVER,
            loss_below=-1,
            keep_given_up=True,
            **options,
        )
        learner.push("a", [("Who is it?", " me")])
        return learner

    def test_calls(self):
        """Never lost, and soon."""
        probe, selector = smft.Probe(), smft.Selector(self.model, "tf", empty=True)
        for i in range(3000):
            probe.add_text(str(i), "some text")
        text = self.directory / "text.txt"
        text.write_text("a line of text\n" * 20000)
        lora, learner = smft.Patch.lora(self.model), self.learner()
        dense = smft.Learner(self.model, lora)
        calls = {
            "generate a text": lambda: self.session.generate("Who?", 3000),
            "generate ids": lambda: self.session.generate([BOS], 3000, on_token=lambda *_: None),
            "feed": lambda: self.session.feed(LONG * 2),
            "nll": lambda: self.session.nll(LONG * 2),
            "logits": lambda: self.session.logits(LONG * 2),
            "run": lambda: self.learner().run(),
            "run with progress": lambda: learner.run(lambda *_: None),
            "step_batch": lambda: [dense.step_batch([LONG[:100]] * 4) for _ in range(1000)],
            "baseline": lambda: probe.baseline(self.session),
            "baseline with progress": lambda: probe.baseline(self.session, lambda *_: 0),
            "count texts": lambda: selector.count_background(texts=["some text"] * 5000),
            "count batches": lambda: selector.count_background(
                [[[1] * 60]] * 2500 + [[[1] * 60] * 2] * 1250
            ),
            "count a file": lambda: selector.count_background_file(text),
        }
        for name, call in calls.items():
            with self.subTest(name):
                before = self.session.generate([BOS], 5)
                times = [self.interrupted(call, 0.02 + 0.017 * i) for i in range(4)]
                self.assertLess(min(times), SOON, times)
                self.assertEqual(self.session.generate([BOS], 5), before)
        self.assertEqual(list(selector.df()), [0] * len(list(selector.df())))
        self.assertEqual(selector.n_batches, 0)

    def test_state_is_as_after_a_cancellation(self):
        self.session.feed([1, 2, 3])
        self.interrupted(
            lambda: self.session.generate("more", 3000, continues=True, on_token=lambda *_: None),
            0.05,
        )
        self.assertEqual((len(self.session), self.session.finish), (3, None))
        self.interrupted(lambda: self.session.feed(LONG), 0.05)
        self.assertEqual(len(self.session), 3)
        learner = self.learner()
        self.interrupted(learner.run, 0.05)
        version = learner.patch.version
        self.assertEqual((learner.pending, learner.step().fact_id), (1, "a"))
        self.assertGreater(learner.patch.version, version)

    def test_at_the_entry_of_the_callback(self):
        """Where it used to be lost: the signal is there already when the callback begins."""
        learner = self.learner()
        for _ in range(12):
            self.interrupted(lambda: learner.run(lambda *_: None), 0.005)

    def test_in_the_callback(self):
        """There it comes at once, and the callback may keep it to itself."""

        def send(*_):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
            self.fail("it slept")

        smft.Model.init(write_model(self.directory, memory=False), seed=7).export(self.directory)
        bare = smft.Model(self.directory)
        for call in (
            lambda: self.session.generate("Who?", 5, on_token=send),
            lambda: self.learner().run(send),
            lambda: smft.Model(self.home, progress=send),
            lambda: self.model.export(self.directory / "x", progress=send),
            lambda: smft.graft(bare, ["some text"] * 20, self.directory / "g", progress=send),
        ):
            with self.assertRaises(KeyboardInterrupt):
                call()
        kept = []

        def keeps(*_):
            try:
                send()
            except KeyboardInterrupt as error:
                kept.append(error)

        self.assertEqual(
            self.session.generate([BOS], 5, on_token=keeps), self.session.generate([BOS], 5)
        )
        self.assertEqual(len(kept), 5)
        self.session.generate([BOS], 5, on_token=lambda *_: len(self.session))
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)

    def test_a_call_in_a_callback(self):
        other, inner = smft.Session(self.model), []

        def nested(*_):
            try:
                inner.append(Signal(0.05).go(lambda: other.nll(LONG * 2)))
            except KeyboardInterrupt:
                inner.append("interrupted")
                raise

        with self.assertRaises(KeyboardInterrupt):
            self.session.generate([BOS], 5, on_token=nested)
        self.assertEqual(inner, ["interrupted"])
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)

    def test_a_handler_of_the_hosts(self):
        """One that raises nothing stops nothing; what one raises is raised."""

        class Mine(Exception):
            pass

        def fail(*_):
            raise Mine()

        seen = []
        wanted = self.session.generate([BOS], 200)
        self.addCleanup(signal.signal, signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGINT, lambda *at: seen.append(at))
        got = Signal(0.05).go(
            lambda: self.session.generate([BOS], 200, on_token=lambda *_: time.sleep(0.001))
        )
        self.assertEqual((got, len(seen)), (wanted, 1))
        signal.signal(signal.SIGINT, fail)
        with self.assertRaises(Mine):
            Signal(0.05).go(lambda: self.session.generate([BOS], 3000, on_token=lambda *_: None))
        self.assertIs(signal.getsignal(signal.SIGINT), fail)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.assertEqual(Signal(0.05).go(lambda: self.session.generate([BOS], 200)), wanted)
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)

    def test_a_callback_that_sets_a_handler(self):
        def mine(*_):
            pass

        self.addCleanup(signal.signal, signal.SIGINT, signal.default_int_handler)
        self.session.generate(
            [BOS], 3, on_token=lambda *_: signal.signal(signal.SIGINT, mine) and None
        )
        self.assertIs(signal.getsignal(signal.SIGINT), mine)

    def test_other_signals_wake_whom_they_would_have(self):
        """asyncio hears of signals by its wake-up descriptor."""
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close)
        self.addCleanup(writer.close)
        writer.setblocking(False)
        reader.settimeout(10)
        self.addCleanup(
            signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, lambda *_: None)
        )
        self.addCleanup(signal.set_wakeup_fd, signal.set_wakeup_fd(writer.fileno()))
        Signal(0.05, signal.SIGUSR1).go(lambda: self.session.nll(LONG))
        self.assertEqual(reader.recv(100), bytes([signal.SIGUSR1]))
        self.assertEqual(signal.set_wakeup_fd(-1), writer.fileno())

    def test_threads_are_left_alone(self):
        handlers, errors = [], []

        def work():
            try:
                smft.Session(self.model).generate(
                    [BOS], 3, on_token=lambda *_: handlers.append(signal.getsignal(signal.SIGINT))
                )
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
        self.assertEqual((set(handlers), errors), ({signal.default_int_handler}, []))

    def test_fork_in_another_thread(self):
        """The child's main thread is another; it has the handler of before."""
        codes = []

        def forks():
            time.sleep(0.05)
            child = os.fork()
            if child == 0:
                left = signal.getsignal(signal.SIGINT) is signal.default_int_handler
                os._exit(7 if left and signal.set_wakeup_fd(-1) == -1 else 1)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            self.session.cancel()

        thread = threading.Thread(target=forks)
        thread.start()
        with self.assertRaises(smft.CancelledError):
            self.session.nll(LONG * 2)
        thread.join()
        self.assertEqual(codes, [7])

    def test_short_calls_at_any_moment(self):
        """Whatever the moment, nothing stays in use."""

        def forever():
            while True:
                self.session.feed([1, 2], None)
                self.session.rewind(0)

        for i in range(60):
            sender = Signal(0.0005 * (i % 9))
            with self.assertRaises(KeyboardInterrupt):
                sender.go(forever)
            sender.join()
            self.session.rewind(0)
            self.assertFalse(self.session._hold.calls)

    def test_fork_in_a_callback(self):
        """The child has its own Ctrl-C, as soon, in the callback and behind it; the parent is not
        told of it."""
        other, made = smft.Session(self.model), []

        def leaves():
            os._exit(7 if time.process_time() - made[0].at < SOON else 8)

        def forks(*_):
            child = os.fork() if not made else 0
            if child:
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)
            elif not made:
                made.append(Signal(0.05))
                made[0].ready.set()
                if nested:
                    try:
                        other.nll(LONG * 2)
                    except KeyboardInterrupt:
                        leaves()
                    os._exit(1)
            return child  # which stops the parent's call

        other.nll([1, 2, 3])  # there is a thread that waits for signals
        for nested in (True, False):
            try:
                self.session.generate("Who?", 3000, on_token=forks)
            except KeyboardInterrupt:
                leaves()
            if made:
                os._exit(1)


if __name__ == "__main__":
    unittest.main()
