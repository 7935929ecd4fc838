// The list of keys.
import { useEffect, useState } from 'preact/hooks';
import { all, call, inTurn } from './api.js';
import { Field, link, Loaded, Page, State, Table, useLoad } from './parts.jsx';
import { aliasName, date, daysUntil, holds } from './texts.js';

const MOST = 1000; // keys whose details are looked up: each look is on record

async function loadKeys() {
  const [keys, aliases] = await Promise.all([
    all('kms.ListKeys', 'Keys'),
    all('kms.ListAliases', 'Aliases').catch(() => []),
  ]);
  const names = {};
  for (const { TargetKeyId, AliasName } of aliases) (names[TargetKeyId] ??= []).push(AliasName);
  return keys.map(({ KeyId }) => ({ id: KeyId, aliases: names[KeyId] ?? [] }));
}

// useDetails fills in what DescribeKey and ListResourceTags tell, as it comes.
function useDetails(keys) {
  const [details, setDetails] = useState({});
  useEffect(() => {
    let wanted = true;
    inTurn((keys ?? []).slice(0, MOST), async ({ id }) => {
      if (!wanted) return;
      const [metadata, tags] = await Promise.all([
        call('kms.DescribeKey', { KeyId: id }).then((a) => a.KeyMetadata).catch((failure) => ({ failure })),
        all('kms.ListResourceTags', 'Tags', { KeyId: id }).catch(() => []),
      ]);
      if (wanted) setDetails((known) => ({ ...known, [id]: { ...metadata, tags } }));
    });
    return () => { wanted = false; };
  }, [keys]);
  return details;
}

const tagText = ({ TagKey, TagValue }) => `${TagKey}=${TagValue}`;

const textsOf = (key) => [key.id, ...key.aliases, key.Description, key.KeyState, ...(key.tags ?? []).map(tagText)];

function row(key) {
  const name = key.aliases.map(aliasName).join(', ') || key.id;
  return {
    key: key.id,
    cells: [
      <a href={link('keys', key.id)}>{name}</a>,
      key.failure ? <span title={key.failure.message}>not yours to see</span>
        : key.KeyState ? <State state={key.KeyState} /> : '…',
      key.Description || '–',
      (key.tags ?? []).map((tag) => <span class="tag">{tagText(tag)}</span>),
      date(key.CreationDate),
      key.DeletionDate ? daysUntil(key.DeletionDate) : '–',
    ],
  };
}

export function Keys() {
  const loaded = useLoad(loadKeys, []);
  const details = useDetails(loaded.value);
  const [sought, setSought] = useState('');
  return (
    <Page title="Keys" actions={<a class="button primary" href={link('new-key')}>Create key</a>}>
      <Field label="Search" type="search" value={sought} onInput={(e) => setSought(e.target.value)}
        hint="Name, id, state, description or tag" />
      <Loaded of={loaded}>
        {(keys) => {
          const shown = keys.map((key) => ({ ...key, ...details[key.id] })).filter((key) => holds(textsOf(key), sought));
          return (
            <>
              <Table name="Keys" empty="No key fits."
                head={['Alias or id', 'State', 'Description', 'Tags', 'Created', 'Deleted in']}
                rows={shown.map(row)} />
              <p class="quiet" role="status">{shown.length} of {keys.length} keys</p>
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}
