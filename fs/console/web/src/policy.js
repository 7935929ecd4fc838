// Who administers a key and who uses it, as its policy says.
import { list, principal } from './texts.js';

const ADMINISTERS = ['kms:PutKeyPolicy', 'kms:DisableKey', 'kms:ScheduleKeyDeletion'];
const USES = ['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:GenerateMac', 'kms:VerifyMac'];

function matches(pattern, action) {
  const text = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '.*').replace(/\?/g, '.');
  return new RegExp(`^${text}$`, 'i').test(action);
}
const names = (statement, actions) =>
  statement.NotAction === undefined &&
  actions.some((action) => list(statement.Action).some((one) => matches(one, action)));

export const principalsOf = (statement) => {
  const who = statement.Principal ?? statement.NotPrincipal;
  return list(typeof who === 'object' && !Array.isArray(who) ? Object.values(who).flat() : who).map(principal);
};

const ACTIONS = { administrators: ADMINISTERS, users: USES };
const isPlain = (statement) => statement.Effect === 'Allow' && statement.NotPrincipal === undefined;

const isEverybody = (who) => who === 'account' || who === 'everyone';

// The statements that make somebody an administrator or a user. One for the account, or
// for everyone, is none of them.
function statementsOf(document, kind) {
  return list(document.Statement).filter((one) => isPlain(one) && names(one, ACTIONS[kind]) &&
    !principalsOf(one).some(isEverybody));
}

// isOnly tells whether a statement makes its principals this and nothing else, so that
// they can be changed in it.
const isOnly = (statement, kind) => statement.Condition === undefined &&
  Object.keys(statement.Principal).every((one) => one === 'AWS') &&
  !names(statement, ACTIONS[kind === 'users' ? 'administrators' : 'users']);

// What lets users have services act with the key for them comes with the use of it, as
// the wizard makes it.
const GRANTS = ['kms:CreateGrant', 'kms:ListGrants', 'kms:RevokeGrant'];
const isForGrants = (statement) => isPlain(statement) && statement.NotAction === undefined &&
  Object.keys(statement.Principal).every((one) => one === 'AWS') &&
  list(statement.Action).every((one) => GRANTS.includes(one)) &&
  !principalsOf(statement).some(isEverybody) &&
  JSON.stringify(statement.Condition) === '{"Bool":{"kms:GrantIsForAWSResource":"true"}}';

// The others stay as they are written: a short name may mean less than an ARN.
const withOne = (statement, who) => (principalsOf(statement).includes(who) ? statement
  : { ...statement, Principal: { AWS: [...list(statement.Principal.AWS), who] } });

// withPrincipal is the policy's text with one more administrator or user.
export function withPrincipal(text, kind, who) {
  const document = JSON.parse(text);
  const statement = statementsOf(document, kind).find((one) => isOnly(one, kind));
  if (!statement) throw new Error('The policy has no statement for them alone. Edit its text.');
  document.Statement = list(document.Statement).map((one) =>
    (one === statement || (kind === 'users' && isForGrants(one)) ? withOne(one, who) : one));
  return JSON.stringify(document);
}

// withoutPrincipal takes one out of all statements of the kind; who is the last of one
// goes with it.
export function withoutPrincipal(text, kind, who) {
  const document = JSON.parse(text);
  const of = new Set(statementsOf(document, kind));
  if ([...of].some((one) => !isOnly(one, kind) && principalsOf(one).includes(who)))
    throw new Error(`A statement gives ${who} more than that. Edit the policy's text.`);
  document.Statement = list(document.Statement).flatMap((statement) => {
    if (!of.has(statement) && !(kind === 'users' && isForGrants(statement))) return [statement];
    const left = list(statement.Principal.AWS).filter((one) => principal(one) !== who);
    return left.length ? [{ ...statement, Principal: { AWS: left } }] : [];
  });
  return JSON.stringify(document);
}

// readPolicy gives {account, administrators, users, others}: lists of principals, and
// the statements that are none of these kinds.
export function readPolicy(text) {
  const document = JSON.parse(text);
  const found = { account: false, administrators: new Set(), users: new Set(), others: [] };
  for (const statement of list(document.Statement)) {
    const who = principalsOf(statement);
    const plain = isPlain(statement);
    if (plain && who.length === 1 && who[0] === 'account') {
      found.account = true;
      continue;
    }
    const administers = plain && names(statement, ADMINISTERS);
    const uses = plain && names(statement, USES);
    if (administers) who.forEach((one) => found.administrators.add(one));
    if (uses) who.forEach((one) => found.users.add(one));
    if (!(administers || uses) || statement.Condition) found.others.push(statement);
  }
  return { ...found, administrators: [...found.administrators], users: [...found.users] };
}
