// Who the user is to the KMS, and the store.
import { call } from './api.js';
import { Facts, Loaded, Page, Section, useLoad } from './parts.jsx';
import { principal } from './texts.js';

const text = (value) => (value !== null && typeof value === 'object'
  ? Object.entries(value).map(([name, one]) => `${text(one)} ${name}`).join(', ') : String(value));

export function WhoAmI() {
  const me = useLoad(() => call('iam.WhoAmI'), []);
  const store = useLoad(() => call('store.GetStatus'), []);
  return (
    <Page title="Who am I">
      <Section title="You">
        <Loaded of={me}>
          {(value) => <Facts of={[
            ['User', value.UserName],
            ['ARN', <code>{value.Arn}</code>],
            ['Groups', value.Groups.map(principal).join(', ') || 'none'],
            ['IAM policies', value.Policies.join(', ') || 'none'],
            ['Root of the account', value.AccountRoot ? 'yes' : 'no'],
            ['Account', `${value.Account}, ${value.Region}`],
          ]} />}
        </Loaded>
      </Section>
      <Section title="Store">
        <Loaded of={store}>
          {(value) => <Facts of={Object.entries(value).map(([name, one]) => [name, text(one)])} />}
        </Loaded>
      </Section>
    </Page>
  );
}
