// Who may open a folder or file, and why.
import { useState } from 'preact/hooks';
import { all, call, inTurn } from './api.js';
import { Asking } from './asking.js';
import { partLooks } from './looks.js';
import { Facts, Field, Form, link, Loaded, Page, Section, Table, useLoad, usePeople, People } from './parts.jsx';
import { readPolicy } from './policy.js';
import { principal } from './texts.js';

const MOST = 50; // people asked about by themselves: each question is on record

async function find(path) {
  const found = await call('console.DescribePath', { Path: path });
  if (!found.KeyId) throw new Error(`${path} has no key, or you may not look at it.`);
  return found;
}

const users = (names) => names.filter((one) => one.startsWith('user:')).map((one) => one.slice('user:'.length));

// The people whom the key's policy and its grants name.
async function named(object) {
  const { KeyId } = object;
  const policy = await partLooks.once(`GetKeyPolicy ${KeyId}`, () => call('kms.GetKeyPolicy', { KeyId }))
    .catch(() => null);
  const { administrators, users: theirs } = policy ? readPolicy(policy.Policy) : { administrators: [], users: [] };
  const grants = await partLooks.once(`ListGrants ${KeyId}`, () => all('kms.ListGrants', 'Grants', { KeyId }))
    .catch(() => []);
  return users([...administrators, ...theirs, ...grants.map((one) => principal(one.GranteePrincipal))]);
}

function ask(object, user) {
  const request = { User: user, Action: 'kms:Decrypt', KeyId: object.KeyId, ViaService: 'fs.keyfold' };
  if (object.FolderId) request.EncryptionContext = { 'keyfold:folder': object.FolderId };
  return call('iam.Simulate', request);
}

const answer = (user, asked) => asked.then((told) => ({ user, ...told }),
  (failure) => ({ user, Decision: 'unknown', Reason: failure.message }));

const asking = new Asking(2);
const askOnce = (id, object, user) => asking.once(id, () => ask(object, user));

async function askAll(object, me) {
  const found = [await answer(me, askOnce(object.KeyId, object, me))];
  const { Principals } = await call('console.ListPrincipals');
  const near = [object.Owner, 'root', ...users(Principals).slice(0, MOST)].filter((user) => user !== me);
  const other = near[0] ?? 'nobody';
  found.push(await answer(other, askOnce('others', object, other)));
  // Who may not ask about one may ask about none.
  if (asking.refusal('others')) return found;
  const left = new Set([...near, ...await named(object)].filter((user) => user !== me && user !== other));
  await inTurn([...left], async (user) => found.push(await answer(user, ask(object, user))));
  return found.sort((a, b) => a.user.localeCompare(b.user));
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
  const answers = useLoad(() => askAll(object, me.UserName), [object]);
  const add = async ({ user }) => {
    const name = user.replace(/^user:/, '');
    const one = await answer(name, ask(object, name));
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
