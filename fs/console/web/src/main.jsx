// The console: which page the address asks for.
import { render } from 'preact';
import { useEffect, useErrorBoundary, useState } from 'preact/hooks';
import { Account } from './Account.jsx';
import { Alerts } from './Alerts.jsx';
import { beginSession, call } from './api.js';
import { Audit } from './Audit.jsx';
import { CreateKey } from './CreateKey.jsx';
import { Files } from './Files.jsx';
import { ImportMaterial } from './ImportMaterial.jsx';
import { Key } from './Key.jsx';
import { Keys } from './Keys.jsx';
import { OneFile } from './OneFile.jsx';
import { link, Page, Refusal } from './parts.jsx';
import { Who } from './Who.jsx';
import { WhoAmI } from './WhoAmI.jsx';

const MENU = [
  ['keys', 'Keys'],
  ['files', 'Files'],
  ['audit', 'Audit'],
  ['alerts', 'Alerts'],
  ['account', 'Account'],
  ['me', 'Who am I'],
];

const PAGES = {
  'keys': ([id], me) => (id ? <Key id={id} /> : <Keys me={me} />),
  'new-key': (_, me) => <CreateKey me={me} />,
  'import': ([id]) => <ImportMaterial id={id} />,
  'files': ([path]) => <Files path={path} />,
  'file': ([path]) => <OneFile path={path} />,
  'who': ([path], me) => <Who path={path} me={me} />,
  'audit': ([id]) => <Audit keyId={id} />,
  'alerts': () => <Alerts />,
  'account': () => <Account />,
  'me': () => <WhoAmI />,
};

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function useAddress() {
  const read = () => location.hash.replace(/^#\/?/, '').split('/').map(decoded);
  const [parts, setParts] = useState(read);
  useEffect(() => {
    const follow = () => setParts(read());
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  return parts[0] ? parts : ['keys'];
}

// A page that fails must not take the menu with it.
function Guarded({ children }) {
  const [failure] = useErrorBoundary();
  return failure ? <Page title="This page failed"><Refusal failure={failure} /></Page> : children;
}

function Console({ me }) {
  const [name, ...rest] = useAddress();
  const [visit, setVisit] = useState(0); // the same page again, loaded anew
  const page = PAGES[name];
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => {
        event.preventDefault();
        document.querySelector('h1').focus();
      }}>Skip to the content</a>
      <header class="top">
        <span class="brand">Keyfold</span>
        <nav aria-label="Console">
          {MENU.map(([part, text]) => (
            <a href={link(part)} onClick={() => setVisit((n) => n + 1)} aria-current={part === name ? 'page' : undefined}>{text}</a>
          ))}
        </nav>
        <span class="me">{me.UserName}</span>
      </header>
      <main id="content" key={[visit, name, ...rest].join('/')}>
        <Guarded>
          {Object.hasOwn(PAGES, name) ? page(rest, me) : <Page title="No such page"><p>Choose one above.</p></Page>}
        </Guarded>
      </main>
    </>
  );
}

async function start() {
  try {
    await beginSession();
    const me = await call('iam.WhoAmI');
    render(<Console me={me} />, document.body);
  } catch (failure) {
    render(<main><h1>Keyfold</h1><Refusal failure={failure} /></main>, document.body);
  }
}
start();
