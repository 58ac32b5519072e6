"""A model in a test's own process does what it does behind a server."""

import asyncio
from typing import Any

import pytest

import zypher.testing
from tests.testing import sentiment as models
from zypher.errors import InvalidOutput, ModelLoadError


@pytest.mark.parametrize(
    ("model", "input", "result"),
    [
        (models.Sentiment, "all is fine", {"score": 0.5}),
        (models.Sentiment(), "good good", {"score": 2.0}),
        (f"{models.__file__}:Sentiment", "bad", {"score": -1.0}),
        ("tests.testing.sentiment:area", {"width": 3}, 3.0),
        (models.area, {"width": 3, "height": 2}, 6.0),
        (models.countdown, 3, [3, 2, 1]),
        (models.letters, "word", "word"),
        (models.Slow, 0, True),
        (models.Lengths, "four", 4),
    ],
)
def test_a_model_is_run_as_behind_a_server(model: Any, input: Any, result: Any) -> None:
    assert zypher.testing.predict(model, input) == result


def test_a_model_is_set_up_once_for_many_predictions() -> None:
    instance = models.Sentiment()
    with zypher.testing.loaded(instance) as model:
        assert model.predict("good") == {"score": 1.0}
        assert model.predict("bad") == {"score": -1.0}
    assert instance.setups == 1


def test_an_async_model_keeps_its_loop_from_its_setup_on() -> None:
    with zypher.testing.loaded(models.Slow) as model:
        assert model.predict(0) is True
        assert model.predict(0.001) is True


@pytest.mark.parametrize(
    ("model", "input", "where"),
    [
        (models.Sentiment, 5, ["input"]),
        (models.area, {"width": "3"}, ["input", "width"]),
        (models.area, {"width": 3, "depth": 1}, ["input"]),
    ],
)
def test_an_input_that_the_schema_refuses_never_reaches_the_model(
    model: Any, input: Any, where: list[str]
) -> None:
    with pytest.raises(zypher.InvalidInput) as caught:
        zypher.testing.predict(model, input)
    assert caught.value.errors is not None
    assert caught.value.errors[0]["loc"] == where


@pytest.mark.parametrize("input", [float("nan"), object()])
def test_what_is_no_json_is_no_input(input: Any) -> None:
    with pytest.raises(zypher.InvalidInput, match="cannot be sent as JSON"):
        zypher.testing.predict(models.Sentiment, input)


def test_an_input_may_be_what_a_client_may_send() -> None:
    def size(content: bytes) -> int:
        return len(content)

    assert zypher.testing.predict(size, b"four") == 4


@pytest.mark.parametrize(("input", "what"), [(0, "NaN at result"), (1, "object at result")])
def test_a_result_that_json_cannot_carry_fails_as_in_production(input: int, what: str) -> None:
    with pytest.raises(InvalidOutput, match=what):
        zypher.testing.predict(models.picky, input)


def test_what_a_model_raises_passes_through_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        zypher.testing.predict(models.fails, 0)
    with pytest.raises(zypher.InvalidInput, match="Negative"):
        zypher.testing.predict(models.picky, -1)
    with pytest.raises(LookupError, match="no weights"):
        zypher.testing.predict(models.Broken, "text")


def test_a_batched_model_takes_one_item_or_a_batch() -> None:
    instance = models.Lengths()
    with zypher.testing.loaded(instance) as model:
        assert model.predict("four") == 4
        one, empty, three = model.predict_batch(["a", "", "abc"])
        assert (one, three) == (1, 3)
        assert isinstance(empty, zypher.ItemError)
        with pytest.raises(zypher.ItemError, match="An empty text"):
            model.predict("")
        with pytest.raises(ValueError, match="takes batches of 1 to 3; these are 4"):
            model.predict_batch(["a", "b", "c", "d"])
        with pytest.raises(zypher.InvalidInput):
            model.predict_batch(["a", 5])
    assert instance.calls == [1, 3, 1]
    with (
        zypher.testing.loaded(models.Sentiment) as model,
        pytest.raises(ValueError, match="is not batched"),
    ):
        model.predict_batch(["a"])


def test_a_run_knows_and_tells_what_it_does_behind_a_server() -> None:
    with zypher.testing.loaded(models.steps) as model:
        assert model.predict(2) == [1, None, False, 36]
        assert model.events == [
            ("progress", {"fraction": 0.5, "text": "step 1"}),
            ("progress", {"fraction": 1.0, "text": "step 2"}),
            ("log", {"text": "done"}),
        ]
        model.predict(0)
        assert model.events == [("log", {"text": "done"})]
    with pytest.raises(RuntimeError, match="no prediction here"):
        zypher.current()


def test_an_async_test_has_a_thread_run_the_model() -> None:
    async def test(ready: zypher.testing.LoadedModel) -> Any:
        with pytest.raises(RuntimeError, match=r"asyncio\.to_thread"):
            zypher.testing.predict(models.Slow, 0)
        with pytest.raises(RuntimeError, match=r"asyncio\.to_thread"):
            ready.predict(0)
        return await asyncio.to_thread(ready.predict, 0)

    with zypher.testing.loaded(models.Slow) as ready:
        assert asyncio.run(test(ready)) is True


def test_the_parts_of_a_generator_are_events() -> None:
    with zypher.testing.loaded(models.countdown) as model:
        model.predict(2)
        assert model.events == [("output", 2), ("output", 1)]


def test_the_schemas_of_a_model_can_be_looked_at() -> None:
    with zypher.testing.loaded(models.area) as model:
        assert model.input_schema["properties"]["height"] == {"type": "number", "default": 1.0}
        assert model.output_schema == {"type": "number"}


def test_what_could_not_be_served_is_no_model() -> None:
    def untyped(text):  # type: ignore[no-untyped-def]
        return text

    with pytest.raises(ModelLoadError, match="has no type hint for 'text'"):
        zypher.testing.predict(untyped, "x")
    with pytest.raises(ModelLoadError, match="is not a model"):
        zypher.testing.predict(5, "x")
