// Calls of the daemon, through the console's process, in the AWS JSON 1.1 protocol.
const TYPE = 'application/x-amz-json-1.1';
const PREFIXES = {
  kms: 'TrentService', iam: 'KeyfoldIam', audit: 'KeyfoldAudit', store: 'KeyfoldStore',
  console: 'KeyfoldConsole',
};

export class Refused extends Error {
  constructor(type, message, status) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

// The answer's head and its body as bytes.
async function post(path, headers, body) {
  try {
    const answer = await fetch(path, {
      method: 'POST', headers: { 'Content-Type': TYPE, ...headers }, body: JSON.stringify(body),
    });
    return { answer, bytes: new Uint8Array(await answer.arrayBuffer()) };
  } catch {
    throw new Refused('ConsoleEnded',
      'The console does not answer. Start it again: keyfold console', 0);
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

// What the console proves its answers with, so that this page trusts nobody who takes
// its port when it has ended; none when somebody did.
let proofKey;

async function check(nonce, { answer, bytes }) {
  const head = new TextEncoder().encode(`${nonce}\n${answer.status}\n`);
  const proof = bytesOf(answer.headers.get('Keyfold-Proof') ?? '');
  const proven = proofKey &&
    await crypto.subtle.verify('HMAC', proofKey, proof, new Uint8Array([...head, ...bytes]));
  if (proven) return;
  proofKey = undefined;
  throw new Refused('ConsoleEnded',
    'What answers is not the console that this page came from. Close this page.', 0);
}

// call does one operation, such as call('kms.DescribeKey', {KeyId}).
export async function call(name, request = {}) {
  if (!proofKey) throw new Refused('ConsoleEnded', 'The console has ended. Close this page.', 0);
  const [service, operation] = name.split('.');
  const nonce = crypto.randomUUID();
  const found = await post('/api',
    { 'X-Amz-Target': `${PREFIXES[service]}.${operation}`, 'Keyfold-Nonce': nonce }, request);
  await check(nonce, found);
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
