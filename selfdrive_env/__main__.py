"""The command line: `selfdrive`, or `python -m selfdrive_env`; `--help` has all."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from selfdrive_env.commands.options import make_parser

__all__ = ["main"]

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Of the command line without the program's name, None for those of the process.

    Returns:
        Exit code: 0 after success, 1 after a failure that the command tells, 2 after a mistake in
        what the user gave or something that is missing, 130 after Ctrl-C.
    """
    if arguments is None and isinstance(sys.stdout, io.TextIOWrapper):
        # A name with characters that a console lacks, as that of Windows, is shown all the same.
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = make_parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.exit(2, parser.format_help())
    parsed = parser.parse_args(arguments)
    module, _, function = parsed.run.partition(":")
    try:
        code = int(getattr(import_module(module), function)(parsed))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        end_line()
        print("selfdrive: stopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # whoever read our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, ImportError) as error:
        end_line()
        text = " ".join(str(error).split())
        print(f"selfdrive: {text or type(error).__name__}", file=sys.stderr)
        return 2


def end_line() -> None:
    """Leaves a line of progress on a terminal."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def leave(code: int) -> None:
    """Ends the process with an exit code.

    One of several (`torchrun`) ends at once: threads of torch's that outlive its group abort now
    and then an interpreter that ends, although the work is done and on disk.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
