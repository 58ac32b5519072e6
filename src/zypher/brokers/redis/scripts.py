"""The scripts that Redis runs: every change of a state is one of them, whole or not at all."""

from importlib.resources import files

_FOLDER = files(__package__) / "lua"
_COMMON = "common.lua"

# Every poll runs this one, which needs nothing of what others have in common.
_ALONE = ("read.lua",)

# They take something in, and are refused when Redis is out of memory. All others go on then: that
# is how work ends and memory gets free.
_TAKE_IN = ("submit.lua", "publish.lua")


def _text(file: str) -> str:
    """What Redis runs. The first line is for itself (Redis 7.0, "script flags")."""
    flags = "" if file in _TAKE_IN else " flags=allow-oom"
    parts = (file,) if file in _ALONE else (_COMMON, file)
    return "\n".join((f"#!lua{flags}", *((_FOLDER / part).read_text() for part in parts)))


SCRIPTS = {
    file.name.removesuffix(".lua"): _text(file.name)
    for file in _FOLDER.iterdir()
    if file.name.endswith(".lua") and file.name != _COMMON
}
