"""The form of the page: an input by its schema, sent in both modes, and what comes back."""

import ast
import base64
import json
import re
import shlex
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.told import tell
from tests.docs.pages import curl
from tests.harness import Holder, Server

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.fixture
def form(page: Page, server: Server) -> Page:
    """The page, with the form of `paint`."""
    page.goto(f"{server.url}/ui")
    expect(page.get_by_label("prompt")).to_be_visible()
    return page


@pytest.fixture
def teller(form: Page, held: Holder) -> Page:
    """The page, with the form of `tells` filled in."""
    form.get_by_label("Model", exact=True).select_option("tells")
    form.get_by_label("input *").fill(str(held.port))
    return form


def answer(page: Page, title: str) -> Locator:
    return page.get_by_role("article", name=title, exact=True)


def input_of(page: Page) -> object:
    """What the JSON editor shows."""
    return json.loads(page.locator("#json").input_value())


def test_a_browser_at_the_root_gets_the_page(page: Page, server: Server) -> None:
    page.goto(server.url)
    expect(page.get_by_role("heading", name="Try it")).to_be_visible()
    expect(page.get_by_text("Says what it would paint.")).to_be_visible()
    page.get_by_role("link", name="API docs").click()
    expect(page).to_have_url(f"{server.url}/docs")


def test_the_form_begins_with_the_example_of_a_model(form: Page) -> None:
    form.get_by_label("Model", exact=True).select_option("Greeter")
    expect(form.get_by_label("input *")).to_have_value("Ada")
    assert input_of(form) == "Ada"


def test_the_form_is_made_of_the_schema_and_what_it_sends_is_what_the_model_gets(
    form: Page, tmp_path: Path
) -> None:
    assert input_of(form) == {
        "prompt": "",
        "style": "photo",
        "strength": 0.5,
        "size": {"width": 512, "height": 512},
        "tags": [],
        "weights": {},
        "upscale": False,
    }
    form.get_by_label("prompt").fill("A boat,\nand the sea")
    form.get_by_label("style").select_option("oil")
    form.get_by_label("strength").fill("0.25")
    form.get_by_role("group", name="size").get_by_label("width").fill("640")
    form.get_by_label("frame", exact=True).check()
    form.get_by_role("group", name="frame").get_by_label("height").fill("700")
    for tag in ("blue", "calm"):
        form.get_by_role("button", name="Add to tags").click()
        form.keyboard.type(tag)
    form.get_by_role("button", name="Add to weights").click()
    form.get_by_role("group", name="weights 1").get_by_label("name").fill("wood")
    form.get_by_role("group", name="weights 1").get_by_label("value").fill("1.5")
    form.get_by_label("upscale").check()
    form.get_by_label("Kind of seed").select_option("text")
    form.get_by_role("group", name="seed").get_by_role("textbox").fill("lucky")
    picture = tmp_path / "pixel.png"
    picture.write_bytes(PIXEL)
    form.get_by_label("reference").set_input_files(picture)
    expect(form.get_by_role("img", name="The file of reference")).to_be_visible()
    form.get_by_role("button", name="Run", exact=True).click()
    shown = answer(form, "Synchronous")
    expect(shown.locator(".answer-head")).to_contain_text("200 OK")
    expect(shown.get_by_text("X-Prediction-Id")).to_be_visible()
    body = json.loads(shown.get_by_label("Body of the answer").inner_text())
    url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    assert body["input"] == {
        "prompt": "A boat,\nand the sea",
        "style": "oil",
        "strength": 0.25,
        "size": {"width": 640, "height": 512},
        "frame": {"width": 512, "height": 700},
        "tags": ["blue", "calm"],
        "weights": {"wood": 1.5},
        "upscale": True,
        "seed": "lucky",
        "reference": url,
    }
    assert body["result"]["tags"] == ["blue", "calm"]


def test_pictures_in_a_result_are_shown(form: Page) -> None:
    url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    write_json(form, json.dumps({"prompt": url, "size": {}}))
    form.get_by_role("button", name="Run", exact=True).click()
    expect(answer(form, "Synchronous").get_by_role("img", name="prompt")).to_be_visible()


def write_json(page: Page, text: str) -> None:
    page.get_by_text("Input as JSON").first.click()
    page.locator("#json").fill(text)


def test_the_json_editor_and_the_form_follow_each_other(form: Page) -> None:
    value = {"prompt": "from JSON", "size": {"width": 100, "height": 64}, "unknown": [1, None]}
    write_json(form, json.dumps(value))
    expect(form.get_by_label("prompt")).to_have_value("from JSON")
    form.get_by_label("strength").fill("0.75")
    defaults = {"tags": [], "weights": {}, "upscale": False}
    assert input_of(form) == value | defaults | {"strength": 0.75}
    form.locator("#json").fill("{no")
    expect(form.locator("#json-error")).to_contain_text("This is no JSON")
    form.get_by_role("button", name="Run", exact=True).click()
    expect(form.locator("#json")).to_be_focused()
    expect(form.locator("#answers article")).to_have_count(0)


def test_numbers_are_sent_and_shown_as_they_are_written(form: Page) -> None:
    write_json(form, '{"prompt": "x", "size": {}, "seed": 12345678901234567890, "strength": 1.0}')
    form.get_by_role("button", name="Run", exact=True).click()
    body = answer(form, "Synchronous").get_by_label("Body of the answer")
    expect(body).to_contain_text('"seed": 12345678901234567890,')
    expect(body).to_contain_text('"strength": 1.0')


def test_what_the_server_refuses_is_told_at_its_field(form: Page) -> None:
    form.get_by_label("prompt").fill("")
    form.get_by_role("group", name="size").get_by_label("width").fill("5")
    form.get_by_role("button", name="Run", exact=True).click()
    expect(answer(form, "Synchronous").locator(".answer-head")).to_contain_text("422")
    prompt, width = form.get_by_label("prompt"), form.get_by_label("width").first
    for field in (prompt, width):
        expect(field).to_have_attribute("aria-invalid", "true")
    expect(width).to_have_accessible_description(re.compile("less than the minimum of 64"))
    expect(prompt).to_be_focused()
    form.get_by_text("Options").click()
    form.get_by_label("Deadline, s").fill("0")
    prompt.fill("x")
    width.fill("64")
    form.get_by_role("button", name="Run async").click()
    expect(form.get_by_label("Deadline, s")).to_have_attribute("aria-invalid", "true")
    expect(prompt).not_to_have_attribute("aria-invalid", "true")


def test_both_modes_can_be_seen_side_by_side(form: Page) -> None:
    form.get_by_label("prompt").fill("a boat")
    form.get_by_role("button", name="Both, side by side").click()
    sync, later = answer(form, "Synchronous"), answer(form, "Asynchronous")
    expect(sync.locator(".answer-head")).to_contain_text("200 OK")
    expect(later.locator(".answer-head")).to_contain_text("202 Accepted")
    expect(later.locator(".answer-head")).to_contain_text("completed")
    expect(later.get_by_text("Retry-After")).to_be_visible()
    expect(later.get_by_label("Result", exact=True)).to_contain_text('"prompt": "a boat"')
    left, right = sync.bounding_box(), later.bounding_box()
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]


def test_the_parts_of_a_run_are_shown_as_they_come(teller: Page, held: Holder) -> None:
    teller.get_by_role("button", name="Run async").click()
    run = held.started()
    shown = answer(teller, "Asynchronous")
    tell(run, fraction=0.25, text="a quarter", log="I am here")
    expect(shown.get_by_role("progressbar")).to_have_attribute("value", "0.25")
    expect(shown.get_by_text("a quarter")).to_be_visible()
    expect(shown.get_by_label("Log")).to_have_text("I am here")
    tell(run, output="Once ")
    expect(shown.get_by_label("Parts of the result")).to_have_text("Once ")
    tell(run, output="upon")
    expect(shown.get_by_label("Parts of the result")).to_have_text("Once upon")
    run.close()
    expect(shown.get_by_label("Result", exact=True)).to_have_text('"Once upon"')


def test_a_synchronous_answer_can_be_streamed(teller: Page, held: Holder) -> None:
    teller.get_by_text("Options").click()
    teller.get_by_label("Stream the answer").check()
    teller.get_by_role("button", name="Run", exact=True).click()
    run = held.started()
    shown = answer(teller, "Synchronous")
    tell(run, output="Once ")
    expect(shown.get_by_label("Parts of the result")).to_have_text("Once ")
    run.close()
    expect(shown.get_by_label("Result", exact=True)).to_have_text('"Once "')


def test_a_synchronous_call_that_becomes_a_202_is_followed(teller: Page, held: Holder) -> None:
    teller.get_by_text("Options").click()
    teller.get_by_label("Wait at most").fill("1")
    teller.get_by_role("button", name="Run", exact=True).click()
    run = held.started()
    shown = answer(teller, "Synchronous")
    expect(shown.locator(".answer-head")).to_contain_text("202 Accepted")
    expect(shown.get_by_text("Preference-Applied")).to_be_visible()
    tell(run, output="late")
    run.close()
    expect(shown.get_by_label("Result", exact=True)).to_have_text('"late"')


def test_a_call_can_be_hung_up_and_a_prediction_canceled(teller: Page, held: Holder) -> None:
    for mode, ending in (("Run", "hung up"), ("Run async", "canceled")):
        teller.get_by_role("button", name=mode, exact=True).click()
        run = held.started()
        shown = teller.get_by_role("article")
        shown.get_by_role("button", name="Cancel").click()
        expect(shown).to_contain_text(ending)
        assert run.said() == ""


def test_what_was_sent_can_be_sent_with_curl_and_python(form: Page, server: Server) -> None:
    prompt = 'it\'s a "boat" — ⛵ \\ $HOME'
    form.get_by_label("prompt").fill(prompt)
    form.get_by_role("button", name="Both, side by side").click()
    expect(answer(form, "Asynchronous").locator(".answer-head")).to_contain_text("completed")
    for mode, status, call in (("Synchronous", 200, "predict"), ("Asynchronous", 202, "submit")):
        shown = answer(form, mode)
        shown.get_by_text("Send the same from elsewhere").click()
        command = shown.get_by_label("curl", exact=True).inner_text()
        assert shlex.split(command)[1] == f"{server.url}/predict"
        local = command.replace(server.url, "http://127.0.0.1:8080").replace("\\\n", "")
        response = curl(server, local)
        assert response.status_code == status
        code = ast.parse(shown.get_by_label("Python", exact=True).inner_text())
        text = ast.unparse(code)
        assert f"zypher.Client({server.url!r})" in text
        assert f"client.{call}(" in text
        sent = next(node for node in ast.walk(code) if isinstance(node, ast.Dict))
        assert ast.literal_eval(sent)["prompt"] == prompt


def test_the_code_can_be_copied(form: Page) -> None:
    form.context.grant_permissions(["clipboard-read", "clipboard-write"])
    form.get_by_label("prompt").fill("a boat")
    form.get_by_role("button", name="Run", exact=True).click()
    form.get_by_text("Send the same from elsewhere").click()
    form.get_by_role("button", name="Copy the Python code").click()
    expect(form.get_by_text("Copied")).to_be_visible()
    assert "a boat" in form.evaluate("navigator.clipboard.readText()")


def test_another_model_has_another_form_and_its_own_path(teller: Page, held: Holder) -> None:
    with teller.expect_request("**/models/tells/predict") as asked:
        teller.get_by_role("button", name="Run", exact=True).click()
    assert asked.value.post_data_json == {"input": held.port}
    held.started().close()
    expect(answer(teller, "Synchronous").locator(".answer-head")).to_contain_text("200 OK")


def test_the_form_follows_the_code_of_a_model_that_is_loaded_again(
    page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "model.py"
    file.write_text("def model(word: str) -> str:\n    return word\n")
    with Server("model.py:model", "--reload", cwd=tmp_path) as server:
        page.goto(f"{server.url}/ui")
        expect(page.get_by_label("input *")).to_be_visible()
        file.write_text("def model(word: str, times: int) -> str:\n    return word * times\n")
        page.get_by_label("word").fill("ha")
        page.get_by_label("times").fill("2")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(answer(page, "Synchronous")).to_contain_text('"haha"')
        file.write_text("def model(\n")
        expect(page.get_by_role("status").first).to_have_text("Ready, with trouble")


def test_a_file_is_chosen_for_what_has_to_be_a_data_url(page: Page, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text(
        "from cog import BasePredictor, Path\n"
        "class Predictor(BasePredictor):\n"
        "    def predict(self, document: Path) -> str:\n"
        "        return document.read_text()\n"
    )
    (tmp_path / "letter.txt").write_text("Dear all")
    with Server("predict.py:Predictor", cwd=tmp_path) as server:
        page.goto(f"{server.url}/ui")
        page.get_by_label("document").set_input_files(tmp_path / "letter.txt")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(answer(page, "Synchronous")).to_contain_text('"Dear all"')
