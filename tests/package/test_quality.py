"""The formatter, the linter and the strict type checker, so that nobody has to remember them."""

from __future__ import annotations

import subprocess
import sys

from support import ROOT


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


def test_ruff_finds_nothing() -> None:
    tool("ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing_differently() -> None:
    tool("ruff", "format", "--check", "--quiet", ".")


def test_mypy_finds_nothing() -> None:
    tool("mypy")
