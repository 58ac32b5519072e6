"""The catalog: the models that a server knows, whose code it never sees."""

import logging
from collections.abc import Mapping

from zypher.brokers.base import ModelInfo
from zypher.errors import ModelLoadError
from zypher.server.door import Door

log = logging.getLogger("zypher.server")


class Catalog:
    """The models by name, the default first. A change replaces what checks their inputs.

    `unusable` says which are left out, since their inputs cannot be checked.
    """

    def __init__(self, door: Door) -> None:
        self.models: dict[str, ModelInfo] = {}
        self.unusable: dict[str, ModelLoadError] = {}
        self._door = door
        self._seen: dict[str, ModelInfo] = {}

    def learn(self, found: Mapping[str, ModelInfo]) -> None:
        """Take over what is new or has changed.

        What is known stays, also when it is not found: a broker that has lost everything is told
        of its models again by their workers.
        """
        for model in found.values():
            if model != self._seen.get(model.name):
                self._take(model)
        names = dict.fromkeys([*found, *self.models])
        self.models = {name: self.models[name] for name in names if name in self.models}

    def _take(self, model: ModelInfo) -> None:
        self._seen[model.name] = model
        try:
            self._door.know(model)
        except ModelLoadError as error:
            self.unusable[model.name] = error
            log.error("%s", error)
        else:
            self.unusable.pop(model.name, None)
            self.models[model.name] = model
