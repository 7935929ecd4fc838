// Does an edit of a policy by a click change what was clicked on, and nothing else?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPolicy, withoutPrincipal, withPrincipal } from '../../../fs/console/web/src/policy.js';

const OTHER = 'arn:aws:iam::000000000000:user/cfo'; // another spelling of user:cfo
const allow = (Sid, AWS, Action, more) => ({ Sid, Effect: 'Allow', Principal: { AWS }, Action, Resource: '*', ...more });
const made = (...more) => JSON.stringify({
  Version: '2012-10-17',
  Statement: [
    allow('Account', 'arn:aws:iam::000000000000:root', 'kms:*'),
    allow('Administrators', ['user:ann'], ['kms:PutKeyPolicy', 'kms:Disable*']),
    allow('Use', ['user:ann', OTHER], ['kms:Decrypt', 'kms:GenerateDataKey*']),
    allow('Grants', ['user:ann'], ['kms:CreateGrant', 'kms:ListGrants', 'kms:RevokeGrant'],
      { Condition: { Bool: { 'kms:GrantIsForAWSResource': 'true' } } }),
    ...more,
  ],
});
const statement = (text, sid) => JSON.parse(text).Statement.find((one) => one.Sid === sid);
const who = (text, sid) => statement(text, sid)?.Principal.AWS;

test('administrators and users are told apart', () => {
  const found = readPolicy(made());
  assert.deepEqual(found.administrators, ['user:ann']);
  assert.deepEqual(found.users, ['user:ann', 'user:cfo']);
  assert.equal(found.account, true);
});

test('a user is added to the use and to what goes with it', () => {
  const text = withPrincipal(made(), 'users', 'user:bob');
  assert.deepEqual(who(text, 'Use'), ['user:ann', OTHER, 'user:bob']);
  assert.deepEqual(who(text, 'Grants'), ['user:ann', 'user:bob']);
  assert.deepEqual(who(text, 'Administrators'), ['user:ann']);
  assert.equal(withPrincipal(text, 'users', 'user:bob'), text);
});

test('an administrator is added to nothing else', () => {
  const text = withPrincipal(made(), 'administrators', 'user:bob');
  assert.deepEqual(who(text, 'Administrators'), ['user:ann', 'user:bob']);
  for (const sid of ['Use', 'Grants', 'Account'])
    assert.deepEqual(statement(text, sid), statement(made(), sid));
});

test('who is removed keeps no part of it, and the last takes the statement along', () => {
  const text = withoutPrincipal(made(), 'users', 'user:ann');
  assert.deepEqual(who(text, 'Use'), [OTHER]);
  assert.equal(statement(text, 'Grants'), undefined);
  assert.deepEqual(who(text, 'Administrators'), ['user:ann']);
});

test('what gives more, or under a condition, is left to the editor', () => {
  const all = made(allow('All', ['user:eve'], 'kms:*'));
  for (const kind of ['users', 'administrators'])
    assert.throws(() => withoutPrincipal(all, kind, 'user:eve'), /Edit the policy's text/);
  const bound = JSON.stringify({ Statement: [allow('Use', ['user:ann'], 'kms:Decrypt',
    { Condition: { Bool: { 'aws:SecureTransport': 'true' } } })] });
  assert.throws(() => withPrincipal(bound, 'users', 'user:bob'), /no statement for them alone/);
  assert.equal(readPolicy(bound).others.length, 1);
});

test('other statements about grants are not taken for what goes with the use', () => {
  const bool = (value, more) => ({ Condition: { Bool: { 'kms:GrantIsForAWSResource': value }, ...more } });
  const text = withPrincipal(made(
    allow('False', ['user:ann'], 'kms:CreateGrant', bool('false')),
    allow('Bound', ['user:ann'], 'kms:CreateGrant', bool('true', { StringEquals: { 'kms:ViaService': 'fs.keyfold' } })),
    allow('All', ['arn:aws:iam::000000000000:root'], 'kms:CreateGrant', bool('true')),
  ), 'users', 'user:bob');
  for (const sid of ['False', 'Bound', 'All']) assert.equal(who(text, sid).length, 1, sid);
});

test('a denial, and an exception to one, make nobody a user', () => {
  const denied = { Effect: 'Deny', Principal: { AWS: ['user:eve'] }, Action: 'kms:Decrypt' };
  const except = { Effect: 'Allow', NotPrincipal: { AWS: ['user:eve'] }, Action: 'kms:Decrypt' };
  const found = readPolicy(JSON.stringify({ Statement: [denied, except] }));
  assert.deepEqual(found.users, []);
  assert.equal(found.others.length, 2);
});
