// Does a page end asking for what is refused, and still find what is its user's?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Asking, Unasked } from '../../../fs/console/web/src/asking.js';

const MINUTE = 60_000;
const ids = Array.from({ length: 30 }, (_, i) => `key${i}`);
const alone = () => ({ times: [], turn: Promise.resolve() }); // no other page
const nobodyKnows = async () => new Set();

// A page whose user may see the keys that `mine` tells; `asked` is what it asked about.
function page(mine, most = 3) {
  const asking = new Asking(most, alone());
  const asked = [];
  const look = (id) => asking.ask(id, async () => {
    asked.push(id);
    if (!mine(id)) throw Object.assign(new Error('no'), { type: 'AccessDeniedException' });
  }).catch(() => {});
  const visit = (likely = nobodyKnows) => asking.each(ids, look, () => true, likely);
  return { asking, asked, look, visit };
}

// A clock that the test moves on: mock timers differ from one version of node to the next.
function clock(t) {
  const { now } = Date, wait = globalThis.setTimeout;
  let time = now(), waiting = [];
  Date.now = () => time;
  globalThis.setTimeout = (action, ms) => { waiting.push({ at: time + ms, action }); };
  t.after(() => { Date.now = now; globalThis.setTimeout = wait; });
  return {
    tick(ms) {
      time += ms;
      const due = waiting.filter(({ at }) => at <= time);
      waiting = waiting.filter(({ at }) => at > time);
      for (const { action } of due) action();
    },
  };
}

test('all is asked when nothing is refused', async () => {
  const { asked, visit } = page(() => true);
  await visit();
  assert.deepEqual(asked, ids);
});

test('a few refusals end it, and are not asked for again', async () => {
  const { asking, asked, visit } = page(() => false);
  await visit();
  await visit();
  assert.deepEqual(asked, ids.slice(0, 3));
  assert.equal(asking.refusal('key0').message, 'no');
  assert.equal(asking.refusal('key9'), undefined);
  assert.equal(asking.wait('key9'), Infinity);
});

test("what is likely the user's is asked after the first refusal", async () => {
  const { asking, asked, visit } = page((id) => id === 'key29');
  await visit(async () => new Set(['key29']));
  assert.deepEqual(asked.slice(0, 2), ['key0', 'key29']);
  assert.equal(asked.length, 4);
  // And again at the next visit, though nothing else is.
  await visit();
  assert.deepEqual(asked.slice(4), ['key29']);
  assert.equal(asking.wait('key29'), 0);
});

test('who may see most sees the rest later', async (t) => {
  const time = clock(t);
  const { asking, asked, visit } = page((id) => !/[05]$/.test(id));
  visit();
  const settle = async () => { for (let i = 0; i < 1000; ++i) await null; };
  await settle();
  const before = asked.length;
  assert.equal(asked.filter((id) => /[05]$/.test(id)).length, 3);
  assert.ok(asking.wait('key29') > 0 && asking.wait('key29') <= MINUTE);
  time.tick(MINUTE / 2);
  await settle();
  assert.equal(asked.length, before);
  time.tick(MINUTE / 2);
  await settle();
  assert.equal(asked.filter((id) => /[05]$/.test(id)).length, 6);
  time.tick(MINUTE);
  await settle();
  assert.deepEqual(asked, ids);
});

test('a refusal is not believed for ever, and a look by hand counts at once', async (t) => {
  const time = clock(t);
  let mine = false;
  const { asking, asked, look, visit } = page(() => mine, 1);
  await visit();
  mine = true;
  await look('key0');
  assert.equal(asking.refusal('key0'), undefined);
  await visit();
  assert.deepEqual(asked, ['key0', 'key0', ...ids]);
  mine = false;
  await look('key1');
  time.tick(15 * MINUTE);
  assert.equal(asking.refusal('key1'), undefined);
});

test('what fails otherwise is no refusal', async () => {
  const asking = new Asking(1, alone());
  await assert.rejects(asking.ask('key0', async () => { throw new Error('gone'); }), /gone/);
  assert.equal(asking.refusal('key0'), undefined);
  assert.equal(asking.wait('key1'), 0);
});

const refuse = async () => { throw Object.assign(new Error('no'), { type: 'AccessDeniedException' }); };

test('of questions put at once no more than the most are refused', async () => {
  const asking = new Asking(2, alone());
  const ends = await Promise.allSettled(ids.map((id) => asking.once(id, refuse)));
  const unasked = ends.filter(({ reason }) => reason instanceof Unasked);
  assert.equal(unasked.length, ids.length - 2);
  assert.equal(unasked[0].reason.cause, undefined);
  // What was refused is not asked again, and says what it said.
  await assert.rejects(asking.once('key0', async () => 'yes'), (failure) => failure instanceof Unasked &&
    failure.cause.message === 'no' && failure.message === 'no');
  // By hand it is; and is then known to be answered.
  assert.equal(await asking.ask('key0', async () => 'yes'), 'yes');
  assert.equal(await asking.once('key0', async () => 'yes'), 'yes');
});

test('no number of pages gets an alert', async (t) => {
  const time = clock(t);
  const shared = alone();
  let refused = 0;
  const visit = () => Promise.allSettled(Array.from({ length: 8 }, () => new Asking(3, shared))
    .flatMap((asking) => ids.map((id) => asking.once(id, () => { ++refused; return refuse(); }))));
  await visit();
  assert.equal(refused, 6);
  time.tick(MINUTE / 2);
  await visit();
  assert.equal(refused, 6);
  time.tick(MINUTE / 2);
  await visit();
  assert.equal(refused, 12);
});
