// Folders and files of the mount, with their keys.
import { listAliases } from './aliases.js';
import { call } from './api.js';
import { Ask, Facts, Field, link, Loaded, Page, Section, Table, useLoad } from './parts.jsx';
import { date, size } from './texts.js';

const join = (folder, name) => `${folder === '/' ? '' : folder}/${name}`;

export function Way({ path }) {
  const parts = path.split('/').filter(Boolean);
  return (
    <nav aria-label="Way" class="way">
      <a href={link('files')}>/</a>
      {parts.map((name, i) => <a href={link('files', `/${parts.slice(0, i + 1).join('/')}`)}>{name}/</a>)}
    </nav>
  );
}

export const keyCell = (of) => (of.KeyId ? <a class="tag" href={link('keys', of.KeyId)}>{of.Key}</a> : '–');

// SetKey says in `children` what becomes of what is there.
export function SetKey({ path, current, done, children }) {
  const aliases = useLoad(() => listAliases(), []).value ?? [];
  return (
    <Ask button="Set key" title={`Set the key of ${path}`} submit="Set key" done={done}
      act={({ key }) => call('console.SetKey', { Path: path, KeyId: key })}>
      <p>{children}</p>
      <Field label="Key" name="key" defaultValue={current} required list="aliases" hint="Alias or id" />
      <datalist id="aliases">{aliases.map((one) => <option value={one.AliasName} />)}</datalist>
    </Ask>
  );
}

function row(folder, entry) {
  const path = join(folder, entry.Name);
  const name = { folder: <a href={link('files', path)}>{entry.Name}/</a>, file: <a href={link('file', path)}>{entry.Name}</a> };
  return {
    key: entry.Name,
    cells: [
      name[entry.Kind] ?? entry.Name, keyCell(entry), entry.Owner, <code>{entry.Mode}</code>,
      entry.Kind === 'file' ? size(entry.Size) : entry.Kind, date(entry.Modified),
      entry.KeyId && <a href={link('who', path)} aria-label={`Who may open ${entry.Name}`}>who may open</a>,
    ],
  };
}

export function Files({ path = '/' }) {
  const folder = useLoad(() => call('console.ListFolder', { Path: path }), [path]);
  return (
    <Page title={path === '/' ? 'Files' : path}>
      <Way path={path} />
      <Loaded of={folder}>
        {(value) => (
          <>
            <Section title="This folder" actions={
              <>
                <SetKey path={path} current={value.Key} done={folder.again}>
                  Files made here from now on are under the key. What is here already stays under its
                  key: <code>keyfold rekey</code> changes that.
                </SetKey>
                {path !== '/' && <a class="button" href={link('who', path)}>Who may open it</a>}
              </>}>
              <Facts of={[['Key', keyCell(value)], ['Owner', `${value.Owner}, group ${value.Group}`],
                ['Mode', <code>{value.Mode}</code>], ['Path', <code>{join(value.Mountpoint, path.slice(1))}</code>]]} />
            </Section>
            <Table name="Entries" head={['Name', 'Key', 'Owner', 'Mode', 'Size', 'Changed', '']} empty="Nothing is here."
              rows={value.Entries.map((entry) => row(path, entry))} />
            {value.Truncated && <p class="quiet">There is more than the first {value.Entries.length} entries.</p>}
          </>
        )}
      </Loaded>
    </Page>
  );
}
