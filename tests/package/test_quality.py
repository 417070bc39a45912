"""The formatter, the linter and the strict type checker, so that nobody has to remember them."""

from __future__ import annotations

import os
import subprocess
import sys

from support import ROOT, TOOLS


def tool(*argv: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *argv],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, "\n" + done.stdout.decode()


STANDINS = [os.path.join(TOOLS, name) for name in ("podman", "terok-shield")]


def test_ruff_finds_nothing() -> None:
    tool("ruff", "check", "--quiet", ".", *STANDINS)


def test_ruff_would_format_nothing_differently() -> None:
    tool("ruff", "format", "--check", "--quiet", ".", *STANDINS)


def test_mypy_finds_nothing() -> None:
    tool("mypy")
