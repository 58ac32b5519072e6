"""Which language is it? py3langid knows 140 of them; its weights come with the package.

Serve it, and ask it from another terminal:

    ./run serve examples/language.py:Language

    curl --json '{"input": "Wie geht es dir?"}' http://127.0.0.1:8080/predict
    {"input":"Wie geht es dir?","result":{"language":"de","probability":0.971}}
"""

from typing import TypedDict

from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]


class Answer(TypedDict):
    language: str
    probability: float


class Language:
    """Tells the language of a text, as an ISO 639 code."""

    def setup(self) -> None:
        self.identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def predict(self, text: str) -> Answer:
        language, probability = self.identifier.classify(text)
        return {"language": language, "probability": round(probability, 3)}
