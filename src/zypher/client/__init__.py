"""The client: predictions of a Zypher server, from Python.

`Client` and `AsyncClient` are two thin shells around the same steps (`zypher.client.calls`): which
request comes next, what its answer means, whether it may be repeated. A shell sends and pauses.
"""

from zypher.client.asynchronous import AsyncClient, AsyncHandle
from zypher.client.blocking import Client, Handle
from zypher.client.values import Event, Model, Options, Record

__all__ = [
    "AsyncClient",
    "AsyncHandle",
    "Client",
    "Event",
    "Handle",
    "Model",
    "Options",
    "Record",
]
