"""What is wrong with the shell commands of a cluster.yaml: what bash cannot read, and how Ray is started. Runs none."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from sweeps.errors import InfeasibleError, Problem

START = {"head_start_ray_commands": "head", "worker_start_ray_commands": "worker"}
"""Keys of the commands that start Ray, and where they run."""

_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_KEYWORDS = {"{", "if", "then", "else", "elif", "do", "while", "until", "!"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_TOKEN_MODE = re.compile(r"RAY_AUTH_MODE=[\"']?token\b")
_TOKEN_EXPORT = re.compile(rf"\bexport\s[^;&|\n]*{_TOKEN_MODE.pattern}")
_DASHBOARD_HOST = re.compile(r"--dashboard-host[= ][\"']?([^\s\"';]+)")
_PROFILE = re.compile(r"(>>?|\btee\b)[^|;&]*(bashrc|profile|/etc/environment)")  # written, not only read


def command_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the commands of a cluster.yaml.

    Parameters
    ----------
    data
        What the file holds, as plain data; the form of every section is right.

    Yields
    ------
    Problem
        By dotted key, without lines.

    Raises
    ------
    InfeasibleError
        There is no bash here.
    """
    lists = {key: data.get(key, []) for key in _COMMANDS}
    for name, kind in data.get("available_node_types", {}).items():
        for key in ("initialization_commands", "worker_setup_commands"):
            lists[f"available_node_types.{name}.{key}"] = kind.get(key, [])
    for key, commands in lists.items():
        for index, command in enumerate(commands):
            yield from _shell_problems(command, f"{key}.{index}")
    everywhere = any(_keeps_token_mode(command) for command in lists["setup_commands"])
    for key, who in START.items():
        is_set = everywhere or any(_keeps_token_mode(command) for command in lists[f"{who}_setup_commands"])
        if key not in data:
            continue  # which has been said
        yield from _start_problems(key, who, lists[key], is_set)


def _shell_problems(command: str, where: str) -> Iterator[Problem]:
    try:
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    except OSError as error:
        raise InfeasibleError(f"commands are checked by bash, which does not start here: {error}") from error
    except ValueError as error:  # a NUL, or what is no Unicode
        yield Problem(f"no command can hold such a character: {error}", where)
        return
    if checked.returncode:
        reason = checked.stderr.strip().splitlines()[0].rpartition(": ")[2] if checked.stderr else "not a command"
        hint = "; YAML takes ' #' as the beginning of a comment" if "EOF" in reason else ""
        yield Problem(f"bash cannot read it: {reason}{hint}", where)


def _keeps_token_mode(command: str) -> bool:
    """Whether a setup command has later commands, each in a shell of its own, use token authentication."""
    found = _TOKEN_EXPORT.search(command) or ("/etc/environment" in command and _TOKEN_MODE.search(command))
    return bool(found and _PROFILE.search(command))


def _start_problems(key: str, who: str, commands: list[str], is_token_set: bool) -> Iterator[Problem]:
    needed = {"head": "--head", "worker": "--address"}[who]
    starts = [(index, command) for index, command in enumerate(commands) if "ray start" in command]
    if not starts:
        yield Problem(f"has no `ray start {needed} ...`; nothing would start on the {who}", key)
    for index, command in starts:
        where = f"{key}.{index}"
        if not re.search(rf"{needed}(?![\w-])", command):
            yield Problem(f"`ray start` without {needed} starts no {who}; add it", where)
        if who == "head" and "--autoscaling-config" not in command:
            yield Problem("no worker would ever start; add --autoscaling-config=~/ray_bootstrap_config.yaml", where)
        if not _starts_with_token(command, is_token_set):
            text = "starts Ray open to everybody; write `RAY_AUTH_MODE=token ray start ...`, or let a setup command add"
            yield Problem(f"{text} `export RAY_AUTH_MODE=token` to ~/.bashrc", where)
        host = _DASHBOARD_HOST.search(command)
        if host and host[1] not in _LOOPBACK:
            text = f"--dashboard-host={host[1]} opens the Jobs server to the network; leave it out or give 127.0.0.1"
            yield Problem(text, where)


def _starts_with_token(command: str, is_set: bool) -> bool:
    """Whether every `ray start` has RAY_AUTH_MODE=token in its environment; an assignment alone is not passed on."""
    n_starts = 0
    for words in _simple_commands(command):
        first = next((word for word in words if word not in _KEYWORDS), "")
        if first == "export":
            is_set = _assigned(words, is_set)
        for index, word in enumerate(words):
            if "ray start" in word and word != command:  # quoted, for another shell
                n_starts += 1
                if not _starts_with_token(word, is_set):
                    return False
            elif word.rpartition("/")[2] == "ray" and words[index + 1 : index + 2] == ["start"]:
                n_starts += 1
                before = takewhile(_ASSIGNMENT.match, reversed(words[:index]))
                if not _assigned([*before][::-1], is_set):
                    return False
    return n_starts > 0


def _assigned(words: Sequence[str], is_set: bool) -> bool:
    """Whether the mode is that of tokens after the assignments among the words."""
    modes = [word.partition("=")[2] for word in words if word.startswith("RAY_AUTH_MODE=")]
    return modes[-1] == "token" if modes else is_set


def _simple_commands(command: str) -> Iterator[list[str]]:
    """The words of each command between `;`, `&&`, `|` and the like, without their quotes."""
    lexer = shlex.shlex(command.replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        for word in lexer:
            if word.strip("();|&"):
                words.append(word)
            else:
                yield words
                words = []
    except ValueError:  # quotes that do not end, which bash has said
        pass
    yield words
