"""A session with `--json` or `--answer` at random, and a script that answers well, badly, late or never."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import threading
import time
from typing import Any, Callable

from fuzzing.episode import Episode
from fuzzing.world import NAMES
from host import Call

GARBAGE = [
    b"allow",
    b"allow r1 www.example.com extra",
    b"deny r1 www.example.com",
    b"\xff\xfe\x00",
    b"allow \x1b[2J",
    b"x" * 5000,
    b'{"allow": "r1"}',
    b"ALLOW r1",
    b"y",
]
ANSWER = re.compile(rb"(allow|deny|skip|mute|undo|ask) ([!-~]+)(?: ([!-~]+))?")


class Said:
    """A line of the script, and when its last byte had been written."""

    def __init__(self, line: bytes, at: float) -> None:
        self.at, self.used = at, False
        found = ANSWER.fullmatch(line)
        self.words = [word.decode() if word else "" for word in found.groups()] if found else []


class Conversation(Episode):
    """A script at the other end of two pipes."""

    def __init__(self, folder: str, pyz: str, seed: int, seconds: float) -> None:
        super().__init__(folder, pyz, seed, seconds)
        self._quiet = self.chance.random() < 0.2  # no --json
        self.answer = self.chance.choice(["", "", "allow", "deny", "skip", "none"])
        if self._quiet and not self.answer:
            self.answer = "skip"
        self._told: list[dict[str, Any]] = []
        self._rest = self._complaints = b""
        self._lines: list[bytes] = []
        self._hurried = False
        self._said: list[Said] = []
        self._garbage = 0
        self._deaf = False  # our end of its stdout
        self._ended = 0.0
        self._reading = threading.Event()
        self._reading.set()
        self._child: Any = None

    def close(self) -> None:
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            self._reading.set()
            for thread in self._threads:
                thread.join()
            self._child.stdin.close()
            self._child.stderr.close()
        super().close()

    # --- its course

    def more_words(self) -> list[str]:
        words = [] if self._quiet else ["--json"]
        if self.answer:
            words += ["--answer", self.answer]
        if self.answer == "allow" or self.chance.random() < 0.1:
            words += self.chance.choice([["--for", "600"], ["--for", "5"], ["--count", "3"]])
        self.hasty = "5" in words or "--count" in words
        return words

    def start(self) -> None:
        argv, pipe = self.argv(), subprocess.PIPE
        self.say("starts: " + " ".join(argv[4:]))
        self._child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=self.env())
        os.set_blocking(self._child.stdin.fileno(), False)
        self._threads = [threading.Thread(target=read) for read in (self._read_stdout, self._read_stderr)]
        for thread in self._threads:
            thread.start()

    def acts(self) -> list[tuple[Callable[[], None], int]]:
        return [*super().acts(), (self._answers, 20), (self._stalls, 2), (self._hangs_up, 1)]

    def _read_stdout(self) -> None:
        out = self._child.stdout.fileno()
        while not self._deaf:
            self._reading.wait()
            if not select.select([out], [], [], 0.05)[0]:
                continue
            data = os.read(out, 1 << 16)
            if not data:
                break
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            self._lines += lines
            if not self._quiet:
                self._told += [json.loads(line) for line in lines]
        self._child.stdout.close()

    def _read_stderr(self) -> None:
        self._complaints = self._child.stderr.read()
        self._child.wait()
        self._ended = time.monotonic()

    @property
    def over(self) -> bool:
        return bool(self._ended)

    @property
    def end(self) -> tuple[int, float]:
        return self._child.returncode, self._ended

    def said(self) -> str:
        return b"\n".join([self._complaints, *self._lines]).decode("latin-1")

    # --- what the script does

    def _answers(self) -> None:
        """A few lines in one write or in many; half a line may wait for its other half."""
        lines = [self._any_line() for _ in range(self.chance.choice([1, 1, 2, 8]))]
        if self.chance.random() < 0.1:
            lines += lines
        now = time.monotonic()
        self._said += [Said(line, now) for line in lines]
        data = b"".join(line + self.chance.choice([b"\n", b"\n", b"\r\n"]) for line in lines)
        self.say("says %r" % data[:200])
        cut = self.chance.choice([len(data), len(data), self.chance.randint(0, len(data)), 1])
        for part in (data[:cut], data[cut:]):
            self._write(part)
            time.sleep(self.chance.choice([0.0, 0.0, 0.1]))

    def _any_line(self) -> bytes:
        told = [record for record in list(self._told) if record["type"] == "pending"]
        closed = {record["id"] for record in list(self._told) if record["type"] == "closed"}
        waiting = [record for record in told if record["id"] not in closed]
        if waiting and self.chance.random() < 0.7:
            told = waiting[-20:]
        if not told or self.chance.random() < 0.15:
            self._garbage += not self.answer
            return self.chance.choice(GARBAGE)
        one = self.chance.choice(told)
        if told and self.chance.random() < 0.2:
            done = self.chance.choice([record for record in self._told if record["type"] == "pending"])
            return b"%s %s" % (self.chance.choice([b"undo", b"ask"]), done["id"].encode())
        words = [self.chance.choice(["allow", "allow", "deny", "skip", "mute"]), one["id"]]
        if words[0] == "allow" and self.chance.random() < 0.4:
            words.append(self.chance.choice(one["names"] or NAMES))
        return " ".join(words).encode()

    def _write(self, data: bytes) -> None:
        while data and not self.over:
            select.select([], [self._child.stdin], [], 0.05)
            try:
                data = data[os.write(self._child.stdin.fileno(), data) :]
            except BlockingIOError:
                if self.answer:
                    return  # nobody reads it
            except BrokenPipeError:
                return

    def _stalls(self) -> None:
        """It reads nothing for a while, in which much may come."""
        if not self._reading.is_set():
            self.say("reads again")
            self._reading.set()
        elif self.chance.random() < 0.3:
            self.say("reads nothing")
            self._reading.clear()

    def _hangs_up(self) -> None:
        """What follows on the rotation of a log ends nothing where no terminal can hang up."""
        self.say("SIGHUP")
        self._child.send_signal(signal.SIGHUP)

    def prepare_to_end(self) -> None:
        self._reading.set()

    def ways_to_end(self) -> list[str]:
        ways = [*super().ways_to_end(), "SIGINT", "no reader"]
        return ways if self.answer else [*ways, "end of input", "end of input", "end of input"]

    def ends_by(self, way: str) -> None:
        if way == "no reader":
            self._deaf = True
            if self.living:
                self.blocks()
        elif way == "end of input" and not self._child.stdin.closed:
            self._write(self.chance.choice([b"", b"", b"allow"]))
            self._child.stdin.close()
        waits = way in ("no reader", "end of input") and time.monotonic() < self.told_to_end[0] + 20
        if not waits and not self._hurried:
            self._hurried = True
            self._child.send_signal(getattr(signal, way, signal.SIGTERM))

    # --- what must hold

    def faults(self) -> list[str]:
        if self.hasty:  # it stops by itself, and may wait for us to read what it said
            self.told_to_end += [min(self._ended, self.moment(it["ts"])) for it in self.records("summary")]
        found = []
        strange = re.sub(rb"[ -~\n]", b"", self.said().encode("latin-1"))
        if strange:
            found.append("not ours to print: %r" % strange[:80])
        found += super().faults()
        if not (self._deaf or self._quiet):
            found += self._stdout()
        return found

    def _stdout(self) -> list[str]:
        code, last, found = self._child.returncode, self._told[-1:], []
        kinds = [record["type"] for record in self._told]
        if self._rest or kinds[:1] != ["session"] or kinds[-1:] != ["summary"] or last[0]["exit"] != code:
            found.append("stdout is not whole: %s ... %s %r" % (kinds[:2], last, self._rest[:80]))
        pending, closed = (
            sorted(record["id"] for record in self._told if record["type"] == kind)
            for kind in ("pending", "closed")
        )
        if pending != closed:
            found.append("told %d requests and closed %d" % (len(pending), len(closed)))
        verdicts = [record for record in self.records("verdict")]
        if kinds.count("verdict") != len(verdicts):
            found.append("%d verdicts told of %d" % (kinds.count("verdict"), len(verdicts)))
        if self._child.stdin.closed:
            answered = sum("line" in record for record in self.records("error"))
            if answered < self._garbage:
                found.append("%d errors for %d lines of garbage" % (answered, self._garbage))
        return found

    def wants(self, call: Call, decided: dict[str, Any]) -> str:
        action, container, target = call.argv
        if decided["undo"]:
            return self._wants_back(call, decided)
        about = {record["id"]: record for record in self.records("pending")}
        names: dict[str, set[str]] = {}
        for record in self.records():
            if record["type"] in ("pending", "names"):
                names.setdefault(record["id"], set()).update(record["names"])
        for said in self._said:
            if said.used or said.at > call.began or said.words[:1] != [action] or said.words[1] not in about:
                continue
            request = about[said.words[1]]
            if request["container"] == container and (
                target == said.words[2] in names[request["id"]]
                if said.words[2]
                else target == request["dest"]
            ):
                said.used = True
                return ""
        return "no answer says so"

    def _wants_back(self, call: Call, decided: dict[str, Any]) -> str:
        """An undo: of a verdict that was applied, by a line with the id of a request that it was about."""
        stood = [
            record
            for record in self.records("verdict")
            if record["result"] == "applied" and not record["undo"] and record["id"] == decided["undoes"]
        ]
        if not any(record["target"] == decided["target"] for record in stood):
            return "it undoes nothing that was applied"
        ids = {each for record in stood for each in (record["id"], *record["ids"], *record["elsewhere"])}
        for said in self._said:
            if (
                not said.used
                and said.at <= call.began
                and said.words[:1] == ["undo"]
                and said.words[1] in ids
            ):
                said.used = True
                return ""
        return "no undo says so"
