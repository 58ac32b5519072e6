"""The queue on the page: live, with its predictions, and what can be done to them."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.told import target, tell
from tests.harness import HeldRun, Holder, Server, steady_port

MANY = 10_000
TOGETHER = 10  # requests on one connection, of which a server takes a few
MOST_ROWS = 60


@pytest.fixture
def run(server: Server, held: Holder) -> Iterator[HeldRun]:
    """A run that goes on, of a prediction that is kept."""
    server.submit(held.port, model="tells")
    run = held.started()
    yield run
    run.close()


@pytest.fixture
def board(page: Page, server: Server, run: HeldRun) -> Page:
    """The page, which shows the run."""
    page.goto(f"{server.url}/ui")
    expect(rows(page, "running")).to_have_count(1)
    return page


def rows(page: Page, part: str) -> Locator:
    """The predictions in a part of the board."""
    return page.locator(f"#{part} > li")


def test_what_runs_is_shown_with_its_progress_and_what_it_puts_out(
    board: Page, run: HeldRun
) -> None:
    row = rows(board, "running")
    tell(run, fraction=0.4, text="step 2 of 5")
    expect(row.get_by_role("progressbar")).to_have_attribute("value", "0.4")
    expect(row).to_contain_text("40 % · step 2 of 5")
    tell(run, output="It was ")
    expect(row).to_contain_text("It was")
    tell(run, output="a dark night")
    expect(row).to_contain_text("It was a dark night")
    run.close()
    expect(rows(board, "running")).to_have_count(0)
    expect(rows(board, "ended").first).to_contain_text("completed")


def test_counts_and_the_waiting_ones_are_shown(board: Page, server: Server, held: Holder) -> None:
    server.client.post(
        "/models/tells/predict",
        json={"input": held.port, "priority": "low"},
        headers={"Async-Mode": "true"},
    )
    expect(rows(board, "waiting")).to_have_count(1)
    expect(rows(board, "waiting")).to_contain_text("waiting · low priority")
    expect(board.get_by_text("Waiting: 0 high, 0 normal, 1 low")).to_be_visible()
    rows(board, "waiting").get_by_role("button", name="Cancel").click()
    expect(rows(board, "waiting")).to_have_count(0)


def test_a_run_can_be_canceled_and_retried(board: Page, run: HeldRun, held: Holder) -> None:
    rows(board, "running").get_by_role("button", name="Cancel").click()
    assert run.said() == ""  # it was stopped
    first = rows(board, "ended").first
    expect(first).to_contain_text("canceled")
    first.get_by_role("button", name="Retry").click()
    again = held.started()
    expect(rows(board, "running")).to_contain_text("retry of")
    again.close()
    expect(rows(board, "running")).to_have_count(0)


def test_what_failed_says_why(page: Page, server: Server) -> None:
    server.submit(1, model="tells")  # nobody listens there
    page.goto(f"{server.url}/ui")
    expect(rows(page, "ended").first).to_contain_text("The model raised ConnectionRefusedError")


def test_a_prediction_can_be_opened_and_followed(board: Page, run: HeldRun) -> None:
    opener = rows(board, "running").get_by_role("button", name="Open")
    opener.click()
    detail = board.get_by_role("dialog")
    expect(detail).to_contain_text("processing")
    tell(run, fraction=0.5, text="half")
    expect(detail.get_by_role("progressbar")).to_have_attribute("value", "0.5")
    tell(run, log="a line", output="a part")
    expect(detail.get_by_label("Log")).to_have_text("a line")
    expect(detail.get_by_label("Parts of the result")).to_have_text("a part")
    run.close()
    expect(detail.get_by_label("Result", exact=True)).to_have_text('"a part"')
    expect(detail.get_by_role("list", name="Timeline").get_by_role("listitem")).to_have_count(3)
    board.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    rows(board, "ended").first.get_by_role("button", name="Open").click()
    detail.get_by_role("button", name="Forget").click()
    expect(detail).to_be_hidden()
    expect(board.get_by_text("is forgotten")).to_be_visible()


def test_the_address_of_an_opened_prediction_opens_it_again(page: Page, server: Server) -> None:
    id = server.submit({"prompt": "a boat", "size": {}}, model="paint")
    server.poll(id, wait=20)
    page.goto(f"{server.url}/ui#prediction/{id}")
    detail = page.get_by_role("dialog")
    expect(detail.get_by_label("Input", exact=True)).to_contain_text('"prompt": "a boat"')
    detail.get_by_role("button", name="Use this input").click()
    expect(page.get_by_label("prompt")).to_have_value("a boat")
    page.goto(f"{server.url}/ui#prediction/unknown")
    expect(detail).to_contain_text("not found")


def test_the_list_can_be_filtered_by_status_and_model(page: Page, server: Server) -> None:
    for prompt in ("a", "b"):
        server.poll(server.submit({"prompt": prompt, "size": {}}, model="paint"), wait=20)
    server.poll(server.submit(1, model="tells"), wait=20)
    page.goto(f"{server.url}/ui")
    page.get_by_label("Show", exact=True).select_option("failed")
    expect(rows(page, "listed").first).to_contain_text("tells")
    expect(rows(page, "listed").filter(has_text="completed")).to_have_count(0)
    page.get_by_label("Show", exact=True).select_option("all")
    page.get_by_label("of", exact=True).select_option("paint")
    expect(rows(page, "listed").filter(has_text="tells")).to_have_count(0)
    expect(rows(page, "listed").first).to_contain_text("paint")
    id = server.submit({"prompt": "c", "size": {}}, model="paint")
    expect(rows(page, "listed").first).to_contain_text(id[-8:])  # also a list is live


def test_the_page_says_when_the_server_is_away_and_comes_back_by_itself(
    page: Page, tmp_path: Path
) -> None:
    port = str(steady_port())
    command = (target("paint"), "--port", port)
    with Server(*command, cwd=tmp_path) as first:
        page.goto(f"{first.url}/ui")
        expect(page.get_by_role("status").first).to_have_text("Ready")
        page.get_by_label("prompt").fill("a half-written prompt")
    expect(page.get_by_role("status").first).to_have_text("Away")
    expect(page.get_by_role("alert").first).to_contain_text("The server cannot be reached")
    expect(page.get_by_text("as of")).to_be_visible()
    with Server(*command, cwd=tmp_path) as second:
        expect(page.get_by_role("status").first).to_have_text("Ready")
        expect(page.get_by_text("as of")).to_be_hidden()
        expect(page.get_by_label("prompt")).to_have_value("a half-written prompt")
        id = second.submit({"prompt": "x", "size": {}})
        expect(rows(page, "ended").first).to_contain_text(id[-8:])


def test_a_queue_of_ten_thousand_stays_usable(page: Page, held: Holder) -> None:
    more = ("--concurrency", "1", "--max-queued", str(2 * MANY), "--broker", "memory:")
    with Server(target("tells"), *more) as server:
        submit_many(server, held.port)
        run = held.started()
        page.goto(f"{server.url}/ui")
        expect(page.get_by_role("heading", name="Waiting (9,999, 10 shown)")).to_be_visible()
        page.get_by_label("Show", exact=True).select_option("all")
        listed = rows(page, "listed")
        expect(listed).to_have_count(25)
        seen = set()
        for _ in range(4):
            first = listed.first.locator(".id")
            id = first.inner_text()
            assert id not in seen
            seen.add(id)
            page.get_by_role("button", name="Older").click()
            expect(first).not_to_have_text(id)
        assert page.locator(".row").count() <= MOST_ROWS
        assert page.evaluate(LONGEST_HOLD) < 250
        run.close()


# How long, at most, somebody who clicks would have to wait, in two seconds of watching. In ms.
LONGEST_HOLD = """() => new Promise((resolve) => {
  let longest = 0;
  let last = performance.now();
  const end = last + 2000;
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (now < end) setTimeout(look, 0); else resolve(longest);
  };
  look();
})"""


def submit_many(server: Server, port: int) -> None:
    """Submit them over a few connections, several at a time on each."""
    threads = [threading.Thread(target=_pipeline, args=(server.url, port)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _pipeline(url: str, port: int) -> None:
    here = urlsplit(url)
    body = f'{{"input":{port}}}'
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {here.netloc}\r\nContent-Type: application/json\r\n"
        f"Async-Mode: true\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((here.hostname, here.port)) as connection:
        connection.settimeout(30)
        for _ in range(MANY // 4 // TOGETHER):
            connection.sendall((head + body).encode() * TOGETHER)
            answers = b""
            while answers.count(b"HTTP/1.1 202") < TOGETHER:
                answers += connection.recv(1_000_000)
                assert b"HTTP/1.1 4" not in answers
