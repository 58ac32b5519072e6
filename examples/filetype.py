"""What kind of file is it? Magika, Google's small neural network, on ONNX Runtime.

Serve it, and ask it from another terminal:

    ./run serve examples/filetype.py:FileType

    curl --json '{"input": "R0lGODlhAQABAAAAACw="}' http://127.0.0.1:8080/predict
    {"input":"R0lGODlhAQABAAAAACw=","result":{"label":"gif","mime_type":"image/gif","score":0.998}}
"""

from dataclasses import dataclass

from magika import Magika


@dataclass
class Answer:
    label: str
    mime_type: str
    score: float


class FileType:
    """Tells what kind of file some bytes are."""

    def setup(self) -> None:
        self.magika = Magika()

    def predict(self, content: bytes) -> Answer:
        found = self.magika.identify_bytes(content)
        return Answer(found.output.label, found.output.mime_type, round(found.score, 3))
