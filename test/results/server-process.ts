// A server of its own on a data folder. Writes one line of JSON for what it has done.
import { setTimeout as sleep } from 'node:timers/promises';
import { bigText, exactAccount, final, mapOf, newRun, opened, printed } from './runs.ts';

const [dataDir = '', act = ''] = process.argv.slice(2);
const say = (message: unknown) => process.stdout.write(`${JSON.stringify(message)}\n`);
const store = opened(dataDir);

switch (act) {
  case 'open': {
    const run = await store.open(newRun());
    say(run.id);
    await sleep(60_000);
    break;
  }
  case 'events': {
    const run = await store.open(newRun());
    run.armed({ atMs: Date.now(), attached: 3 });
    run.push(printed('first'));
    run.push(printed(bigText));
    run.push(printed('this one waits for the next tick'));
    run.stopAsked.addEventListener('abort', async () => {
      say(String(run.stopAsked.reason));
      await run.finish(final({ state: 'truncated', reason: 'stopped', account: exactAccount(3) }));
      await store.close();
      process.exit();
    });
    say(run.id);
    await sleep(60_000);
    break;
  }
  case 'many': {
    for (let i = 0; i < 20; i += 1) {
      const run = await store.open(newRun({ owner: String(process.pid) }));
      for (let event = 0; event < 500; event += 1) run.push(printed(`event ${event}`));
      if (i % 5 === 0) await sleep(300);
      await run.finish(final({ sections: [mapOf([['a', i]])], account: exactAccount(500) }));
      say(run.id);
    }
    await store.close();
    break;
  }
}
