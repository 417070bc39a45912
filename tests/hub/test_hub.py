"""Whether a clearance hub is active: sockets in every place where one was ever seen."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys

import pytest
from support import ROOT

from simple_clearance.base.errors import CANNOT_START, HUB_ACTIVE, Refused
from simple_clearance.hub.hub import Hub

SID = "0123456789ab"

OF_THE_CONTAINER = [
    "terok/clearance/%s/hub.sock" % SID,
    "terok/events/%s/ingester.sock" % SID,
    "terok/clearance/%s.sock" % SID,
    "terok/events/%s.sock" % SID,
]
OF_ALL = ["terok-clearance.sock", "terok-shield-events.sock"]


def cannot_tell(hub):
    with pytest.raises(Refused) as caught:
        hub.look()
    assert caught.value.code == CANNOT_START
    assert any("--ignore-hub" in hint for hint in caught.value.hints)
    return caught.value.message


def test_where_nothing_is_there_is_no_hub(place):
    assert place.hub().look() is None


@pytest.mark.parametrize("path", OF_THE_CONTAINER)
def test_a_hub_of_this_container_is_found_and_the_remedy_names_its_pid(place, path):
    place.listen(path)
    active = place.hub().look()
    assert active.pid == os.getpid()
    assert active.what == "its socket %s/%s answers (pid %d)" % (place.path, path, os.getpid())
    assert "terok-clearance-hub clearance" in active.hints[0]
    assert active.hints[1].endswith("kill -TERM %d" % os.getpid())


@pytest.mark.parametrize("path", OF_ALL)
def test_a_hub_of_all_containers_is_found_and_the_remedy_is_its_service(place, path):
    place.listen(path)
    for container_id in (SID, SID + "0" * 52, None):
        active = place.hub(container_id=container_id).look()
        assert "answers" in active.what
        assert "systemctl --user stop terok-clearance-hub" in active.hints[1]
        assert active.hints[2].endswith("started by hand: kill -TERM %d" % os.getpid())


@pytest.mark.parametrize("path", OF_THE_CONTAINER + OF_ALL)
@pytest.mark.parametrize("has_reader", [None, True, False])
def test_no_remedy_would_end_what_else_the_container_needs(place, path, has_reader):
    place.listen(path)
    active = place.hub().look(has_reader=has_reader)
    assert active.hints
    assert not any("supervisor" in hint for hint in active.hints)


def test_ending_with_an_active_hub_is_exit_code_one(place):
    place.listen(OF_THE_CONTAINER[0])
    refused = place.hub().look().refused()
    assert refused.code == HUB_ACTIVE
    assert refused.message.startswith("the clearance hub is active: its socket ")
    assert refused.hints


@pytest.mark.parametrize("path", OF_THE_CONTAINER + OF_ALL)
def test_a_socket_that_its_hub_left_behind_is_no_hub(place, path):
    place.listen(path).close()
    assert os.path.exists(os.path.join(place.path, path))
    assert place.hub().look() is None


def test_a_hub_that_is_bound_and_does_not_listen_yet_is_none(place):
    listener = place.listen(OF_THE_CONTAINER[0], backlog=-1)
    assert place.hub().look() is None
    listener.listen(1)
    assert place.hub().look()


@pytest.mark.parametrize("path", OF_THE_CONTAINER)
def test_a_hub_with_a_full_backlog_is_active(place, path):
    place.fill(place.listen(path, backlog=0))
    active = place.hub().look()
    assert active.what.endswith("is busy")
    assert active.pid == 0
    assert "ss -xlp src %s/%s" % (place.path, path) in active.hints[1]


def test_the_hub_of_another_container_is_not_ours(place):
    place.listen("terok/clearance/ba9876543210/hub.sock")
    place.listen("terok/events/ba9876543210.sock")
    assert place.hub().look() is None


def test_a_hub_is_sent_nothing(place):
    listener = place.listen(OF_THE_CONTAINER[0])
    assert place.hub().look()
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(100) == b""


@pytest.mark.parametrize("make", [os.mkdir, lambda path: open(path, "w").close()], ids=["folder", "file"])
def test_what_is_no_socket_is_no_hub(place, make):
    os.makedirs(place.root + "/clearance/" + SID)
    make(place.root + "/clearance/%s/hub.sock" % SID)
    assert place.hub().look() is None


def test_a_hub_that_no_reader_feeds_is_refused_all_the_same_and_told_as_such(place):
    place.listen(OF_THE_CONTAINER[0])
    active = place.hub().look(has_reader=False)
    assert active.what.endswith("though no reader feeds it")
    assert active.hints == ("end the hub of this container, which frees it: kill -TERM %d" % os.getpid(),)


def test_systemd_is_never_to_be_killed_for_a_socket_that_it_opened(place):
    path = os.path.join(place.path, OF_THE_CONTAINER[0])
    os.makedirs(os.path.dirname(path))
    program = (
        "import socket, sys; open('/proc/self/comm', 'w').write('systemd');"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1);"
        "print(flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        active = place.hub().look()
        child.stdin.close()
    assert active.pid == child.pid
    assert not any(re.search(r"kill.* \d", hint) for hint in active.hints)


# --- where it may be


@pytest.mark.parametrize(
    ("folder", "environ"),
    [
        pytest.param("terok", {}, id="the runtime folder"),
        pytest.param(
            "elsewhere", {"TEROK_SANDBOX_RUNTIME_DIR": "elsewhere/sandbox"}, id="beside the sandbox"
        ),
        pytest.param("elsewhere", {"TEROK_SANDBOX_RUNTIME_DIR": "elsewhere"}, id="the sandbox itself"),
        pytest.param("elsewhere", {"TEROK_SANDBOX_RUNTIME_DIR": "elsewhere/sandbox/"}, id="with a slash"),
        pytest.param("state/terok", {"XDG_STATE_HOME": "state"}, id="the state folder"),
        pytest.param("home/.local/state/terok", {}, id="the usual state folder"),
        pytest.param("home/.local/state/terok", {"XDG_STATE_HOME": "state"}, id="the usual one too"),
    ],
)
def test_every_runtime_root_is_looked_at(place, folder, environ):
    hub = place.hub(**{name: os.path.join(place.path, value) for name, value in environ.items()})
    assert hub.look() is None
    place.listen("%s/clearance/%s/hub.sock" % (folder, SID))
    assert hub.look()


def test_without_any_environment_the_look_works(place):
    with Hub(SID, None, {}, 4242) as hub:
        assert hub.look() is None
        assert hub.folders() == ["/run/user/4242"] + [
            "/run/user/4242/terok" + below
            for below in ("", "/clearance", "/clearance/" + SID, "/events", "/events/" + SID)
        ]


def test_relative_folders_in_the_environment_are_ignored(place):
    hub = Hub(SID, None, {"XDG_RUNTIME_DIR": "run", "HOME": ".", "XDG_STATE_HOME": ""}, 4242)
    assert all(folder.startswith("/run/user/4242") for folder in hub.folders())


def test_the_folders_to_watch_hold_every_socket_that_is_looked_at(place):
    folders = place.hub(TEROK_SANDBOX_RUNTIME_DIR=place.path + "/x/y").folders()
    for path in OF_THE_CONTAINER + OF_ALL:
        assert os.path.dirname(os.path.join(place.path, path)) in folders
    assert place.root in folders
    assert len(set(folders)) == len(folders)


def test_an_id_that_is_none_is_not_looked_for():
    for text in ("", "c1", "../../x/y/z/a", "0123456789ag", "0123456789aB"):
        with pytest.raises(ValueError, match="id"):
            Hub(text, None, {}, 4242)


# --- the sidecar file


@pytest.fixture
def sidecar(place):
    """A sidecar file that is believed, naming a root that nothing else would lead to, with a hub there."""
    folder = place.path + "/sidecars"
    os.mkdir(folder, 0o700)
    path = folder + "/c1.json"
    with open(path, "w") as file:
        json.dump({"runtime_dir": place.path + "/odd/sandbox", "other": 1}, file)
    os.chmod(path, 0o600)
    place.listen("odd/clearance/%s/hub.sock" % SID)
    return path


def found(place, sidecar):
    return place.hub(sidecar=sidecar, uid=os.getuid()).look()


def test_the_sidecar_file_tells_the_runtime_root(place, sidecar):
    assert found(place, None) is None
    assert place.path + "/odd/clearance/" in found(place, sidecar).what


def test_a_sidecar_file_cannot_hide_a_hub_in_the_usual_place(place, sidecar):
    place.listen(OF_THE_CONTAINER[0])
    with open(sidecar, "w") as file:
        json.dump({"runtime_dir": place.path + "/nothing/here"}, file)
    assert OF_THE_CONTAINER[0] in found(place, sidecar).what


def forge_group(place, path):
    os.chmod(path, 0o660)


def forge_folder(place, path):
    os.chmod(os.path.dirname(path), 0o777)


def forge_link(place, path):
    os.rename(path, path + ".real")
    os.symlink(path + ".real", path)


def forge_folder_link(place, path):
    os.rename(os.path.dirname(path), place.path + "/real")
    os.symlink(place.path + "/real", os.path.dirname(path))


def forge_fifo(place, path):
    os.remove(path)
    os.mkfifo(path, 0o600)


def forge_absence(place, path):
    os.remove(path)


@pytest.mark.parametrize(
    "forge", [forge_group, forge_folder, forge_link, forge_folder_link, forge_fifo, forge_absence]
)
def test_a_sidecar_file_that_others_may_have_made_is_not_believed(place, sidecar, forge):
    forge(place, sidecar)
    assert found(place, sidecar) is None


def test_a_sidecar_file_of_another_user_is_not_believed(place, sidecar, need):
    assert place.hub(sidecar=sidecar, uid=os.getuid() + 1).look() is None
    need("root")
    os.chown(sidecar, 4242, 4242)
    assert found(place, sidecar) is None


def test_a_sidecar_path_that_is_not_absolute_is_not_opened(place, sidecar, monkeypatch):
    monkeypatch.chdir(os.path.dirname(sidecar))
    assert found(place, "c1.json") is None
    assert found(place, "") is None
    assert found(place, sidecar + "\0") is None
    assert found(place, "/" + "\ud800") is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"x"', "{}", '{"runtime_dir": 7}', '{"runtime_dir": null}',
     '{"runtime_dir": ""}',
     '{"runtime_dir": "odd/sandbox"}', '{"runtime_dir": "/\\u0000"}', '{"runtime_dir": "/x\\ud800/y"}',
     '{"runtime_dir": ["/x"]}', "[" * 100000, "\\xff", '{"runtime_dir": "/nowhere/x"}'],
)  # fmt: skip
def test_a_sidecar_file_with_anything_in_it_does_no_harm(place, sidecar, text):
    with open(sidecar, "w") as file:
        file.write(text)
    assert found(place, sidecar) is None


# --- what can't be asked


@pytest.mark.parametrize("path", OF_THE_CONTAINER + OF_ALL)
def test_a_socket_of_another_kind_is_not_the_same_as_no_hub(place, path):
    place.listen(path, kind=socket.SOCK_DGRAM)
    message = cannot_tell(place.hub())
    assert message.endswith("%s: %s" % (path, os.strerror(91)))  # EPROTOTYPE


def test_a_socket_that_we_may_not_reach_is_not_the_same_as_no_hub(place, as_ordinary_user):
    place.listen(OF_THE_CONTAINER[0])
    os.chmod(place.root + "/clearance", 0)
    told = as_ordinary_user(lambda: cannot_tell(place.hub()))
    assert "hub.sock: Permission denied" in told
    assert as_ordinary_user(lambda: place.hub(ignore=True).look()) == "None"


def test_to_ignore_what_cannot_be_asked_never_ignores_a_hub(place):
    place.listen(OF_THE_CONTAINER[0], kind=socket.SOCK_DGRAM)
    hub = place.hub(ignore=True)
    assert hub.look() is None
    place.listen(OF_THE_CONTAINER[3])
    assert OF_THE_CONTAINER[3] in hub.look().what


def test_a_hub_is_found_behind_a_place_that_cannot_be_asked(place):
    place.listen(OF_THE_CONTAINER[0], kind=socket.SOCK_DGRAM)
    place.listen(OF_ALL[1])
    assert OF_ALL[1] in place.hub().look().what


def test_a_path_too_long_for_a_socket_is_no_hub_unless_something_is_there(place):
    deep = place.path + "/" + "d" * 90
    hub = place.hub(TEROK_SANDBOX_RUNTIME_DIR=deep + "/sandbox")
    assert hub.look() is None
    os.makedirs("%s/clearance/%s" % (deep, SID))
    open("%s/clearance/%s/hub.sock" % (deep, SID), "w").close()
    assert "too long" in cannot_tell(hub)


def test_what_a_path_holds_cannot_paint_the_screen(place):
    os.mkdir(place.path + "/a\x1b[2Jb")
    place.listen("a\x1b[2Jb/terok-clearance.sock")
    active = place.hub(XDG_RUNTIME_DIR=place.path + "/a\x1b[2Jb").look()
    assert "a\\x1b[2Jb" in active.what and "\x1b" not in active.what + "".join(active.hints)


# --- what it costs


def test_a_look_leaves_no_descriptor_behind(place, descriptors):
    place.listen(OF_THE_CONTAINER[2])
    before = descriptors()
    with place.hub() as hub:
        for _ in range(5):
            assert hub.look()
    assert descriptors() == before


COUNTED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from simple_clearance.hub.hub import Hub
hub = Hub(sys.argv[2], None, os.environ, 4242)
hub.look()
seen = []
sys.addaudithook(lambda event, about: seen.append((event, about)))
assert hub.look() is None
for event, about in seen:
    if event in ("socket.connect", "open", "os.listdir", "os.scandir"):
        print(event, about[-1])
    elif event == "socket.__new__":
        assert about[1] == 1, "AF_UNIX, and no other kind that could tell of sockets"
"""


@pytest.fixture
def hostile(place):
    """Five hundred sockets of another program, named as a hub's would be, but for where they lie."""
    listening = []
    for number in range(500):
        path = OF_THE_CONTAINER[number % 4]
        listening.append(socket.socket(socket.AF_UNIX))
        if number % 2:
            listening[-1].bind("\0%s/%s\n%d" % (place.path, path, number))
        else:
            folder = "%s/others/%d/" % (place.path, number)
            os.makedirs(os.path.dirname(folder + path))
            listening[-1].bind(folder + path)
        listening[-1].listen()
    yield
    for one in listening:
        one.close()


def looked_at(place):
    """What a look connects to and opens, one thing a line, where a hub has been before."""
    for kind in ("clearance", "events"):
        os.makedirs(place.root + "/" + kind, exist_ok=True)
    environ = place.environ(XDG_STATE_HOME=place.path, TEROK_SANDBOX_RUNTIME_DIR=place.path + "/a/b")
    argv = [sys.executable, "-I", "-S", "-c", COUNTED, ROOT, SID]
    done = subprocess.run(argv, env=environ, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().splitlines()


def test_a_look_connects_to_each_place_once_and_opens_nothing(place):
    """Each verdict waits for one; how long it takes is for the benches to tell."""
    lines = looked_at(place)
    assert len(set(lines)) == len(lines) < 40
    assert all(line.startswith("socket.connect ") for line in lines)
    assert all("socket.connect %s/%s" % (place.path, path) in lines for path in OF_THE_CONTAINER + OF_ALL)


def test_a_look_does_nothing_more_however_many_sockets_others_bind(place, request):
    alone = looked_at(place)
    request.getfixturevalue("hostile")
    assert looked_at(place) == alone
