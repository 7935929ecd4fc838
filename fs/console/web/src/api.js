// Calls of the daemon, through the console's process, in the AWS JSON 1.1 protocol.
const TYPE = 'application/x-amz-json-1.1';
const PREFIXES = {
  kms: 'TrentService', iam: 'KeyfoldIam', audit: 'KeyfoldAudit', store: 'KeyfoldStore',
  console: 'KeyfoldConsole',
};

const MOST = 1 << 20; // bytes of a request
const PATIENCE = 90_000; // ms with an answer

export class Refused extends Error {
  constructor(type, message, status) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

// What the console proves its answers with, so that this page trusts nobody who takes
// its port when it has ended. It is gone when something else answered, or nothing.
let proofKey;

const ended = (message) => {
  proofKey = undefined;
  return new Refused('ConsoleEnded', message, 0);
};

// The answer's head and its body as bytes.
async function post(path, headers, value) {
  const body = new TextEncoder().encode(JSON.stringify(value));
  if (body.length > MOST)
    throw new Refused('RequestEntityTooLargeException', 'That is more than 1 MiB.', 413);
  try {
    const answer = await fetch(path, {
      method: 'POST', headers: { 'Content-Type': TYPE, ...headers }, body,
      redirect: 'error', signal: AbortSignal.timeout(PATIENCE),
    });
    return { answer, bytes: new Uint8Array(await answer.arrayBuffer()) };
  } catch {
    throw ended('The console does not answer. Close this page, and start it again: keyfold console');
  }
}

function valueOf({ answer, bytes }) {
  let value = {};
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch { /* the status tells enough */ }
  if (answer.ok) return value;
  throw new Refused(value.__type ?? 'Error', value.message ?? `HTTP status ${answer.status}`,
    answer.status);
}

export const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

async function isProven(key, nonce, { answer, bytes }) {
  const head = new TextEncoder().encode(`${nonce}\n${answer.status}\n`);
  const text = new Uint8Array(head.length + bytes.length);
  text.set(head);
  text.set(bytes, head.length);
  try {
    const proof = bytesOf(answer.headers.get('Keyfold-Proof') ?? '');
    return await crypto.subtle.verify('HMAC', key, proof, text);
  } catch {
    return false; // it is not even Base64
  }
}

// call does one operation, such as call('kms.DescribeKey', {KeyId}).
export async function call(name, request = {}) {
  const key = proofKey;
  if (!key) throw ended('The console has ended. Close this page.');
  const [service, operation] = name.split('.');
  const nonce = crypto.randomUUID();
  const found = await post('/api',
    { 'X-Amz-Target': `${PREFIXES[service]}.${operation}`, 'Keyfold-Nonce': nonce }, request);
  if (!await isProven(key, nonce, found))
    throw ended('What answers is not the console that this page came from. Close this page.');
  return valueOf(found);
}

// all follows NextMarker and gives the items of all pages.
export async function all(name, member, request = {}) {
  const items = [];
  let marker;
  do {
    const page = await call(name, marker ? { ...request, Marker: marker } : request);
    items.push(...page[member]);
    marker = page.Truncated ? page.NextMarker : undefined;
  } while (marker);
  return items;
}

// beginSession exchanges the token behind the address's "#", if there is one; it is taken
// out of the address and the history first.
export async function beginSession() {
  const token = /^#token=([\w-]+)$/.exec(location.hash)?.[1] ?? '';
  if (!isSecureContext)
    throw new Refused('InsecureContext', 'This browser does not take names below localhost for ' +
      'this machine. Open the address in Chromium, Firefox or another that does.', 0);
  if (token) history.replaceState(null, '', '#/keys');
  const { ProofKey } = valueOf(await post('/session', {}, { Token: token }));
  proofKey = await crypto.subtle.importKey('raw', bytesOf(ProofKey),
    { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
}

// inTurn does `work` for each item, a few at a time.
export async function inTurn(items, work, atOnce = 4) {
  let next = 0;
  const one = async () => {
    while (next < items.length) await work(items[next++]);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}
