// The console: which page the address asks for.
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { beginSession, call } from './api.js';
import { Key } from './Key.jsx';
import { Keys } from './Keys.jsx';
import { link, Page, Refusal } from './parts.jsx';
import { WhoAmI } from './WhoAmI.jsx';

const MENU = [
  ['keys', 'Keys'],
  ['me', 'Who am I'],
];

const PAGES = {
  'keys': ([id]) => (id ? <Key id={id} key={id} /> : <Keys />),
  'me': () => <WhoAmI />,
};

function useAddress() {
  const read = () => location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  const [parts, setParts] = useState(read);
  useEffect(() => {
    const follow = () => setParts(read());
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  return parts[0] ? parts : ['keys'];
}

function Console({ me }) {
  const [name, ...rest] = useAddress();
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
            <a href={link(part)} aria-current={part === name ? 'page' : undefined}>{text}</a>
          ))}
        </nav>
        <span class="me">{me.UserName}</span>
      </header>
      <main id="content" key={[name, ...rest].join('/')}>
        {page ? page(rest) : <Page title="No such page"><p>Choose one above.</p></Page>}
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
