// A browser that is told what to do, a JSON line each, and answers with a line. What it
// finds, it finds as a reader of the page would: by role and name, or by label.
//   node browser.mjs CHROMIUM PROFILE
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [executablePath, profile] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const context = await chromium.launchPersistentContext(profile, {
  executablePath, headless: true, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  acceptDownloads: true,
});
context.setDefaultTimeout(30_000);
const page = context.pages()[0];
const problems = []; // what the page itself complained of
page.on('pageerror', (error) => problems.push(String(error)));
page.on('console', (message) => {
  // A refused call is an answer, not a mistake of the page.
  if (message.type() === 'error' && !/status of 4|status of 5/.test(message.text()))
    problems.push(message.text());
});

const named = ({ role, name, text, within, exact = true }) => {
  const where = within ? page.getByRole(within.role, { name: within.name, exact: true }) : page;
  return (text ? where.getByText(text, { exact }) : where.getByRole(role, { name, exact })).first();
};
const labelled = ({ label, exact = true }) => page.getByLabel(label, { exact }).first();

const DO = {
  open: ({ url }) => page.goto(url).then(() => null),
  look: ({ width, height, dark }) => page.setViewportSize({ width, height })
    .then(() => page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' })).then(() => null),
  click: (what) => named(what).click().then(() => null),
  fill: (what) => labelled(what).fill(what.text).then(() => null),
  check: (what) => labelled(what).setChecked(what.on).then(() => null),
  checked: (what) => labelled(what).isChecked(),
  choose: (what) => labelled(what).selectOption(what.option).then(() => null),
  upload: (what) => labelled(what).setInputFiles(what.path).then(() => null),
  download: async (what) => {
    const [file] = await Promise.all([page.waitForEvent('download'), named(what).click()]);
    await file.saveAs(what.path);
    return null;
  },
  press: ({ key }) => page.keyboard.press(key).then(() => null),
  type: ({ text }) => page.keyboard.type(text).then(() => null),
  wait: ({ text, gone }) => page.getByText(text, { exact: false }).first()
    .waitFor({ state: gone ? 'hidden' : 'visible' }).then(() => null),
  find: (what) => named(what).waitFor().then(() => null),
  count: ({ role, name }) => page.getByRole(role, { name, exact: true }).count(),
  text: ({ selector = 'body' }) => page.locator(selector).first().innerText(),
  focused: () => page.evaluate(() => {
    const it = document.activeElement;
    const name = it.getAttribute('aria-label') ?? it.labels?.[0]?.innerText ?? it.innerText ?? '';
    return `${it.tagName.toLowerCase()} ${name.split('\n')[0]}`.trim();
  }),
  eval: ({ code }) => page.evaluate(code),
  shot: ({ path }) => page.screenshot({ path }).then(() => null),
  cookies: () => context.cookies(),
  problems: () => problems.splice(0),
  // Axe is run in a world of its own: the page's own rules let no other script in.
  axe: async () => {
    const session = await context.newCDPSession(page);
    const { frameTree } = await session.send('Page.getFrameTree');
    const { executionContextId: contextId } = await session.send('Page.createIsolatedWorld',
      { frameId: frameTree.frame.id });
    await session.send('Runtime.evaluate', { expression: axe, contextId });
    const { result } = await session.send('Runtime.evaluate', {
      expression: `axe.run(document, {resultTypes: ['violations']}).then((found) =>
        found.violations.map((one) => ({id: one.id, nodes: one.nodes.map((node) => node.html + ': ' + node.failureSummary)})))`,
      contextId, awaitPromise: true, returnByValue: true,
    });
    await session.detach();
    return result.value;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { value: await DO[command.do](command) ?? null };
  } catch (error) {
    answer = { failure: `${error.message}\n--- page:\n${await page.locator('body').innerText().catch(() => '')}` };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
await context.close();
