// Are keys and times written in the order and at the place where people look for them?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byAlias, namesOf } from '../../../fs/console/web/src/aliases.js';
import { count, ticks } from '../../../fs/console/web/src/chart.js';

const NOW = Date.parse('2026-03-02T12:30:00Z');

test('keys are sorted by alias, those without one last', () => {
  const keys = [['9', []], ['7', ['alias/b']], ['1', []], ['8', ['alias/a', 'alias/z']]]
    .map(([id, aliases]) => ({ id, aliases }));
  assert.deepEqual(keys.sort(byAlias).map(({ id }) => id), ['8', '7', '1', '9']);
});

test('a key has all of its aliases', () => {
  const aliases = [['1', 'alias/a'], ['2', 'alias/b'], ['1', 'alias/c']]
    .map(([TargetKeyId, AliasName]) => ({ TargetKeyId, AliasName }));
  assert.deepEqual(namesOf(aliases), { 1: ['alias/a', 'alias/c'], 2: ['alias/b'] });
});

test("a chart's axis has hours of a day, and days of more", () => {
  assert.deepEqual(ticks(60, NOW), ['11:30', '11:45', '12:00', '12:15', '12:30']);
  assert.deepEqual(ticks(4 * 1440, NOW), ['02-26', '02-27', '02-28', '03-01', '03-02']);
});

test('records are counted in the bar of their time', () => {
  const at = (eventTime, errorCode) => ({ eventTime, errorCode });
  const bars = count([at('2026-03-02T11:30:00Z'), at('2026-03-02T12:29:59Z', 'no'), at('2026-03-02T12:30:00Z')], 60, NOW);
  assert.deepEqual([bars[0].done, bars[23].done, bars[23].refused], [1, 1, 1]);
});
