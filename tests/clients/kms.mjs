// Calls KMS through AWS's own client: a line {"operation", "parameters"} in, a line
// {"answer"} or {"error", "message"} out; blobs in base64, times in seconds since 1970.
import * as kms from '@aws-sdk/client-kms';
import { createInterface } from 'node:readline';

const client = new kms.KMSClient({});  // from the environment, as programs do
const blobs = ['Plaintext', 'CiphertextBlob', 'ImportToken', 'EncryptedKeyMaterial',
  'Message', 'Mac'];

const revive = (name, value) =>
  blobs.includes(name) ? Buffer.from(value, 'base64')
    : name === 'ValidTo' ? new Date(value * 1000) : value;

const plain = (value) =>
  value instanceof Uint8Array ? Buffer.from(value).toString('base64')
    : value instanceof Date ? value.getTime() / 1000
      : Array.isArray(value) ? value.map(plain)
        : value && typeof value === 'object'
          ? Object.fromEntries(Object.entries(value)
            .filter(([name, member]) => name !== '$metadata' && member !== undefined)
            .map(([name, member]) => [name, plain(member)]))
          : value;

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, parameters } = JSON.parse(line);
  const input = Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [name, revive(name, value)]));
  let out;
  try {
    out = { answer: plain(await client.send(new kms[`${operation}Command`](input))) };
  } catch (error) {
    out = { error: error.name, message: error.message };
  }
  console.log(JSON.stringify(out));
}
