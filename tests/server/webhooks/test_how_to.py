"""The how-to is true: its receiver is called by a server that is started as it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from msgspec.structs import replace

from tests.docs.pages import ROOT, blocks, models, run_curl
from tests.harness import Server, free_port
from tests.receiver import SECRET
from zypher.prediction import Outcome, Prediction
from zypher.server.webhooks.message import message

PAGE = ROOT / "docs" / "how-to" / "webhooks.md"


def test_the_receiver_of_the_how_to_gets_the_result(tmp_path: Path) -> None:
    port = str(free_port())
    code = models(PAGE)["receiver.py"].replace("9000", port)
    start, curl = blocks(PAGE, "sh")
    flags = re.findall(r"zypher serve (.*)", start)[0].split()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"WEBHOOK_SECRET": SECRET},
    ) as receiver:
        assert receiver.stdout is not None
        try:
            assert receiver.stdout.readline() == "Waiting for webhooks\n"
            with Server(*flags, cwd=tmp_path, ZYPHER_WEBHOOK_SECRET=SECRET) as server:
                run_curl(server, curl.strip().replace("9000", port))
                assert receiver.stdout.readline().startswith("prediction.completed")
        finally:
            receiver.kill()


def test_the_body_of_the_how_to_has_the_members_of_a_real_one() -> None:
    (shown,) = blocks(PAGE, "json")
    made = Prediction(id="1", model="m", input=b"1", created=0.0).claimed(now=1.0)
    real = json.loads(message(replace(made.ended(Outcome(b"1"), now=2.0), expires=3.0)))
    assert list(json.loads(shown)) == list(real)
    assert list(json.loads(shown)["data"]) == list(real["data"])
