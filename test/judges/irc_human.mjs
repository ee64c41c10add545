// A person on IRC: npm irc-framework, driven by one JSON object per line on stdin, reporting one per line on stdout.
// TLS is verified; NODE_EXTRA_CA_CERTS names further authorities.
//
//   in   {"do": "connect", "host", "port", "nick", "tls", "account": {"account", "password"}}
//        {"do": "join", "channel"}   {"do": "say", "target", "text"}   {"do": "raw", "line"}   {"do": "quit"}
//   out  {"event": "registered", "nick"}   {"event": "joined", "channel"}   {"event": "closed"}   {"event": "error", "what"}
//        {"event": "message", "type", "from", "target", "text", "bytes"}   (bytes: of the whole line as relayed, CR LF included)
//        {"event": "joins"|"parts"|"quits"|"renames", "nick", …}           (what others do)

import { createInterface } from 'node:readline';
import IRC from 'irc-framework';

const out = (object) => process.stdout.write(JSON.stringify(object) + '\n');
const client = new IRC.Client();
let relayed = 0; // bytes of the last line without its tags

client.on('raw', ({ line, from_server }) => {
  if (from_server) relayed = Buffer.byteLength(line.replace(/^@\S+ +/, '').replace(/[\r\n]+$/, '')) + 2;
});
client.on('registered', (event) => out({ event: 'registered', nick: event.nick }));
client.on('message', (event) => {
  out({ event: 'message', type: event.type, from: event.nick, target: event.target, text: event.message, bytes: relayed });
});
client.on('join', (event) => {
  if (event.nick === client.user.nick) out({ event: 'joined', channel: event.channel });
  else out({ event: 'joins', nick: event.nick, channel: event.channel, account: event.account || '' });
});
client.on('part', (event) => out({ event: 'parts', nick: event.nick, channel: event.channel }));
client.on('quit', (event) => out({ event: 'quits', nick: event.nick }));
client.on('nick', (event) => out({ event: 'renames', nick: event.nick, to: event.new_nick }));
client.on('nick in use', (event) => out({ event: 'error', what: `nick ${event.nick} is in use` }));
client.on('irc error', (event) => out({ event: 'error', what: `${event.error}: ${event.reason || ''}` }));
client.on('sasl failed', (event) => out({ event: 'error', what: `sasl ${event.reason}` }));
client.on('socket close', () => out({ event: 'closed' }));

const actions = {
  connect: ({ host, port, nick, tls, account }) => client.connect({
    host, port, nick, username: nick, gecos: nick, tls: !!tls, rejectUnauthorized: true, account, auto_reconnect: false,
  }),
  join: ({ channel }) => client.join(channel),
  say: ({ target, text }) => client.say(target, text),
  raw: ({ line }) => client.raw(line),
  quit: () => client.quit(),
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  actions[command.do](command);
}).on('close', () => process.exit(0));
