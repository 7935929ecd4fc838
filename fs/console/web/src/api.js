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

async function post(path, headers, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: 'POST', headers: { 'Content-Type': TYPE, ...headers }, body: JSON.stringify(body),
    });
  } catch {
    throw new Refused('ConsoleEnded',
      'The console does not answer. Start it again: keyfold console', 0);
  }
  const value = await answer.json().catch(() => ({}));
  if (answer.ok) return value;
  throw new Refused(value.__type ?? 'Error', value.message ?? `HTTP status ${answer.status}`,
    answer.status);
}

// call does one operation, such as call('kms.DescribeKey', {KeyId}).
export function call(name, request = {}) {
  const [service, operation] = name.split('.');
  return post('/api', { 'X-Amz-Target': `${PREFIXES[service]}.${operation}` }, request);
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

// beginSession exchanges the token behind the address's "#"; it is taken out of the
// address and the history first.
export async function beginSession() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, '', '#/keys');
  await post('/session', {}, { Token: found[1] });
}

// inTurn does `work` for each item, a few at a time.
export async function inTurn(items, work, atOnce = 4) {
  let next = 0;
  const one = async () => {
    while (next < items.length) await work(items[next++]);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}
