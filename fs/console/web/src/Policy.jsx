// A key's policy: administrators and users apart, and its text.
import { call } from './api.js';
import { readPolicy, principalsOf } from './policy.js';
import { Ask, Facts, Field, Loaded, Section, useLoad } from './parts.jsx';
import { list } from './texts.js';

const People = ({ of, none }) => of.length === 0 ? none
  : of.map((one) => <span class="tag">{one}</span>);

export function PolicySummary({ text }) {
  const policy = readPolicy(text);
  return (
    <>
      <Facts of={[
        ['Administrators', <People of={policy.administrators} none="nobody by the key policy" />],
        ['Users', <People of={policy.users} none="nobody by the key policy" />],
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

export function Policy({ id }) {
  const loaded = useLoad(() => call('kms.GetKeyPolicy', { KeyId: id, PolicyName: 'default' }).then((a) => a.Policy), [id]);
  return (
    <Section title="Key policy" actions={loaded.value !== undefined && (
      <Ask button="Edit policy" title="Edit the key policy" submit="Save" done={loaded.again}
        act={({ text }) => call('kms.PutKeyPolicy', { KeyId: id, PolicyName: 'default', Policy: text })}>
        <Field label="Policy" hint="AWS JSON, or YAML with short principals such as user:cfo">
          {(field) => <textarea name="text" rows={20} spellcheck={false} {...field}>{pretty(loaded.value)}</textarea>}
        </Field>
      </Ask>)}>
      <Loaded of={loaded}>
        {(text) => (
          <>
            <PolicySummary text={text} />
            <details><summary>Text of the policy</summary><pre tabIndex={0}>{pretty(text)}</pre></details>
          </>
        )}
      </Loaded>
    </Section>
  );
}
