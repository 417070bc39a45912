"""Stands where podman stands: `inspect` and `ps` of the containers that a `Host` keeps in its folder.

Run as `podman FOLDER ARGUMENT...` by the wrapper that `Host` writes.  What it does beyond that is
in FOLDER/control under "podman": `delay` (seconds), `gate` (a file that has to be there before
anything happens), `mode` (`hang`, `garbage`, `huge`, `fail`).
Texts and exit codes are those of podman 4.3.1.
"""

import standin

FORMATS = {"{{.Names}}": "Name", "{{.Name}}": "Name", "{{.ID}}": "Id", "{{.Id}}": "Id", "{{.PID}}": "Pid"}


def inspect(words):
    names = [word for word in words if not word.startswith("-") and word != "json"]
    found, missing = [], []
    for name in names:
        text = standin.text(name)
        if text is None:
            standin.tell("Error: more than one result for container ID %s: container already exists" % name)
            return 125
        found.append(text) if text else missing.append(name)
    print("[%s]" % ",\n".join(found))
    for i, name in enumerate(missing):
        standin.tell('%s inspecting object: no such object: "%s"' % ("error" if i else "Error:", name))
    return 125 if missing else 0


def ps(words):
    everything = "-a" in words or "--all" in words
    listed = [c for c in map(standin.read, standin.texts()) if everything or c["State"]["Running"]]
    form = ""
    for i, word in enumerate(words):
        if word == "--format":
            form = words[i + 1]
        elif word.startswith("--format="):
            form = word[len("--format=") :]
    if form == "json":
        import json

        rows = [
            {
                "Id": c["Id"],
                "Names": [c["Name"]],
                "State": c["State"]["Status"],
                "Pid": c["State"]["Pid"],
                "Labels": None,
                "Image": c["ImageName"],
                "Exited": not c["State"]["Running"],
            }
            for c in listed
        ]
        print(json.dumps(rows, indent=2))
        return 0
    for c in listed:
        if "-q" in words or "--quiet" in words:
            print(c["Id"] if "--no-trunc" in words else c["Id"][:12])
        else:
            line = form or "{{.ID}} {{.Names}}"
            for key, field in FORMATS.items():
                line = line.replace(key, str(c["State"]["Pid"] if field == "Pid" else c[field]))
            print(line)
    return 0


def main(words):
    mode = standin.control("podman").get("mode", "")
    standin.pause(standin.control("podman"))
    if mode == "hang":
        standin.hang()
    if mode == "garbage":
        print('[{"Id": 7, "State": "what?"')
        return 0
    if mode == "huge":
        return standin.chatter()
    if mode == "fail":
        standin.tell("Error: cannot open run-dir: permission denied")
        return 125
    if words == ["--version"]:
        print("podman version 4.3.1")
        return 0
    if words[:2] == ["container", "inspect"] or words[:1] == ["inspect"]:
        return inspect(words[words.index("inspect") + 1 :])
    if words[:1] == ["ps"] or words[:2] == ["container", "ls"]:
        return ps(words)
    standin.tell("Error: unrecognized command `podman %s`" % " ".join(words[:1]))
    return 125


standin.run("podman", main)
