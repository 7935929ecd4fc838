// Alerts that were raised, keys and grants as the rules judge them, and the rules.
import { call } from './api.js';
import { Asking } from './asking.js';
import { KeyTag, keysOf, useNames, userOf } from './Events.jsx';
import { Loaded, Page, Section, Table, useAsked, useLoad } from './parts.jsx';
import { keyIdOf, time } from './texts.js';

const MOST = 5000; // records that are looked through
const SOURCE = 'alerts.keyfold';
const NOT_RAISED = 'DeliverAlert'; // what is on record of an alert that could not be told

const looks = new Asking(1); // one right is asked for

const loadAlerts = () => call('audit.LookupEvents', { MaxResults: MOST })
  .then((answer) => answer.Events.filter((one) => one.eventSource === SOURCE).reverse());

function Raised({ names }) {
  const alerts = useLoad(loadAlerts, []);
  return (
    <Section title="Raised">
      <Loaded of={alerts}>
        {(value) => <Table name="Alerts" head={['Time', 'Alert', 'User', 'What happened', 'Keys']} empty="None lately."
          rows={value.map((one) => ({
            key: one.sequence,
            cells: [time(one.eventTime), one.eventName, userOf(one),
              one.eventName === NOT_RAISED ? one.errorMessage : one.requestParameters?.message,
              keysOf(one).map((id) => <KeyTag id={id} names={names} />)],
          }))} />}
      </Loaded>
    </Section>
  );
}

// Resource is a key, or one of its grants: "ARN grant ID".
function Resource({ of, names }) {
  const [arn, ...grant] = of.split(' ');
  const id = keyIdOf(arn);
  return id ? <><KeyTag id={id} names={names} /> {grant.join(' ')}</> : of;
}

function Compliance({ names }) {
  const found = useAsked(looks, 'compliance', () => call('audit.DescribeCompliance').then((answer) => answer.Findings));
  return (
    <Section title="Compliance">
      <Loaded of={found}>
        {(value) => {
          const bad = value.filter((one) => one.Compliance !== 'COMPLIANT');
          return (
            <>
              <p class="quiet">{value.length - bad.length} of {value.length} findings are as the rules want them.</p>
              <Table name="Not compliant" head={['Rule', 'Resource', 'Why']} empty="All is as the rules want it."
                rows={bad.map((one, i) => ({ key: i, cells: [one.Rule, <Resource of={one.Resource} names={names} />, one.Reason] }))} />
            </>
          );
        }}
      </Loaded>
    </Section>
  );
}

function Rules() {
  const rules = useAsked(looks, 'rules', () => call('audit.GetAlertRules'));
  return (
    <Section title="Rules">
      <Loaded of={rules}>
        {(value) => (
          <>
            <details><summary>Your rules</summary>
              <pre tabIndex={0}>{value.Document || 'None. To put some in force: keyfold audit rules apply FILE'}</pre></details>
            <details><summary>Built-in rules</summary><pre tabIndex={0}>{value.BuiltIn}</pre></details>
          </>
        )}
      </Loaded>
    </Section>
  );
}

export function Alerts() {
  const names = useNames();
  return <Page title="Alerts"><Raised names={names} /><Compliance names={names} /><Rules /></Page>;
}
