// Audit records as a table.
import { listAliases, namesOf } from './aliases.js';
import { call } from './api.js';
import { link, Loaded, Table, useLoad } from './parts.jsx';
import { keyIdOf, time } from './texts.js';

export const keysOf = (record) => (record.resources ?? []).map((one) => keyIdOf(one.ARN)).filter(Boolean);
export const pathsOf = (record) => (record.resources ?? []).map((one) => one.path).filter(Boolean);
export const userOf = (record) => record.userIdentity?.userName ?? '–';

// A look at something, which the console itself makes many of.
export const isLook = (record) => !record.errorCode && /^(List|Describe|Get|Lookup|Simulate|WhoAmI)/.test(record.eventName);

// useNames gives the aliases of keys, for KeyTag.
export const useNames = () => useLoad(() => listAliases().then(namesOf), []).value ?? {};

export const KeyTag = ({ id, names }) => <a class="tag" href={link('keys', id)}>{names[id]?.join(', ') ?? id}</a>;

export function EventTable({ of, names }) {
  const rows = of.slice().reverse().map((one) => ({
    key: one.sequence,
    cells: [
      time(one.eventTime), userOf(one), one.eventName,
      one.errorCode ? <span class="refused" title={one.errorMessage}>{one.errorCode}</span> : 'ok',
      keysOf(one).map((id) => <KeyTag id={id} names={names} />),
      pathsOf(one).join(', '),
    ],
  }));
  return <Table name="Events" head={['Time', 'User', 'Event', 'Outcome', 'Keys', 'Path']} rows={rows} empty="No events." />;
}

const SHOWN = 10;
const ASKED = [100, 2000]; // records: most of a key's are looks

async function lastEvents(id) {
  let found;
  for (const MaxResults of ASKED) {
    const { Events } = await call('audit.LookupEvents', { KeyId: id, MaxResults });
    found = Events.filter((one) => !isLook(one)).slice(-SHOWN);
    if (found.length === SHOWN || Events.length < MaxResults) break;
  }
  return found;
}

export function LastEvents({ of: id }) {
  const names = useNames();
  const loaded = useLoad(() => lastEvents(id), [id]);
  return <Loaded of={loaded}>{(value) => <EventTable of={value} names={names} />}</Loaded>;
}
