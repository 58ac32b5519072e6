"""Tests of the model. `pytest` runs them; `pip install pytest` installs it."""

from model import Model
from zypher.testing import predict, serving


def test_a_good_text_has_a_good_score():
    assert predict(Model, "all is good") == {"score": 1.0}


def test_it_answers_over_http():
    with serving("model.py:Model") as client:
        assert client.predict("all is good") == {"score": 1.0}
