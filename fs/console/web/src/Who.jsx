// Who may open a folder or file, and why.
import { useState } from 'preact/hooks';
import { all, call, inTurn } from './api.js';
import { Facts, Field, Form, link, Loaded, Page, Section, Table, useLoad, usePeople, People } from './parts.jsx';
import { readPolicy } from './policy.js';
import { principal } from './texts.js';

const MOST = 50; // people asked about by themselves: each question is on record

async function find(path) {
  const found = await call('console.DescribePath', { Path: path });
  if (!found.KeyId) throw new Error(`${path} has no key, or you may not look at it.`);
  return found;
}

// The people whom the key's policy, its grants and the object's owner name.
async function named(object, me) {
  const names = new Set([`user:${me.UserName}`, `user:${object.Owner}`, 'user:root']);
  const policy = await call('kms.GetKeyPolicy', { KeyId: object.KeyId }).catch(() => null);
  if (policy) {
    const { administrators, users } = readPolicy(policy.Policy);
    [...administrators, ...users].forEach((one) => names.add(one));
  }
  const grants = await all('kms.ListGrants', 'Grants', { KeyId: object.KeyId }).catch(() => []);
  grants.forEach((one) => names.add(principal(one.GranteePrincipal)));
  const { Principals } = await call('console.ListPrincipals');
  Principals.filter((one) => one.startsWith('user:')).slice(0, MOST).forEach((one) => names.add(one));
  return [...names].filter((one) => one.startsWith('user:')).map((one) => one.slice('user:'.length));
}

async function ask(object, user) {
  const request = { User: user, Action: 'kms:Decrypt', KeyId: object.KeyId, ViaService: 'fs.keyfold' };
  if (object.FolderId) request.EncryptionContext = { 'keyfold:folder': object.FolderId };
  const answer = await call('iam.Simulate', request)
    .catch((failure) => ({ Decision: 'unknown', Reason: failure.message }));
  return { user, ...answer };
}

const DECISIONS = {
  allowed: 'may open it', explicitDeny: 'may not: denied', implicitDeny: 'may not', unknown: 'you may not know',
};

function Answers({ of }) {
  return <Table name="Who may open it" head={['User', 'By the key', 'Why']} rows={of.map((one) => ({
    key: one.user,
    cells: [one.user, <span class={one.Decision === 'allowed' ? 'allowed' : 'refused'}>{DECISIONS[one.Decision]}</span>,
      one.Reason ?? 'The reason is told to those who may read the policies.'],
  }))} />;
}

function Everybody({ object, me }) {
  const [more, setMore] = useState([]);
  const people = usePeople();
  const answers = useLoad(async () => {
    const found = [];
    await inTurn(await named(object, me), async (user) => found.push(await ask(object, user)));
    return found.sort((a, b) => a.user.localeCompare(b.user));
  }, [object]);
  const add = async ({ user }) => {
    const one = await ask(object, user.replace(/^user:/, ''));
    setMore((known) => [...known.filter((other) => other.user !== one.user), one]);
  };
  return (
    <Section title="By the key's policies and grants">
      <Loaded of={answers}>
        {(value) => <Answers of={[...value.filter((one) => !more.some((other) => other.user === one.user)), ...more]} />}
      </Loaded>
      <Form submit="Ask" act={add}>
        <Field label="Another user" name="user" required list="everybody" />
        <People id="everybody" of={people.filter((one) => one.startsWith('user:'))} />
      </Form>
    </Section>
  );
}

export function Who({ path, me }) {
  const object = useLoad(() => find(path), [path]);
  return (
    <Page title={`Who may open ${path}`}>
      <Loaded of={object}>
        {(value) => (
          <>
            <Section title="What it is">
              <Facts of={[['Kind', value.Kind], ['Key', <a href={link('keys', value.KeyId)}>{value.Key}</a>],
                ['Owner', `${value.Owner}, group ${value.Group}`], ['Mode', <code>{value.Mode}</code>]]} />
              <p class="quiet">Both must let somebody: the key, and the mode bits with owner and group as everywhere.</p>
            </Section>
            <Everybody object={value} me={me} />
          </>
        )}
      </Loaded>
    </Page>
  );
}
