// A bot of npm grammy that echoes, driven by the environment: API_ROOT, TOKEN, and what to do; reports one JSON object per line.
//
//   node telegram_bot.mjs poll                 long polling; texts are echoed, "/start" is greeted, errors are reported
//   node telegram_bot.mjs patient              the same with @grammyjs/auto-retry
//   node telegram_bot.mjs call METHOD JSON     one call; prints its result or the error as grammy understands it
//   node telegram_bot.mjs file CHAT            sends a document and a photo

import { Bot, BotError, GrammyError, HttpError, InputFile } from 'grammy';
import { autoRetry } from '@grammyjs/auto-retry';

const out = (object) => process.stdout.write(JSON.stringify(object) + '\n');
const explain = (e) => {
  const cause = e instanceof BotError ? e.error : e;
  if (cause instanceof GrammyError) {
    return { event: 'refused', method: cause.method, code: cause.error_code, what: cause.description, parameters: cause.parameters };
  }
  return { event: cause instanceof HttpError ? 'network' : 'error', what: String(cause) };
};

const bot = new Bot(process.env.TOKEN, { client: { apiRoot: process.env.API_ROOT, timeoutSeconds: 5 } });
const [what, ...rest] = process.argv.slice(2);

async function poll(patient) {
  if (patient) bot.api.config.use(autoRetry());
  bot.catch((e) => out(explain(e)));
  bot.command('start', (context) => context.reply('<b>welcome</b> &amp; hello', { parse_mode: 'HTML' }));
  bot.on('message:document', async (context) => {
    const file = await context.getFile();
    const answer = await fetch(`${process.env.API_ROOT}/file/bot${process.env.TOKEN}/${file.file_path}`);
    await context.reply(`read ${(await answer.text()).length}`);
  });
  bot.on('message:text', async (context) => {
    const { text, is_topic_message: topic, message_thread_id: thread, message_id } = context.msg;
    const sent = await context.reply(text, {
      ...(topic ? { message_thread_id: thread } : {}), reply_parameters: { message_id },
    });
    if (text === 'edit') await bot.api.editMessageText(context.chat.id, sent.message_id, 'edited');
    if (text === 'same') await bot.api.editMessageText(context.chat.id, sent.message_id, 'same');
  });
  try {
    await bot.start({ timeout: 3, onStart: (me) => out({ event: 'started', username: me.username }) });
  } catch (e) {
    out(explain(e));
    process.exit(3);
  }
}

async function once(action) {
  try {
    out({ event: 'result', result: await action() });
  } catch (e) {
    out(explain(e));
  }
}

if (what === 'poll' || what === 'patient') await poll(what === 'patient');
if (what === 'call') {
  const parameters = JSON.parse(rest[1]);
  await once(() => (Object.keys(parameters).length ? bot.api.raw[rest[0]](parameters) : bot.api.raw[rest[0]]()));
}
if (what === 'file') {
  await once(async () => [
    await bot.api.sendDocument(Number(rest[0]), new InputFile(Buffer.from('some\0bytes\r\n'), 'grüße "x".txt')),
    await bot.api.sendPhoto(Number(rest[0]), new InputFile(Buffer.from('not quite a picture'), 'p.png')),
  ]);
}
