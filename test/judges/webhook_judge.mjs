// The npm package `standardwebhooks` at both ends, as the scenario says; one JSON line of outcome.
//   sign SECRET ID BODY            → {headers}
//   verify SECRET BODY HEADERS     → {verified: true} or {error}
import { Webhook } from "standardwebhooks";

const [, , scenario, secret, ...rest] = process.argv;
const webhook = new Webhook(secret);

function outcome() {
  if (scenario === "sign") {
    const [id, body] = rest;
    const at = new Date();
    return { headers: { "webhook-id": id, "webhook-timestamp": String(Math.floor(at.getTime() / 1000)), "webhook-signature": webhook.sign(id, at, body) } };
  }
  try {
    webhook.verify(rest[0], JSON.parse(rest[1]));
    return { verified: true };
  } catch (error) {
    return { error: error.message };
  }
}

console.log(JSON.stringify(outcome()));
