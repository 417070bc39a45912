"""Text that was meant for another window, and keys that are held down: at no speed a verdict.

All on a simulated clock, so that every speed can be had; a few of them on a real terminal are in
tests/session/test_keys_on_a_pty.py.
"""

from __future__ import annotations

import random
import re

import pytest
from stage import Stage
from support import thorough

WORDS = re.findall(
    r"\S+",
    """
a2enmod add alias ansible apk apt apt-get ar arch as at awk aws badblocks bash bat bc bg blkid bzip2
cal cargo cat cd chgrp chmod chown chroot chsh clear cmake cmp code column comm cp cron crontab
csplit curl cut dash date dc dd deno df diff dig dir dirname dmesg dnf docker dpkg du echo ed emacs
enable env eval exec exit expand export false fdisk ffmpeg fg file find fish flatpak fmt fold free
fsck gcc gdb git go gpg grep gunzip gzip halt hash head helm help hexdump history host hostname htop
iconv id ifconfig info init insmod ip iptables jobs join journalctl jq kill killall kubectl last ld
ldd less ln locale locate login logout ls lsblk lsmod lsof lspci lsusb ltrace lua make man md5sum
mkdir mkfs mount mv mysql nano nc netstat nft nice nl node nohup npm nslookup od openssl paste patch
perl pgrep php ping pip pkill podman poweroff printf ps psql pwd python quota read readlink reboot
rm rmdir rsync rustc scp screen sed seq service sftp sh shutdown sleep sort split ssh stat strace
stty su sudo sum sync sysctl systemctl tac tail tar tee time tmux top touch tr tree true tty umask
uname uniq unzip uptime useradd vi vim vmstat w watch wc wget which who xargs yes zsh
""",
)
SENTENCES = """
Are you all done with that yard yet?
A sad lad had a salad.
day by day my dad made us jam and said: all my days
yes, i am sad; ask dad
a d a d a d y y y a
lima, india, asia: all day
I did add a dash of madeira.
sudo apt update && sudo apt upgrade -y
docker ps -a
podman exec -it c1 bash
ls -la; cd /; ls -ld a
git add -A && git commit -am "a day"
rm -rf dist && make all
kubectl get pods -A --watch
history | grep ssh-add
ssh-add -l; id -a; a
l1a1
l*a3
hid a lid? aha
Any key, said Ada, may do: a, d, A, y, u.
""".strip().split("\n")
SPEEDS = [0.02, 0.16, 0.31, 0.4, *thorough(*(n / 1000 for n in range(20, 401, 10)))]


def asked():
    """Three questions wait, the first of them by name; it has stood for long."""
    stage = Stage(emulate=False)
    stage.blocked("203.0.113.1", names=["www.example.com"])
    stage.blocked("203.0.113.2")
    stage.blocked("198.51.100.3", 22)
    stage.wait(5)
    return stage


def typed(text, pauses):
    stage = asked()
    for letter, pause in zip(text, pauses):
        stage.type(letter)
        stage.wait(pause)
    stage.wait(3)
    return stage


def test_there_are_as_many_words_as_there_should_be():
    assert len(set(WORDS)) >= 200 and len(SENTENCES) == 20


@pytest.mark.parametrize("end", ["", "\r"])
@pytest.mark.parametrize("speed", SPEEDS)
def test_no_word_and_no_sentence_runs_a_verdict(speed, end):
    for text in [*WORDS, *SENTENCES]:
        stage = typed(text + end, [speed] * 100)
        assert stage.commands == [], text


def test_nor_does_one_that_is_typed_as_people_type(rounds):
    rng = random.Random(15)
    for _ in range(rounds(20)):
        for text in [*WORDS, *SENTENCES]:
            pauses = [rng.uniform(0.02, 0.4) for _ in text]
            assert typed(text, pauses).commands == [], (text, pauses)


def held(stage, key, delay, repeat, seconds):
    """A key is pressed and held down for so long."""
    at, end = stage.mono, stage.mono + seconds
    stage.type(key)
    while at + delay <= end:
        stage.wait(max(0.0, at + delay - stage.mono))
        at = stage.mono
        stage.type(key)
        delay = repeat
    stage.wait(3)


DELAYS = [0.25, 0.55, 1.0, *thorough(*(n / 100 for n in range(25, 101, 5)))]
REPEATS = [0.033, 0.13, 0.5, *thorough(*(n / 1000 for n in range(15, 501, 35)))]


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("repeat", REPEATS)
def test_no_key_that_is_held_down_runs_two_verdicts(delay, repeat):
    for key in "ad":
        for seconds in (0.3, 0.9, 1.0, 1.2, 1.4, 1.55, 2.0, 2.7, 5.0):
            stage = asked()
            held(stage, key, delay, repeat, seconds)
            assert len(stage.commands) <= 1, (key, seconds)


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("repeat", REPEATS)
def test_no_second_thought_is_answered_by_a_key_that_is_held_down(delay, repeat):
    for keys in ("Ay", "uy", "l*a2\r"):
        for seconds in (0.9, 1.4, 2.0, 5.0):
            stage = asked()
            stage.key("a")
            before = len(stage.commands)
            for key in keys[:-1]:
                stage.key(key)
            stage.wait(1.3)
            held(stage, keys[-1], delay, repeat, seconds)
            assert len(stage.commands) <= before + (2 if keys[-1] == "\r" else 1), (keys, seconds)
