"""A model. `zypher serve model.py:Model` serves it."""


class Model:
    """Says how a text feels."""

    def setup(self) -> None:
        """Load what the model needs: once in each process, however long it takes."""
        self.scores = {"good": 1.0, "fine": 0.5, "bad": -1.0}  # your weights go here

    def predict(self, text: str) -> dict[str, float]:
        """Answer one input. The types are the schema: what does not fit is refused."""
        return {"score": sum(self.scores.get(word, 0.0) for word in text.lower().split())}
