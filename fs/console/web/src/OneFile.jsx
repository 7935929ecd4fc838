// One file: whose it is, and its key.
import { call } from './api.js';
import { keyCell, SetKey, Way } from './Files.jsx';
import { Facts, link, Loaded, Page, Section, useLoad } from './parts.jsx';
import { date, size } from './texts.js';

export function OneFile({ path }) {
  const file = useLoad(() => call('console.DescribePath', { Path: path }), [path]);
  return (
    <Page title={path}>
      <Way path={path.slice(0, path.lastIndexOf('/'))} />
      <Loaded of={file}>
        {(value) => (
          <Section title="This file" actions={value.KeyId && (
            <>
              <SetKey path={path} current={value.Key} done={file.again}>
                Who may use that key can open the file from now on, if its mode lets them. Who could read it
                before may have kept its data key: <code>keyfold file set-key --reencrypt</code> keeps them
                out for good.
              </SetKey>
              <a class="button" href={link('who', path)}>Who may open it</a>
            </>)}>
            <Facts of={[['Key', keyCell(value)], ['Owner', `${value.Owner}, group ${value.Group}`],
              ['Mode', <code>{value.Mode}</code>], ['Size', size(value.Size)], ['Changed', date(value.Modified)]]} />
          </Section>
        )}
      </Loaded>
    </Page>
  );
}
