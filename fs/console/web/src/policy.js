// Who administers a key and who uses it, as its policy says.
import { list, principal } from './texts.js';

const ADMINISTERS = ['kms:PutKeyPolicy', 'kms:DisableKey', 'kms:ScheduleKeyDeletion'];
const USES = ['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:GenerateMac', 'kms:VerifyMac'];

function matches(pattern, action) {
  const text = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.');
  return new RegExp(`^${text}$`, 'i').test(action);
}
const names = (statement, actions) =>
  statement.NotAction === undefined &&
  actions.some((action) => list(statement.Action).some((one) => matches(one, action)));

export const principalsOf = (statement) => {
  const who = statement.Principal ?? statement.NotPrincipal;
  return list(typeof who === 'object' && !Array.isArray(who) ? Object.values(who).flat() : who).map(principal);
};

// readPolicy gives {account, administrators, users, others}: lists of principals, and
// the statements that are none of these kinds.
export function readPolicy(text) {
  const document = JSON.parse(text);
  const found = { account: false, administrators: new Set(), users: new Set(), others: [] };
  for (const statement of list(document.Statement)) {
    const who = principalsOf(statement);
    const plain = statement.Effect === 'Allow' && statement.NotPrincipal === undefined;
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
