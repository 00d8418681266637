import type { AppliedRule, Coverage, CoverageAccount } from '../trace/ports.ts';
import { shorten } from './escape.ts';
import { counted, grouped } from './sentences.ts';

const NAMES = 4;

/** What an answer about a target covers, a line each: the rule of every probe, what of the target was there, the gaps. */
export function coverageLines(coverage: CoverageAccount): readonly string[] {
  const { rules, control, start, end, notes } = coverage;
  const gaps = [...new Set([...rules.flatMap((rule) => rule.notes), ...notes])];
  return [
    ...ruleLines(rules),
    ...(control ? [`control: ${rules.map((rule, at) => controlOf(rule, control[at])).join('; ')}`] : []),
    ...(start || end ? [`covered: ${presence(start, end)}`] : []),
    ...gaps.map((note) => `note: ${shorten(note, 400)}`),
  ];
}

/** `scope: 2 probes by the task's cgroup; tcp:tcp_retransmit_skb by the socket's cgroup`, and what has no owner. */
function ruleLines(rules: readonly AppliedRule[]): readonly string[] {
  const scoped = rules.filter((rule) => rule.class !== 'N');
  const wide = rules.filter((rule) => rule.class === 'N');
  const groups = [...Map.groupBy(scoped, ({ owner }) => owner)];
  return [
    ...(groups.length > 0
      ? [`scope: ${groups.map(([owner, group]) => `${names(group)} by ${owner}`).join('; ')}`]
      : []),
    ...(wide.length > 0 ? [`not scoped, node-wide: ${names(wide)}`] : []),
  ];
}

function names(rules: readonly AppliedRule[]): string {
  const shown = rules
    .slice(0, NAMES)
    .map(({ point, points }) => `${shorten(point, 80)}${points > 1 ? ` (${points})` : ''}`);
  const rest = rules.length - shown.length;
  return `${shown.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

const controlOf = ({ point }: AppliedRule, count: { all: number; inScope: number } | undefined): string =>
  count === undefined
    ? `${shorten(point, 80)} not counted`
    : `${shorten(point, 80)} fired ${counted(count.all, 'time')} on the node, ${grouped(count.inScope)} of them the target's`;

/** `2 containers, 7 processes at the start, 8 at the end`. */
function presence(start: Coverage | undefined, end: Coverage | undefined): string {
  const last = end ?? start;
  const list = last?.containers.map(({ name }) => shorten(name, 40)) ?? [];
  const shown = list.length === 0 ? '' : ` (${list.slice(0, NAMES).join(', ')}${list.length > NAMES ? ', …' : ''})`;
  const processes =
    start !== undefined && end !== undefined && start.processes !== end.processes
      ? `${counted(start.processes, 'process', 'processes')} at the start, ${grouped(end.processes)} at the end`
      : counted(last?.processes ?? 0, 'process', 'processes');
  return list.length === 0 ? processes : `${counted(list.length, 'container')}${shown}, ${processes}`;
}

/** Why a target that was traced gave nothing: that it lived, and that the probes fire on this node at all. */
export function silence(coverage: CoverageAccount, probeRuns: number | undefined): string {
  const { control, start, end } = coverage;
  const life = [
    end !== undefined && counted(end.processes, 'process', 'processes'),
    switchesBetween(start, end),
    end?.sockets !== undefined && counted(end.sockets, 'socket'),
  ].filter((part) => typeof part === 'string');
  const alive =
    end === undefined || (end.processes === 0 && (start?.processes ?? 0) === 0)
      ? 'No process of the target was seen.'
      : `The target was there: ${life.join(', ')}.`;
  const all = control?.reduce((sum, count) => sum + count.all, 0) ?? probeRuns;
  if (all === undefined) return alive;
  const fired =
    all === 0
      ? 'The probes did not fire on this node at all.'
      : `The probes fired ${counted(all, 'time')} on this node.`;
  return [alive, fired, ...reasons(coverage, all)].join(' ');
}

/** What would explain that probes which are right saw nothing of a target that lives. */
function reasons({ rules, end }: CoverageAccount, fired: number): readonly string[] {
  const isUser = ({ point }: AppliedRule) => /^(?:u|ur|U|uprobe|uretprobe|usdt):/.test(point);
  const isSyscall = ({ point }: AppliedRule) => /:(?:raw_)?sys(?:calls:|_enter|_exit)/.test(point);
  const isRunByOthers = (rule: AppliedRule) => rule.class === 'T' && !isUser(rule) && !isSyscall(rule);
  return [
    ...(fired === 0 && rules.some(isUser)
      ? [
          'Likely: the function was not called, it is inlined, or the program holds a copy of its own (a static binary).',
        ]
      : []),
    ...(end?.ioUrings !== undefined && rules.some(isSyscall)
      ? [`Likely: it uses io_uring (${counted(end.ioUrings, 'ring')}), whose requests make no system calls.`]
      : []),
    ...(fired > 0 && rules.some(isRunByOthers)
      ? ["Likely: the kernel does this work in an interrupt or a worker, where the current task is not the target's."]
      : []),
  ];
}

/** Meanwhile only: both looks hold sums over the life of the processes, of which some may have ended. */
function switchesBetween(start: Coverage | undefined, end: Coverage | undefined): string | undefined {
  if (start?.contextSwitches === undefined || end?.contextSwitches === undefined) return undefined;
  return counted(Math.max(0, end.contextSwitches - start.contextSwitches), 'context switch', 'context switches');
}

/** The same for programs. */
export const coverageJson = ({ rules, control, start, end, notes }: CoverageAccount) => ({
  classes: [...new Set(rules.map((rule) => rule.class))],
  rules: rules.map((rule, at) => ({
    point: shorten(rule.point),
    class: rule.class,
    owner: rule.owner,
    points: rule.points,
    ...(control?.[at] && { fired: control[at].all, in_scope: control[at].inScope }),
    ...(rule.notes.length > 0 && { notes: rule.notes.map((note) => shorten(note, 400)) }),
  })),
  start: lookJson(start),
  end: lookJson(end),
  notes: notes.map((note) => shorten(note, 400)),
});

const lookJson = (look: Coverage | undefined) =>
  look === undefined
    ? null
    : {
        containers: look.containers.map(({ name, id }) => ({ name: shorten(name), id: shorten(id) })),
        processes: look.processes,
        ...(look.contextSwitches !== undefined && { context_switches: look.contextSwitches }),
        ...(look.sockets !== undefined && { sockets: look.sockets }),
      };
