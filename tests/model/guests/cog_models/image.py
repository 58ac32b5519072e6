"""A predictor as one writes it for Cog: an image in, an image out (grey, as PGM)."""

import tempfile
from typing import List, Optional

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def setup(self, weights: Optional[Path] = None) -> None:
        """Load the model into memory to make running multiple predictions efficient"""
        self.highest = 255

    def predict(
        self,
        image: Path = Input(description="Grey input image"),
        mask: Optional[Path] = Input(description="Where to change it", default=None),
        scale: float = Input(description="Factor to scale brightness by", ge=0, le=10, default=1.5),
        invert: bool = Input(description="Turn black to white", default=False),
    ) -> Path:
        """Run a single prediction on the model"""
        assert image.suffix == ".pgm", image
        magic, size, highest, pixels = image.read_bytes().split(b"\n", 3)
        changed = bytes(min(self.highest, int(pixel * scale)) for pixel in pixels)
        if invert:
            changed = bytes(self.highest - pixel for pixel in changed)
        if mask is not None:
            changed = bytes(c if m else p for c, m, p in zip(changed, mask.read_bytes(), pixels))
        output = Path(tempfile.mkdtemp()) / "out.png"
        output.write_bytes(b"\n".join([magic, size, highest, changed]))
        print("wrote", output)
        return output


class Frames(BasePredictor):
    def predict(self, images: List[Path] = Input(description="Frames")) -> List[Path]:
        return [Path(image) for image in images]
