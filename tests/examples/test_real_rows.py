"""The numbers and the tables of a real model's rows, against ones worked out by hand; the rows are
made up (real_made_up.csv): nothing in it was measured."""
import doctest
import os
import re
import sys
import tempfile
import unittest
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples", "forgetting"))
import amounts  # noqa: E402
import real_rows as rr  # noqa: E402
import report_real  # noqa: E402
import scatter  # noqa: E402
import tables  # noqa: E402

SAMPLE = os.path.join(HERE, "real_made_up.csv")


def setting(*rows, facts="report", n=30, method="slots", words="one", **more):
    """A draw a row, of the columns that are given."""
    usual = {name: None for name in rr.NUMBERS}
    return rr.Setting("p", method, facts, words, "s", n, [{**usual, "n": n, **more, **row}
                                                          for row in rows])


def text_of(**changes):
    """The sample as a file's text, with words replaced."""
    with open(SAMPLE, encoding="utf-8") as file:
        text = file.read()
    for old, new in changes.get("replaced", ()):
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


class Rows(unittest.TestCase):
    def read(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            return rr.read_rows(file.name)

    def test_the_sample(self):
        rows = self.read(text_of())
        self.assertEqual((len(rows), rows[0]["free"], rows[0]["natural"]), (12, 0.875, None))
        self.assertTrue(all("made up" in line for line in text_of().splitlines()[1:]))

    def test_no_file_and_no_rows(self):
        self.assertEqual(rr.read_rows("/nonexistent/real.csv"), [])
        self.assertEqual(self.read(text_of().splitlines()[0] + "\n"), [])

    def test_every_column_is_needed(self):
        for name in (*rr.TEXT, *rr.NUMBERS):
            header, rest = text_of().split("\n", 1)
            columns = ["left_out" if one == name else one for one in header.split(",")]
            words = f"missing columns: {name}$"
            with self.subTest(name), self.assertRaisesRegex(rr.BadRows, words):
                self.read(",".join(columns) + "\n" + rest)

    def test_bad_cells_are_named(self):
        cases = (((",0.875,", ",many,"), "line 2, free: expected a number, got 'many'"),
                 ((",0.875,", ",1.875,"), "line 2, free: expected a share"),
                 ((",choose,10,", ",choose,0,"), "n is 0"),
                 ((",choose,10,", ",choose,,"), "n is empty"),
                 (("made-up-1,rows", ",rows"), "run is empty"), ((",0.0002\n", "\n"), "one cell"))
        for change, message in cases:
            with self.subTest(message), self.assertRaisesRegex(rr.BadRows, message):
                self.read(text_of(replaced=(change,)))

    def test_of_a_run_written_twice_the_later_row_counts(self):
        rows = self.read(text_of() + text_of().splitlines()[1].replace(",0.875,", ",0.5,") + "\n")
        self.assertEqual((len(rows), rows[0]["free"]), (12, 0.5))

    def test_draws_are_put_together_and_the_same_draw_never(self):
        rows = rr.read_rows(SAMPLE)
        found = rr.settings_of([*rows, {**rows[7], "run": "again"}])
        self.assertEqual([(one.facts, len(one.rows)) for one in found if one.plan == "report"],
                         [("report", 3), ("report", 1)])
        self.assertEqual([one.series for one in found if one.plan in ("dense", "peers")],
                         ["lora-replay", "full", "retrieval"])


class Intervals(unittest.TestCase):
    def close(self, found, mean, low, high):
        for got, wanted in zip(found, (mean, low, high)):
            self.assertAlmostEqual(got, wanted, 3)

    def test_over_three_draws(self):  # standard deviation .05; 4.303 * .05 / 3 ** .5 = .1242
        one = setting({"free": 0.8}, {"free": 0.85}, {"free": 0.9}, free_n=150)
        self.close(one.measure("free"), 0.85, 0.7258, 0.9742)

    def test_of_fewer_draws_and_of_ones_that_agree(self):
        self.close(setting({"free": 0.9}, free_n=40).measure("free"), 0.9, 0.7695, 0.9604)
        alike = setting(*[{"free": 0.5, "never_lost": 0}] * 3, free_n=32, never_n=40)
        self.close(alike.measure("free"), 0.5, 0.4020, 0.5980)  # 96 questions
        self.close(alike.measure("never_lost"), 0, 0, 0.0876)  # the same 40 each time

    def test_what_has_no_number_of_questions(self):
        self.assertEqual(setting({"plain": 0.9}).measure("plain")[1:3], (None, None))
        self.assertEqual(setting({"kl": 0.5}, {"kl": 0.7}).measure("kl"), (0.6, None, None, 2))
        self.assertIsNone(setting({"never_lost": 1.0}, never_n=0).measure("never_lost"))
        self.assertIsNone(setting({}).measure("kl"))

    def test_shares_that_are_put_together(self):
        one = setting({"relation_same": 0.9, "subject_same": 0.5}, relation_n=30, subject_n=10)
        self.assertAlmostEqual(one.measure("near_same").mean, 0.8)
        self.assertEqual((one.asked("near_same"), one.asked("kl")), (40, None))

    def test_changes(self):
        one = setting({"prose": 3.5, "prose_before": 3.25})
        self.assertEqual((one.measure("prose_more").mean, one.measure("chats_more")), (0.25, None))


class Best(unittest.TestCase):
    def test_of_what_learns_enough_what_loses_least(self):
        few, much, some = (setting({"free": free, "never_lost": lost}, free_n=10, never_n=10)
                           for free, lost in ((0.7, 0), (0.95, 0.5), (0.8, 0.1)))
        self.assertIs(rr.best([few, much, some]), some)
        self.assertIs(rr.best([few]), few)
        self.assertIsNone(rr.best([setting({})]))

    def test_only_what_was_taught_the_same_is_compared(self):
        slots = setting({"free": 0.8, "seconds": 4.0}, free_n=10)
        lora = setting({"free": 0.9, "seconds": 5.0}, free_n=10, method="lora")
        (found,) = rr.contests([lora, slots, setting({"free": 1}, free_n=10, n=31, method="full")])
        self.assertEqual((found.best, found.tried), ([slots, lora], {"lora": 1, "slots": 1}))
        self.assertEqual(rr.better(lora, slots), [("free", False)])
        self.assertEqual(rr.better(slots, lora), [("seconds", False)])
        self.assertEqual(rr.contests([lora]), [])

    def test_the_setting_that_is_reported_was_chosen(self):
        lora = setting({"free": 1}, free_n=10, method="lora", facts="choose")
        slots = [setting({"free": free}, free_n=10, facts="choose")._replace(setting=name)
                 for free, name in ((0.9, "a"), (0.8, "b"))]
        for name, chosen in (("b", slots[1]), ("c", slots[0])):
            told = setting({"free": 1}, free_n=10)._replace(setting=name)
            (found,) = rr.contests([*slots, lora, told])
            self.assertIs(found.best[0], chosen)


class Targets(unittest.TestCase):
    def judge(self, name, one, words="one", size=30):
        (wanted,) = (x for x in rr.WANTED if x.measure == name and words in x.wordings)
        return rr.judge(wanted, size, one)

    def test_met_missed_and_not_measured(self):
        for share, met in ((0.80, True), (0.79, False)):
            self.assertEqual(self.judge("free", setting({"free": share}, free_n=100)).met, met)
        for lost, met in ((0.01, True), (0.011, False)):
            one = setting({"never_lost": lost}, never_n=100)
            self.assertEqual(self.judge("never_lost", one).met, met)
        self.assertIsNone(self.judge("free", setting({})))

    def test_each_size_has_its_limit(self):
        one = setting({"free": 0.76}, free_n=100)
        self.assertEqual([self.judge("free", one, size=size).met for size in rr.SIZES],
                         [False, True, True])

    def test_a_limit_within_the_interval_is_said(self):
        self.assertTrue(self.judge("free", setting({"free": 0.82}, free_n=50)).crosses)
        self.assertFalse(self.judge("free", setting({"free": 0.99}, free_n=50)).crosses)

    def test_seconds_of_one_core(self):
        for seconds, cpu, met in ((3, 3, True), (6, 6, None), (6, 11, False)):
            one = setting({"seconds": seconds, "cpu": cpu})
            self.assertEqual(self.judge("seconds", one).met, met)

    def test_facts_for_choosing_and_other_methods_are_no_report(self):
        told = [setting({}), setting({}, facts="choose"), setting({}, method="lora"),
                setting({}, n=29), setting({}, words="many")]
        self.assertEqual(rr.slots_at(told, 30, "one"), told[:1])

    def test_the_shipped_defaults_are_told_and_where_there_are_none_most_draws(self):
        shipped, before, few = (
            setting(*[{}] * rows)._replace(setting=name)
            for name, rows in ((rr.SHIPPED, 1), ("before", 3), ("trial", 2)))
        self.assertEqual(rr.reported([before, few, shipped]), [shipped])
        self.assertEqual(rr.reported([before, few]), [before])
        kept = shipped._replace(wordings="many", setting=rr.SHIPPED.replace(
            "max_df 0.001, ", "max_df 0.001, keep_given_up True, "))
        self.assertEqual(rr.reported([kept, before]), [kept, before])


class Pages(unittest.TestCase):
    def world(self, keep=lambda row: True):
        return report_real.World([row for row in rr.read_rows(SAMPLE) if keep(row)])

    def test_any_rows_make_a_page_and_tables(self):
        plans = sorted({row["plan"] for row in rr.read_rows(SAMPLE)})
        for plan in ("", *plans):
            world = self.world(lambda row: row["plan"] == plan)
            with self.subTest(plan or "no row"):
                blocks = report_real.blocks(world)
                self.assertEqual(set(blocks), {"summary", "targets", "methods", "plans", "missing"})
                body = "".join(body for _, _, body in report_real.sections(world))
                self.assertEqual(body.count("<svg"), body.count("</svg>"))
                self.assertEqual("no row yet" in body, not plan)

    def test_what_is_not_measured_is_said(self):
        words = report_real.lacking(self.world())
        for one in ("restraint: what background reads is held back, and which rows are chosen",
                    "many, slots on the graft, start, keep_given_up True: 1 of 3 draws",
                    "dense: no row of FFN alone", "1,000 facts"):
            self.assertIn(one, words)
        self.assertNotIn("peers: the methods of the field", words)

    def test_the_rows_of_the_targets(self):
        text = report_real.target_table(self.world()).markdown()
        for line in ("| free wordings | one question: start | ≥ 0.80 | 0.85 (0.73–0.97) |"
                     " ✓ met, limit within the interval |"
                     " 90: 0.70 (0.66–0.74); that of 300: ✗ missed |",
                     "| neighbours’ texts unchanged | one question: start | ≥ 0.97 |"
                     " 0.89 (0.84–0.92) | ✗ missed |", "0.90, 1 of 3 draws | ✗ missed | – |",
                     "| seconds a fact, two cores | one question: start | ≤ 4 | 6.00 | ✗ missed |"):
            self.assertIn(line, text)
        self.assertIn("9 are met, 6 missed", report_real.headline(self.world()))

    def test_what_retrieval_does_better_is_said(self):
        text = report_real.blocks(self.world())["methods"]
        self.assertRegex(text, r"by TF-IDF.*\| free wordings; seconds; kilobytes \| known texts")

    def test_settings_are_escaped(self):
        world = self.world()
        body = "".join(body for _, _, body in report_real.sections(world))
        self.assertIn("replay 8 &lt;&amp;|&gt;", body)
        names = ("plan", "method", "facts", "setting")  # whatever a row says is text
        bad = [{**row, **{name: row[name] + "<b>" for name in names}} for row in world.rows]
        for rows in (bad, [{**row, "setting": "<b>"} for row in world.rows]):
            sections = report_real.sections(report_real.World(rows))
            self.assertNotIn("<b>", "".join(body for _, _, body in sections))
        self.assertIn(r"replay 8 &lt;&\|>", report_real.blocks(world)["plans"])

    def test_the_plots(self):
        body = dict((anchor, body) for anchor, _, body in report_real.sections(self.world()))
        plots = re.findall(r"<svg.*?</svg>", body["real-frontier"], flags=re.DOTALL)
        self.assertEqual(len(plots), 4)
        for plot in plots:
            xml.dom.minidom.parseString(plot)
            self.assertNotRegex(plot, "nan|None")
        titles = re.findall(r"<title>(.*?)</title>", plots[0])
        self.assertEqual(len(titles), 6)  # all but the one that has no free wordings
        self.assertIn("t 128", titles[1])

    def test_a_mark_is_where_it_belongs(self):
        axes = scatter.Axes(0.0, 100.0)
        self.assertEqual((axes.y(0), axes.y(100)), (scatter.TOP + scatter.HEIGHT - 10, scatter.TOP))
        self.assertLess(axes.x(0.2), axes.x(0.3))
        self.assertGreater(axes.y(1), axes.y(10))


class Markers(unittest.TestCase):
    def test_bad_markers_are_named(self):
        start, end = "<!-- made of real.csv: x -->\n", "<!-- end -->\n"
        for text in (start, end, start + end + end, start + start + end):
            with self.subTest(text), self.assertRaisesRegex(tables.BadMarkers, "to have its own"):
                tables.fill(text, {"x": ""}, "real.md")
        with self.assertRaisesRegex(tables.BadMarkers, "real.md: expected one of y, got 'x'"):
            tables.fill(start + end, {"y": ""}, "real.md")

    def test_filled_twice_is_filled_once(self):
        text = "by hand\n<!-- made of real.csv: x -->\n<!-- end -->\nand after\n"
        once = tables.fill(text, {"x": "a \\1 b\n"}, "")
        self.assertEqual(once, text.replace("-->\n<!-- e", "-->\na \\1 b\n<!-- e"))
        self.assertEqual(tables.fill(once, {"x": "a \\1 b\n"}, ""), once)


def load_tests(loader, tests, pattern):
    for module in (amounts, rr, scatter, tables):
        tests.addTests(doctest.DocTestSuite(module))
    return tests


if __name__ == "__main__":
    unittest.main()
