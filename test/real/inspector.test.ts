import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createInspector, type Inspector } from '../helpers/inspector.ts';
import { canTrace } from '../helpers/machine.ts';
import { type Server, startServer } from '../helpers/server.ts';

let server: Server;
let inspector: Inspector;
beforeAll(async () => {
  if (!canTrace) return;
  inspector = await createInspector();
  server = await startServer();
}, 300_000);
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await inspector?.[Symbol.asyncDispose]();
});

const TOOLS = ['list_targets', 'bpf_info', 'list_probes', 'list_helpers', 'exec_program', 'get_result', 'manage_runs'];
const PROGRAM = 'program=tracepoint:syscalls:sys_enter_openat { @opens = count(); }';

describe.skipIf(!canTrace).each(['modern', 'legacy'] as const)(
  'the MCP Inspector in the %s era [needs root and BPF]',
  (era) => {
    const call = (name: string, ...args: readonly string[]) =>
      inspector.inspect(server.mcp, era, '--method', 'tools/call', '--tool-name', name, ...args);

    it('lists the tools', async () => {
      const { exitCode, output } = await inspector.inspect(server.mcp, era, '--method', 'tools/list');
      expect(exitCode).toBe(0);
      expect(output).toMatchObject({ result: { tools: TOOLS.map((name) => ({ name })) } });
    });

    it('calls a tool that traces', async () => {
      const { exitCode, output } = await call('exec_program', '--tool-arg', PROGRAM, '--tool-arg', 'timeout=1');
      expect(JSON.stringify(output)).toMatch(/complete.*@opens/);
      expect(exitCode).toBe(0);
    });

    it('is told what was wrong with an argument', async () => {
      const { exitCode, output } = await call('exec_program', '--tool-arg', PROGRAM, '--tool-arg', 'timeout=0');
      expect(JSON.stringify(output)).toContain('argument.invalid');
      expect(exitCode).toBe(5);
    });
  },
);
