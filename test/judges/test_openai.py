"""The npm `openai` client judges /v1: lists, chats, streams, meets errors, aborts."""

import json
import pathlib
import signal
import time

import pytest

from support.mock_model import ANSWER, PROVIDER_TEXT, MockModel
from support.openai_judge import OpenAiJudge
from support.talaria import Gateway, free_port, wait_until

KEY = "judge-key-0123456789"


@pytest.fixture(scope="module")
def model():
    with MockModel() as model:
        yield model


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, model):
    home = tmp_path_factory.mktemp("openai")
    api = f"127.0.0.1:{free_port()}"
    config = f"""
[api]
listen = "{api}"
keys = ["env:JUDGE_KEY"]

[agent.default]
kind = "openai"
base_url = "{model.base_url}"
model = "mock"

[agent.teller]
kind = "openai"
base_url = "{model.base_url}"
model = "mock-echo"

[agent.long]
kind = "openai"
base_url = "{model.base_url}"
model = "mock-long:2000"

[agent.drip]
kind = "openai"
base_url = "{model.base_url}"
model = "mock-drip:50"

[agent.breaks]
kind = "openai"
base_url = "{model.base_url}"
model = "mock-error-stream"

[agent.echo]
kind = "echo"

[agent.sleeper]
kind = "command"
command = ["/bin/sh", "-c", "echo $$ > {home}/sleeper.pid; exec sleep 300"]
"""
    with Gateway(home, config, api=api, env={"JUDGE_KEY": KEY}) as gateway:
        yield gateway.start().wait_ready()


@pytest.fixture
def judge(gateway):
    return OpenAiJudge(gateway.api, KEY)


AGENTS = {"default", "teller", "long", "drip", "breaks", "echo", "sleeper"}


def test_models_are_the_agents(judge):
    seen = judge("models")
    assert {m["id"] for m in seen["listed"]} == AGENTS
    assert all(m["object"] == "model" for m in seen["listed"])
    assert seen["one"]["id"] == seen["listed"][0]["id"]


def test_a_whole_answer(judge):
    answer = judge("chat")["answered"]
    assert answer["content"] == ANSWER
    assert (answer["role"], answer["finish_reason"], answer["object"], answer["model"]) == ("assistant", "stop", "chat.completion", "default")
    assert answer["choices"] == 1 and answer["id"].startswith("chatcmpl-")
    assert answer["usage"] == {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
    assert abs(answer["created"] - time.time()) < 60


def test_a_streamed_answer(judge):
    answer = judge("stream")["answered"]
    assert answer["content"] == ANSWER
    assert answer["roles"] == ["assistant"] and answer["finish_reasons"] == ["stop"]
    assert len(answer["ids"]) == 1 and answer["objects"] == ["chat.completion.chunk"]
    assert answer["usage"] == {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}


def test_the_clients_own_accumulator_agrees(judge):
    assert judge("accumulate") == {"content": ANSWER, "role": "assistant", "finish_reason": "stop"}


def test_a_stream_arrives_while_the_model_still_speaks(judge):
    begin = time.monotonic()
    outcome = judge("abort_stream", model="drip")  # the model needs ten seconds
    assert outcome["pieces"] >= 1 and time.monotonic() - begin < 5


def test_a_long_answer_is_whole_either_way(judge):
    whole = judge("chat", model="long")["answered"]["content"]
    assert whole.endswith("This is sentence number 2000.") and len(whole) > 50_000
    assert judge("stream", model="long")["answered"]["content"] == whole


def test_text_of_every_kind_survives(judge):
    text = 'quotes " and \\ and \n\t\u0001 and ü 漢字 👩‍👩‍👧 \u2028 data: [DONE]\n\n'
    assert judge("chat", model="teller", content=text)["answered"]["content"] == f"1: {text}"
    assert judge("stream", model="teller", content=text)["answered"]["content"] == f"1: {text}"


def test_roles_and_content_parts_reach_the_model(judge):
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "one"}, {"role": "assistant", "content": "1"},
                {"role": "user", "content": [{"type": "text", "text": "two, "}, {"type": "text", "text": "three"}]}]
    assert judge("chat", model="teller", messages=messages)["answered"]["content"] == "4: two, three"


@pytest.mark.parametrize("where", ["session", "user"])
def test_a_session_remembers_and_no_session_does_not(judge, where):
    name = {where: f"remember-by-{where}"}
    assert judge("chat", model="teller", content="a", **name)["answered"]["content"] == "1: a"
    # Now the model sees what was asked, what it answered, and the new question.
    assert judge("chat", model="teller", content="b", **name)["answered"]["content"] == "3: b"
    assert judge("chat", model="teller", content="c")["answered"]["content"] == "1: c"


# Errors, as an application catches them.


def test_a_wrong_key_is_an_authentication_error(judge):
    for scenario in ("chat", "stream"):
        error = judge(scenario, with_key="wrong-key")
        assert (error["thrown"], error["status"], error["code"]) == ("AuthenticationError", 401, "invalid_api_key")


def test_no_key_at_all_is_refused(gateway):
    status, headers, body = OpenAiJudge(gateway.api, KEY).raw("GET", "/v1/models", headers={"Authorization": ""})
    assert status == 401 and headers["WWW-Authenticate"] == "Bearer"
    assert_error_shape(body)


def test_an_unknown_model_is_not_found(judge):
    for scenario in ("chat", "stream"):
        error = judge(scenario, model="nobody")
        assert (error["thrown"], error["status"], error["code"]) == ("NotFoundError", 404, "model_not_found")
        assert "nobody" in error["message"]


def test_missing_messages_are_named(judge):
    error = judge("chat", messages=[])
    assert (error["thrown"], error["status"]) == ("BadRequestError", 400)
    assert "messages" in error["message"]


def test_a_stream_that_breaks_is_an_api_error(judge):
    error = judge("stream", model="breaks")
    assert error.get("is_api_error") and PROVIDER_TEXT not in json.dumps(error), error


def assert_error_shape(body: bytes) -> dict:
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"] and error["type"]
    return error


@pytest.mark.parametrize("body, named", [
    ("", "JSON"), ("{", "JSON"), ("[]", "object"), ("\xff\xfe", "JSON"), ('{"messages":[{"role":"user","content":"x"}]}', "model"),
    ('{"model":"default"}', "messages"), ('{"model":"default","messages":"x"}', "messages"),
    ('{"model":"default","messages":[{"role":"king","content":"x"}]}', "role"),
    ('{"model":"default","messages":[{"role":"user"}]}', "content"),
    ('{"model":"default","messages":[{"role":"user","content":"x"}],"stream":"yes"}', "stream"),
    ('{"model":"default","messages":[{"role":"user","content":"x"}],"temperature":99}', "temperature"),
    ('{"model":"default","messages":[{"role":"user","content":"x"}],"max_tokens":-1}', "max_tokens"),
    ('{"model":"default","messages":[{"role":"user","content":"x"}],"n":3}', '"n"'),
    ("[" * 100_000, "JSON"),
])
def test_bad_bodies_are_refused_and_the_mistake_is_named(judge, body, named):
    status, _, answer = judge.raw("POST", "/v1/chat/completions", body.encode("latin-1"), {"Content-Type": "application/json"})
    assert status == 400
    assert named in assert_error_shape(answer)["message"]


def test_a_body_too_large_is_told_so(judge):
    error = judge("chat", content_bytes=5 * 1024 * 1024)
    assert error["status"] == 413, error


def test_wrong_method_and_wrong_path(judge):
    status, headers, body = judge.raw("GET", "/v1/chat/completions")
    assert status == 405 and headers["Allow"] == "POST"
    assert_error_shape(body)
    status, _, body = judge.raw("GET", "/v1/nothing")
    assert status == 404
    assert_error_shape(body)


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_a_foreign_page_is_refused_even_with_the_key(judge, headers):
    status, _, _ = judge.raw("GET", "/v1/models", headers=headers)
    assert status == 403


# The client is gone: so is its turn.


def cancelled(judge) -> float:
    return judge.metric('talaria_turns_total{state="cancelled"}')


def test_aborting_a_stream_cancels_the_turn_and_the_models_request(judge, model):
    before, open_before = cancelled(judge), model.stats()["open"]
    outcome = judge("abort_stream", model="drip")
    assert outcome["pieces"] == 1
    wait_until(lambda: cancelled(judge) == before + 1, 10, "cancelled turn")
    # The model's connection was in the middle of an answer, so it can't be kept.
    wait_until(lambda: model.stats()["open"] <= open_before, 10, "closed connection to the model")
    wait_until(lambda: judge.metric("talaria_turns_running") == 0, 10, "end of the turn")


def test_aborting_before_the_answer_cancels_the_turn_and_its_processes(judge, gateway):
    before = cancelled(judge)
    outcome = judge("abort_whole", model="sleeper", after_ms=500)
    assert outcome["thrown"] == "APIUserAbortError"
    wait_until(lambda: cancelled(judge) == before + 1, 10, "cancelled turn")
    pid = int((gateway.home / "sleeper.pid").read_text())
    wait_until(lambda: not alive(pid), 15, "end of the command's process")


def test_a_client_that_dies_cancels_the_turn(judge, gateway):
    before = cancelled(judge)
    (gateway.home / "sleeper.pid").unlink(missing_ok=True)
    process = judge.begin("chat", model="sleeper")
    wait_until(lambda: (gateway.home / "sleeper.pid").exists(), 20, "running command")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: cancelled(judge) == before + 1, 10, "cancelled turn")


def alive(pid: int) -> bool:
    """It runs: neither gone nor a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def test_port_zero_is_told_by_status(tmp_path):
    config = '[api]\nlisten = "127.0.0.1:0"\nkeys = ["env:JUDGE_KEY"]\n\n[agent.default]\nkind = "echo"\n'
    with Gateway(tmp_path / "home", config, env={"JUDGE_KEY": KEY}) as gateway:
        gateway.start().wait_ready()
        api = gateway.status()["api"]
        assert OpenAiJudge(api, KEY)("chat", content="who is there?")["answered"]["content"]


def test_no_key_configured_refuses_everybody(tmp_path):
    api = f"127.0.0.1:{free_port()}"
    with Gateway(tmp_path / "home", f'[api]\nlisten = "{api}"\n\n[agent.default]\nkind = "echo"\n', api=api) as gateway:
        gateway.start().wait_ready()
        for key in (KEY, "null"):
            error = OpenAiJudge(api, key)("chat")
            assert (error["status"], error["code"]) == (401, "no_key_configured")
