// The `openai` npm client as the judge of the API: whatever it can't parse is wrong.
//
//   node openai_judge.mjs SCENARIO [JSON]      OPENAI_BASE_URL, OPENAI_API_KEY in the environment
//
// Prints one JSON document of what the client understood; the test that calls it judges. The client's own retries are
// off: they would hide what the first answer was.

import OpenAI from 'openai';

const [, , scenario, json = '{}'] = process.argv;
const asked = JSON.parse(json);
const client = new OpenAI({ maxRetries: 0, timeout: asked.timeout ?? 60_000 });

const params = () => ({
  model: asked.model ?? 'default',
  messages: asked.messages ?? [{ role: 'user', content: asked.content ?? 'x'.repeat(asked.content_bytes ?? 5) }],
  ...(asked.user ? { user: asked.user } : {}),
});

const headers = () => ({
  ...(asked.key ? { 'Idempotency-Key': asked.key } : {}),
  ...(asked.session ? { 'X-Talaria-Session': asked.session } : {}),
});

async function chat(more = {}) {
  const { data, response } = await client.chat.completions.create(params(), { headers: headers(), ...more }).withResponse();
  const [choice] = data.choices;
  return {
    id: data.id,
    object: data.object,
    model: data.model,
    created: data.created,
    role: choice.message.role,
    content: choice.message.content,
    finish_reason: choice.finish_reason,
    usage: data.usage,
    choices: data.choices.length,
    replayed: response.headers.get('idempotency-replayed'),
  };
}

async function stream(more = {}, onPiece = () => {}) {
  const { data, response } = await client.chat.completions
    .create({ ...params(), stream: true, stream_options: { include_usage: true } }, { headers: headers(), ...more })
    .withResponse();
  const seen = { ids: [], objects: [], roles: [], pieces: [], finish_reasons: [], usage: null, replayed: response.headers.get('idempotency-replayed') };
  for await (const chunk of data) {
    if (!seen.ids.includes(chunk.id)) seen.ids.push(chunk.id);
    if (!seen.objects.includes(chunk.object)) seen.objects.push(chunk.object);
    if (chunk.usage) seen.usage = chunk.usage;
    const [choice] = chunk.choices;
    if (!choice) continue;
    if (choice.delta.role) seen.roles.push(choice.delta.role);
    if (choice.finish_reason) seen.finish_reasons.push(choice.finish_reason);
    if (choice.delta.content) {
      seen.pieces.push(choice.delta.content);
      onPiece(seen.pieces.length);
    }
  }
  return { ...seen, content: seen.pieces.join('') };
}

// What an application's catch block gets.
async function caught(call) {
  try {
    return { answered: await call() };
  } catch (error) {
    return {
      thrown: error.constructor.name,
      is_api_error: error instanceof OpenAI.APIError,
      status: error.status ?? null,
      code: error.code ?? null,
      type: error.type ?? null,
      message: error.message,
      body: error.error ?? null,
    };
  }
}

const scenarios = {
  async models() {
    const listed = [];
    for await (const model of client.models.list()) listed.push(model);
    const one = await client.models.retrieve(listed[0].id);
    return { listed, one };
  },
  chat: () => caught(() => chat()),
  stream: () => caught(() => stream()),
  // The client's own accumulator is stricter than its iterator: it asserts the order of roles, indexes and finish reasons.
  async accumulate() {
    const runner = client.chat.completions.stream({ ...params(), stream: true }, { headers: headers() });
    const final = await runner.finalChatCompletion();
    return { content: final.choices[0].message.content, role: final.choices[0].message.role, finish_reason: final.choices[0].finish_reason };
  },
  // The client's timer is its own: it aborts after the first text (or after asked.after_ms), as a person who closes the page.
  async abort_stream() {
    const controller = new AbortController();
    let pieces = 0;
    const outcome = await caught(() => stream({ signal: controller.signal }, (n) => { pieces = n; controller.abort(); }));
    return { ...outcome, pieces };
  },
  async abort_whole() {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), asked.after_ms ?? 300);
    return caught(() => chat({ signal: controller.signal }));
  },
  // Several at once under one key.
  concurrent: () => Promise.all(Array.from({ length: asked.times ?? 8 }, () => caught(() => chat()))),
  // The client's own notion of an idempotency key, retries included.
  async own_key() {
    client.idempotencyHeader = 'Idempotency-Key';
    return [await chat({ idempotencyKey: asked.key }), await chat({ idempotencyKey: asked.key })];
  },
};

if (!scenarios[scenario]) {
  console.error(`openai_judge: no scenario "${scenario}"; there are ${Object.keys(scenarios).join(', ')}`);
  process.exit(64);
}
console.log(JSON.stringify(await scenarios[scenario]()));
