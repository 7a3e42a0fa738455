"""`scripts/run`: start everything on this machine, replay or demonstrate, stop everything."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from app.infra.embedded.processes import EmbeddedServerError
from scripts.launch.commands import AppCommands
from scripts.launch.console import Console, LaunchError
from scripts.launch.keys import load_keys
from scripts.launch.start import Running, everything

ROOT = Path(__file__).resolve().parents[2]
EXIT_INTERRUPTED = 128 + signal.SIGINT


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit code; errors are one line on stderr."""
    options = _parse(arguments)
    console = Console(quiet_stdout=options.json)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        if options.list_days:
            return _list_days()
        with everything(ROOT, os.environ, console) as running:
            return _replay(running, options, console) if options.replay else _demo(running, console)
    except BrokenPipeError:
        # Our reader has gone, as `| head` does. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LaunchError, EmbeddedServerError, OSError) as error:
        print(f"sauda: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/run",
        description="Start Sauda on this machine with servers of its own and watch it trade real bars on a paper "
        "exchange. Without options: the first sample day fast, then the following days at market speed, until Ctrl-C.",
    )
    parser.add_argument("--replay", metavar="DAY", help="replay this day (YYYY-MM-DD, or sample for the first one)")
    parser.add_argument("--speed", metavar="N", type=float, help="times market speed; 0 is as fast as it goes")
    parser.add_argument("--until-done", action="store_true", help="stop everything once the replay is over")
    parser.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object of results")
    parser.add_argument("--list-days", action="store_true", help="list the days that can be replayed")
    options = parser.parse_args(arguments)
    if options.replay is None and (options.speed is not None or options.until_done or options.json):
        parser.error("--speed, --until-done and --json need --replay DAY")
    if options.speed is not None and not 0 <= options.speed < float("inf"):
        parser.error("--speed must be 0 or more")
    return options


def _list_days() -> int:
    settings = {**os.environ, **load_keys(ROOT / "data" / "secrets.env", os.environ)}
    print(AppCommands(ROOT, settings).step("replay", "--list-days"))
    return 0


def _replay(running: Running, options: argparse.Namespace, console: Console) -> int:
    arguments = ["replay", options.replay, "--until-done"]
    if options.speed is not None:
        arguments += ["--speed", f"{options.speed:g}"]
    if options.json:
        arguments.append("--json")
    code = running.app.attached(*arguments)
    if code == 0 and not options.until_done:
        console.say(f"the replay is over; everything keeps running until Ctrl-C. API: {running.api_url}/docs")
        signal.pause()
    return code


def _demo(running: Running, console: Console) -> int:
    console.say(f"API documentation: {running.api_url}/docs   (Ctrl-C stops everything)")
    return running.app.attached("demo")


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
