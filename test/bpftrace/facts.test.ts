import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Btf } from '../../src/bpftrace/btf.ts';
import {
  cgroupLayout,
  featuresOf,
  parseInfo,
  parseLibraries,
  parseLockdown,
  parseMounts,
} from '../../src/bpftrace/facts.ts';

const INFO = readFileSync(join(import.meta.dirname, '../fixtures/bpftrace-text/info.txt'), 'utf8');

test('what bpftrace tried is read by section', () => {
  const info = parseInfo(INFO);
  expect(info.get('kernel helpers')?.get('dpath')).toBe(false);
  expect(info.get('kernel helpers')?.get('loop')).toBe(true);
  expect(info.get('probe types')?.get('uprobe_multi')).toBe(true);
});

test('with the types of the kernel the features are whole lists, without what bpftrace was refused', () => {
  const enumerators: Record<string, readonly string[]> = {
    bpf_func_id: ['BPF_FUNC_unspec', 'BPF_FUNC_map_lookup_elem', 'BPF_FUNC_d_path', '__BPF_FUNC_MAX_ID'],
    bpf_map_type: ['BPF_MAP_TYPE_UNSPEC', 'BPF_MAP_TYPE_HASH', 'BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED'],
    bpf_prog_type: ['BPF_PROG_TYPE_TRACING', '__MAX_BPF_PROG_TYPE'],
  };
  const btf: Pick<Btf, 'enumerators'> = { enumerators: (name) => enumerators[name] ?? [] };
  const features = featuresOf(parseInfo(INFO), btf);
  expect(features.helpers).toContain('map_lookup_elem');
  expect(features.helpers).toContain('ktime_get_tai_ns');
  expect(features.helpers).not.toContain('d_path');
  expect(features.maps).toEqual(['hash', 'cgroup_storage']);
  expect(features.programs).toEqual(['tracing']);
});

test('without them they are what bpftrace tried', () => {
  expect(featuresOf(parseInfo(INFO), undefined)).toEqual({
    helpers: ['ktime_get_tai_ns', 'get_func_ip', 'lookup_percpu_elem', 'loop'],
    maps: [],
    programs: [],
  });
  expect(featuresOf(parseInfo(''), undefined)).toEqual({ helpers: [], maps: [], programs: [] });
});

const V2 = 'cgroup2 /sys/fs/cgroup cgroup2 rw,relatime 0 0';
const V1 = 'cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0';
const UNIFIED = 'cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0';

test.each([
  ['only version 2', V2, { layout: 'v2', path: '/sys/fs/cgroup' }],
  ['both versions', `${V1}\n${UNIFIED}`, { layout: 'hybrid', path: '/sys/fs/cgroup/unified' }],
  ['only version 1', V1, { layout: 'v1' }],
  ['none', 'proc /proc proc rw 0 0\n\n', { layout: 'none' }],
  ['a path with a space', 'none /mnt/a\\040b cgroup2 rw 0 0', { layout: 'v2', path: '/mnt/a b' }],
])('the cgroup hierarchies that are mounted: %s', (_, mounts, layout) => {
  expect(cgroupLayout(parseMounts(mounts))).toEqual(layout);
});

test('lockdown is the word in brackets', () => {
  expect(parseLockdown('none [integrity] confidentiality\n')).toBe('integrity');
  expect(parseLockdown('[none] integrity confidentiality')).toBe('none');
  expect(parseLockdown('')).toBeUndefined();
});

test('shared libraries are read once each from the maps of a process', () => {
  const maps = [
    '7f00-7f01 r--p 00000000 fd:00 1 /usr/lib/x86_64-linux-gnu/libc.so.6',
    '7f01-7f02 r-xp 00001000 fd:00 1 /usr/lib/x86_64-linux-gnu/libc.so.6',
    '7f02-7f03 rw-p 00000000 00:00 0 [heap]',
    '7f03-7f04 r-xp 00000000 fd:00 2 /usr/bin/node',
    '7f04-7f05 r-xp 00000000 fd:00 3 /lib/ld-musl-x86_64.so.1',
  ].join('\n');
  expect(parseLibraries(maps)).toEqual(['/usr/lib/x86_64-linux-gnu/libc.so.6', '/lib/ld-musl-x86_64.so.1']);
});
