"""What a user of an installed Zypher does first: python use.py VERSION BROKER.

Runs in an environment that has nothing but Zypher.
"""

import subprocess
import sys
from pathlib import Path

import httpx2

import zypher.testing

_PAGES = ("/ui", "/ui/main.js", "/docs", "/docs/swagger-ui-bundle.js", "/openapi.json", "/readyz")


def main(version: str, broker: str) -> None:
    package = Path(zypher.__file__)
    assert package.is_relative_to(sys.prefix), f"{package} is not what was installed."
    command = [Path(sys.executable).with_name("zypher")]
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == zypher.__version__ == version
    subprocess.run([*command, "init", "--force", "project"], capture_output=True, check=True)
    with zypher.testing.serving("project/model.py:Model", broker=broker) as client:
        assert client.predict("all is good") == client.submit("all is good").wait()
        for page in _PAGES:
            assert httpx2.get(client.url + page).status_code == 200, page
        described = httpx2.get(f"{client.url}/openapi.json").json()
        assert described["info"]["version"] == version


if __name__ == "__main__":
    main(*sys.argv[1:])
