// One key: what it is, and what is done with it as a whole.
import { useState } from 'preact/hooks';
import { listAliases } from './aliases.js';
import { all, call } from './api.js';
import { LastEvents } from './Events.jsx';
import { Grants } from './Grants.jsx';
import { looks, partLooks, tagLooks } from './looks.js';
import { Policy } from './Policy.jsx';
import {
  Act, Ask, Facts, Field, link, Loaded, Page, Section, State, Table, useAsked, useLoad,
} from './parts.jsx';
import { aliasName, date, daysUntil } from './texts.js';

async function loadKey(id) {
  const { KeyMetadata } = await call('kms.DescribeKey', { KeyId: id });
  const aliases = await listAliases({ KeyId: KeyMetadata.KeyId });
  return { ...KeyMetadata, aliases: aliases.map((one) => one.AliasName) };
}

function StateActions({ of: key, again }) {
  const id = { KeyId: key.KeyId };
  if (key.KeyState === 'PendingDeletion')
    return <Act button="Cancel deletion" act={() => call('kms.CancelKeyDeletion', id)} done={again} />;
  return (
    <>
      {key.Enabled
        ? <Ask button="Disable" title="Disable this key?" act={() => call('kms.DisableKey', id)} done={again}>
            <p>Its files can't be opened until it is enabled again. What is open ends within a second.</p>
          </Ask>
        : key.KeyState === 'Disabled' &&
          <Act button="Enable" act={() => call('kms.EnableKey', id)} done={again} />}
      {key.Origin === 'EXTERNAL' &&
        <a class="button" href={link('import', key.KeyId)}>Import material</a>}
      <Ask button="Schedule deletion" title="Schedule the key's deletion" danger done={again}
        act={({ days }) => call('kms.ScheduleKeyDeletion', { ...id, PendingWindowInDays: Number(days) })}>
        <p>
          From now on nothing under this key can be read. After the waiting period the key is
          destroyed, and with it all that was encrypted under it. Until then this can be cancelled.
        </p>
        <Field label="Waiting period in days" name="days" type="number" min="7" max="30" defaultValue="30" required
          hint="7 to 30" />
      </Ask>
    </>
  );
}

function Aliases({ of: key, again }) {
  return (
    <Section title="Aliases" actions={
      <Ask button="Add alias" title="Add an alias" submit="Add" done={again}
        act={({ name }) => call('kms.CreateAlias', { AliasName: `alias/${name}`, TargetKeyId: key.KeyId })}>
        <Field label="Alias" name="name" required pattern="[a-zA-Z0-9\/_\-]+" hint="Letters, digits, / _ -" />
      </Ask>}>
      <Table name="Aliases" head={['Alias', '']} empty="No alias." rows={key.aliases.map((alias) => ({
        key: alias,
        cells: [aliasName(alias), <Act button="Remove" aria-label={`Remove alias ${aliasName(alias)}`}
          act={() => call('kms.DeleteAlias', { AliasName: alias })} done={again} />],
      }))} />
    </Section>
  );
}

function Tags({ id }) {
  const tags = useAsked(tagLooks, id, () => all('kms.ListResourceTags', 'Tags', { KeyId: id }));
  return (
    <Section title="Tags" actions={
      <Ask button="Add tag" title="Add or change a tag" submit="Save" done={tags.again}
        act={({ tag, value }) => call('kms.TagResource', { KeyId: id, Tags: [{ TagKey: tag, TagValue: value }] })}>
        <Field label="Tag" name="tag" required />
        <Field label="Value" name="value" />
      </Ask>}>
      <Loaded of={tags}>
        {(value) => <Table name="Tags" head={['Tag', 'Value', '']} empty="No tags." rows={value.map((tag) => ({
          key: tag.TagKey,
          cells: [tag.TagKey, tag.TagValue, <Act button="Remove" aria-label={`Remove tag ${tag.TagKey}`}
            act={() => call('kms.UntagResource', { KeyId: id, TagKeys: [tag.TagKey] })} done={tags.again} />],
        }))} />}
      </Loaded>
    </Section>
  );
}

// PastRotations are loaded anew with the status that they go with.
function PastRotations({ id, status }) {
  const rotations = useAsked(partLooks, `ListKeyRotations ${id}`,
    () => all('kms.ListKeyRotations', 'Rotations', { KeyId: id }), [status]);
  return (
    <Loaded of={rotations}>
      {(value) => <Table name="Past rotations" head={['Rotated', 'How']} empty="Not rotated yet."
        rows={value.map((one, i) => ({ key: i, cells: [date(one.RotationDate), one.RotationType === 'ON_DEMAND' ? 'by hand' : 'by itself'] }))} />}
    </Loaded>
  );
}

function Rotation({ id }) {
  const rotation = useAsked(partLooks, `GetKeyRotationStatus ${id}`, () => call('kms.GetKeyRotationStatus', { KeyId: id }));
  const on = rotation.value?.KeyRotationEnabled;
  return (
    <Section title="Rotation" actions={rotation.value && (
      <>
        {on ? <Act button="Stop rotating" act={() => call('kms.DisableKeyRotation', { KeyId: id })} done={rotation.again} />
          : <Ask button="Rotate regularly" title="Rotate the key regularly" submit="Save" done={rotation.again}
              act={({ days }) => call('kms.EnableKeyRotation', { KeyId: id, RotationPeriodInDays: Number(days) })}>
              <Field label="Every so many days" name="days" type="number" min="90" max="2560" defaultValue="365" required hint="90 to 2560" />
            </Ask>}
        <Ask button="Rotate now" title="Rotate the key now?" done={rotation.again}
          act={() => call('kms.RotateKeyOnDemand', { KeyId: id })}>
          <p>What is encrypted from now on is under new material; what there is stays readable. That can't be undone, and may be done 25 times with a key.</p>
        </Ask>
      </>)}>
      <Loaded of={rotation}>
        {(value) => (
          <>
            <Facts of={[
              ['By itself', on ? `every ${value.RotationPeriodInDays} days` : 'no'],
              on && ['Next', date(value.NextRotationDate)],
            ]} />
            <PastRotations id={id} status={value} />
          </>
        )}
      </Loaded>
    </Section>
  );
}

function Folders({ id }) {
  const [wanted, setWanted] = useState(false);
  const load = () => (wanted ? call('console.FoldersOfKey', { KeyId: id }) : Promise.resolve(null));
  const found = useLoad(load, [id, wanted]);
  return (
    <Section title="Folders" actions={!wanted && <button type="button" onClick={() => setWanted(true)}>Look for its folders</button>}>
      {wanted && (
        <Loaded of={found}>
          {(value) => value === null ? null : (
            <>
              <Table name="Folders" head={['Folder']} empty="No folder that you may look into is under this key."
                rows={value.Folders.map((path) => ({ key: path, cells: [<a href={link('files', path)}>{path}</a>] }))} />
              {value.Truncated && <p class="quiet">There are more folders than were looked at.</p>}
            </>
          )}
        </Loaded>
      )}
    </Section>
  );
}

function General({ of: key, again }) {
  return (
    <Section title="General" actions={
      <Ask button="Edit description" title="Edit the description" submit="Save" done={again}
        act={({ text }) => call('kms.UpdateKeyDescription', { KeyId: key.KeyId, Description: text })}>
        <Field label="Description" name="text" defaultValue={key.Description} />
      </Ask>}>
      <Facts of={[
        ['State', <State state={key.KeyState} />],
        key.DeletionDate && ['Deletion', `in ${daysUntil(key.DeletionDate)}, ${date(key.DeletionDate)}`],
        ['Description', key.Description || '–'],
        ['Key id', <code>{key.KeyId}</code>],
        ['ARN', <code>{key.Arn}</code>],
        ['Created', date(key.CreationDate)],
        ['Use', key.KeyUsage === 'GENERATE_VERIFY_MAC' ? `message authentication (${key.KeySpec})` : 'encryption'],
        ['Managed by', key.KeyManager === 'AWS' ? 'Keyfold' : 'you'],
        ['Material', key.Origin === 'EXTERNAL' ? 'imported' : 'made by the KMS'],
        key.Origin === 'EXTERNAL' && key.KeyState !== 'PendingImport' &&
          ['Material expires', key.ValidTo ? date(key.ValidTo) : 'never'],
      ]} />
      {key.Origin === 'EXTERNAL' && key.KeyState !== 'PendingImport' && (
        <Ask button="Delete material" title="Delete the imported material?" danger done={again}
          act={() => call('kms.DeleteImportedKeyMaterial', { KeyId: key.KeyId })}>
          <p>Nothing under this key can be read until the same material is imported again.</p>
        </Ask>
      )}
    </Section>
  );
}

export function Key({ id }) {
  const key = useAsked(looks, id, () => loadKey(id));
  const value = key.value;
  const own = value?.KeyManager === 'CUSTOMER';
  const title = value ? value.aliases.map(aliasName).join(', ') || value.KeyId : 'Key';
  return (
    <Page title={title} actions={own && <StateActions of={value} again={key.again} />}>
      <Loaded of={key}>
        {() => (
          <>
            <General of={value} again={key.again} />
            {own && <Aliases of={value} again={key.again} />}
            <Policy id={value.KeyId} />
            {own && <Grants id={value.KeyId} />}
            {own && <Tags id={value.KeyId} />}
            {own && value.Origin === 'AWS_KMS' && value.KeyUsage === 'ENCRYPT_DECRYPT' && <Rotation id={value.KeyId} />}
            <Folders id={value.KeyId} />
            <Section title="Last events" actions={<a class="button" href={link('audit', value.KeyId)}>All events</a>}>
              <LastEvents of={value.KeyId} />
            </Section>
          </>
        )}
      </Loaded>
    </Page>
  );
}
