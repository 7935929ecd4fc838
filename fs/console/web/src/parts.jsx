// What the pages are made of.
import { createContext } from 'preact';
import { useContext, useEffect, useId, useRef, useState } from 'preact/hooks';
import { call, Refused } from './api.js';
import { Asking, Unasked } from './asking.js';
import { stateName } from './texts.js';

// Where one may go: addresses behind the "#".
export const link = (...parts) => '#/' + parts.map(encodeURIComponent).join('/');
export const go = (...parts) => { location.hash = link(...parts); };

// useLoad gives {value, failure, again} of what `load` promises, anew when `inputs` change;
// `load` is told how often it was asked for again.
export function useLoad(load, inputs) {
  const [state, setState] = useState({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    let wanted = true;
    load(round).then((value) => wanted && setState({ value }),
      (failure) => wanted && setState({ failure }));
    return () => { wanted = false; };
  }, [...inputs, round]);
  return { ...state, again: () => setRound((n) => n + 1) };
}

// useAsked is useLoad of what may not be this user's to see: the page's own question is put
// by `asking`, under `id`, and the user's in any case.
export const useAsked = (asking, id, question, inputs = []) =>
  useLoad((round) => (round === 0 ? asking.once(id, question) : asking.ask(id, question)), [id, ...inputs]);

const ONLY_READERS = 'Only those who may read the policies are told which statement.';
const reasons = new Asking(1);

// Why asks the KMS which statement refused, by its own words of what was refused.
function useReason(failure) {
  const [reason, setReason] = useState('');
  useEffect(() => {
    setReason('');
    const found = /not authorized to perform: (\S+) on resource: (\S+)/.exec(failure?.message ?? '');
    if (!found) return;
    const request = { Action: found[1] };
    if (/:(key|alias)\//.test(found[2])) request.KeyId = found[2];
    reasons.once(found[0], () => call('iam.Simulate', request)).then(
      (answer) => setReason(answer.Reason ?? ONLY_READERS), () => setReason(ONLY_READERS));
  }, [failure]);
  return reason;
}

export function Refusal({ failure }) {
  const reason = useReason(failure);
  const ref = useRef();
  useEffect(() => { if (failure) ref.current?.scrollIntoView?.({ block: 'nearest' }); }, [failure]);
  if (!failure) return null;
  return (
    <div class="notice bad" role="alert" ref={ref}>
      <strong>{failure.type ?? 'Error'}</strong>
      <p>{failure.message}</p>
      {reason && <p class="reason">Why: {reason}</p>}
    </div>
  );
}

function NotAsked({ of, again }) {
  return (
    <>
      <Refusal failure={of.cause} />
      <p class="quiet">
        {of.cause ? 'That was so not long ago, and was not asked again: each refusal is on record.' : of.message}{' '}
        <button type="button" onClick={again}>{of.cause ? 'Ask again' : 'Ask'}</button>
      </p>
    </>
  );
}

// Loaded shows what came of useLoad: a refusal, a wait, or what `children` make of it.
export function Loaded({ of, children }) {
  if (of.failure instanceof Unasked) return <NotAsked of={of.failure} again={of.again} />;
  if (of.failure) return <Refusal failure={of.failure} />;
  if (of.value === undefined) return <p class="quiet" aria-busy="true">Loading…</p>;
  return children(of.value);
}

export function State({ state }) {
  return <span class={`state ${state}`}>{stateName(state)}</span>;
}

export function Section({ title, actions, children }) {
  const id = useId();
  return (
    <section aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </section>
  );
}

// Table's rows are lists of cells; what is too wide for a phone scrolls.
export function Table({ name, head, rows, empty = 'None.' }) {
  if (rows.length === 0) return <p class="quiet">{empty}</p>;
  return (
    <div class="wide" tabIndex={0} role="region" aria-label={`${name}, table`}>
      <table>
        <thead><tr>{head.map((cell) => (cell ? <th scope="col">{cell}</th> : <td />))}</tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.key}>{row.cells.map((cell) => <td>{cell}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Facts({ of }) {
  return (
    <dl class="facts">
      {of.filter(Boolean).map(([name, value]) => (
        <div><dt>{name}</dt><dd>{value ?? '–'}</dd></div>
      ))}
    </dl>
  );
}

export function Field({ label, hint, children, ...input }) {
  const id = useId();
  const described = hint ? { 'aria-describedby': `${id}-hint` } : {};
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children ? children({ id, ...described })
        : <input id={id} type="text" autocomplete="off" spellcheck={false} {...described} {...input} />}
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

export function Check({ label, ...input }) {
  return <label class="check"><input type="checkbox" {...input} /> {label}</label>;
}

// Busy forms: `act` gets the form's data; what it throws is shown where it was asked for.
// `working` is said while it lasts.
export function Form({ act, children, submit, danger, extra, working }) {
  const [failure, setFailure] = useState();
  const [busy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    setFailure();
    try {
      await act(Object.fromEntries(new FormData(event.target)));
    } catch (error) {
      setFailure(error instanceof Refused ? error : new Refused('Error', String(error.message ?? error)));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form onSubmit={send}>
      {children}
      <Refusal failure={failure} />
      {working && <p class="quiet" role="status">{busy ? working : ''}</p>}
      <div class="actions">
        <button type="submit" class={danger ? 'danger' : 'primary'} disabled={busy}>{submit}</button>
        {extra}
      </div>
    </form>
  );
}

// Ask is a button that opens a dialog with a form; the dialog closes when `act` is done.
export function Ask({ button, title, submit, danger, act, children, done, ...rest }) {
  const ref = useRef();
  const [open, setOpen] = useState(false);
  const id = useId();
  useEffect(() => { if (open) ref.current.showModal(); }, [open]);
  const close = () => ref.current.close();
  return (
    <>
      <button type="button" class={danger ? 'danger' : ''} onClick={() => setOpen(true)} {...rest}>{button}</button>
      {open && (
        <dialog ref={ref} aria-labelledby={id} onClose={() => setOpen(false)}>
          <h2 id={id}>{title}</h2>
          <Form submit={submit ?? button} danger={danger}
            act={async (data) => { await act(data); close(); done?.(); }}
            extra={<button type="button" onClick={close}>Cancel</button>}>
            {children}
          </Form>
        </dialog>
      )}
    </>
  );
}

// Act is a button that does at once what it says; a refusal stands in the page's notices.
export function Act({ button, act, done, ...rest }) {
  const notify = useContext(Notices);
  const [busy, setBusy] = useState(false);
  const press = async () => {
    setBusy(true);
    notify();
    try {
      await act();
      done?.();
    } catch (failure) {
      notify(failure);
    } finally {
      setBusy(false);
    }
  };
  return <button type="button" disabled={busy} onClick={press} {...rest}>{button}</button>;
}

// Notices: where a page shows the refusal of its actions.
export const Notices = createContext(() => {});
let first = true; // the page that the browser itself loaded begins where every page does
export function Page({ title, actions, children }) {
  const [failure, setFailure] = useState();
  const ref = useRef();
  useEffect(() => {
    document.title = `${title} – Keyfold`;
  }, [title]);
  useEffect(() => {
    if (!first) ref.current.focus({ preventScroll: true });
    first = false;
    window.scrollTo(0, 0);
  }, []);
  return (
    <Notices.Provider value={setFailure}>
      <header class="page">
        <h1 tabIndex={-1} ref={ref}>{title}</h1>
        {actions && <div class="actions">{actions}</div>}
      </header>
      <Refusal failure={failure} />
      {children}
    </Notices.Provider>
  );
}

// People offers the names of those there are to a text field.
export function usePeople() {
  return useLoad(() => call('console.ListPrincipals').then((a) => a.Principals), []).value ?? [];
}
export function People({ id, of }) {
  return <datalist id={id}>{of.map((one) => <option value={one} />)}</datalist>;
}

export function Copyable({ text, label }) {
  const [done, setDone] = useState(false);
  const copy = () => navigator.clipboard.writeText(text).then(() => setDone(true));
  return (
    <div class="copyable">
      <pre tabIndex={0} aria-label={label}>{text}</pre>
      <button type="button" onClick={copy}>{done ? 'Copied' : 'Copy'}</button>
    </div>
  );
}
