// Importing key material that was wrapped with the openssl program.
import { useState } from 'preact/hooks';
import { bytesOf, call } from './api.js';
import { looks } from './looks.js';
import { Check, Copyable, Field, Form, go, Loaded, Page, Section, useAsked } from './parts.jsx';

const HASHES = { RSAES_OAEP_SHA_256: 'sha256', RSAES_OAEP_SHA_1: 'sha1' };
const SIZES = { HMAC_224: 28, HMAC_384: 48, HMAC_512: 64 };

async function base64Of(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

function save(name, base64) {
  const address = URL.createObjectURL(new Blob([bytesOf(base64)]));
  const a = document.createElement('a');
  a.href = address;
  a.download = name;
  a.click();
  URL.revokeObjectURL(address);
}

const commands = (hash, size) => `(umask 077 && openssl rand ${size} > material)
openssl pkeyutl -encrypt -pubin -keyform DER -inkey wrapping-key.der \\
  -in material -out wrapped-material -pkeyopt rsa_padding_mode:oaep \\
  -pkeyopt rsa_oaep_md:${hash} -pkeyopt rsa_mgf1_md:${hash}`;

function GetParameters({ id, set }) {
  const act = async ({ algorithm, spec }) => set({
    algorithm, ...await call('kms.GetParametersForImport', { KeyId: id, WrappingAlgorithm: algorithm, WrappingKeySpec: spec }),
  });
  return (
    <Section title="1. Wrapping key">
      <Form submit="Get wrapping key and token" working="The wrapping key is being made…" act={act}>
        <Field label="Wrapping algorithm">
          {(field) => (
            <select name="algorithm" {...field}>{Object.keys(HASHES).map((one) => <option>{one}</option>)}</select>
          )}
        </Field>
        <Field label="Wrapping key">
          {(field) => (
            <select name="spec" {...field}>{['RSA_4096', 'RSA_3072', 'RSA_2048'].map((one) => <option>{one}</option>)}</select>
          )}
        </Field>
      </Form>
    </Section>
  );
}

function Wrap({ of, spec }) {
  return (
    <Section title="2. Wrap the material" actions={of && (
      <>
        <button type="button" onClick={() => save('wrapping-key.der', of.PublicKey)}>Download wrapping key</button>
        <button type="button" onClick={() => save('import-token', of.ImportToken)}>Download token</button>
      </>)}>
      {of ? (
        <>
          <p>
            Where the wrapping key is, run this. <code>material</code> is yours to keep: Keyfold never
            gives it back. If you have it already, leave the first line out.
          </p>
          <Copyable label="Commands" text={commands(HASHES[of.algorithm], SIZES[spec] ?? 32)} />
        </>
      ) : <p class="quiet">Get the wrapping key first. It is good for 24 hours and one import.</p>}
    </Section>
  );
}

function Upload({ id, of }) {
  const [expires, setExpires] = useState(false);
  const act = async ({ wrapped, token, date }) => {
    if (!of && !token.size) throw new Error('Choose the file of the token as well, or get another above.');
    const request = {
      KeyId: id, ImportToken: of ? of.ImportToken : await base64Of(token),
      EncryptedKeyMaterial: await base64Of(wrapped),
      ExpirationModel: expires ? 'KEY_MATERIAL_EXPIRES' : 'KEY_MATERIAL_DOES_NOT_EXPIRE',
    };
    await call('iam.WhoAmI'); // it is still the console that gets this
    if (expires) request.ValidTo = Date.parse(`${date}T00:00:00Z`) / 1000;
    await call('kms.ImportKeyMaterial', request);
    go('keys', id);
  };
  return (
    <Section title="3. Upload the wrapped material">
      <Form submit="Import" act={act}>
        <Field label="Wrapped material" name="wrapped" type="file" required hint="wrapped-material" />
        {!of && <Field label="Token" name="token" type="file" hint="import-token, as it was downloaded" />}
        <Check label="The material expires" checked={expires} onChange={(e) => setExpires(e.target.checked)} />
        {expires && <Field label="Expires on" name="date" type="date" required hint="Midnight, UTC" />}
      </Form>
    </Section>
  );
}

export function ImportMaterial({ id }) {
  const key = useAsked(looks, id, () => call('kms.DescribeKey', { KeyId: id }).then((a) => a.KeyMetadata));
  const [of, set] = useState();
  return (
    <Page title="Import key material">
      <Loaded of={key}>
        {(value) => (
          <>
            <GetParameters id={value.KeyId} set={set} />
            <Wrap of={of} spec={value.KeySpec} />
            <Upload id={value.KeyId} of={of} />
          </>
        )}
      </Loaded>
    </Page>
  );
}
