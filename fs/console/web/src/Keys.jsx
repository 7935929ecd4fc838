// The list of keys.
import { useEffect, useState } from 'preact/hooks';
import { byAlias, listAliases, namesOf } from './aliases.js';
import { all, call } from './api.js';
import { Asking } from './asking.js';
import { keysOf } from './Events.jsx';
import { looks, tagLooks } from './looks.js';
import { Field, link, Loaded, Page, State, Table, useAsked } from './parts.jsx';
import { aliasName, date, daysUntil, holds } from './texts.js';

const MOST = 1000; // keys whose details are looked up: each look is on record

const lists = new Asking(1);

async function loadKeys() {
  const keys = await all('kms.ListKeys', 'Keys');
  const names = namesOf(await listAliases());
  return keys.map(({ KeyId }) => ({ id: KeyId, aliases: names[KeyId] ?? [] })).sort(byAlias);
}

async function tagsOf(id) {
  if (tagLooks.refusal(id) || tagLooks.wait(id) > 0) return [];
  return tagLooks.ask(id, () => all('kms.ListResourceTags', 'Tags', { KeyId: id })).catch(() => []);
}

async function detailsOf(id) {
  try {
    const { KeyMetadata } = await looks.ask(id, () => call('kms.DescribeKey', { KeyId: id }));
    return { ...KeyMetadata, tags: await tagsOf(id) };
  } catch (failure) {
    return { failure };
  }
}

// The keys that the user's own records name, which everybody may read: likely theirs to see.
const usedBy = (user) => call('audit.LookupEvents', { User: user, MaxResults: MOST })
  .then((answer) => new Set(answer.Events.filter((one) => !one.errorCode).flatMap(keysOf)))
  .catch(() => new Set());

// useDetails fills in what DescribeKey and ListResourceTags tell, as it comes; `look` asks
// about one key that was left out.
function useDetails(keys, me) {
  const [details, setDetails] = useState({});
  const look = async (id) => {
    const found = await detailsOf(id);
    setDetails((known) => ({ ...known, [id]: found }));
  };
  useEffect(() => {
    let wanted = true;
    looks.each((keys ?? []).slice(0, MOST).map(({ id }) => id), look, () => wanted, () => usedBy(me.UserName));
    return () => { wanted = false; };
  }, [keys]);
  return [details, look];
}

const tagText = ({ TagKey, TagValue }) => `${TagKey}=${TagValue}`;

const textsOf = (key) => [key.id, ...key.aliases, key.Description, key.KeyState, ...(key.tags ?? []).map(tagText)];

function StateOf({ of: key, name, look }) {
  const failure = key.failure ?? looks.refusal(key.id);
  if (key.KeyState) return <State state={key.KeyState} />;
  if (failure) return <span title={failure.message}>not yours to see</span>;
  if (looks.wait(key.id) > 0) return <button type="button" aria-label={`Look at ${name}`} onClick={() => look(key.id)}>Look</button>;
  return '…';
}

function row(key, look) {
  const name = key.aliases.map(aliasName).join(', ') || key.id;
  return {
    key: key.id,
    cells: [
      <a href={link('keys', key.id)}>{name}</a>,
      <StateOf of={key} name={name} look={look} />,
      key.Description || '–',
      (key.tags ?? []).map((tag) => <span class="tag">{tagText(tag)}</span>),
      date(key.CreationDate),
      key.DeletionDate ? daysUntil(key.DeletionDate) : '–',
    ],
  };
}

export function Keys({ me }) {
  const loaded = useAsked(lists, 'keys', loadKeys);
  const [details, look] = useDetails(loaded.value, me);
  const [sought, setSought] = useState('');
  return (
    <Page title="Keys" actions={<a class="button primary" href={link('new-key')}>Create key</a>}>
      <Field label="Search" type="search" value={sought} onInput={(e) => setSought(e.target.value)}
        hint="Name, id, state, description or tag" />
      <Loaded of={loaded}>
        {(keys) => {
          const shown = keys.map((key) => ({ ...key, ...details[key.id] })).filter((key) => holds(textsOf(key), sought));
          const left = keys.filter(({ id }) => !details[id] && !looks.refusal(id) && looks.wait(id) > 0).length;
          return (
            <>
              <Table name="Keys" empty="No key fits."
                head={['Alias or id', 'State', 'Description', 'Tags', 'Created', 'Deleted in']}
                rows={shown.map((key) => row(key, look))} />
              <p class="quiet" role="status">{shown.length} of {keys.length} keys{left > 0 ? `; ${left} were not looked at, as others are not yours to see` : ''}</p>
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}
