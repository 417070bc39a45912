"""`--completion SHELL`: what a shell asks when TAB is pressed, made from the options as they are.

The awkward facts: bash takes `=` for the end of a word, so that `--answer=al` reaches it as three; and
fish and zsh quote in ways of their own.  Containers are looked up when they are asked for, by
`--completion containers`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Callable, Sequence

PROGRAMS = ("simple-clearance.pyz", "simple-clearance")
CONTAINERS = "containers"


class Option:
    """An option of the command line: its `names`, `help`, and what its value is.

    `kind` is "" for one without a value, else `words` (one of `choices`), `folder`, `file`, `command`
    or `other`.
    """

    KINDS = {"DIR": "folder", "FILE": "file", "PATH": "file", "CMD": "command"}

    def __init__(self, action: argparse.Action, hidden: Sequence[str]) -> None:
        self.names = action.option_strings
        self.help = (action.help or "").replace("%%", "%")
        self.choices = [str(choice) for choice in action.choices or () if choice not in hidden]
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        if action.nargs == 0:
            self.kind = ""
        else:
            self.kind = "words" if self.choices else self.KINDS.get(metavar, "other")


def script(shell: str, actions: Sequence[argparse.Action]) -> str:
    """The completion for `bash`, `zsh` or `fish`; the options are those among `actions`."""
    options = [Option(action, (CONTAINERS,)) for action in actions if action.option_strings]
    return SHELLS[shell](options)


def _bash(options: list[Option]) -> str:
    by_kind = {
        "folder": "_simple_clearance_files -d",
        "file": "_simple_clearance_files -f",
        "command": 'mapfile -t COMPREPLY < <(compgen -c -- "$word")',
        "other": ":",
    }
    cases = []
    for option in options:
        if option.kind:
            words = "_simple_clearance_words '%s'" % " ".join(option.choices)
            cases.append("    %s) %s; return ;;" % ("|".join(option.names), by_kind.get(option.kind, words)))
    return BASH % {
        "cases": "\n".join(cases),
        "options": " ".join(name for option in options for name in option.names),
        "programs": " ".join(PROGRAMS),
    }


BASH = """\
# completion of simple-clearance for bash:  eval "$(simple-clearance.pyz --completion bash)"
_simple_clearance_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word"); }
_simple_clearance_files() { mapfile -t COMPREPLY < <(compgen "$1" -- "$word"); compopt -o filenames; }
_simple_clearance() {
  local word=$2 before=$3
  if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
  COMPREPLY=()
  case $before in
%(cases)s
  esac
  if [[ $word == -* ]]; then
    _simple_clearance_words '%(options)s'
  else
    _simple_clearance_words "$("${1/#\\~\\//$HOME/}" --completion containers 2>/dev/null)"
  fi
}
complete -F _simple_clearance %(programs)s
"""


def _zsh(options: list[Option]) -> str:
    by_kind = {"folder": "_files -/", "file": "_files", "command": "_command_names -e", "other": " "}
    specs = []
    for option in options:
        told = "[%s]" % "".join("\\" + sign if sign in "[]:\\" else sign for sign in option.help)
        value = by_kind.get(option.kind, "(%s)" % " ".join(option.choices))
        end = ":value:%s" % value if option.kind else ""
        for name in option.names:
            specs.append("    %s \\" % _quoted("%s%s%s%s" % (name, "=" * bool(option.kind), told, end)))
    return ZSH % {"specs": "\n".join(specs), "programs": " ".join(PROGRAMS)}


ZSH = """\
#compdef %(programs)s
# completion of simple-clearance for zsh:  eval "$(simple-clearance.pyz --completion zsh)"
_simple_clearance_containers() {
  local -a names=(${(f)"$(${~words[1]} --completion containers 2>/dev/null)"})
  compadd -a names
}
_simple_clearance() {
  _arguments \\
%(specs)s
    '*:container:_simple_clearance_containers'
}
if [ "$funcstack[1]" = _simple_clearance ]; then
  _simple_clearance "$@"
else
  compdef _simple_clearance %(programs)s
fi
"""


def _fish(options: list[Option]) -> str:
    by_kind = {
        "": "",
        "folder": " -x -a '(__fish_complete_directories)'",
        "file": " -r -F",
        "command": " -x -a '(__fish_complete_command)'",
        "other": " -x",
    }
    lines = []
    for program in PROGRAMS:
        lines.append("complete -c %s -f -a '(__simple_clearance_containers)'" % program)
        for option in options:
            words = " -x -a '%s'" % " ".join(option.choices)
            names = "".join(
                (" -l " if name[:2] == "--" else " -s ") + name.lstrip("-") for name in option.names
            )
            value, told = (
                by_kind.get(option.kind, words),
                option.help.replace("\\", "\\\\").replace("'", "\\'"),
            )
            lines.append("complete -c %s%s%s -d '%s'" % (program, names, value, told))
    return FISH % "\n".join(lines)


FISH = """\
# completion of simple-clearance for fish:  simple-clearance.pyz --completion fish | source
function __simple_clearance_containers
  set -l program (commandline -opc)[1]
  set program (string replace -r '^~/' "$HOME/" -- $program)
  $program --completion containers 2>/dev/null
end
%s
"""


def _quoted(text: str) -> str:
    return "'%s'" % text.replace("'", "'\\''")


SHELLS: dict[str, Callable[[list[Option]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
