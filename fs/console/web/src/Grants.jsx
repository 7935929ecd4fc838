// A key's grants.
import { all, call } from './api.js';
import { partLooks } from './looks.js';
import { Act, Ask, Check, Field, Loaded, People, Section, Table, useAsked, usePeople } from './parts.jsx';
import { date, principal } from './texts.js';

const OPERATIONS = ['Decrypt', 'Encrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext',
  'ReEncryptFrom', 'ReEncryptTo', 'DescribeKey', 'CreateGrant', 'RetireGrant', 'GenerateMac', 'VerifyMac'];

const pairs = (constraints) => Object.entries(constraints ?? {})
  .map(([kind, context]) => `${kind}: ${Object.entries(context).map(([k, v]) => `${k}=${v}`).join(', ')}`).join('; ');

function create(id, data) {
  const request = {
    KeyId: id, GranteePrincipal: data.grantee,
    Operations: OPERATIONS.filter((one) => data[`operation-${one}`]),
  };
  if (data.name) request.Name = data.name;
  if (data.retiring) request.RetiringPrincipal = data.retiring;
  return call('kms.CreateGrant', request);
}

function CreateGrant({ id, again }) {
  const people = usePeople();
  return (
    <Ask button="Create grant" title="Create a grant" submit="Create" act={(data) => create(id, data)} done={again}>
      <p>A grant lets somebody use the key until it is revoked, whatever the key policy says.</p>
      <Field label="To whom" name="grantee" required list="grantees" hint="user:NAME or role:NAME" />
      <People id="grantees" of={people.filter((one) => !one.startsWith('group:'))} />
      <fieldset>
        <legend>Operations</legend>
        <div class="checks">
          {OPERATIONS.map((one) => <Check label={one} name={`operation-${one}`} defaultChecked={one === 'Decrypt'} />)}
        </div>
      </fieldset>
      <Field label="Who else may retire it" name="retiring" list="grantees" hint="May stay empty" />
      <Field label="Name" name="name" hint="May stay empty" pattern="[a-zA-Z0-9:\/_\-]*" />
    </Ask>
  );
}

export function Grants({ id }) {
  const grants = useAsked(partLooks, `ListGrants ${id}`, () => all('kms.ListGrants', 'Grants', { KeyId: id }));
  return (
    <Section title="Grants" actions={<CreateGrant id={id} again={grants.again} />}>
      <Loaded of={grants}>
        {(value) => <Table name="Grants" head={['To', 'Operations', 'Constraints', 'Name', 'Created', '']} empty="No grants."
          rows={value.map((one) => ({
            key: one.GrantId,
            cells: [principal(one.GranteePrincipal), one.Operations.join(', '), pairs(one.Constraints) || '–',
              one.Name || '–', date(one.CreationDate),
              <Act button="Revoke" aria-label={`Revoke the grant to ${principal(one.GranteePrincipal)}`}
                act={() => call('kms.RevokeGrant', { KeyId: id, GrantId: one.GrantId })} done={grants.again} />],
          }))} />}
      </Loaded>
    </Section>
  );
}
