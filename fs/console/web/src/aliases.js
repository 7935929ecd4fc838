// Aliases. Who may not list them does without.
import { all } from './api.js';
import { isRefusal } from './asking.js';

let refused = false; // once is enough on record

export async function listAliases(request) {
  if (refused) return [];
  try {
    return await all('kms.ListAliases', 'Aliases', request);
  } catch (failure) {
    refused = isRefusal(failure);
    return [];
  }
}

// namesOf is the aliases of each key, by its id.
export function namesOf(aliases) {
  const names = {};
  for (const { TargetKeyId, AliasName } of aliases) (names[TargetKeyId] ??= []).push(AliasName);
  return names;
}

// byAlias sorts keys as people look for them; those without an alias come last.
export const byAlias = (a, b) => (b.aliases.length > 0) - (a.aliases.length > 0) ||
  (a.aliases[0] ?? a.id).localeCompare(b.aliases[0] ?? b.id);
