import pytest

import zypher
from zypher.model.loading import load

from .conftest import Write


def test_there_is_no_current_prediction_outside_of_a_run() -> None:
    with pytest.raises(RuntimeError, match=r"zypher.current\(\) has no prediction here"):
        zypher.current()


@pytest.mark.parametrize("define", ["def", "async def"])
def test_the_schema_of_a_joined_text_is_that_of_a_string(write: Write, define: str) -> None:
    path = write(
        f"""
        from __future__ import annotations
        import zypher
        {define} f(n: int) -> zypher.JoinedText: yield "x"
        """
    )
    signature = load(f"{path}:f").signature
    assert signature.joined
    assert signature.output_schema == {"type": "string"}
