"""The benches: each still runs, in a short form, and their table has a column for each Python."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import ModuleType

import pytest
from needs import need
from support import ROOT

BENCH = os.path.join(ROOT, "tests", "bench")
SHORT = {
    "bench_delay.py": ["1", "1"],
    "bench_dnslog.py": ["1"],
    "bench_full.py": [],
    "bench_fuzz.py": ["2000"],
    "bench_hour.py": ["6"],
    "bench_hub.py": ["2"],
    "bench_links.py": ["2"],
    "bench_many.py": ["1", "2"],
    "bench_prompt.py": ["1", sys.executable],
    "bench_reader.py": ["1"],
    "bench_sessions.py": ["4"],
    "bench_soak.py": ["4", "1"],
    "bench_start.py": ["1", sys.executable],
    "bench_walk.py": ["1"],
    "bench_worst_log.py": ["1"],
}
"""What each is told to take a few seconds; `bench_prompt` and `bench_full` take as many as ever."""


def test_each_has_a_short_form() -> None:
    assert sorted(SHORT) == sorted(name for name in os.listdir(BENCH) if name.startswith("bench_"))


@pytest.mark.thorough
@pytest.mark.parametrize("name", SHORT)
def test_it_runs(name: str) -> None:
    for what in ("nft", "netns", "cc", "pty"):
        need(what)
    done = subprocess.run(
        [sys.executable, os.path.join(BENCH, name), *SHORT[name]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    judges = name == "bench_worst_log.py"  # by time, which a busy machine has none of
    assert done.returncode in ((0, 1) if judges else (0,)), done.stdout + done.stderr
    assert done.stdout and b"Traceback" not in done.stderr, done.stderr


@pytest.fixture(name="bench")
def _bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench", os.path.join(BENCH, "__main__.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_has_a_column_for_each_python_and_what_limits_each_row(bench: ModuleType) -> None:
    def rows(delay: float, lost: float) -> list[object]:
        return [
            bench.Row(
                "a delay", "the tick", bench.Figure("%s ms", delay, 4, 3), bench.Figure("%s", lost, 0, 0)
            ),
            bench.Row("a key", "nothing", bench.Delay("%s ms", -0.01, 5.0)),
        ]

    assert bench.table(["3.8.18", "3.13.0"], [rows(2.04, 0), rows(3.1, 1)]) == [
        "|  | Python 3.8.18 | Python 3.13.0 | must: at most | aim: at most | limited by |",
        "|---|---|---|---|---|---|",
        "| a delay | 2 ms / 0 | 3.1 ms *aim missed* / 1 **must missed** | 4 ms / 0 | 3 ms / 0 | the tick |",
        "| a key | +0 ms | +0 ms | none (under 5 ms) |  | nothing |",
    ]
