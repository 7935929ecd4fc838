// What a page asks by itself though some of it may be refused to its user. Each refusal is
// on record, and ten within a minute raise an alert (ManyRefusals): nobody shall get one by
// opening pages.
const MINUTE = 60_000;
const BELIEVED = 15 * MINUTE;
const MOST_OF_ALL = 6; // refusals within a minute, whichever pages asked

export const isRefusal = (failure) => failure.type === 'AccessDeniedException';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const first = (ids, wanted) => [...ids.filter(wanted), ...ids.filter((id) => !wanted(id))];

// Unasked is what comes of a question that was not put; its cause is the refusal of before,
// if it was put then.
export class Unasked extends Error {
  constructor(cause) {
    super(cause?.message ?? 'This was not asked for, as other things are not yours to see.', { cause });
  }
}

// When something was refused, and whose turn it is; of all pages.
const everywhere = { times: [], turn: Promise.resolve() };
const recent = (times) => times.map((at) => Date.now() - at).filter((age) => age < MINUTE);

export class Asking {
  #most;
  #answered = new Set();
  #refused = new Map(); // id to {failure, at}
  #shared;

  // `most` is how many refusals the page's own questions may get within a minute.
  constructor(most, shared = everywhere) {
    this.#most = most;
    this.#shared = shared;
  }

  // refusal is what was refused not long ago: that need not be asked again.
  refusal(id) {
    const found = this.#refused.get(id);
    return found && Date.now() - found.at < BELIEVED ? found.failure : undefined;
  }

  // wait tells how many ms the page's own question has to wait; Infinity, if most of them
  // were refused.
  wait(id) {
    if (this.#answered.has(id)) return 0;
    const ages = recent([...this.#refused.values()].map(({ at }) => at));
    const ofAll = recent(this.#shared.times);
    if (ages.length < this.#most) return ofAll.length < MOST_OF_ALL ? 0 : MINUTE - Math.max(...ofAll);
    return this.#refused.size > this.#answered.size ? Infinity : MINUTE - Math.max(...ages);
  }

  // ask gives what `question` promises, and keeps in mind how that ended.
  async ask(id, question) {
    try {
      const answer = await question();
      this.#refused.delete(id);
      this.#answered.add(id);
      return answer;
    } catch (failure) {
      if (isRefusal(failure)) {
        this.#answered.delete(id);
        this.#refused.set(id, { failure, at: Date.now() });
        this.#shared.times.push(Date.now());
      }
      throw failure;
    }
  }

  // once is ask, one question after the other, so that those put at the same time are not
  // all refused. It throws Unasked when that was refused not long ago, or likely would be.
  once(id, question) {
    const asked = this.#shared.turn.then(() => {
      const before = this.refusal(id);
      if (before || this.wait(id) > 0) throw new Unasked(before);
      return this.ask(id, question);
    });
    this.#shared.turn = asked.catch(() => {});
    return asked;
  }

  // each has `look`, which uses ask, look at the ids in turn while that is `wanted`. Once
  // something is refused, those that `likely` promises come first.
  async each(ids, look, wanted, likely) {
    let queue = first(ids.filter((id) => !this.refusal(id)), (id) => this.#answered.has(id));
    let sorted = false;
    while (queue.length > 0 && wanted()) {
      if (!sorted && this.#refused.size > 0) {
        sorted = true;
        const names = await likely();
        queue = first(queue, (id) => this.#answered.has(id) || names.has(id));
      }
      const wait = this.wait(queue[0]);
      if (wait === Infinity) return;
      if (wait > 0) await sleep(wait);
      else await look(queue.shift());
    }
  }
}
