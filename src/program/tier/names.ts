import { BUILTINS } from '../builtins.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

/** Functions and builtins that read nothing but the event, or memory that their arguments name. */
export const FOR_PODS: ReadonlySet<string> = new Set(
  BUILTINS.filter(({ kind, tier, refused }) => kind !== 'statement' && tier === 'any' && refused === undefined).map(
    ({ name }) => name,
  ),
);

/** What tells of the task that happens to run, and so of a stranger where the event is not that task's. */
export const OF_CURRENT = words('ustack dw_ustack curtask uid gid username cgroup leader_tid leader_comm usym');

/** What a probe that fires by itself may call and ask for. */
export const IN_BARE = new Set([
  ...words('time strftime nsecs elapsed jiffies ncpus rand print printf errorf warnf clear zero exit delete'),
  ...words('len has_key find is_scalar count sum avg min max stats hist lhist tseries'),
  ...words('strerror signal_name syscall_name ntop pton bswap assert static_assert fail'),
]);

/** Builtins and functions that give text. */
export const TEXTS = words(
  'comm func probe probetype username leader_comm str str_concat strftime strerror ntop ksym usym buf kstack ustack syscall_name signal_name path join cgroup_path',
);

/** Functions that read the memory to which their first arguments point, and how many these are. */
export const READ_MEMORY: ReadonlyMap<string, number> = new Map([
  ...[...words('str buf strlen strcap macaddr')].map((name): [string, number] => [name, 1]),
  ...[...words('strcontains strstr str_concat memcmp')].map((name): [string, number] => [name, 2]),
]);

/** Words that some functions take instead of values. */
export const MODES = words('monotonic boot tai sw_tai curr_ns init bpftrace perf');
export const WITH_MODES = words('nsecs pid tid kstack ustack dw_ustack');
