"""The contract of `zypher.brokers.base`, as tests that every broker passes.

A broker's test file is one subclass that says how to open it:

    class TestMemoryBroker(BrokerContract):
        async def open(self, limits: Limits, clock: ManualClock) -> Broker:
            return MemoryBroker(limits, clock)
"""

from zypher.testing.contract.calling import Calling
from zypher.testing.contract.claiming import Claiming
from zypher.testing.contract.clocks import Clocks
from zypher.testing.contract.counting import Counting
from zypher.testing.contract.crashes import Crashes
from zypher.testing.contract.ending import Ending
from zypher.testing.contract.finishing import Finishing
from zypher.testing.contract.keys import Keys
from zypher.testing.contract.looking import Looking
from zypher.testing.contract.owners import Owners
from zypher.testing.contract.submitting import Submitting
from zypher.testing.contract.updating import Updating
from zypher.testing.contract.watching import Watching
from zypher.testing.contract.webhooks import Webhooks
from zypher.testing.contract.withdrawing import Withdrawing


class BrokerContract(
    Submitting, Calling, Keys, Owners, Claiming, Finishing, Crashes, Clocks, Withdrawing, Watching,
    Ending, Looking, Webhooks, Updating, Counting,
):  # fmt: skip
    """All of it. Subclass it and say how to `open` the broker."""
