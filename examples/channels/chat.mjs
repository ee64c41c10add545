#!/usr/bin/env node
// A channel program for Talaria: a chat over the lines of a UNIX socket, for `nc -U /tmp/chat.sock`.
//
// Who connects writes a name, then one message per line; "* ok" says that a message is safe with the gateway. An answer
// comes as "bot: …". No packages are needed. The protocol is told in docs/channel-programs.md.
//
//   [channel.lines]
//   kind    = "program"
//   command = ["/usr/bin/node", "/path/to/chat.mjs", "/tmp/chat.sock"]
//   allow   = ["*"]

import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const path = process.argv[2];
const people = new Map(); // name → sockets
const unaccepted = new Map(); // id → our message that the gateway has not taken yet

// To the gateway: one object per line. Standard output is for nothing else.
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// To a person; false: not here.
function tell(name, text) {
  const sockets = people.get(name) ?? new Set();
  for (const socket of sockets) socket.write(text + "\n");
  return sockets.size > 0;
}

function person(socket) {
  let name = "";
  socket.on("error", () => {});
  socket.on("close", () => people.get(name)?.delete(socket));
  createInterface({ input: socket }).on("error", () => {}).on("line", (line) => {
    if (!line.trim()) return;
    if (!name) {
      name = line.trim().slice(0, 64);
      people.set(name, (people.get(name) ?? new Set()).add(socket));
      return;
    }
    // The id stays the same however often the message is said: it is how the gateway knows a repeat.
    const message = {
      type: "message", id: randomUUID(), conversation: name, direct: true, sender: { id: name, name }, text: line,
    };
    unaccepted.set(message.id, message);
    say(message);
  });
}

const handlers = {
  accepted: (line) => settle(line, "* ok"),
  refused: (line) => settle(line, `* no: ${line.what}`),
  hold: (line) => setTimeout(() => unaccepted.has(line.id) && say(unaccepted.get(line.id)), line.retry_after * 1000),
  deliver: (line) => {
    const repeat = line.may_be_repeat ? "(may be a repeat) " : "";
    if (tell(line.conversation, `bot: ${repeat}${line.text}`)) {
      say({ type: "receipt", outbox_id: line.outbox_id });
    } else {
      say({ type: "failed", outbox_id: line.outbox_id, fate: "retry", what: "nobody of that name is here", retry_after: 2 });
    }
  },
  ping: () => say({ type: "alive" }),
  error: (line) => console.error(`the gateway complains: ${line.what}`),
  stop: () => leave(),
};

function settle(line, text) {
  const message = unaccepted.get(line.id);
  unaccepted.delete(line.id);
  if (message) tell(message.conversation, text);
}

function leave() {
  rmSync(path, { force: true });
  process.exit(0);
}

rmSync(path, { force: true }); // of an earlier life
createServer(person).listen(path, () => {
  say({ type: "hello", protocol: 1, account: path });
  createInterface({ input: process.stdin })
    .on("line", (text) => {
      const line = JSON.parse(text);
      handlers[line.type]?.(line); // what we don't know is for others
    })
    .on("close", leave); // the end of our input is the gateway's end: then we go, too
});
process.on("SIGTERM", leave);
