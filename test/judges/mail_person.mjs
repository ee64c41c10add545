// A person with a mail program: npm nodemailer writes, npm imapflow waits (IDLE) for the answer and reads it.
//
// One JSON object on stdin: {"smtp": port, "imap": port, "user", "password", "mail": {…as nodemailer takes it}}; on stdout the answer:
// {"envelope", "text", "flags", "type"}. NODE_EXTRA_CA_CERTS names the authority of the IMAP server's certificate.

import { ImapFlow } from 'imapflow';
import nodemailer from 'nodemailer';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const order = JSON.parse(Buffer.concat(chunks));

const imap = new ImapFlow({
  host: 'localhost', port: order.imap, secure: true, auth: { user: order.user, pass: order.password }, logger: false,
});
await imap.connect();
const lock = await imap.getMailboxLock('INBOX');
let grown;
imap.on('exists', () => grown?.());

const sent = await nodemailer
  .createTransport({ host: '127.0.0.1', port: order.smtp, secure: false, ignoreTLS: true })
  .sendMail(order.mail);

// To the end of the list: a fetch that is left early holds up the next command.
async function find() {
  let found = null;
  for await (const message of imap.fetch('1:*', { envelope: true, flags: true, bodyStructure: true, uid: true })) {
    if (message.envelope.inReplyTo === sent.messageId) found = message;
  }
  return found;
}

let answer = null;
while (!answer) {
  const next = new Promise((resolve) => { grown = resolve; });
  answer = imap.mailbox.exists > 0 ? await find() : null;
  if (!answer) await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 1000))]);
}
const { content } = await imap.download(String(answer.uid), '1', { uid: true });
const parts = [];
for await (const chunk of content) parts.push(chunk);
process.stdout.write(JSON.stringify({
  envelope: answer.envelope, text: Buffer.concat(parts).toString(), type: answer.bodyStructure.type, messageId: sent.messageId,
}) + '\n');
lock.release();
await imap.logout();
