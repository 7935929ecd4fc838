// The account's users, groups, roles and policies, to read.
import { call } from './api.js';
import { Asking } from './asking.js';
import { Loaded, Page, Section, Table, useAsked } from './parts.jsx';

const looks = new Asking(1);

const names = (of) => of.join(', ') || '–';
const tags = (of) => Object.entries(of).map(([name, value]) => <span class="tag">{name}={value}</span>);

function Users({ of }) {
  return (
    <Section title="Users">
      <Table name="Users" head={['User', 'Groups', 'Policies', 'Tags']} rows={of.Users.map((one) => ({
        key: one.Name, cells: [one.Name, names(one.Groups), names(one.Policies), tags(one.Tags)],
      }))} />
    </Section>
  );
}

function Groups({ of }) {
  const members = (group) => of.Users.filter((one) => one.Groups.includes(group)).map((one) => one.Name);
  return (
    <Section title="Groups">
      <p class="quiet">Whoever is in a Unix group of the same name is a member as well.</p>
      <Table name="Groups" head={['Group', 'Members', 'Policies']} rows={of.Groups.map((one) => ({
        key: one.Name, cells: [one.Name, names(members(one.Name)), names(one.Policies)],
      }))} />
    </Section>
  );
}

function Roles({ of }) {
  return (
    <Section title="Roles">
      <Table name="Roles" head={['Role', 'Who may assume it', 'Policies']} rows={of.Roles.map((one) => ({
        key: one.Name, cells: [one.Name, names(one.Trust), names(one.Policies)],
      }))} />
    </Section>
  );
}

function Policies({ of }) {
  return (
    <Section title="Policies">
      {of.Policies.map((one) => (
        <details key={one.Name}>
          <summary>{one.Name}{one.Managed ? ', of every account' : ''}</summary>
          <pre tabIndex={0}>{JSON.stringify(JSON.parse(one.Document), null, 2)}</pre>
        </details>
      ))}
    </Section>
  );
}

export function Account() {
  const account = useAsked(looks, 'account', () => call('console.DescribeAccount'));
  return (
    <Page title="Account">
      <p>To read only. Changes are made with <code>keyfold iam apply FILE</code>, by who has the right to each of them.</p>
      <Loaded of={account}>
        {(value) => <><Users of={value} /><Groups of={value} /><Roles of={value} /><Policies of={value} /></>}
      </Loaded>
    </Page>
  );
}
