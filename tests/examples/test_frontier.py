"""frontier.py's numbers against ones worked out by hand: what its doctests do not show."""
import doctest
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "forgetting"))
import frontier as fr  # noqa: E402

NO_RUN = {name: "" for name in fr.TEXT_COLUMNS} | {name: None for name in fr.NUMBER_COLUMNS}


def make_run(method="sparse", setting="a", seed=1, learning=0.9, forgetting=2.0, done=(0, 50, 100), total=100, **more):
    base = NO_RUN | {"run": f"{method}-{setting}-{seed}", "method": method, "setting": setting, "seed": seed, "items_total": total} | more
    return fr.Run([base | {"items_done": n, "learning": learning * n / done[-1], "forgetting_percent": forgetting * n / done[-1]}
                   for n in done])


def best_of(**methods):
    """method=[(seed, learning, forgetting), ...], one setting."""
    runs = [make_run(method, "s", *point) for method, points in methods.items() for point in points]
    return {row.method: row for row in fr.rows_of(runs)}


class Rows(unittest.TestCase):
    def test_one_a_setting_in_the_order_of_methods(self):
        runs = [make_run("sparse", "b", 1, 0.9, 2.0, knows="half"), make_run("sparse", "a", 1, 0.8, 1.0), make_run("sparse", "b", 2, 1.0, 4.0, knows="half"),
                make_run("full-replay", "c", 1, 0.7, 3.0)]
        rows = fr.rows_of(runs)
        self.assertEqual([(row.method, row.setting, row.knows, row.seeds) for row in rows],
                         [("full-replay", "c", "", 1), ("sparse", "b", "half", 2), ("sparse", "a", "", 1)])
        self.assertAlmostEqual(rows[1].learning.mean, 0.95)
        self.assertAlmostEqual(rows[1].lost.std, 2 ** 0.5)
        self.assertEqual([row.short for row in rows], [True, False, True])

    def test_the_halves(self):
        (row,) = fr.rows_of([make_run(half_forgetting_percent=0.5, rest_forgetting_percent=3.0), make_run(seed=2, half_forgetting_percent=1.5)])
        self.assertEqual((row.half.mean, row.half.n, row.rest.mean, row.rest.n), (1.0, 2, 3.0, 1))
        self.assertIsNone(fr.rows_of([make_run()])[0].half)

    def test_the_summary(self):
        runs = [make_run(setting="x", seed=1, learning=0.95, forgetting=1, knows="half", half_forgetting_percent=0.25),
                make_run(setting="x", seed=2, learning=0.97, forgetting=3, knows="half"), make_run("full", "y", 1, 0.9, 40)]
        self.assertEqual(fr.summary_rows({"facts": fr.rows_of(runs)}), [
            ["facts", "full", "", "0.9000", "40.000", "", "", "", "1", "y"],
            ["facts", "sparse", "half", "0.9600", "2.000", "1.414", "0.250", "", "2", "x"]])


class Targets(unittest.TestCase):
    def verdicts(self, **methods):
        return [target.met for target in fr.targets({"facts": best_of(**methods)}, [])][:3]

    def test_met_and_missed(self):
        sparse, full, lora = [(1, 0.95, 5)], [(1, 0.95, 40)], [(1, 0.95, 30)]
        self.assertEqual(self.verdicts(sparse=sparse, full=full, lora=lora), [True, True, True])  # exactly at each limit
        self.assertEqual(self.verdicts(sparse=[(1, 0.95, 5.1)], full=full, lora=lora), [False, False, False])
        self.assertEqual(self.verdicts(sparse=sparse, full=full), [True, None, True])

    def test_a_baseline_that_loses_nothing_is_not_beaten(self):
        self.assertEqual(self.verdicts(sparse=[(1, 0.95, -1)], full=[(1, 0.95, -2)], lora=[(1, 0.95, 0)]), [True, False, False])

    def test_sparse_that_learns_too_little_beats_nobody_who_learns_more(self):
        self.assertEqual(self.verdicts(sparse=[(1, 0.6, 1)], full=[(1, 0.9, 40)], lora=[(1, 0.5, 40)]), [False, True, False])
        targets = fr.targets({"facts": best_of(sparse=[(1, 0.9, 1)], full=[(1, 0.87, 13)])}, [])
        self.assertIn("1.0% at learning 0.90 against 13% at 0.87: 1/13 (on 1 seed only)", targets[2].why)

    def test_after_500_facts(self):
        long = [make_run(seed=seed, forgetting=loss, done=(0, 500), total=500) for seed, loss in ((1, 8.0), (2, 13.0))]
        self.assertFalse(fr.target_stream(long).met)
        self.assertTrue(fr.target_stream(long[:1]).met)
        self.assertIsNone(fr.target_stream([make_run()]).met)


class Runs(unittest.TestCase):
    def test_unfinished_and_diverged_runs_do_not_count(self):
        unfinished, diverged = make_run(done=(0, 50)), make_run()
        diverged.checkpoints[-1]["learning"] = None
        self.assertEqual(fr.pick([unfinished, diverged, make_run(seed=3)]), [make_run(seed=3)])

    def test_a_checkpoint_written_twice_counts_once_and_in_order(self):
        first = make_run()
        again = dict(first.checkpoints[1], learning=0.5)
        (run,) = fr.collect_runs([*reversed(first.checkpoints), again])
        self.assertEqual([(row["items_done"], row["learning"]) for row in run.checkpoints], [(0, 0), (50, 0.5), (100, 0.9)])

    def test_along_needs_every_run(self):
        points = fr.along([make_run(learning=1.0), make_run(seed=2, learning=0.8, done=(0, 100))], "learning")
        self.assertEqual([(done, round(value.mean, 3)) for done, value in points], [(0, 0), (100, 0.9)])

    def test_bad_files(self):
        header = ",".join(fr.TEXT_COLUMNS + fr.NUMBER_COLUMNS)
        values = {"seed": "1", "items_total": "100", "items_done": "0"} | {name: "x" for name in fr.TEXT_COLUMNS}
        line = ",".join(values.get(name, "") for name in header.split(","))
        cases = (("", "the file is empty"), (header, "no rows"), (header.replace(",lr,", ","), "missing columns: lr"),
                 (f"{header}\n{line}\n{line[:-9]}", "line 3: expected one cell"),
                 (f"{header}\n{line[:-1]},1e", "expected a number, got '1e'"),
                 (f"{header}\n{line.replace(',100,', ',0,')}", "items_total is 0"))
        for text, message in cases:
            with self.subTest(message), tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
                file.write(text)
                file.flush()
                with self.assertRaises(fr.BadRows) as raised:
                    fr.read_rows(file.name)
                self.assertIn(message, str(raised.exception))
        with self.assertRaises(fr.BadRows):
            fr.read_rows("/nonexistent/runs.csv")


def load_tests(loader, tests, pattern):
    tests.addTests(doctest.DocTestSuite(fr))
    return tests


if __name__ == "__main__":
    unittest.main()
