"""library: how libsmft.so is found, refused, and lived with: exit, fork, threads, callbacks."""
import gc
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import threading
import unittest

from support import ModelTestCase, SOURCE, TestCase, smft

PACKAGE = SOURCE / "bindings" / "python"
LIBRARY = os.environ.get("SMFT_LIBRARY") or str(SOURCE / "build" / "libsmft.so")


def python(code, **environment):
    """Runs code in a fresh interpreter."""
    clean = {key: value for key, value in os.environ.items() if key not in ("SMFT_LIBRARY",)}
    clean.update({"PYTHONPATH": str(PACKAGE), **environment})
    return subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, timeout=120)


class Search(TestCase):
    def test_an_exact_library_has_no_fallback(self):
        done = python("import smft", SMFT_LIBRARY="/nowhere/libsmft.so")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nowhere/libsmft.so", done.stderr)
        self.assertIn("cannot open shared object", done.stderr)  # the loader's own words
        self.assertNotIn("build/libsmft.so", done.stderr)

    def test_beside_the_package(self):
        shutil.copytree(PACKAGE / "smft", self.directory / "smft", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(LIBRARY, self.directory / "smft" / "libsmft.so")
        done = python("import smft; print(smft._lib._name)", PYTHONPATH=str(self.directory))
        self.assertEqual(done.stdout.strip(), str(self.directory / "smft" / "libsmft.so"), done.stderr)

    def test_in_the_build_tree(self):
        place = self.directory / "bindings" / "python"
        shutil.copytree(PACKAGE / "smft", place / "smft", ignore=shutil.ignore_patterns("__pycache__"))
        (self.directory / "build").mkdir()
        shutil.copy(LIBRARY, self.directory / "build" / "libsmft.so")
        done = python("import smft; print(smft._lib._name)", PYTHONPATH=str(place))
        self.assertEqual(done.stdout.strip(), str(self.directory / "build" / "libsmft.so"), done.stderr)

    def test_nowhere_lists_every_place(self):
        shutil.copytree(PACKAGE / "smft", self.directory / "smft", ignore=shutil.ignore_patterns("__pycache__"))
        done = python("import smft", PYTHONPATH=str(self.directory), LD_LIBRARY_PATH="")
        if done.returncode == 0:
            self.skipTest("libsmft is installed on this system")
        for place in ("smft/libsmft.so.0:", "smft/libsmft.so:", "build/libsmft.so:", "  libsmft.so.0:"):
            self.assertIn(place, done.stderr)

    def test_something_else_is_refused(self):
        done = python("import smft", SMFT_LIBRARY="libc.so.6")
        self.assertIn("is not libsmft", done.stderr)

    def test_another_version_is_refused(self):
        done = python("import importlib.util, sys, types\n"
                      f"package = types.ModuleType('smft'); package.__path__ = [{str(PACKAGE / 'smft')!r}]; sys.modules['smft'] = package\n"
                      "import smft._abi; smft._abi.VERSION = (7, 3)\n"
                      "import smft._library", SMFT_LIBRARY=LIBRARY)
        self.assertIn("libsmft 0.1, but this package is for 7.3", done.stderr)

    def test_an_older_build_is_refused(self):
        source, library = self.directory / "old.c", self.directory / "libold.so"
        source.write_text("unsigned smft_version_number(void) { return %d; }\n" % smft._lib.smft_version_number())
        compiler = shlex.split(os.environ.get("CC") or "cc")
        try:
            subprocess.run([*compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
        except FileNotFoundError:
            self.skipTest(f"no C compiler ({compiler[0]})")
        done = python("import smft", SMFT_LIBRARY=str(library))
        self.assertIn(f"ImportError: this package wants a newer build of libsmft than {library}", done.stderr)

    def test_version(self):
        self.assertRegex(smft.__version__, r"^0\.1\.\d+$")


class Life(ModelTestCase):
    def test_close_is_idempotent_and_final(self):
        patch = smft.Patch(self.model)
        with smft.Session(self.model, patch) as session:
            session.nll([1, 2, 3])
        session.close()
        session.close()
        self.assertTrue(session.closed)
        for use in (lambda: session.nll([1, 2]), lambda: session.rewind(0), lambda: session.__enter__()):
            with self.assertRaises(smft.StateError):
                use()

    def test_parents_may_go_first(self):
        model = smft.Model.init(self.directory, seed=1)
        patch = smft.Patch(model)
        session = smft.Session(model, patch)
        wanted = float(session.nll([1, 2, 3]))
        patch.close()
        model.close()
        gc.collect()
        self.assertEqual(float(session.nll([1, 2, 3])), wanted)
        with self.assertRaises(smft.StateError):
            model.hash

    def test_a_session_reads_one_version(self):
        model = smft.Model.init(self.directory, seed=1)
        patch = smft.Patch(model)
        newest, pinned = smft.Session(model, patch), smft.Session(model, patch, pin=True)
        self.assertEqual((patch.version, newest.version), (1, 0))
        for session in (newest, pinned):
            session.feed([1, 2, 3], None)
        patch.set_row(0, 0, [1.0] * len(list(patch.row(0, 0))))
        for session in (newest, pinned):
            session.feed([4], None)
        self.assertEqual((patch.version, newest.version, pinned.version), (2, 2, 1))
        pinned.rewind(0)
        pinned.feed([1], None)
        self.assertEqual(pinned.version, 2)

    def test_a_failed_constructor_leaves_nothing_to_free(self):
        with self.assertRaises(smft.NotFoundError):
            smft.Model(self.directory / "nothing")
        broken = smft.Model.__new__(smft.Model)
        with self.assertRaises(smft.StateError):
            broken.hash
        del broken
        gc.collect()

    def test_interpreter_exit_with_everything_open(self):
        code = ("import smft, sys\n"
                "model = smft.Model.init(sys.argv[1] if len(sys.argv) > 1 else %r, seed=1)\n"
                "patch = smft.Patch(model); session = smft.Session(model, patch); learner = smft.Learner(model, patch, smft.Selector(model, 'tf'))\n"
                "learner.push('a', [('Who?', ' me')])\n"
                "class Keeps:\n"
                "  def __del__(self): self.session.close()\n"
                "keeps = Keeps(); keeps.session = session; keeps.me = keeps\n"
                "print('end')" % str(self.directory))
        done = python(code, SMFT_LIBRARY=LIBRARY)
        self.assertEqual((done.returncode, done.stdout.strip(), done.stderr), (0, "end", ""))

    def test_the_wrong_object_is_a_type_error(self):
        for make in (lambda: smft.Session(smft.default_context()), lambda: smft.Session(self.model, self.model),
                     lambda: smft.Patch("model"), lambda: smft.Learner(self.model, None), lambda: smft.Probe().measure(self.model)):
            with self.assertRaises(TypeError):
                make()

    def test_context(self):
        with smft.Context(n_threads=1) as context:
            self.assertEqual(context.n_threads, 1)
            before = context.memory()[0]
            model = smft.Model.init(self.directory, seed=1, context=context)
            self.assertGreater(context.memory()[0], before)
            self.assertGreaterEqual(context.memory()[1], context.memory()[0])
            model.close()


class Callbacks(ModelTestCase):
    def test_an_exception_in_a_callback_comes_back(self):
        class Mine(Exception):
            pass

        def fail(*_):
            raise Mine("from the callback")

        session = smft.Session(self.model)
        with self.assertRaises(Mine):
            session.generate("Who?", 8, on_token=fail)
        with self.assertRaises(KeyboardInterrupt):
            session.generate("Who?", 8, on_token=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        probe = smft.Probe()
        probe.add_text("t", "some text")
        with self.assertRaises(Mine):
            probe.baseline(session, progress=fail)
        self.assertGreater(len(session.generate("Who?", 8, stop=None)), 0)  # the session still works

    def test_callbacks_survive_the_garbage_collector(self):
        session = smft.Session(self.model)
        seen = []
        session.generate([1, 2, 3], 20, on_token=lambda token, text: (gc.collect(), seen.append(token))[1])
        self.assertGreater(len(seen), 5)


def _child(session, ids, wanted, queue):
    queue.put(abs(float(session.nll(ids)) - wanted) < 1e-6)


def _teaching_child(model, queue):
    patch = smft.Patch(model)
    learner = smft.Learner(model, patch, smft.Selector(model, "tf"), max_steps=3, loss_below=-1, keep_given_up=True)
    learner.push("a", [("Who?", " me")])
    queue.put(learner.run().steps == 3)


class Processes(ModelTestCase):
    def run_child(self, target, *arguments):
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=target, args=(*arguments, queue))
        child.start()
        child.join(60)
        hangs = child.is_alive()
        if hangs:
            child.kill()
            child.join()
        self.assertFalse(hangs, "the child hangs")
        self.assertEqual(child.exitcode, 0)
        self.assertTrue(queue.get(timeout=10))

    def test_fork_after_use(self):
        """The parent's threads do not exist in the child; nothing may wait for them."""
        ids = list(range(1, 60))
        session = smft.Session(self.model)
        wanted = float(session.nll(ids))  # the threads are there now
        self.run_child(_child, session, ids, wanted)
        self.run_child(_teaching_child, self.model)
        self.assertEqual(float(session.nll(ids)), wanted)

    def test_threads_with_a_session_each(self):
        ids = list(range(1, 60))
        wanted = float(smft.Session(self.model).nll(ids))
        results = []

        def work():
            with smft.Session(self.model) as session:
                results.extend(float(session.nll(ids)) for _ in range(10))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [wanted] * 40)


if __name__ == "__main__":
    unittest.main()
