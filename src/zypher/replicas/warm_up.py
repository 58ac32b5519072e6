"""The first run of a model, before anybody waits for one: that of its example."""

from zypher.errors import InvalidInput, InvalidOutput, ModelLoadError, ResultTooLarge
from zypher.model.author import ItemError
from zypher.model.targets import describe
from zypher.model.tracebacks import user_traceback
from zypher.prediction import Claim
from zypher.replicas.execution import Executor
from zypher.replicas.frames import Told
from zypher.replicas.lines import Line, write
from zypher.replicas.runs import BatchRun, Run

# What the model sees of it: a run that is no attempt at any prediction.
_CLAIM = Claim("warm-up", 0)


class Nobody:
    """Who listens to a warm-up."""

    def poll(self) -> None:
        """Nobody cancels it."""

    def offer(self, told: Told) -> None:
        """Nobody follows it."""

    def note(self, line: Line) -> None:
        """It is in the log, as what `setup()` writes: no prediction has that id."""
        write(Line(line.text, line.level, line.logger))


async def warm_up(executor: Executor, example: bytes) -> None:
    """Run this input as a prediction would be run; a batched model, a full batch of it and then
    one alone. Raises ModelLoadError, with the user's traceback.
    """
    model = executor.model
    try:
        if model.batch:
            for size in sorted({model.batch.max_size, 1}, reverse=True):
                await _run_batch(executor, example, size)
        else:
            await _run(executor, example)
    except (InvalidInput, InvalidOutput, ResultTooLarge, ItemError) as error:
        raise ModelLoadError(f"The example of {model.target} failed: {error}") from error
    except BaseException as error:
        raise ModelLoadError(
            f"The example of {model.target} failed: the model raised {describe(error)}.",
            traceback=user_traceback(error),
        ) from error


async def _run(executor: Executor, example: bytes) -> None:
    run = Run([_CLAIM], None, Nobody())
    run.begin()
    try:
        arguments = executor.model.signature.decode(example)
        executor.completed(await executor.call(arguments, run))
    finally:
        run.end()


async def _run_batch(executor: Executor, example: bytes, size: int) -> None:
    run = BatchRun([_CLAIM] * size, Nobody())
    run.begin()
    try:
        items = [executor.model.signature.decode(example) for _ in range(size)]
        for result in await executor.call(items, run):
            if isinstance(result, ItemError | InvalidInput):
                raise result
            executor.completed(result)
    finally:
        run.end()
