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


def equal_of(**methods):
    """method=[(seed, learning, forgetting), ...], each its own setting."""
    runs = [make_run(method, f"s{i}", *point) for method, points in methods.items() for i, point in enumerate(points)]
    return fr.equal_learning(fr.seed_frontiers(runs))


class EqualLearning(unittest.TestCase):
    def test_interpolates_each_seed_at_what_all_reach(self):
        equal = equal_of(full=[(1, 0.80, 10), (1, 0.90, 30), (2, 0.80, 20), (2, 0.92, 44)],
                         lora=[(1, 0.88, 60), (2, 0.95, 70), (2, 0.88, 40)], sparse=[(1, 0.95, 1), (2, 0.97, 3)])
        self.assertAlmostEqual(equal.learning, 0.88)  # LoRA's seed 1
        self.assertAlmostEqual(equal.rows["full"].forgetting.mean, (26 + 36) / 2)
        self.assertAlmostEqual(equal.rows["full"].forgetting.std, 50 ** 0.5)
        self.assertAlmostEqual(equal.rows["lora"].forgetting.mean, (60 + 40) / 2)
        self.assertAlmostEqual(equal.rows["sparse"].forgetting.mean, 2)  # below its lowest point: that point's forgetting
        self.assertEqual([row.learning for row in equal.rows.values()], [equal.learning] * 3)
        self.assertEqual((equal.outside, equal.pairs), ([], {}))

    def test_a_method_under_the_floor_stands_at_its_own_best(self):
        equal = equal_of(full=[(1, 0.90, 30)], lora=[(1, 0.40, 50), (1, 0.60, 80)], sparse=[(1, 0.50, 0.5), (1, 0.70, 1.5), (1, 0.95, 4)])
        self.assertEqual(equal.outside, ["lora"])
        self.assertAlmostEqual(equal.learning, 0.90)
        self.assertEqual((equal.rows["lora"].learning, equal.rows["lora"].forgetting.mean), (0.60, 80))
        self.assertAlmostEqual(equal.rows["sparse"].forgetting.mean, 3.5)
        self.assertAlmostEqual(equal.pairs["lora"]["sparse"].forgetting.mean, 1.0)  # at what LoRA reaches
        self.assertEqual(equal.pairs["lora"]["full"].forgetting.mean, 30)

    def test_a_seed_that_misses_the_floor_is_named_and_counted_at_its_best(self):
        equal = equal_of(full=[(1, 0.80, 30), (2, 0.94, 50)], sparse=[(1, 0.99, 2), (2, 0.99, 2)])
        self.assertEqual(equal.learning, 0.85)
        self.assertEqual(equal.rows["full"].short, [(1, 0.80)])
        self.assertAlmostEqual(equal.rows["full"].learning, 0.825)
        self.assertAlmostEqual(equal.rows["full"].forgetting.mean, 40)

    def test_nobody_reaches_the_floor(self):
        equal = equal_of(full=[(1, 0.5, 30)], sparse=[(1, 0.7, 2)])
        self.assertIsNone(equal.learning)
        self.assertEqual(sorted(equal.outside), ["full", "sparse"])
        self.assertEqual(equal.rows["sparse"].learning, 0.7)

    def test_the_summary(self):
        lines = fr.summary_rows({"facts": equal_of(sparse=[(1, 0.95, 1), (2, 0.97, 3)], full=[(1, 0.9, 40)])})
        self.assertEqual(lines, [["facts", "full", "0.9000", "40.000", "", "1"], ["facts", "sparse", "0.9000", "2.000", "1.414", "2"]])


class Targets(unittest.TestCase):
    def verdicts(self, **methods):
        return [target.met for target in fr.targets({"facts": equal_of(**methods)}, [])][:3]

    def test_met_and_missed(self):
        sparse, full, lora = [(1, 0.95, 5)], [(1, 0.95, 40)], [(1, 0.95, 30)]
        self.assertEqual(self.verdicts(sparse=sparse, full=full, lora=lora), [True, True, True])  # exactly at each limit
        self.assertEqual(self.verdicts(sparse=[(1, 0.95, 5.1)], full=full, lora=lora), [False, False, False])
        self.assertEqual(self.verdicts(sparse=sparse, full=full), [True, None, True])

    def test_a_baseline_that_loses_nothing_is_not_beaten(self):
        self.assertEqual(self.verdicts(sparse=[(1, 0.95, -1)], full=[(1, 0.95, -2)], lora=[(1, 0.95, 0)]), [True, False, False])

    def test_sparse_under_the_floor_is_compared_where_it_reaches(self):
        targets = fr.targets({"facts": equal_of(sparse=[(1, 0.6, 1)], full=[(1, 0.5, 4), (1, 0.9, 40)])}, [])
        self.assertEqual([target.met for target in targets[:3]], [False, None, True])  # 1 against 13 at 0.6
        self.assertIn("0.60, the most that sparse reaches", targets[2].why)

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

    def test_nearest_setting(self):
        runs = [make_run(setting="a", learning=0.8), make_run(setting="b", learning=0.9), make_run(setting="c", learning=0.9, forgetting=1)]
        self.assertEqual(fr.nearest_setting(runs, 0.88), runs[2:])

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
