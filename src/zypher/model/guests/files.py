"""Files of guests: data URLs (RFC 2397) in the JSON, and paths or open files in the model."""

import base64
import io
import mimetypes
import tempfile
from pathlib import Path, PurePath
from typing import Any

from zypher.errors import InvalidInput, InvalidOutput
from zypher.model.binary import to_bytes


def received(url: str, name: str) -> tuple[bytes, str]:
    """The content of a data URL that came as the input `name`, and a suffix that fits its type.

    Raises InvalidInput.
    """
    try:
        media_type = url.removeprefix("data:").partition(",")[0].partition(";")[0]
        return to_bytes(url), mimetypes.guess_extension(media_type) or ""
    except ValueError as error:
        message = f"{error}"
        raise InvalidInput(
            f"The input is wrong at input.{name}: {message}.",
            errors=[{"loc": ["input", name], "msg": message, "type": "value_error"}],
        ) from None


def written(content: bytes, suffix: str, folder: str) -> str:
    """The path of a new file in `folder` that has this content."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=suffix, delete=False) as file:
        file.write(content)
        return file.name


def sent(file: PurePath | io.IOBase, began: int) -> str:
    """The content of a file that a model returned, as a data URL.

    A temporary file that is not older than the run, which `began` then, was made for this result
    and is deleted. Raises InvalidOutput when it cannot be read.
    """
    if isinstance(file, io.IOBase):
        with file:
            return _data_url(file.read(), str(getattr(file, "name", "")))
    path = Path(file)
    try:
        url = _data_url(path.read_bytes(), path.name)
        is_new = path.stat().st_mtime_ns >= began
    except OSError as error:
        raise InvalidOutput(
            f"The model returned the path {path}, which cannot be read: {error.strerror}."
        ) from error
    if is_new and path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve()):
        path.unlink(missing_ok=True)
    return url


def _data_url(content: Any, name: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
