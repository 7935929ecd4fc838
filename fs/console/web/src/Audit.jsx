// The audit log: chosen by a filter, live, and as charts.
import { useEffect, useState } from 'preact/hooks';
import { call } from './api.js';
import { Chart } from './Chart.jsx';
import { EventTable, isLook, pathsOf, useNames, userOf } from './Events.jsx';
import { Check, Field, Loaded, Page, People, Refusal, Section, Table, useLoad, usePeople } from './parts.jsx';
import { holds } from './texts.js';

const SPANS = { '15 minutes': 15, '1 hour': 60, '24 hours': 1440, '7 days': 10080, '30 days': 43200 };
const MOST = 2000; // records in one page
const SHOWN = 200;
const EVERY = 2000; // ms between two looks of a live page
const LIVE_FOR = 15 * 60_000; // without a hand on it

const blank = { span: '24 hours', user: '', key: '', outcome: 'all', text: '', looks: false };

function requestOf(filter) {
  const request = { Since: new Date(Date.now() - SPANS[filter.span] * 60_000).toISOString().slice(0, 19) + 'Z', MaxResults: MOST };
  if (filter.user) request.User = filter.user.replace(/^user:/, '');
  if (filter.key) request.KeyId = filter.key;
  return request;
}

function fits(record, { outcome, text, looks }) {
  if (!looks && isLook(record)) return false;
  if (outcome === 'refused' && !record.errorCode) return false;
  if (outcome === 'done' && record.errorCode) return false;
  return holds([record.eventName, record.errorCode, userOf(record), ...pathsOf(record)], text);
}

// useRecords follows the log while `live`; a page that nobody looks at waits. `stop` is told
// why it no longer does.
function useRecords(filter, live, stop) {
  const first = useLoad(() => call('audit.LookupEvents', requestOf(filter)), [filter.span, filter.user, filter.key]);
  const [more, setMore] = useState({ records: [] });
  useEffect(() => { setMore({ records: [] }); }, [first.value]);
  useEffect(() => {
    if (!live || !first.value) return undefined;
    let last = first.value.LastSequence;
    let touched = Date.now();
    const touch = () => { touched = Date.now(); };
    const look = async () => {
      if (document.hidden) return;
      if (Date.now() - touched > LIVE_FOR) {
        stop({ idle: true });
        return;
      }
      try {
        const answer = await call('audit.LookupEvents', { ...requestOf(filter), AfterSequence: last });
        last = answer.LastSequence;
        setMore((known) => ({
          records: [...known.records, ...answer.Events], truncated: known.truncated || answer.Truncated,
        }));
      } catch (failure) {
        stop({ failure });
      }
    };
    let timer;
    let wanted = true;
    const again = () => { if (wanted) timer = setTimeout(() => look().then(again), EVERY); };
    again();
    addEventListener('pointermove', touch);
    addEventListener('keydown', touch);
    return () => {
      wanted = false;
      clearTimeout(timer);
      removeEventListener('pointermove', touch);
      removeEventListener('keydown', touch);
    };
  }, [live, first.value]);
  return { ...first, records: [...(first.value?.Events ?? []), ...more.records], truncated: first.value?.Truncated || more.truncated };
}

function Filter({ of, set, names, live, setLive }) {
  const people = usePeople();
  // What is typed counts when it is whole, as each look is on record.
  const text = (name) => ({ value: of[name], onChange: (e) => set({ ...of, [name]: e.target.value.trim() }) });
  const select = (name, options) => (field) => (
    <select {...field} value={of[name]} onChange={(e) => set({ ...of, [name]: e.target.value })}>
      {Object.entries(options).map(([value, label]) => <option value={value}>{label}</option>)}
    </select>
  );
  return (
    <form class="filter" aria-label="Filter" onSubmit={(e) => e.preventDefault()}>
      <Field label="Last">{select('span', Object.fromEntries(Object.keys(SPANS).map((one) => [one, one])))}</Field>
      <Field label="User" list="users" {...text('user')} />
      <People id="users" of={people.filter((one) => one.startsWith('user:'))} />
      <Field label="Key" list="keys" {...text('key')} />
      <datalist id="keys">{Object.values(names).flat().map((one) => <option value={one} />)}</datalist>
      <Field label="Outcome">{select('outcome', { all: 'all', refused: 'refused or failed', done: 'done' })}</Field>
      <Field label="Text" type="search" value={of.text} onInput={(e) => set({ ...of, text: e.target.value })} />
      <div class="choices">
        <Check label="Looks too" checked={of.looks} onChange={(e) => set({ ...of, looks: e.target.checked })} />
        <Check label="Live" checked={live} onChange={(e) => setLive(e.target.checked)} />
      </div>
    </form>
  );
}

function Refusals({ of }) {
  const counts = {};
  for (const record of of) if (record.errorCode) counts[userOf(record)] = (counts[userOf(record)] ?? 0) + 1;
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([user, count]) => ({ key: user, cells: [user, count] }));
  return <Table name="Refusals by user" head={['User', 'Refused or failed']} rows={rows} empty="Nobody was refused." />;
}

export function Audit({ keyId = '' }) {
  const [filter, setFilter] = useState({ ...blank, key: keyId });
  const [live, setLive] = useState(false);
  const [stopped, setStopped] = useState({});
  const turnLive = (on, why = {}) => {
    setLive(on);
    setStopped(why);
  };
  const found = useRecords(filter, live, (why) => turnLive(false, why));
  const names = useNames();
  const records = found.records.filter((one) => fits(one, filter));
  return (
    <Page title="Audit">
      <Filter of={filter} set={setFilter} names={names} live={live} setLive={turnLive} />
      <p class="quiet" role="status">
        {stopped.idle ? `Live has ended: nobody touched the page for ${LIVE_FOR / 60_000} minutes.` : ''}
        {stopped.failure ? 'Live has ended: the log could not be looked at.' : ''}
      </p>
      <Refusal failure={stopped.failure} />
      <Loaded of={found}>
        {(value) => (
          <>
            {value.Damage && <div class="notice bad" role="alert"><strong>The log is damaged</strong><p>{value.Damage}</p></div>}
            <Section title="Over time">
              <Chart of={records} minutes={SPANS[filter.span]} />
              <Refusals of={records} />
            </Section>
            <Section title="Events">
              <p class="quiet" role="status">
                {records.length} events{records.length > SHOWN ? `, the last ${SHOWN} shown` : ''}
                {found.truncated ? '; some were left out, the oldest of those asked for at once' : ''}
              </p>
              <EventTable of={records.slice(-SHOWN)} names={names} />
            </Section>
          </>
        )}
      </Loaded>
    </Page>
  );
}
