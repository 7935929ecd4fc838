// How things are written for people.
export const aliasName = (alias) => alias.replace(/^alias\//, '');

export function date(value) {
  if (value === undefined || value === null || value === '') return '–';
  const time = new Date(typeof value === 'number' ? value * 1000 : value);
  return time.toISOString().replace('T', ' ').slice(0, 16) + ' UTC';
}

export const time = (text) => text.replace('T', ' ').replace(/\.\d+/, '').replace('Z', ' UTC');

export function daysUntil(seconds) {
  const days = Math.max(0, Math.ceil((seconds * 1000 - Date.now()) / 86400000));
  return days === 1 ? '1 day' : `${days} days`;
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
export function size(bytes) {
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < UNITS.length - 1; ++unit) value /= 1024;
  return `${unit ? value.toFixed(1) : value} ${UNITS[unit]}`;
}

const STATES = {
  Enabled: 'Enabled', Disabled: 'Disabled', PendingDeletion: 'Pending deletion',
  PendingImport: 'Pending import', Unavailable: 'Unavailable',
};
export const stateName = (state) => STATES[state] ?? state;

// principal is the short form of an ARN: user:cfo.
export function principal(arn) {
  const found = /^arn:aws:iam::\d*:(user|group|role|service)\/(.+)$/.exec(arn);
  if (found) return `${found[1]}:${found[2]}`;
  if (/^(arn:aws:iam::\d*:root|\d{12})$/.test(arn)) return 'account';
  return arn === '*' ? 'everyone' : arn;
}

export const list = (value) => (value === undefined ? [] : [].concat(value));

// holds tells whether the texts have every word that is sought, capitals or not.
export function holds(texts, sought) {
  const all = texts.join(' ').toLowerCase();
  return sought.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

export const keyIdOf = (arn) => /:key\/([^/]+)$/.exec(arn ?? '')?.[1];
