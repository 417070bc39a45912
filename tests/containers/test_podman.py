"""What is asked of podman, what is made of its answer, and the way into the namespace."""

from __future__ import annotations

import json
import os
import pathlib
import random
import time

import pytest
from support import eventually

from simple_clearance.base.errors import Refused
from simple_clearance.containers import podman
from simple_clearance.system import children

SAMPLES = pathlib.Path(__file__).parent.parent / "samples"
RECORDED = (SAMPLES / "podman-inspect-0.9.json").read_bytes()


@pytest.fixture
def fake(tmp_path):
    """fake(SCRIPT): the path of a shell script that stands where podman stands."""

    def make(script):
        path = tmp_path / "podman"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """No descriptor and no child outlives a call."""
    before = os.listdir("/proc/self/fd"), of_ours()
    yield
    assert (os.listdir("/proc/self/fd"), of_ours()) == before


def of_ours():
    """The pids of our children; those of other tests' fixtures may be among them."""
    return sorted(
        pid for path in pathlib.Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()
    )


def changed(**fields):
    """podman's answer for one container, with `State__Pid=1` in place of the recorded value; None removes."""
    found = json.loads(RECORDED)
    for path, value in fields.items():
        *outer, last = path.split("__")
        place = found[0]
        for key in outer:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return json.dumps(found).encode()


def refusal(function, *arguments, **options):
    with pytest.raises(Refused) as caught:
        function(*arguments, **options)
    error = caught.value
    assert error.code == 3
    assert error.hints
    assert all(text.isascii() and text.isprintable() for text in (error.message,) + error.hints)
    return error


def gone(pid):
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# --- what podman says


def test_a_running_shielded_container_is_told_as_podman_told_it(fake):
    c = podman.inspect("c1", fake("cat %s/podman-inspect-0.9.json" % SAMPLES))
    assert (c.name, c.short_id, len(c.id)) == ("c1", "3b068f2a090c", 64)
    assert (c.running, c.pid, c.conmon_pid) == (True, 13247, 13244)
    assert c.state_dir == "/home/op/.local/state/terok/shield/containers/c1"
    assert (c.shield_version, c.sidecar, c.dossier) == (18, None, {})
    assert c.started_at == "2026-11-24T22:19:16.865388129Z"


def test_podman_is_asked_once_with_the_name_behind_a_double_dash(fake, tmp_path):
    log = tmp_path / "argv"
    podman.inspect("c1", fake('echo "$@" >>%s; cat %s/podman-inspect-0.9.json' % (log, SAMPLES)))
    assert log.read_text() == "inspect --format json -- c1\n"


def test_podman_gets_no_stdin_a_session_of_its_own_and_no_ignored_signal(fake, tmp_path):
    seen = tmp_path / "seen"
    script = (
        "{ readlink /proc/$$/fd/0; cut -d' ' -f6 /proc/$$/stat; echo $$; grep SigIgn /proc/$$/status; } >%s\n"
    )
    podman.inspect("c1", fake(script % seen + "cat %s/podman-inspect-0.9.json" % SAMPLES))
    stdin, session, pid, ignored = seen.read_text().splitlines()
    assert stdin == "/dev/null"
    assert session == pid
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0  # those above are the C library's own


def test_the_older_recording_is_understood_too():
    c = podman.parse((SAMPLES / "podman-inspect-0.6.json").read_bytes())[0]
    assert c.shield_version == 12


def test_a_stopped_container_has_no_pids():
    stopped = changed(State__Running=False, State__Pid=0, State__ConmonPid=None)
    c = podman.parse(stopped)[0]
    assert (c.running, c.pid, c.conmon_pid) == (False, 0, 0)
    assert "podman start c1" in refusal(podman.check_running, c).hints


def test_dossier_annotations_are_labels_without_their_prefix():
    c = podman.parse(
        changed(Config__Annotations={"dossier.task": "t-7", "dossier.": "x", "dossiers": "y", "dossier.n": 3})
    )[0]
    assert c.dossier == {"task": "t-7", "": "x"}


def test_of_a_thousand_labels_sixteen_are_taken_and_what_is_long_is_cut():
    """They go into every record of a request, and whoever built the image may have added any number."""
    noise = {"dossier.noise-%03d" % number: "x" * 5000 for number in range(1000)}
    names = ("project", "task", "y" * 4)
    labels = {**{"dossier." + name: name for name in names}, "dossier." + "k" * 500: "", **noise}
    dossier = podman.parse(changed(Config__Annotations=labels))[0].dossier
    assert len(dossier) == 16 and all(dossier[name] == name for name in names)
    assert {len(value) for key, value in dossier.items() if key.startswith("noise")} == {128}
    only = podman.parse(changed(Config__Annotations={"dossier." + "k" * 500: "v"}))[0].dossier
    assert only == {"k" * 126 + "..": "v"}


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "\u0663", " 18"])
def test_a_version_that_is_no_number_is_none(text):
    annotations = {"terok.shield.version": text}
    assert podman.parse(changed(Config__Annotations=annotations))[0].shield_version is None


def test_a_container_without_annotations_is_not_shielded():
    for found in ({}, {"terok.shield.state_dir": ["/"]}):
        c = podman.parse(changed(Config__Annotations=found))[0]
        error = refusal(podman.state_directory, c, None, os.getuid())
        assert error.message == "c1 is not shielded: it has no terok.shield.state_dir annotation"
    c = podman.parse(changed(Config__Annotations=None))[0]
    assert c.state_dir is None


# --- what it refuses


@pytest.mark.parametrize(
    "name", ["", "-h", "--latest", ".c1", "c1 ", "c 1", "c1\n", "a/b", "c\u00e9", "$(id)", "c1:x"]
)
def test_what_podman_would_not_take_as_a_name_is_never_passed_to_it(name, fake, tmp_path):
    error = refusal(podman.inspect, name, fake("touch %s/asked" % tmp_path))
    assert "is not a container's name" in error.message
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param('Error: inspecting object: no such object: "nosuch"', id="4.3"),
        pytest.param('Error: no such object: "nosuch"', id="5.0"),
        pytest.param("Error: inspecting object: no such container nosuch", id="container"),
    ],
)
def test_a_missing_container_is_told_with_where_to_look(said, fake):
    error = refusal(podman.inspect, "nosuch", fake("echo '[]'; echo '%s' >&2; exit 125" % said))
    assert error.message == "no such container: nosuch"
    assert error.hints[0].startswith("podman ps -a")


def test_a_container_is_found_by_the_beginning_of_its_id_and_goes_by_its_name(fake):
    path = fake("cat %s/podman-inspect-0.9.json" % SAMPLES)
    for given in ("3b068f2a090c", "3b0", "c1"):
        assert [*podman.inspect_all([given], path)] == ["c1"]
    assert [*podman.inspect_all(["3B0"], path)] == ["3B0"], "no such one: podman minds the case"


def answering(fake, **names):
    """A podman that tells of containers with these names and these beginnings of their ids."""
    parts = [json.loads(changed(Name=name, Id=start.ljust(64, "0")))[0] for name, start in names.items()]
    answer = pathlib.Path(fake("")).parent / "answer"
    answer.write_text(json.dumps(parts))
    return fake("cat %s" % answer)


def test_what_is_a_name_is_not_the_beginning_of_an_id(fake):
    path = answering(fake, web="c1", c1="d2")
    found = podman.inspect_all(["web", "c1"], path)
    assert {name: one.id[:2] for name, one in found.items()} == {"web": "c1", "c1": "d2"}


def test_two_words_for_one_container_are_one_too_many(fake):
    with pytest.raises(Refused) as caught:
        podman.inspect_all(["db", "web", "c1"], answering(fake, web="c1", db="d2"))
    assert (caught.value.code, caught.value.message) == (2, "web is named twice, here as c1")
    assert caught.value.hints == ("name each container once",)


def test_the_beginning_of_several_ids_is_told_with_what_tells_them_apart(fake):
    said = "Error: more than one result for container ID 3: container already exists"  # 4.3.1
    error = refusal(podman.inspect, "3", fake("echo '%s' >&2; exit 125" % said))
    assert error.message == "podman inspect 3: " + said
    assert error.hints == ("give more of its id, or its name: podman ps -a",)


def test_an_image_of_that_name_is_no_container(fake):
    error = refusal(podman.inspect, "rig", fake("""echo '[{"Id": "73", "RepoTags": ["localhost/rig"]}]'"""))
    assert error.message == "no such container: rig"


def test_no_podman_is_told_with_the_way_to_do_without():
    error = refusal(podman.inspect, "c1", "/nonexistent/podman")
    assert error.message == "/nonexistent/podman: No such file or directory"
    assert "--netns PATH" in error.hints[0]


def test_a_podman_that_can_not_be_run_is_told(fake):
    path = fake("")
    os.chmod(path, 0o644)
    assert refusal(podman.inspect, "c1", path).message.endswith("podman: Permission denied")


def test_another_error_of_podman_is_shown_escaped(fake):
    script = r"""printf 'level=warning msg="x"\nError: no \033[2Jspace\n' >&2; exit 125"""
    error = refusal(podman.inspect, "c1", fake(script))
    assert error.message == "podman inspect c1: Error: no \\x1b[2Jspace"


def test_a_podman_ended_by_a_signal_is_told(fake):
    assert refusal(podman.inspect, "c1", fake("kill -9 $$")).message == "podman inspect c1: exit -9"


def test_a_podman_that_hangs_is_ended_with_all_it_started(fake, tmp_path):
    script = "sleep 600 & echo $! $$ >%s/pids; wait" % tmp_path  # and SIGTERM ends it
    error = refusal(podman.inspect, "c1", fake(script), deadline=0.3)
    assert "no answer in 0.3 s" in error.message and "its storage is locked" in error.hints[0]
    for pid in (tmp_path / "pids").read_text().split():
        eventually(lambda pid=pid: gone(int(pid)))


def test_a_podman_that_hangs_and_ignores_term_is_killed(fake):
    start = time.monotonic()
    refusal(podman.inspect, "c1", fake("trap '' TERM; while :; do sleep 0.1; done"), deadline=0.2)
    assert time.monotonic() - start >= 2.2


def test_a_process_left_behind_with_the_pipes_does_not_hold_us_up(fake, tmp_path):
    script = "sleep 600 & echo $! >%s/pid; cat %s/podman-inspect-0.9.json" % (tmp_path, SAMPLES)
    try:
        assert podman.inspect("c1", fake(script)).name == "c1"
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)  # which proves that it ran all the while


def test_endless_output_is_bounded(fake):
    assert "more than 4 MiB" in refusal(podman.inspect, "c1", fake("yes")).message


def test_endless_complaints_are_bounded(fake):
    error = refusal(podman.inspect, "c1", fake("yes '\u00fc' | head -c 3000000 >&2; exit 1"))
    assert len(error.message) < 5 * children.ERROR_LIMIT


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"\xff\xfe",
        b"\0",
        b"nonsense",
        b"null",
        b"1",
        b"[]",
        b"{}",
        b'"State"',
        b"[null]",
        b'["State"]',
        b"[[]]",
        b'[{"State": null}]',
        b'[{"State": {}, "Config": {}}]',
        b"[" * 100000,
        changed(State=["Pid"]),
        changed(State__Pid="13247"),
        changed(State__Pid=True),
        changed(State__Pid=1.5),
        changed(State__Running=1),
        changed(State__ConmonPid="x"),
        changed(Id="3b068f2a090c"),
        changed(Id="G" * 64),
        changed(Name="-c1"),
        changed(Name=None),
        changed(Config__Annotations=["x"]),
        changed(Config__Annotations="dossier.x"),
        changed(Config=None),
    ],
)
def test_what_is_no_container_is_refused_and_never_a_traceback(output):
    assert output.strip() == b"[]" or refusal(podman.parse, output)


def test_any_mutation_of_a_real_answer_is_a_container_or_a_refusal(rounds):
    """The invariant of `parse`: it returns a Container whose fields have their types, or raises Refused."""
    rand = random.Random(1)
    for _ in range(rounds(4000)):
        data = bytearray(RECORDED)
        for _ in range(rand.randrange(1, 6)):
            at = rand.randrange(len(data))
            data[at : at + rand.randrange(8)] = rand.choice(
                [b"", b"{", b'"', b"9", b"null", b"\xff", b"[]", b","]
            )
        try:
            c = podman.parse(bytes(data))[0]
        except (Refused, IndexError) as error:
            assert isinstance(error, IndexError) or error.code == 3
        else:
            assert type(c.pid) is int
            assert all(type(value) is str for value in c.annotations.values())
            assert c.shield_version is None or c.shield_version >= 0


# --- the list of those that run


def test_the_shielded_ones_that_run_are_listed(fake):
    script = r"""
if [ "$1" = ps ]; then echo '[{"Names": ["web"], "Id": "%s", "Pid": 7, "State": "running"},
{"Names": ["db", "x"], "Id": "%s", "Pid": 0, "State": "exited"}]'
else [ "$*" = "inspect --format json -- %s" ] && cat %s; fi"""
    both = json.loads(changed(Name="web", Id="a" * 64)) + json.loads(
        changed(Name="db", Config__Annotations={})
    )
    answer = pathlib.Path(fake("")).parent / "answer"
    answer.write_text(json.dumps(both))
    assert podman.shielded(fake(script % ("a" * 64, "b" * 64, "a" * 64, answer))) == ["web"]


@pytest.mark.parametrize(
    "script", ["exit 1", "echo '[]'", "echo '[{}]'", "echo null", "echo '[{\"Names\": 1}]'", "echo x"]
)
def test_where_that_can_not_be_told_the_list_is_empty(script, fake):
    assert podman.shielded(fake(script)) == []
    assert podman.shielded("/nonexistent/podman") == []
