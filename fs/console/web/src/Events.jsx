// Audit records as a table.
import { call } from './api.js';
import { link, Loaded, Table, useLoad } from './parts.jsx';
import { keyIdOf, time } from './texts.js';

export const keysOf = (record) => (record.resources ?? []).map((one) => keyIdOf(one.ARN)).filter(Boolean);
export const pathsOf = (record) => (record.resources ?? []).map((one) => one.path).filter(Boolean);
export const userOf = (record) => record.userIdentity?.userName ?? '–';


// A look at something, which the console itself makes many of.
export const isLook = (record) => !record.errorCode && /^(List|Describe|Get|Lookup|Simulate|WhoAmI)/.test(record.eventName);

export function EventTable({ of, names = {} }) {
  const rows = of.slice().reverse().map((one) => ({
    key: one.sequence,
    cells: [
      time(one.eventTime), userOf(one), one.eventName,
      one.errorCode ? <span class="refused" title={one.errorMessage}>{one.errorCode}</span> : 'ok',
      keysOf(one).map((id) => <a class="tag" href={link('keys', id)}>{names[id] ?? id}</a>),
      pathsOf(one).join(', '),
    ],
  }));
  return <Table name="Events" head={['Time', 'User', 'Event', 'Outcome', 'Keys', 'Path']} rows={rows} empty="No events." />;
}

export function Events({ request }) {
  const loaded = useLoad(() => call('audit.LookupEvents', request), [JSON.stringify(request)]);
  return <Loaded of={loaded}>{(value) => <EventTable of={value.Events} />}</Loaded>;
}
