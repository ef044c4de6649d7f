"""Plays arduino-cli for the tests: its options, its answers, its refusals, without core or board.

What it knows is taken from arduino-cli 1.5.1's sources: which options a command has, that a profile
excludes --libraries, that a library's `dir` is relative to the sketch, what --output-dir gets, and
its JSON. The file that FAKE_ARDUINO_CLI names holds what is to be answered; calls go into its log.
"""

import argparse
import json
import os
import struct
import sys
from pathlib import Path
from typing import NoReturn

import yaml

BAD_ARGUMENT = 7


def refuse(text: str, code: int = 1) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(code)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("version", parents=[], allow_abbrev=False)
    commands.add_parser("core", allow_abbrev=False).add_argument("what", choices=["list"])
    for name in ("compile", "upload"):
        command = commands.add_parser(name, allow_abbrev=False)
        command.add_argument("--fqbn", "-b")
        command.add_argument("--profile", "-m")
        command.add_argument("--port", "-p")
        command.add_argument("sketch", type=Path)
        if name == "compile":
            command.add_argument("--upload", "-u", action="store_true")
            command.add_argument("--build-property", action="append", default=[])
            command.add_argument("--libraries", action="append", default=[])
            command.add_argument("--output-dir", type=Path)
        else:
            command.add_argument("--input-file", "-i", type=Path)
    # A persistent flag may stand behind its command.
    ordered = [word for word in arguments if word != "--format" and word != "json"]
    json_asked = ["--format", "json"] if "--format" in arguments else []
    return parser.parse_args([*json_asked, *ordered])


def check_target(given: argparse.Namespace) -> None:
    """Find the board's package and the libraries as the profile says, or the option."""
    if not given.profile:
        if not given.fqbn:
            refuse("Missing FQBN (Fully Qualified Board Name)", BAD_ARGUMENT)
        return
    if getattr(given, "libraries", None):
        refuse("You cannot use the --libraries flag while compiling with a profile.", BAD_ARGUMENT)
    project = yaml.safe_load((given.sketch / "sketch.yaml").read_text())
    profile = project["profiles"].get(given.profile) or refuse(f"Profile {given.profile} not found")
    for library in profile.get("libraries", []):
        if isinstance(library, dict) and not (given.sketch / library["dir"]).is_dir():
            refuse(f"Invalid library directory in sketch project: {library['dir']}")


def main() -> None:
    settings = json.loads(Path(os.environ["FAKE_ARDUINO_CLI"]).read_text())
    with Path(settings["log"]).open("a") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    given = options(sys.argv[1:])
    if given.command == "version":
        print(json.dumps({"Application": "arduino-cli", "VersionString": settings["version"]}))
    elif given.command == "core":
        print(json.dumps({"platforms": settings["platforms"]}))
    else:
        check_target(given)
        if settings["error"]:
            refuse(settings["error"])
        if (given.command == "upload" or given.upload) and not given.port:
            refuse("Error during Upload: no upload port provided")
        if given.command == "compile":
            print("Sketch uses 101224 bytes (10%) of program storage space.")
            if given.output_dir:
                image = struct.pack("<II", 0x2004_0000, 0x0001_0201) + bytes(4096)
                (given.output_dir / f"{given.sketch.name}.ino.bin").write_bytes(image)
                (given.output_dir / f"{given.sketch.name}.ino.elf").write_bytes(b"\x7fELF")
        elif not given.input_file.is_file():
            refuse(f"Error during Upload: binary file not found in {given.input_file}")


if __name__ == "__main__":
    main()
