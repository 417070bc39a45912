"""What an image, a workload or chance may put where we look: believed only if nobody else can have."""

from __future__ import annotations

import itertools
import os
import re
import shutil

import pytest
from real.neighbours import IMAGE_ANNOTATIONS

pytestmark = pytest.mark.newest


number = itertools.count(1)


def options(**annotations):
    """These annotations (`__` for a dot) in podman's words."""
    pairs = ["%s=%s" % (key.replace("__", "."), value) for key, value in annotations.items()]
    return [word for pair in pairs for word in ("--annotation", pair)]


def image(rig, name, **annotations):
    """An image that sets them by itself."""
    words = " ".join("'%s'" % word for word in options(**annotations))
    rig.as_op(
        ["sh", "-c", "echo FROM localhost/scop | podman build -q %s -t %s -" % (words, name)], check=True
    )
    return "localhost/" + name


def refused(desk, name, *words, **options):
    """It says why and how to mend it, in printable ASCII, and neither asks nor runs anything."""
    done = desk.run("--json", *words, name, **options)
    assert (done.returncode, done.stdout) == (3, ""), done
    assert re.fullmatch(r"(?:[ -~]*\n)+", done.stderr), done.stderr
    message, *hints = done.stderr.splitlines()
    assert hints and all(hint.startswith("hint: ") for hint in hints)
    assert desk.run("--check", *words, name, **options).returncode == 3
    return message.replace("simple-clearance: ", "", 1)


# --- annotations that an image sets or, where podman passes these over, a careless launcher


@pytest.mark.parametrize(
    "claimed, reason",
    [
        pytest.param("/nowhere", "No such file or directory", id="one that is not there"),
        pytest.param("relative", "no absolute path", id="no absolute path"),
        pytest.param("/etc", "it belongs to uid 0", id="another user's"),
        pytest.param("{home}/open", "others may write to it (mode 0777)", id="one that others write to"),
        pytest.param("{home}/link", "Not a directory", id="a symbolic link to another's"),
        pytest.param("{home}", "no usable container.id in it", id="one without an id"),
        pytest.param("{c1}", "its container.id is that of {id}", id="another container's"),
        pytest.param("/tmp/\x1b[2J\u202e", "No such file or directory", id="escapes"),
    ],
)
def test_a_state_directory_that_is_only_claimed_is_not_believed(claimed, reason, rig, desk, c):
    places = {"home": rig.home, "c1": rig.state(c), "id": rig.inspected(c)["Id"][:12]}
    for command in (
        ["mkdir", "-pm", "777", rig.home + "/open"],
        ["ln", "-sfn", rig.state(c), rig.home + "/link"],
    ):
        rig.as_op(command, check=True)
    name = "claims%d" % next(number)
    claim = {"terok__shield__state_dir": claimed.format(**places)}
    if rig.fact(IMAGE_ANNOTATIONS):
        rig.start(name, image=image(rig, name, **claim))
    else:
        rig.start(name, *options(**claim))
    message = refused(desk, name)
    assert message.startswith("the annotated state directory '")
    assert message.endswith(" is not believed: " + reason.format(**places))
    rig.as_op(["podman", "rm", "-f", "-t", "0", name], check=True)


def test_what_an_image_claims_of_a_shielded_container_is_a_label_or_nothing(rig, desk):
    evil = image(
        rig, "evil",
        terok__shield__state_dir="/nowhere", terok__shield__version="14",
        terok__sandbox__sidecar="/etc/passwd",
        dossier__task="\x1b]0;mine\x07 t-1\nwatching all", dossier__meta_path="/etc/shadow",
    )  # fmt: skip
    name = rig.shielded("claiming", image=evil)
    t = desk.sit(name)
    told = rig.fact(IMAGE_ANNOTATIONS)
    assert "watching claiming%s: shield up " % (" (/etc/shadow)" if told else "") in t.text()  # a label
    rig.conn(name, "10.99.0.41")
    t.expect("! not asked: the shield keeps private ranges shut")  # by the launcher's version, 18
    desk.press("i", desk.block(name, "192.0.2.41"))
    t.expect("\\x1b]0;mine" if told else "192.0.2.41")
    desk.press("s", t.expect("i l ? q"), own=True)
    assert b"\x1b]0;mine" not in bytes(t.raw)
    desk.quit()


# --- a state directory that is not what it was


@pytest.mark.parametrize(
    "spoil, reason",
    [
        pytest.param(
            lambda path: os.chmod(path, 0o777), "others may write to it (mode 0777)", id="open to others"
        ),
        pytest.param(
            lambda path: (os.chmod(path, 0o755), os.chown(path, 0, 0)),
            "it belongs to uid 0",
            id="another owner",
        ),
        pytest.param(
            lambda path: write(path, "container.id", "0123456789ab\n"),
            "its container.id is that of 0123456789ab",
            id="another container's id",
        ),
        pytest.param(
            lambda path: os.unlink(path + "/container.id"), "no usable container.id in it", id="no id"
        ),
        pytest.param(
            lambda path: (os.rename(path, path + ".away"), os.symlink(path + ".away", path)),
            "Not a directory",
            id="a link in its place",
        ),
    ],
)
def test_a_state_directory_that_was_tampered_with_is_not_believed(spoil, reason, rig, desk, spoilt):
    spoil(rig.state(spoilt))
    message = refused(desk, spoilt)
    assert message == "the annotated state directory '%s' is not believed: %s" % (rig.state(spoilt), reason)


@pytest.fixture(scope="module")
def spoilable(rig):
    return rig.shielded("spoilable")


@pytest.fixture
def spoilt(rig, spoilable):
    """A shielded container whose state directory is put right again afterwards."""
    path = rig.state(spoilable)
    shutil.copy2(path + "/container.id", rig.folder + "/kept.id")
    yield spoilable
    if os.path.islink(path):
        os.unlink(path)
        os.rename(path + ".away", path)
    os.chmod(path, 0o700)
    os.chown(path, rig.uid, rig.uid)
    shutil.copy2(rig.folder + "/kept.id", path + "/container.id")
    os.chown(path + "/container.id", rig.uid, rig.uid)


def write(folder, name, text):
    with open(os.path.join(folder, name), "w") as file:
        file.write(text)


# --- a pid that is another's by now

PODMAN = """\
#!/usr/bin/python3
import json, os, subprocess, sys
out = subprocess.run(["/usr/bin/podman"] + sys.argv[1:], stdout=subprocess.PIPE)
if sys.argv[1] == "inspect" and not out.returncode:
    found = json.loads(out.stdout)
    found[0]["State"]["Pid"] = %d
    out.stdout = json.dumps(found).encode()
sys.stdout.buffer.write(out.stdout)
sys.exit(out.returncode)
"""


def test_a_pid_that_has_passed_to_another_process_is_noticed(rig, desk, c):
    """The real podman's answer, but from before: its pid is now another container's process, or nobody's."""
    other = rig.inspected(rig.shielded("other"))["State"]["Pid"]
    for pid in (other, 2**22 - 1):
        folder = rig.folder + "/earlier"
        os.makedirs(folder, exist_ok=True)
        write(folder, "podman", PODMAN % pid)
        os.chmod(folder + "/podman", 0o755)
        path = "%s:%s/bin:/usr/bin:/bin:/usr/sbin" % (folder, rig.venv)
        assert refused(desk, c, PATH=path) == "c1 has stopped: pid %d is no longer its process" % pid


# --- what the user gives


def test_the_root_above_all_state_directories_is_refused_with_the_one_to_give(rig, desk, c):
    done = desk.run("--json", "--state-dir", rig.root, c)
    assert done.returncode == 3
    assert done.stderr.endswith("hint: --state-dir %s\n" % rig.state(c))
    assert refused(desk, c, "--state-dir", rig.state("spoilable")).startswith("state directory '")
