#!/usr/bin/env bash
# The comparison's report: frontier.py's and real_rows.py's numbers, then report.py over a few synthetic rows: summary, page, picture, tables, errors.
set -euo pipefail
python=""
for candidate in /usr/bin/python3 python3; do # Debian's matplotlib belongs to Debian's python3
  command -v "$candidate" >/dev/null || continue
  [ -n "$python" ] || python=$candidate
  if "$candidate" -c 'import matplotlib' 2>/dev/null; then python=$candidate; break; fi
done
[ -n "$python" ] || { echo "SKIPPED: no python3"; exit 77; }
export PYTHONDONTWRITEBYTECODE=1
here=$SMFT_SOURCE/examples/forgetting
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; cat "$work/out"; exit 1; }
"$python" -W error "$SMFT_SOURCE/tests/examples/test_frontier.py" >"$work/out" 2>&1 || fail "frontier.py computes wrongly"
tail -n 3 "$work/out"
"$python" -W error "$SMFT_SOURCE/tests/examples/test_real_rows.py" >"$work/out" 2>&1 || fail "real_rows.py or report_real.py is wrong"
tail -n 3 "$work/out"
"$python" "$here/report.py" --help >"$work/out" || fail "report.py --help"

"$python" - "$here" "$work/runs.csv" <<'PY' # two seeds of each method at learning 0.90 on facts; on documents LoRA never gets there; one row beside the best
import csv, sys
sys.path.insert(0, sys.argv[1])
from frontier import NUMBER_COLUMNS, TEXT_COLUMNS
with open(sys.argv[2], "w", newline="") as file:
    rows = csv.DictWriter(file, ["comment", *TEXT_COLUMNS, *NUMBER_COLUMNS], restval="")
    rows.writeheader()
    for task, losses in (("facts", {"full": 40, "lora": 30, "sparse": 2}), ("documents", {"full": 50, "lora": 80, "sparse": 9})):
        for method, loss in losses.items():
            for seed in (1, 2):
                for done in (0, 5, 10):
                    best = 0.6 if (task, method) == ("documents", "lora") else 0.9
                    rows.writerow({"comment": "a column more, \"quoted\"", "run": f"{task}-{method}-{seed}", "purpose": "final",
                                   "task": task, "model": "atlas", "method": method, "set": "report", "seed": seed, "setting": "lr 1 <&>",
                                   "items_total": 10, "items_done": done, "learning": best,
                                   "knows": "half" if method == "sparse" else "", "known": 3595,
                                   "half_forgetting_percent": loss * done / 20, "rest_forgetting_percent": loss * done / 5,
                                   "forgetting_percent": (loss + seed - 1.5) * done / 10})
    rows.writerow({"run": "other", "purpose": "other", "task": "facts", "model": "atlas", "method": "sparse", "set": "report", "seed": 1,
                   "setting": "knows prose", "items_total": 10, "items_done": 10, "learning": 0.9, "knows": "prose", "known": 3595,
                   "forgetting_percent": 9})
PY
status=0
"$python" "$here/report.py" --results "$work" >"$work/out" 2>"$work/error" || status=$?
diff - "$work/summary.csv" <<'END' || fail "the summary is not as computed by hand"
task,method,knows,learning,forgetting_percent,forgetting_std,half_forgetting_percent,rest_forgetting_percent,seeds,setting
facts,full,,0.9000,40.000,0.707,20.000,80.000,2,lr 1 <&>
facts,lora,,0.9000,30.000,0.707,15.000,60.000,2,lr 1 <&>
facts,sparse,half,0.9000,2.000,0.707,1.000,4.000,2,lr 1 <&>
facts,sparse,prose,0.9000,9.000,,,,1,knows prose
documents,full,,0.9000,50.000,0.707,25.000,100.000,2,lr 1 <&>
documents,lora,,0.6000,80.000,0.707,40.000,160.000,2,lr 1 <&>
documents,sparse,half,0.9000,9.000,0.707,4.500,18.000,2,lr 1 <&>
END
grep -qE '^facts +sparse memory finetuning +half +0\.90 ' "$work/out" || fail "no headline on stdout"
grep -qE '^MISSED +documents: sparse loses at most 5%' "$work/out" || fail "a missed target is not said"

grep -q 'real.csv has no row yet' "$work/out" || fail "that there are no real rows is not said"
[ ! -e "$work/real.md" ] || fail "a text came from nothing"
cp "$work/report.html" "$work/without.html" 2>/dev/null || true

# the real model's rows: made up, see the file
cp "$SMFT_SOURCE/tests/examples/real_made_up.csv" "$work/real.csv"
printf 'by hand\n<!-- made of real.csv: targets -->\n<!-- end -->\n' >"$work/real.md"
status=0
"$python" "$here/report.py" --results "$work" >"$work/out" 2>"$work/error" || status=$?
grep -q '^12 rows, 10 settings' "$work/out" || fail "the real rows are not told of on stdout"
grep -q '^| the one taught question | one question: start | ≥ 0.99 |' "$work/real.md" || fail "real.md's table is not filled"
grep -q '^by hand$' "$work/real.md" || fail "real.md's prose is gone"
mkdir "$work/lacks" && cp "$work/runs.csv" "$work/lacks" && sed '1s/,never_lost,/,lost,/' "$work/real.csv" >"$work/lacks/real.csv"
if "$python" "$here/report.py" --results "$work/lacks" >"$work/out" 2>&1; then fail "a missing column of real.csv was no error"; fi
grep -q 'real.csv: missing columns: never_lost' "$work/out" || fail "the error does not name real.csv's column"
cp "$work/real.csv" "$work/lacks" && printf '<!-- made of real.csv: x -->\n<!-- end -->\n' >"$work/lacks/real.md"
if "$python" "$here/report.py" --results "$work/lacks" >"$work/out" 2>&1; then fail "a marker of nothing was no error"; fi
grep -q "real.md: expected one of summary, " "$work/out" || fail "the error does not say which markers there are"

sed '1s/forgetting_percent/forgotten/' "$work/runs.csv" >"$work/kept" && mkdir "$work/bad" && mv "$work/kept" "$work/bad/runs.csv"
if "$python" "$here/report.py" --results "$work/bad" >"$work/out" 2>&1; then fail "a missing column was no error"; fi
grep -q 'missing columns: forgetting_percent' "$work/out" || fail "the error does not name the column"
: >"$work/bad/runs.csv"
if "$python" "$here/report.py" --results "$work/bad" >"$work/out" 2>&1; then fail "an empty file was no error"; fi
grep -q 'the file is empty' "$work/out" || fail "the error does not say that the file is empty"

if ! "$python" -c 'import matplotlib' 2>/dev/null; then
  grep -q 'apt-get install python3-matplotlib' "$work/error" || fail "the error does not say what to install"
  echo "SKIPPED the page and the picture: no python3-matplotlib"
  exit 77
fi
[ "$status" = 0 ] || { cat "$work/error"; exit 1; }
"$python" - "$work" <<'PY' || fail "the page or the picture is not well made"
import re, sys, xml.dom.minidom
page = open(sys.argv[1] + "/report.html", encoding="utf-8").read()
ids = re.findall(r'\bid="([^"]+)"', page)
assert len(ids) == len(set(ids)), "an id twice"
assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(ids), "a link to nothing"
assert not re.search(r"<script|<link|@import|src=|url\(http", page), "the page asks for something outside"
plots = re.findall(r"<svg (?!class=.swatch).*?</svg>", page, flags=re.DOTALL)
assert len(plots) == 8 and all("aria-label" in plot for plot in plots), len(plots)
for plot in plots:
    xml.dom.minidom.parseString(plot)
assert "lr 1 &lt;&amp;&gt;" in page and "lr 1 <&>" not in page, "text is not escaped"
for words in ("never learnt 0.85", "knows prose †", "prose alone", "half of the known facts, and prose", "3,595 known facts", "fewer than 3 seeds", "<strong>missed</strong>", "no finished run with purpose ablation",
              "no results/notes.md", "90 facts in sequence", "1 of 3 draws", "retrieval by TF-IDF"):
    assert words in page, words
without = open(sys.argv[1] + "/without.html", encoding="utf-8").read()
assert "real.csv has no row yet" in without and "retrieval by TF-IDF" not in without
xml.dom.minidom.parse(sys.argv[1] + "/frontier.svg")
PY
