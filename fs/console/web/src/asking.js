// What a page asks by itself though some of it may be refused to its user. Each refusal is
// on record, and ten within a minute raise an alert (ManyRefusals): nobody shall get one by
// opening a page.
const MINUTE = 60_000;
const BELIEVED = 15 * MINUTE;

export const isRefusal = (failure) => failure.type === 'AccessDeniedException';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const first = (ids, wanted) => [...ids.filter(wanted), ...ids.filter((id) => !wanted(id))];

export class Asking {
  #most;
  #answered = new Set();
  #refused = new Map(); // id to {failure, at}

  // `most` is how many refusals the page's own questions may get within a minute.
  constructor(most) { this.#most = most; }

  // refusal is what was refused not long ago: that need not be asked again.
  refusal(id) {
    const found = this.#refused.get(id);
    return found && Date.now() - found.at < BELIEVED ? found.failure : undefined;
  }

  // wait tells how many ms the page's own question has to wait; Infinity, if most of them
  // were refused.
  wait(id) {
    if (this.#answered.has(id)) return 0;
    const ages = [...this.#refused.values()].map(({ at }) => Date.now() - at).filter((age) => age < MINUTE);
    if (ages.length < this.#most) return 0;
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
      }
      throw failure;
    }
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
