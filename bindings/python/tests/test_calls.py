"""calls: handles in use, closed or forked meanwhile, left at the end of Python; integers that C has
no room for."""

import os
import tempfile
import textwrap
import threading
import time
import unittest

from support import (
    BOS,
    CONFIG,
    N_SLOTS,
    NO_NUMPY,
    VALUE_DIM,
    ModelTestCase,
    TestCase,
    large_model,
    smft,
)
from test_library import LIBRARY, python

LONG = [1 + i % 200 for i in range(2000)]


class SlowCase(TestCase):
    """A model with which a call takes long enough for something to come between."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if NO_NUMPY:
            raise unittest.SkipTest("what has no arrays is tested once")
        folder = tempfile.TemporaryDirectory(prefix="smft-python-")
        cls.addClassCleanup(folder.cleanup)
        cls.home, cls.context = folder.name, smft.Context(n_threads=1)
        cls.model = large_model(cls.home, cls.context)

    def setUp(self):
        super().setUp()
        self.session = smft.Session(self.model)


class Running:
    """A call in a thread of its own: what it returned or raised."""

    def __init__(self, call):
        self.result = self.error = None
        self.thread = threading.Thread(target=self._run, args=(call,))
        self.thread.start()

    def _run(self, call):
        try:
            self.result = call()
        except BaseException as error:
            self.error = error

    def wait(self):
        self.thread.join(60)
        assert not self.thread.is_alive(), "the call hangs"
        return self


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class Closed(SlowCase):
    def begin(self, call, handle):
        running = Running(call)
        until(lambda: handle._hold.calls)
        return running

    def close_while_it_runs(self):
        session = smft.Session(self.model)
        running = self.begin(lambda: session.nll(LONG), session)
        session.close()
        self.assertTrue(session.closed)
        with self.assertRaises(smft.StateError):
            session.nll([1, 2])  # also while the other call still runs
        self.assertIsInstance(running.wait().error, smft.CancelledError)
        self.assertTrue(session._hold.freed)
        return self.context.memory()[0]

    def test_from_another_thread(self):
        first = self.close_while_it_runs()  # what calls borrow stays with the context
        self.assertLess(self.close_while_it_runs(), first + 4096)

    def test_the_last_call_frees_it(self):
        session = self.session
        running = self.begin(lambda: session.generate([BOS], 5000), session)
        session.close()
        self.assertEqual((session.closed, session._hold.freed), (True, not session._hold.calls))
        self.assertIsInstance(running.wait().error, smft.CancelledError)
        self.assertTrue(session._hold.freed)

    def test_a_second_thread_is_refused(self):
        wanted = self.session.generate([BOS], 300)
        running = self.begin(lambda: self.session.generate([BOS], 300), self.session)
        refused = 0
        while self.session._hold.calls:
            for call in (
                lambda: self.session.generate([BOS, 1], 3),
                lambda: self.session.logits([1, 2, 3]),
            ):
                try:
                    call()
                except smft.StateError as error:
                    self.assertIn(
                        "smft_session_generate_ids is running, in another thread", str(error)
                    )
                    refused += 1
        self.assertGreater(refused, 2)
        self.assertEqual(running.wait().result, wanted)

    def test_numbers_may_be_read(self):
        running = self.begin(lambda: self.session.nll(LONG), self.session)
        self.assertIsInstance(len(self.session), int)
        self.assertIsInstance(self.session.version, int)
        self.assertIn("<smft.Session: ", repr(self.session))
        self.session.cancel()
        running.wait()

    def test_logits_are_one_call(self):
        """Two threads: each has its own logits, or is refused."""
        wanted = {
            ids: [list(row) for row in self.session.logits(list(ids))]
            for ids in ((1, 2, 3), (4, 5, 6, 7))
        }
        wrong, refused = [], []

        def work(ids):
            for _ in range(40):
                try:
                    if [list(row) for row in self.session.logits(list(ids))] != wanted[ids]:
                        wrong.append(ids)
                except smft.StateError:
                    refused.append(ids)

        for running in [Running(lambda ids=ids: work(ids)) for ids in wanted]:
            self.assertIsNone(running.wait().error)
        self.assertEqual(wrong, [])

    def test_fork_inside_another_threads_call(self):
        running = self.begin(lambda: self.session.nll(LONG), self.session)
        child = os.fork()
        if child == 0:
            try:
                self.session.rewind(0)  # a StateError, were it still in use
                os._exit(7)
            except BaseException:
                os._exit(1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)
        self.session.cancel()
        running.wait()


class Inside(ModelTestCase):
    """Calls from callbacks of the same handle."""

    def setUp(self):
        super().setUp()
        self.patch = smft.Patch(self.model)
        self.session = smft.Session(self.model, self.patch)
        self.probe = smft.Probe()
        for i in range(4):
            self.probe.add_text(f"t{i}", "some text")
        self.selector = smft.Selector(self.model, "tf", empty=True)
        self.optimizer = smft.Optimizer("sgd", lr=0.1)

    def learner(self, patch=None, **options):
        learner = smft.Learner(
            self.model,
            patch or self.patch,
            self.selector,
            self.optimizer,
            max_steps=5,
            loss_below=-1,
            **options,
        )
        for name in "ab":
            learner.push(name, [("Who is " + name, " me")])
        return learner

    def test_close(self):
        learner = self.learner()
        for handle, call in (
            (self.session, lambda close: self.session.generate("Who?", 60, on_token=close)),
            (learner, lambda close: learner.run(close)),
            (self.probe, lambda close: self.probe.baseline(smft.Session(self.model), close)),
            (
                self.selector,
                lambda close: self.selector.count_background(
                    [[[1, 2]], [[1], [2]]], progress=close
                ),
            ),
        ):
            with self.subTest(type(handle).__name__):
                with self.assertRaises(smft.CancelledError):
                    call(lambda *_: handle.close())
                self.assertTrue(handle.closed and handle._hold.freed)
                with self.assertRaises(smft.StateError):
                    call(None)

    def test_a_session_closed_in_a_probes_progress(self):
        with self.assertRaises(smft.CancelledError):
            self.probe.baseline(self.session, lambda *_: self.session.close())
        self.assertTrue(self.session._hold.freed)
        self.probe.baseline(smft.Session(self.model))

    def test_what_others_share_may_go_first(self):
        model = smft.Model.init(self.directory, seed=7)
        patch = smft.Patch(model)
        selector, optimizer = smft.Selector(model, "tf", empty=True), smft.Optimizer("sgd", lr=0.1)
        learner = smft.Learner(model, patch, selector, optimizer, max_steps=5, loss_below=-1)
        learner.push("a", [("Who is a", " me")])
        learner.push("b", [("Who is b", " me")])
        report = learner.run(
            lambda *_: [one.close() for one in (model, patch, selector, optimizer)] and None
        )
        self.assertEqual(report.steps, 10)
        self.assertTrue(all(one._hold.freed for one in (model, patch, selector, optimizer)))

    def test_what_is_left_goes_on_after_its_parents(self):
        model = smft.Model.init(self.directory, seed=7)
        patch, selector = smft.Patch(model), smft.Selector(model, "tf", empty=True)
        learner = smft.Learner(model, patch, selector, max_steps=5, loss_below=-1)
        learner.push("a", [("Who is a", " me")])
        model.close()
        row, df = list(patch.row(0, 1)), list(selector.df())
        self.assertEqual((len(row), len(df)), (VALUE_DIM, N_SLOTS))
        copy = patch.copy()
        self.assertEqual((list(copy.row(0, 1)), patch.slots()), (row, []))
        patch.close()
        selector.close()
        report = learner.step()
        self.assertEqual(len(report.selected), report.rows_selected)
        self.assertIn("<smft.Patch: closed>", repr(learner))
        for wrong in (-1, 1, 2**40):
            for call in (
                lambda: copy.row(wrong, 0),
                lambda: smft.Selector(self.model, "tf", empty=True).df(wrong),
            ):
                with self.assertRaises(smft.InvalidError if wrong > 2**31 else smft.NotFoundError):
                    call()

    def test_a_call_inside_its_own_callback(self):
        wanted = self.session.generate("Who?", 20)
        seen = []

        def inside(*_):
            for call in (
                lambda: self.session.generate("Who?", 2),
                lambda: self.session.nll([1, 2]),
                lambda: self.session.rewind(0),
                lambda: self.session.logits([1]),
                lambda: setattr(self.session, "patch", None),
            ):
                with self.assertRaises(smft.StateError) as caught:
                    call()
                self.assertIn("this is called from inside it", str(caught.exception))
            seen.append(len(self.session))

        self.assertEqual(self.session.generate("Who?", 20, on_token=inside), wanted)
        self.assertGreater(len(seen), 5)
        learner, states = self.learner(), []

        def from_progress(*_):
            for call in (
                learner.step,
                learner.skip,
                lambda: learner.push("c", [("Who?", " me")]),
                lambda: learner.run(),
            ):
                with self.assertRaises(smft.StateError):
                    call()
            states.append((learner.pending, repr(learner)))
            self.optimizer.set_lr(0.01)  # schedules

        learner.run(from_progress)
        self.assertEqual(len(states), 10)

        def from_probe(*_):
            for call in (
                self.probe.items,
                lambda: self.probe.add_text("x", "y"),
                lambda: self.session.nll([1, 2]),
            ):
                with self.assertRaises(smft.StateError):
                    call()

        self.probe.baseline(self.session, from_probe)

    def test_a_selector_is_not_counted_while_a_learner_reads_it(self):
        learner = self.learner()

        def inside(*_):
            with self.assertRaises(smft.StateError):
                self.selector.count_background(texts=["a"])
            self.selector.df()
            self.learner(smft.Patch(self.model), on_fact=None)

        learner.run(inside)
        other = smft.Learner(
            self.model, smft.Patch(self.model), self.selector, max_steps=2, loss_below=-1
        )
        other.push("a", [("Who is a", " me")])
        learner = self.learner()
        learner.run(lambda *_: other.pending and other.step() and None)  # both read it
        self.assertEqual(other.pending, 0)

    def test_an_optimizer_serves_one_learner_at_a_time(self):
        first, second = self.learner(), self.learner(smft.Patch(self.model))

        def inside(*_):
            for call in (second.step, self.optimizer.reset):
                with self.assertRaises(smft.StateError) as caught:
                    call()
                self.assertIn("this Optimizer is in use", str(caught.exception))

        first.run(inside)
        self.assertEqual(second.run().steps, 10)

    def test_two_threads_on_one_learner(self):
        learner, errors = self.learner(), []
        seen = threading.Event()

        def progress(*_):
            seen.set()
            time.sleep(0.01)

        running = Running(lambda: learner.run(progress))
        seen.wait(30)
        for call in (learner.step, learner.selected, lambda: learner.push("c", [("Who?", " me")])):
            with self.assertRaises(smft.StateError):
                call()
        self.assertIsNone(running.wait().error, errors)
        self.assertEqual(running.result.steps, 10)

    def test_what_on_fact_raises_ends_the_run(self):
        asked = []

        def fail(report):
            asked.append(report.fact_id)
            raise KeyError("mine")

        learner = self.learner(on_fact=fail)
        with self.assertRaises(KeyError):
            learner.run()
        self.assertEqual((asked, learner.pending), (["a"], 1))

    def test_every_method_of_a_closed_handle(self):
        wordings = smft.wordings_from_qa(self.model, "Who wrote Emma?", "Jane Austen", chats=False)
        learner = self.learner()
        calls = {
            wordings: [lambda: len(wordings), lambda: wordings[0]],
            learner: [
                learner.step,
                learner.run,
                learner.skip,
                learner.cancel,
                learner.selected,
                lambda: learner.pending,
                lambda: learner.push("a", ("a", "b")),
                lambda: learner.push_ids("a", [([1], [2])]),
                lambda: list(learner),
                lambda: learner.push_file("a"),
                lambda: learner.step_batch([[1, 2]]),
                lambda: setattr(learner, "patch", self.patch),
            ],
            self.probe: [
                self.probe.items,
                lambda: self.probe.add_text("a", "b"),
                lambda: self.probe.baseline(self.session),
                lambda: self.probe.save_report("x"),
                lambda: self.probe.measure(self.session),
            ],
            self.session: [
                lambda: len(self.session),
                self.session.cancel,
                lambda: self.session.feed([1]),
                lambda: self.session.finish,
                lambda: self.session.logits([1]),
                lambda: self.session.nll([1, 2]),
                lambda: self.session.version,
                lambda: self.session.generate("a"),
                lambda: self.session.generate([1]),
                self.session.__enter__,
                lambda: smft.Probe().measure(self.session),
            ],
            self.selector: [
                self.selector.df,
                lambda: self.selector.n_batches,
                lambda: self.selector.save("x"),
                lambda: self.selector.count_background(texts=["a"]),
                lambda: self.selector.load("x"),
                lambda: self.learner(),
            ],
            self.optimizer: [
                self.optimizer.reset,
                lambda: self.optimizer.set_lr(1),
                lambda: self.optimizer.set_group("a", 1),
            ],
            self.patch: [
                self.patch.slots,
                self.patch.copy,
                self.patch.merge,
                self.patch.clear,
                lambda: self.patch.row(0, 0),
                lambda: self.patch.facts,
                lambda: self.patch.kind,
                lambda: self.patch.version,
                lambda: self.patch.save("x"),
                lambda: smft.Session(self.model, self.patch),
                lambda: self.patch.load("x"),
            ],
            self.model: [
                lambda: self.model.info,
                lambda: self.model.hash,
                lambda: self.model.base,
                lambda: self.model.memories,
                lambda: self.model.stop_ids,
                lambda: list(self.model.tensors()),
                lambda: self.model.tokenizer,
                lambda: self.model.export("x"),
                lambda: smft.Patch(self.model),
                lambda: smft.Session(self.model),
            ],
        }
        tokenizer = self.model.tokenizer
        self.assertEqual(repr(tokenizer), "<smft.Tokenizer: 258 tokens>")
        for handle, uses in calls.items():
            self.assertNotIn("closed", repr(handle))
            handle.close()
            self.assertEqual(repr(handle), f"<smft.{type(handle).__name__}: closed>")
            for i, use in enumerate(uses):
                with self.subTest(handle=type(handle).__name__, call=i):
                    with self.assertRaises(smft.StateError):
                        use()
        for use in (
            lambda: tokenizer.encode("a"),
            lambda: len(tokenizer),
            lambda: tokenizer.chat([("user", "a")]),
        ):
            with self.assertRaises(smft.StateError):
                use()
        self.assertEqual(repr(tokenizer), "<smft.Tokenizer: closed>")

    def test_repr(self):
        self.session.feed([1, 2, 3])
        self.assertEqual(repr(self.session), "<smft.Session: 3 of 64 tokens, a patch of slots>")
        self.assertEqual(repr(self.patch), "<smft.Patch: slots, version 1>")
        self.assertEqual(repr(self.probe), "<smft.Probe: 4 items>")
        self.assertEqual(repr(self.selector), "<smft.Selector: tf, 0 background batches>")
        self.assertEqual(repr(self.optimizer), "<smft.Optimizer: sgd>")
        self.assertEqual(
            repr(self.learner()),
            "<smft.Learner: 2 facts pending, on <smft.Patch: slots, version 1>>",
        )
        self.assertEqual(repr(smft.Context(n_threads=2)), "<smft.Context: 2 threads>")
        self.assertRegex(
            repr(self.model), r"^<smft.Model: 2 layers, 1 of memory, [\d,]+ parameters>$"
        )
        with self.assertRaises(smft.CancelledError):
            self.selector.count_background(
                texts=["a"],
                progress=lambda *_: self.assertEqual(repr(self.selector), "<smft.Selector: in use>")
                or True,
            )


class Bytes(ModelTestCase):
    """Patches to and from bytes, which a service keeps in its own database."""

    def patches(self):
        slots, lora = smft.Patch(self.model), smft.Patch.lora(self.model, rank=3, alpha=5, seed=9)
        slots.set_row(0, 3, [0.5] * VALUE_DIM)
        learner = smft.Learner(self.model, lora, max_steps=2, loss_below=-1)
        learner.push("a", ("Who is it?", " me"))
        learner.run()
        return slots, smft.Patch.full(self.model), lora

    def test_there_and_back(self):
        ids = [BOS, 1, 2, 3]
        for patch in self.patches():
            for dtype in ("f32", "bf16"):
                with self.subTest(kind=patch.kind, dtype=dtype):
                    data = patch.to_bytes(dtype)
                    self.assertIsInstance(data, bytes)
                    for given in (data, bytearray(data), memoryview(b"x" + data)[1:]):
                        back = smft.Patch.from_bytes(self.model, given)
                        self.assertEqual((back.kind, back.to_bytes(dtype)), (patch.kind, data))
                    if dtype == "f32":
                        logits = [
                            list(smft.Session(self.model, one).logits(ids)[-1])
                            for one in (back, patch)
                        ]
                        self.assertEqual(*logits)
            if patch.kind == "lora":
                self.assertEqual(back.lora_options, patch.lora_options)
            else:
                patch.save(self.directory / "patch", dtype="bf16")
                self.assertEqual((self.directory / "patch").read_bytes(), data)

    def test_what_is_no_patch(self):
        data = smft.Patch(self.model).to_bytes()
        for wrong, error in (
            (b"", smft.FormatError),
            (data[:-3], smft.FormatError),
            (b"{}", smft.FormatError),
            ("text", TypeError),
            (None, TypeError),
        ):
            with self.assertRaises(error):
                smft.Patch.from_bytes(self.model, wrong)
        other = smft.Model.init(self.directory, seed=8)
        with self.assertRaises(smft.MismatchError):
            smft.Patch.from_bytes(other, data)
        with self.assertRaises(smft.InvalidError):
            smft.Patch(self.model).to_bytes("f16")


class Exit(SlowCase):
    """The end of Python while daemon threads are inside calls."""

    def test_daemon_threads(self):
        code = textwrap.dedent("""
            import smft, threading, time
            model = smft.Model(HOME, context=smft.Context(n_threads=2))
            long = [1 + i % 200 for i in range(2000)]
            learner = smft.Learner(model, smft.Patch.lora(model), max_steps=100000, loss_below=-1)
            learner.push_ids("a", [(long[:50], long[:20])])
            a, b, c, d = (smft.Session(model) for _ in range(4))
            probe = smft.Probe()
            for i in range(100):
                probe.add_text(str(i), "some text " * 40)

            def forever(call):
                while True:
                    call()

            for call in (
                lambda: a.generate("Who?", 1000),
                lambda: b.nll(long),
                lambda: c.generate("Who?", 1000, on_token=lambda *_: None),
                lambda: probe.baseline(d),
                lambda: learner.run(lambda *_: None),
                lambda: smft.Session(model).nll(long[:100]),
                lambda: smft.Model(HOME).info,
            ):
                threading.Thread(target=forever, args=(call,), daemon=True).start()
            time.sleep(0.3)
            print("end")
            """).replace("HOME", repr(self.home))
        for _ in range(3):
            done = python(code, SMFT_LIBRARY=LIBRARY)
            self.assertEqual((done.returncode, done.stdout.strip(), done.stderr), (0, "end", ""))

    def test_a_handle_of_the_main_threads_callback(self):
        """sys.exit inside a callback: the call ends first."""
        code = (
            "import smft, sys\n"
            f"session = smft.Session(smft.Model({self.home!r}))\n"
            "session.generate('Who?', 1000, on_token=lambda *_: sys.exit(5))"
        )
        done = python(code, SMFT_LIBRARY=LIBRARY)
        self.assertEqual((done.returncode, done.stderr), (5, ""))


class Integers(ModelTestCase):
    def setUp(self):
        super().setUp()
        self.patch = smft.Patch(self.model)
        self.session = smft.Session(self.model, self.patch)

    def test_none_is_cut(self):
        row = [1.0] * VALUE_DIM
        selector, probe = smft.Selector(self.model, "tf", empty=True), smft.Probe()
        learner = smft.Learner(self.model, self.patch, selector)
        big, huge = 2**32, 2**64
        calls = [
            lambda n: self.patch.set_row(n, 0, row),
            lambda n: self.patch.row(n, 0),
            lambda n: self.patch.slots(n),
            lambda n: self.patch.reset_row(n, 0),
            lambda n: self.model.pool(n),
            lambda n: selector.df(n),
            lambda n: self.session.generate([1], n + 2),
            lambda n: self.session.generate("a", n + 2),
            lambda n: self.session.generate("a", 2, top_k=n),
            lambda n: smft.Session(self.model, context_length=n),
            lambda n: smft.Context(n_threads=n + 1),
            lambda n: smft.Learner(self.model, self.patch, selector, max_steps=n + 1),
            lambda n: smft.Learner(self.model, self.patch, selector, wordings_per_step=n),
            lambda n: smft.Probe(max_tokens=n),
            lambda n: smft.Patch.lora(self.model, rank=n + 1),
            lambda n: selector.count_background([[[BOS, 1]]], pad_id=n),
            lambda n: smft.graft(self.model, ["a"], self.directory / "x", layers=[n]),
            lambda n: smft.graft(self.model, ["a"], self.directory / "x", n_keys=n),
        ]
        long = [
            lambda n: self.patch.row(0, n),
            lambda n: self.patch.set_row(0, n, row),
            lambda n: self.patch.reset_row(0, n),
            lambda n: self.patch.remove_fact(n),
            lambda n: self.session.rewind(n),
            lambda n: smft.Selector(self.model, t=n),
            lambda n: smft.Optimizer("sgd", warmup_steps=n),
            lambda n: self.session.generate("a", 2, seed=n),
            lambda n: smft.Model.init(self.directory, seed=n),
            lambda n: smft.Patch.lora(self.model, seed=n),
            lambda n: smft.Learner(self.model, self.patch, selector, seed=n),
            lambda n: probe.add_choice("a", "b", [" c", " d"], n),
            lambda n: selector.count_background(texts=["a"], tokens_per_sequence=n),
            lambda n: selector.count_background_file("x", n),
            lambda n: smft.wordings_from_qa(self.model, "Who?", "me", limit=n),
            lambda n: smft.graft(self.model, ["a"], self.directory / "x", samples=n),
        ]
        for i, (call, n) in enumerate(
            [(one, big) for one in calls]
            + [(one, huge) for one in long]
            + [(one, -huge) for one in calls + long]
        ):
            with self.subTest(call=i, n=n):
                with self.assertRaises(smft.InvalidError) as caught:
                    call(n)
                self.assertIsInstance(caught.exception, ValueError)
        self.assertEqual(self.patch.slots(0), [])
        for wrong in (
            lambda: self.session.rewind("a"),
            lambda: self.patch.row(0, 1.5),
            lambda: smft.Session(self.model, context_length="a"),
        ):
            with self.assertRaises(TypeError):
                wrong()
        for large in (
            lambda: smft.Optimizer("sgd", lr=10**400),
            lambda: smft.Optimizer("sgd").set_lr(10**400),
            lambda: self.session.generate("a", 2, temperature=10**400),
            lambda: self.patch.set_row(0, 0, [10**400] * VALUE_DIM),
            lambda: learner.step_batch([[1, 2]], [[10**400, 1]]),
        ):
            with self.assertRaises(smft.InvalidError):
                large()

    def test_integers_of_other_types(self):
        class Index:
            def __index__(self):
                return 3

        self.assertEqual(list(self.patch.row(0, Index())), list(self.patch.row(0, 3)))
        self.assertEqual(self.session.generate([BOS], Index()), self.session.generate([BOS], 3))

    def test_many_tokens_ask_for_no_more_than_the_context(self):
        context = smft.Context(n_threads=1)
        model = smft.Model.init(self.directory, seed=7, context=context)
        session = smft.Session(model)
        for most in (2**31 - 1, CONFIG["max_position_embeddings"] + 5):
            context.reset_peak()
            before, size = context.memory()[0], memory_of_process()
            ids = session.generate([BOS], most)
            self.assertIn(session.finish, ("end", "context"))
            self.assertLessEqual(len(ids), CONFIG["max_position_embeddings"])
            session.generate("Who?", most)
            self.assertLess(context.memory()[1] - before, 16 << 20)
            self.assertLess(memory_of_process() - size, 256 << 20)


def memory_of_process():
    """The most it ever had in memory, in bytes."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    unittest.main()
