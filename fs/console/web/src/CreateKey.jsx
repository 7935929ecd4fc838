// Creating a key in the steps of AWS's console.
import { useEffect, useRef, useState } from 'preact/hooks';
import { listAliases } from './aliases.js';
import { call } from './api.js';
import { Check, Field, Form, go, Page, People, Refusal, Section, usePeople, useLoad } from './parts.jsx';
import { PolicySummary, pretty } from './Policy.jsx';

const STEPS = ['Alias and description', 'Material', 'Administrators', 'Users', 'Review'];
const SPECS = ['HMAC_224', 'HMAC_256', 'HMAC_384', 'HMAC_512'];

function Steps({ at }) {
  return (
    <ol class="steps" aria-label="Steps">
      {STEPS.map((name, i) => <li aria-current={i === at ? 'step' : undefined}>{name}</li>)}
    </ol>
  );
}

function Choice({ name, value, label, hint, of, set }) {
  return (
    <label class="choice">
      <input type="radio" name={name} checked={of === value} onChange={() => set(value)} />
      <span>{label}<span class="hint">{hint}</span></span>
    </label>
  );
}

function NameStep({ of, set }) {
  return (
    <>
      <Field label="Alias" value={of.alias} onInput={(e) => set({ alias: e.target.value })} required
        pattern="[a-zA-Z0-9\/_\-]+" hint="The key's name: letters, digits, / _ -" />
      <Field label="Description" value={of.description} onInput={(e) => set({ description: e.target.value })}
        hint="What is kept under it; may stay empty" />
    </>
  );
}

function MaterialStep({ of, choose }) {
  return (
    <>
      <fieldset>
        <legend>Where its material comes from</legend>
        <Choice name="origin" value="AWS_KMS" of={of.origin} set={(origin) => choose({ origin })}
          label="The KMS makes it" hint="Recommended. Nobody ever sees it." />
        <Choice name="origin" value="EXTERNAL" of={of.origin} set={(origin) => choose({ origin })}
          label="I import it" hint="You keep a copy, and may let it expire." />
      </fieldset>
      <fieldset>
        <legend>What the key is for</legend>
        <Choice name="spec" value="SYMMETRIC_DEFAULT" of={of.spec} set={(spec) => choose({ spec })}
          label="Folders, files, encryption" hint="AES-256" />
        {SPECS.map((one) => (
          <Choice name="spec" value={one} of={of.spec} set={(spec) => choose({ spec })}
            label={`Message authentication, ${one.replace('_', '-')}`} hint="For no folders" />
        ))}
      </fieldset>
    </>
  );
}

// Picker is a list of principals, to which those there are may be added. The form goes
// nowhere while one is typed and not added.
function Picker({ label, of, set }) {
  const [text, setText] = useState('');
  const people = usePeople();
  const add = () => {
    const name = text.trim();
    if (!name) return;
    const full = /[:*]|^(account|everyone)$/.test(name) ? name : `user:${name}`;
    if (!of.includes(full)) set([...of, full]);
    setText('');
  };
  return (
    <>
      <div class="row">
        <Field label={label} value={text} list="people" onInput={(e) => setText(e.target.value)}
          pattern="\s*" title="Add this one, or clear the field."
          onKeyDown={(e) => { if (e.key === 'Enter' && text.trim()) { e.preventDefault(); add(); } }}
          hint="user:NAME, group:NAME or role:NAME" />
        <button type="button" onClick={add}>Add</button>
      </div>
      <People id="people" of={people} />
      <ul class="picked" aria-label={`${label} chosen`}>
        {of.map((one) => (
          <li key={one}><span class="tag">{one}</span>
            <button type="button" aria-label={`Remove ${one}`}
              onClick={() => set(of.filter((other) => other !== one))}>Remove</button></li>
        ))}
      </ul>
      {of.length === 0 && <p class="quiet">Nobody yet.</p>}
    </>
  );
}

function AdministratorsStep({ of, choose }) {
  return (
    <>
      <p>They change the key: its policy, state, aliases, deletion. They don't use it by that.</p>
      <Picker label="Administrator" of={of.administrators} set={(administrators) => choose({ administrators })} />
      <Check label="Administrators may schedule its deletion" checked={of.deletion}
        onChange={(e) => choose({ deletion: e.target.checked })} />
    </>
  );
}

function UsersStep({ of, choose }) {
  return (
    <>
      <p>They open the files under it, and encrypt with it.</p>
      <Picker label="User" of={of.users} set={(users) => choose({ users })} />
    </>
  );
}

const usage = (of) => (of.spec === 'SYMMETRIC_DEFAULT' ? 'ENCRYPT_DECRYPT' : 'GENERATE_VERIFY_MAC');

function ReviewStep({ of, set }) {
  const composed = useLoad(async () => {
    if (of.policy) return true; // it may have been changed by hand
    const { Policy } = await call('console.ComposePolicy', {
      Administrators: of.administrators, Users: of.users, AllowDeletion: of.deletion,
      Origin: of.origin, KeyUsage: usage(of),
    });
    set({ policy: pretty(Policy) });
    return true;
  }, []);
  let summary = null;
  try {
    summary = of.policy && <PolicySummary text={of.policy} />;
  } catch {
    summary = <p class="quiet">The KMS will say what is wrong with this text.</p>;
  }
  return (
    <>
      <p>Key <strong>{of.alias}</strong>: {of.origin === 'EXTERNAL' ? 'imported material' : 'material of the KMS'}.</p>
      {summary}
      <Refusal failure={composed.failure} />
      <Field label="Key policy" hint="AWS JSON; you may change it here">
        {(field) => <textarea rows={16} spellcheck={false} value={of.policy}
          aria-busy={!composed.value && !composed.failure} onInput={(e) => set({ policy: e.target.value })} {...field} />}
      </Field>
    </>
  );
}

const nameOf = (of) => `alias/${of.alias}`;

async function checkName(of) {
  const taken = await listAliases();
  if (taken.some((one) => one.AliasName === nameOf(of)))
    throw new Error(`There is an alias ${of.alias} already. Choose another.`);
}

async function create(of) {
  if (!of.policy) throw new Error('There is no key policy yet.');
  await checkName(of); // a key cannot be unmade at once
  const { KeyMetadata } = await call('kms.CreateKey', {
    Description: of.description, Origin: of.origin, KeySpec: of.spec, KeyUsage: usage(of), Policy: of.policy,
  });
  try {
    await call('kms.CreateAlias', { AliasName: nameOf(of), TargetKeyId: KeyMetadata.KeyId });
  } catch (failure) {
    throw new Error(`The key ${KeyMetadata.KeyId} was created, but not named: ${failure.message}`);
  }
  go(of.origin === 'EXTERNAL' ? 'import' : 'keys', KeyMetadata.KeyId);
}

const BODIES = [NameStep, MaterialStep, AdministratorsStep, UsersStep, ReviewStep];

export function CreateKey({ me }) {
  const [at, setAt] = useState(0);
  const [of, setOf] = useState({
    alias: '', description: '', origin: 'AWS_KMS', spec: 'SYMMETRIC_DEFAULT', deletion: true, policy: '',
    administrators: [`user:${me.UserName}`], users: [`user:${me.UserName}`],
  });
  const set = (changed) => setOf((known) => ({ ...known, ...changed }));
  const choose = (changed) => set({ ...changed, policy: '' }); // the former was of other choices
  const section = useRef();
  const moved = useRef(false);
  useEffect(() => {
    if (moved.current) section.current.focus();
    moved.current = true;
  }, [at]);
  const Body = BODIES[at];
  const last = at === STEPS.length - 1;
  const next = async () => {
    if (Body === NameStep) await checkName(of);
    setAt(at + 1);
  };
  return (
    <Page title="Create key">
      <Steps at={at} />
      <div tabIndex={-1} ref={section}>
        <Section title={`${at + 1}. ${STEPS[at]}`}>
          <Form key={at} submit={last ? 'Create key' : 'Next'} act={() => (last ? create(of) : next())}
            extra={at > 0 && <button type="button" onClick={() => setAt(at - 1)}>Back</button>}>
            <Body of={of} set={set} choose={choose} />
          </Form>
        </Section>
      </div>
    </Page>
  );
}
