// A key's policy: administrators and users apart, and its text.
import { call } from './api.js';
import { partLooks } from './looks.js';
import { readPolicy, principalsOf, withoutPrincipal, withPrincipal } from './policy.js';
import { Act, Ask, Facts, Field, Loaded, People, Section, useAsked, usePeople } from './parts.jsx';
import { list } from './texts.js';

const Names = ({ of, none }) => of.length === 0 ? none
  : of.map((one) => <span class="tag">{one}</span>);

export function PolicySummary({ text }) {
  const policy = readPolicy(text);
  return (
    <>
      <Facts of={[
        ['Administrators', <Names of={policy.administrators} none="nobody by the key policy" />],
        ['Users', <Names of={policy.users} none="nobody by the key policy" />],
        ['IAM policies', policy.account ? "count for this key: the account's administrators can give themselves rights"
          : 'do not count for this key'],
      ]} />
      {policy.others.length > 0 && (
        <>
          <h3>Further statements</h3>
          <ul>
            {policy.others.map((one, i) => (
              <li key={i}>
                {one.Sid ? `${one.Sid}: ` : ''}{one.Effect} {list(one.Action ?? one.NotAction).join(', ')}
                {' '}to {principalsOf(one).join(', ')}{one.Condition ? ', under a condition' : ''}
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

export const pretty = (text) => JSON.stringify(JSON.parse(text), null, 2);

const KINDS = { administrators: 'administrator', users: 'user' };

// Principals adds and removes those of one kind.
function Principals({ of: text, kind, put, again }) {
  const people = usePeople();
  const one = KINDS[kind];
  return (
    <>
      <Ask button={`Add ${one}`} title={`Add ${one === 'user' ? 'a user' : 'an administrator'}`} submit="Add" done={again}
        act={({ who }) => put(withPrincipal(text, kind, who))}>
        <Field label="Who" name="who" required list={`people-${kind}`} hint="user:NAME, group:NAME or role:NAME" />
        <People id={`people-${kind}`} of={people} />
      </Ask>
      <ul class="picked" aria-label={`The key's ${kind}`}>
        {readPolicy(text)[kind].map((who) => (
          <li key={who}><span class="tag">{who}</span>
            <Act button="Remove" aria-label={`Remove ${one} ${who}`} act={() => put(withoutPrincipal(text, kind, who))} done={again} /></li>
        ))}
      </ul>
    </>
  );
}

export function Policy({ id }) {
  const put = (text) => call('kms.PutKeyPolicy', { KeyId: id, PolicyName: 'default', Policy: text });
  const loaded = useAsked(partLooks, `GetKeyPolicy ${id}`,
    () => call('kms.GetKeyPolicy', { KeyId: id, PolicyName: 'default' }).then((a) => a.Policy));
  return (
    <Section title="Key policy" actions={loaded.value !== undefined && (
      <Ask button="Edit policy" title="Edit the key policy" submit="Save" done={loaded.again}
        act={({ text }) => put(text)}>
        <Field label="Policy" hint="AWS JSON, or YAML with short principals such as user:cfo">
          {(field) => <textarea name="text" rows={20} spellcheck={false} {...field}>{pretty(loaded.value)}</textarea>}
        </Field>
      </Ask>)}>
      <Loaded of={loaded}>
        {(text) => (
          <>
            <PolicySummary text={text} />
            <details><summary>Change administrators and users</summary>
              {Object.keys(KINDS).map((kind) => <Principals of={text} kind={kind} put={put} again={loaded.again} />)}
            </details>
            <details><summary>Text of the policy</summary><pre tabIndex={0}>{pretty(text)}</pre></details>
          </>
        )}
      </Loaded>
    </Section>
  );
}
