"""Telegram: conversations in private chats, groups and topics, with files, through the real binary and a fake Bot API server that
npm grammy has judged (test/judges/test_telegram_api.py)."""

import pytest

from support.talaria import wait_until
from support.telegram_api import TelegramApi
from telegram_support import command_agent, gateway


@pytest.fixture
def telegram():
    with TelegramApi() as running:
        yield running


def test_a_private_conversation(tmp_path, telegram):
    alice = telegram.person("Alice")
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        said = ["hello", "grüß dich 👩‍👩‍👧", "a < b && c > d", "last one"]
        for n, text in enumerate(said):
            telegram.say(alice, text)
            telegram.wait(lambda: len(telegram.sent(alice)) == n + 1)
        assert telegram.texts(alice) == said
        assert all(m.reply_to == 0 for m in telegram.sent(alice)), "in a private chat it is plain what is answered"
        telegram.wait(lambda: not telegram.unconfirmed(), what="confirmation of the last update")
        entry = g.channel("tg")
        assert (entry["kind"], entry["state"]) == ("telegram", "up") and entry["last_progress"]
        assert telegram.token.split(":")[1] not in g.output(), "the token is in the log"
        g.stop()


def test_a_group_is_answered_only_when_it_speaks_to_the_bot(tmp_path, telegram):
    alice, group = telegram.person("Alice"), telegram.group("Friends")
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "just talking about talaria_bot", group)
        telegram.say(alice, "/new@other_bot", group)
        one = telegram.say(alice, "@talaria_bot: one", group)["message"]["message_id"]
        telegram.wait(lambda: telegram.sent(group))
        telegram.say(alice, "and what do you say @Talaria_Bot?", group)
        telegram.say(alice, "three", group, reply_to=telegram.sent(group)[0])
        telegram.say(alice, "/four@talaria_bot five", group)
        telegram.wait(lambda: len(telegram.sent(group)) == 4)
        assert telegram.texts(group) == ["one", "and what do you say?", "three", "/four five"]
        assert telegram.sent(group)[0].reply_to == one
        telegram.wait(lambda: not telegram.unconfirmed(), what="confirmation of the last update")
        assert len(telegram.sent()) == 4


def test_a_topic_is_answered_in_the_topic(tmp_path, telegram):
    alice, group = telegram.person("Alice"), telegram.group("Forum", topics=2)
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "nobody is meant", group, thread=2)
        telegram.say(alice, "@talaria_bot hello", group, thread=3)
        telegram.wait(lambda: telegram.sent(group))
        assert [(m.thread, m.text) for m in telegram.sent(group)] == [(3, "hello")]


def test_who_is_not_on_the_list_is_not_answered(tmp_path, telegram):
    alice, bob, eve, group = telegram.person("Alice"), telegram.person("Bob", "Bob_B"), telegram.person("Eve", "bob"), telegram.group("G")
    with gateway(tmp_path, telegram, allow=f'"user:{alice.id}", "username:bob_b", "chat:{group.id}"').start() as g:
        g.wait_channel_up("tg")
        telegram.say(eve, "me too")
        telegram.say(eve, "@talaria_bot in the group", group)
        telegram.say(alice, "one")
        telegram.say(bob, "two")
        telegram.wait(lambda: telegram.texts(alice) == ["one"] and telegram.texts(bob) == ["two"] and telegram.texts(group) == ["in the group"])
        assert telegram.sent(eve) == []
        # The operator is told who it was, in the words of a rule. Nothing of what was said.
        told = [line for line in g.output().splitlines() if "no rule of allow fits" in line]
        assert len(told) == 1 and f"tg: a message of user:{eve.id} (@bob) in chat:{eve.id} " in told[0] and "me too" not in told[0]


def test_administrators_commands(tmp_path, telegram):
    alice = telegram.person("Alice")
    with gateway(tmp_path, telegram, channel=f'admins = ["user:{alice.id}"]', allow="").start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "/help")
        telegram.wait(lambda: telegram.sent(alice))
        assert "/restart" in telegram.texts(alice)[0]


def test_markdown_is_shown_and_what_telegram_refuses_goes_as_plain_text(tmp_path, telegram):
    alice = telegram.person("Alice")
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "**bold** & `code <b>` [site](https://example.org/?a=1&b=2)")
        telegram.wait(lambda: telegram.sent(alice))
        shown = telegram.sent(alice)[0]
        assert shown.text == "bold & code <b> site"
        assert [e["type"] for e in shown.entities] == ["bold", "code", "text_link"] and shown.entities[2]["url"] == "https://example.org/?a=1&b=2"
        telegram.fault("sendMessage", "refuse", code=400, description="Bad Request: can't parse entities: Unsupported start tag")
        telegram.say(alice, "**again**")
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        assert telegram.texts(alice)[1] == "**again**"


def test_long_answers_are_cut_by_utf16_units_with_their_code_blocks_whole(tmp_path, telegram):
    alice = telegram.person("Alice")
    agent = command_agent("printf '```sh\\n'; yes '😀😀 echo' | head -n 700; printf '```\\n'; yes 'word 😀' | head -n 600")
    with gateway(tmp_path, telegram, agent=agent).start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "go")
        telegram.wait(lambda: "\n".join(telegram.texts(alice)).count("word") == 600)
        texts = telegram.texts(alice)
        assert "\n".join(texts).count("echo") == 700 and "```" not in "".join(texts)
        assert 3 <= len(texts) <= 5 and any(e["type"] == "pre" for e in telegram.sent(alice)[0].entities)


def test_streamed_answers_grow_in_one_message(tmp_path, telegram):
    alice = telegram.person("Alice")
    agent = command_agent("for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.4; done")
    with gateway(tmp_path, telegram, agent=agent).start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "go")
        telegram.wait(lambda: telegram.texts(alice) and "line 8" in telegram.texts(alice)[-1])
        g.stop()
        assert len(telegram.sent(alice)) == 1
        message = telegram.sent(alice)[0]
        assert message.text.split("\n") == [f"line {i}" for i in range(1, 9)]
        assert message.versions, "the answer was shown only when it was whole"
        assert all(message.text.startswith(earlier.rstrip("…")) for earlier in message.versions)
        edits = telegram.of("editMessageText")
        assert all(b.at - a.at > 0.9 for a, b in zip(edits, edits[1:-1])), "more than one edit a second"
        assert telegram.of("sendChatAction")


def test_files_come_and_go_with_messages(tmp_path, telegram):
    alice = telegram.person("Alice")
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, None, document=telegram.file("report ../x.txt", b"0123456789"), caption="look at this")
        telegram.say(alice, None, document=telegram.file("huge.bin", b"", size=21 * 1024 * 1024), caption="and this")
        telegram.wait(lambda: len(telegram.sent(alice)) >= 2)
        assert telegram.texts(alice)[0].startswith("look at this"), telegram.texts(alice)
        assert telegram.texts(alice)[1] == "and this\n[huge.bin: too large to be fetched]"
        kept = [p for p in (g.home / "state").rglob("*") if p.is_file() and p.read_bytes() == b"0123456789"]
        assert len(kept) == 1, "the file was not kept"


def test_what_can_not_be_read_is_told_of(tmp_path, telegram):
    alice, group = telegram.person("Alice"), telegram.group("Friends")
    with gateway(tmp_path, telegram, channel='groups = "all"').start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, None, location={"latitude": 1.5, "longitude": 2.5})
        telegram.say(alice, None, sticker={"file_id": "s", "emoji": "🙂"})
        telegram.say(alice, None, pinned_message={"message_id": 1})
        telegram.say(alice, None, hologram={"of": "a cat"})
        telegram.say(alice, None, group, new_chat_members=[alice.user])
        telegram.say(alice, None, group, contact={"first_name": "Bob", "phone_number": "+123"})
        telegram.wait(lambda: len(telegram.sent()) == 4)
        telegram.wait(lambda: not telegram.unconfirmed(), what="confirmation of the last update")
        assert telegram.texts(alice) == ["[location 1.5, 2.5]", "[sticker 🙂]", "[a message of a kind that can't be read here]"]
        assert telegram.texts(group) == ["[contact Bob, +123]"]


def test_files_go_out_with_answers(tmp_path, telegram):
    alice, out = telegram.person("Alice"), tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_bytes(b"some\0bytes")
    (out / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n-")
    agent = command_agent(f"echo here you are; echo 'MEDIA: {out}/a.txt'; echo 'MEDIA: {out}/p.png'") + f'\nattach_from = ["{out}"]'
    with gateway(tmp_path, telegram, agent=agent).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendPhoto", "refuse", code=400, description="Bad Request: PHOTO_INVALID_DIMENSIONS")
        telegram.say(alice, "go")
        telegram.wait(lambda: len(telegram.sent(alice)) == 3)
        text, *files = telegram.sent(alice)
        assert text.text == "here you are"
        assert [m.file for m in files] == [("sendDocument", "a.txt", b"some\0bytes"), ("sendDocument", "p.png", b"\x89PNG\r\n\x1a\n-")]


def test_an_answer_that_turns_out_to_be_a_file_leaves_no_message_of_its_beginning(tmp_path, telegram):
    """Cut off after its first words, the turn runs again and has nothing to say but the file."""
    alice, out = telegram.person("Alice"), tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_bytes(b"bytes")
    agent = command_agent(f"if [ -e {out}/second ]; then echo 'MEDIA: {out}/a.txt'; sleep 2; else touch {out}/second; echo working; sleep 3; echo more; exec sleep 60; fi")
    with gateway(tmp_path, telegram, agent=agent + f'\nattach_from = ["{out}"]').start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "go")
        telegram.wait(lambda: telegram.of("editMessageText"))  # which message it is, is on disk
        g.kill9()
        g.start()
        telegram.wait(lambda: [m.file for m in telegram.sent(alice)] == [("sendDocument", "a.txt", b"bytes")])
        assert not any("MEDIA" in str(call.parameters) for call in telegram.of("editMessageText")), "the file's path was shown"
        g.stop()


def test_two_profiles_with_one_token(tmp_path, telegram):
    """The second reports and waits; it takes over when the first ends."""
    alice = telegram.person("Alice")
    with gateway(tmp_path / "a", telegram).start() as first, gateway(tmp_path / "b", telegram) as second:
        first.wait_channel_up("tg")
        second.start()
        refused = wait_until(lambda: (c := second.channel("tg")) and c["state"] == "down" and c, 20, "the second one down")
        assert f"the account {telegram.bot['id']} is in use by" in refused["error"]
        telegram.say(alice, "who is there?")
        telegram.wait(lambda: telegram.sent(alice))
        first.stop()
        second.wait_channel_up("tg")
        telegram.say(alice, "and now?")
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        assert telegram.texts(alice) == ["who is there?", "and now?"]
