"""TAB in a real shell: the options as they are, their values, and the containers that run."""

from __future__ import annotations

import os
import re
import subprocess

import endtoend
import pytest
from needs import need
from support import eventually

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def desk(host, lab, terminal, pyz, some_python):
    """`c1` runs and `db1` too, `web1` is stopped, `plain` is not shielded; the program is on PATH."""
    desk = endtoend.Desk(host, lab, terminal, pyz)
    desk.python = some_python.path
    host.container("db1")
    host.container("web1").stop()
    plain = host.container("plain")
    del plain.annotations["terok.shield.state_dir"]
    plain.save()
    program = os.path.join(host.bin, "simple-clearance.pyz")
    with open(program, "w") as file:
        file.write('#!/bin/sh\nexec %s -S %s "$@"\n' % (desk.python, desk.pyz))
    os.chmod(program, 0o755)
    return desk


def completion(desk, shell):
    done = desk.run("--completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


class Shell:
    """An interactive bash or zsh that has loaded the completion; fish is asked by `complete -C`."""

    def __init__(self, desk, name):
        need(name)
        self.desk, self.name = desk, name
        self.path = os.path.join(desk.host.folder, "completion")
        with open(self.path, "w") as file:
            file.write(completion(desk, name))
        if name == "fish":
            return
        env = dict(desk.env, PS1="$ ", PROMPT="$ ", HISTFILE="", TERM="dumb", INPUTRC="/dev/null")
        argv = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[name]
        self.t = desk.terminal(argv, env=env, size=(50, 200), cwd=desk.host.home)
        self.t.expect("$ ")
        if name == "bash":
            self._do("bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'")
        else:
            self._do("autoload -U compinit; compinit -u -D; unsetopt beep zle_bracketed_paste; LISTMAX=0")
        self._do("source " + self.path)

    def _do(self, line):
        self.t.send(line + "; echo done $((6 * 7))\n")
        self.t.expect("done 42")
        self.t.expect("$ ")

    def completes(self, words, *wanted):
        """What stands there once TAB was pressed behind these words, or is offered: all of `wanted` is."""
        if self.name == "fish":
            script = "source %s; complete -C '%s'" % (self.path, words)
            argv = ["fish", "--no-config", "-c", script]
            env, home = self.desk.env, self.desk.host.home
            done = subprocess.run(argv, env=env, cwd=home, capture_output=True, check=True)
            offered = {line.split("\t")[0] for line in done.stdout.decode().splitlines()}
        else:
            self.t.quiet(0.2)
            mark = len(self.t.text())
            self.t.send(words + "\t")

            def shown():
                return set(self.t.text()[mark:].split())

            eventually(lambda: all(completed(shown(), word) for word in wanted), what=str(wanted))
            self.t.quiet(0.2)
            offered = shown()
            self.t.send("\x15")  # takes the line away
        assert all(completed(offered, word) for word in wanted), offered
        return offered


@pytest.fixture(params=SHELLS)
def shell(request, desk):
    return Shell(desk, request.param)


def completed(found, word):
    """Whether this came: as a word, or as the end of what was typed (`--answer=skip`)."""
    return any(word in (one, one.rpartition("=")[2], one.rstrip("/=")) for one in found)


def test_options_containers_and_values_are_completed(shell):
    shell.completes("simple-clearance.pyz --save-pr", "--save-profile")
    shell.completes("simple-clearance.pyz --s", "--shield", "--state-dir", "--save-policy")
    found = shell.completes("simple-clearance.pyz ", "c1", "db1")
    assert not completed(found, "plain") and not completed(found, "web1"), found
    shell.completes("simple-clearance.pyz --bell d", "db1")
    for words in ("--answer s", "--answer=s"):
        found = shell.completes("simple-clearance.pyz " + words, "skip")
        assert not completed(found, "deny"), found
    shell.completes("simple-clearance.pyz --completion z", "zsh")


def test_files_and_folders_are_completed_where_they_belong(shell, desk):
    os.mkdir(os.path.join(desk.host.home, "my-folder"))
    with open(os.path.join(desk.host.home, "my-rules"), "w"):
        pass
    shell.completes("simple-clearance.pyz --policy my-r", "my-rules")
    found = shell.completes("simple-clearance.pyz --state-dir my-", "my-folder")
    assert not completed(found, "my-rules"), found


@pytest.mark.parametrize("name", SHELLS)
def test_it_has_every_option_of_help_and_the_shell_can_read_it(desk, name):
    need(name)
    text = completion(desk, name)
    helped = set(re.findall(r"^  (?:-h, )?--([a-z-]+)", desk.run("--help").stdout.decode(), re.MULTILINE))
    found = re.findall(
        {"bash": r"--([a-z-]+)", "zsh": r"'--([a-z-]+)", "fish": r"(?m)^complete .* -l ([a-z-]+)"}[name], text
    )
    assert helped and helped == set(found) - {"containers"}
    checked = subprocess.run([name, "-n"], input=text.encode(), capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_where_podman_can_not_be_asked_nothing_is_completed_and_nothing_said(desk):
    desk.host.control("podman", mode="fail")
    done = desk.run("--completion", "containers")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_shell_that_is_not_known_is_named(desk):
    done = desk.run("--completion", "tcsh")
    assert done.returncode == 2 and b"tcsh" in done.stderr
