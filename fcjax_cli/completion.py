"""`fcjax completion`: scripts by which a shell completes the command. tyro writes them."""

import contextlib
import io
import re
from collections.abc import Callable, Mapping

import tyro

# tyro's script for bash offers an empty word where it has none, no file that is an argument, and
# parts of file names with blanks. Bash completes files itself where a script offers nothing.
_BASH = """
_fcjax() {
  _tyro_fcjax
  [[ -n "${COMPREPLY[*]}" ]] || COMPREPLY=()
  [[ $COMP_CWORD -gt 1 && -e "${COMPREPLY[0]}" ]] && COMPREPLY=()
  return 0
}
complete -o bashdefault -o default -F _fcjax fcjax
"""
# zsh calls a function of a file in its `fpath`, but here the script is read.
_ZSH = """
(( $+functions[compdef] )) || { autoload -Uz compinit; compinit; }
_fcjax() {
  _tyro_fcjax "$@" && return
  [[ $CURRENT -gt 2 && ${words[CURRENT]} != -* ]] && _files
}
compdef _fcjax fcjax
"""
_FISH = """
complete --command fcjax --force-files --condition \\
  'test (count (commandline -opc)) -gt 1; and not string match -q -- "-*" (commandline -ct)'
"""


def script(shell: str, commands: Mapping[str, Callable[..., object]]) -> str:
    """Return the script for a shell; raise ValueError if tyro cannot write it."""
    written = io.StringIO()
    arguments = ["--tyro-print-completion", shell]
    try:
        with contextlib.redirect_stdout(written), contextlib.redirect_stderr(io.StringIO()):
            tyro.extras.subcommand_cli_from_dict(dict(commands), prog="fcjax", args=arguments)
    except (SystemExit, AssertionError) as end:
        if isinstance(end, AssertionError) or end.code:
            raise ValueError(
                f"shell: the installed tyro {tyro.__version__} cannot complete in {shell}; "
                "pip install --upgrade tyro"
            ) from None
    text = _in_a_line(written.getvalue())
    if shell == "zsh":
        text = text.replace('\n_tyro_fcjax "$@"', "")
    return text + {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]


def _in_a_line(text: str) -> str:
    """Shorten the help of each option to its first line: the shells take each line for an option.

    It is within a Python literal, whose backslashes are escaped again in the script for fish.
    """
    return re.sub(r"^COMPLETION_SPEC = .*$", _first_lines, text, flags=re.MULTILINE)


def _first_lines(spec: re.Match[str]) -> str:
    return re.sub(r"\\{1,2}n", " ", spec[0])
